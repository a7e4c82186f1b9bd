"""Every name of TensorRT that is used exists in 10.3, 10.16 and 11.4, or stands behind a feature test: no board and no full TensorRT is here to say so.

Found with `ast`: what follows the module (`trt`), and what follows the variables that hold its objects, by the names that the code gives them.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
FILES = [TESTS.parent / name for name in ("edge/engines/trt.py", "export/engines/build.py")]
RELEASES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((TESTS / "tensorrt_api").glob("*.json"))}
HOLDERS = {
    "builder": "Builder",
    "cache": "ITimingCache",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "engine": "ICudaEngine",
    "fault": "ParserError",
    "modes": "TensorIOMode",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "runtime": "Runtime",
    "tensor": "ITensor",
}
MODULE = ""

Use = tuple[str, str]  # class, or MODULE, and name


def uses(tree: ast.AST) -> set[Use]:
    """Every name that is taken from the module, a class of it or one of its objects."""
    found = {(owner, node.attr) for node in ast.walk(tree) if isinstance(node, ast.Attribute) for owner in owners(node.value)}
    return found | {use for call, use in asked(tree) if call == "getattr"}


def asked_for(tree: ast.AST) -> set[Use]:
    """Every name that the code asks for before it takes it."""
    return {use for call, use in asked(tree) if call != "getattr"}


def asked(tree: ast.AST) -> Iterator[tuple[str, Use]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            owner, name, *default = node.args
            if isinstance(name, ast.Constant):
                yield from (("hasattr" if default else node.func.id, (holder, name.value)) for holder in owners(owner))


def owners(node: ast.AST) -> list[str]:
    """The class that an expression holds, or is, or the module; nothing if it is neither."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    if isinstance(node, ast.Attribute) and MODULE in owners(node.value):
        return [name]
    name = name.lstrip("_")
    return [MODULE] if name == "trt" else [HOLDERS[name]] if name in HOLDERS else []


def unknown(source: str) -> set[tuple[str, Use]]:
    """What a source uses untested, and the release that lacks it."""
    tree = ast.parse(source)
    known = {release: {(MODULE, name) for name in names} | {(name, member) for name in names for member in names[name]} for release, names in RELEASES.items()}
    return {(release, use) for use in uses(tree) - asked_for(tree) for release in RELEASES if use not in known[release]}


def test_the_lists_are_of_the_releases_that_matter() -> None:
    assert set(RELEASES) == {"10.3.0", "10.16.1", "11.4.0"}
    assert set(HOLDERS.values()) <= set.intersection(*(set(names) for names in RELEASES.values()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_name_that_is_used_exists_or_is_asked_for(path: Path) -> None:
    assert unknown(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("path", "use"),
    [
        (FILES[0], ("IExecutionContext", "execute_async_v3")),
        (FILES[0], ("ICudaEngine", "device_memory_size_v2")),
        (FILES[0], ("TensorIOMode", "INPUT")),
        (FILES[0], (MODULE, "Runtime")),
        (FILES[1], ("IBuilderConfig", "set_memory_pool_limit")),
        (FILES[1], ("Builder", "build_serialized_network")),
        (FILES[1], (MODULE, "OnnxParser")),
    ],
)
def test_what_is_surely_used_is_found(path: Path, use: Use) -> None:
    assert use in uses(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("source", "lacking"),
    [
        ("flags = 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)", {"11.4.0"}),
        ("config.set_flag(self._trt.BuilderFlag.FP16)", {"11.4.0"}),
        ("flag = getattr(trt.BuilderFlag, 'FP16')", {"11.4.0"}),
        ("class Reader(trt.IStreamReader): pass", {"11.4.0"}),
        ("size = self._engine.device_memory_size", {"11.4.0"}),
        ("size = engine.get_engine_stat()", {"10.3.0"}),
        ("context.execute_async(1)", set(RELEASES)),
        ("config.max_workspace_size = 1", set(RELEASES)),
        ("trt.Bilder(log)", set(RELEASES)),
    ],
)
def test_a_name_that_a_release_lacks_is_found(source: str, lacking: set[str]) -> None:
    assert {release for release, _ in unknown(source)} == lacking


@pytest.mark.parametrize(
    "source",
    [
        "strong = getattr(trt.NetworkDefinitionCreationFlag, 'EXPLICIT_BATCH', None)",
        "if hasattr(trt.BuilderFlag, 'FP16'): config.set_flag(trt.BuilderFlag.FP16)",
        "size = engine.device_memory_size if hasattr(engine, 'device_memory_size') else engine.device_memory_size_v2",
        "trt.__version__, other.execute_async, context.execute_async_v3",
    ],
)
def test_a_name_that_is_asked_for_first_is_none(source: str) -> None:
    assert unknown(source) == set()
