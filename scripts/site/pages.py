"""Which pages scripts/docs builds: the guides as they lie in the repository, and a page for each module's docstrings. MkDocs calls the two hooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("edge", "train", "export", "benchmarks")
SHOWN = (".md", ".jpg", ".png", ".ipynb")
LINKED = ("LICENSE", "events.schema.json", "fleet.example.yml", "Containerfile.board", "last.txt")
GUIDES = {
    "Try it": "README.md",
    "中文": "README.zh-CN.md",
    "Run it": "edge/README.md",
    "From Python": "edge/api/README.md",
    "On a board": "scripts/README.md",
    "A fleet": "scripts/fleet/README.md",
    "Train": "train/README.md",
    "Export": "export/README.md",
    "Measure": "benchmarks/README.md",
    "The model": "edge/models/MODEL_CARD.md",
    "Contribute": "CONTRIBUTING.md",
    "Security": "SECURITY.md",
    "Changes": "CHANGELOG.md",
}


def on_config(config: MkDocsConfig) -> None:
    """Put the guides first, then the code, a branch of the tree for each folder."""
    config.nav = [*({title: page} for title, page in GUIDES.items()), {"Code": [_branch(ROOT / stage) for stage in STAGES]}]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the guides and their pictures under the paths that their links have, and the pages of the code."""
    for path in (*ROOT.glob("*"), *(path for folder in (*STAGES, "scripts") for path in (ROOT / folder).rglob("*"))):
        uri = path.relative_to(ROOT).as_posix()
        if "ansible_collections" in uri:  # its README is for those who unpack it
            continue
        if path.suffix in SHOWN or path.name in LINKED:
            files.append(File.generated(config, uri, abs_src_path=str(path)))
        elif path.suffix == ".py" and uri.startswith(STAGES):
            module = uri.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            files.append(File.generated(config, _page(path), content=f"::: {module}\n"))


def _branch(folder: Path) -> dict[str, Any]:
    modules = sorted(folder.glob("*.py"))  # the package itself comes first
    folders = sorted({path.parent for path in folder.glob("*/__init__.py")})
    return {folder.name: [*({path.stem: _page(path)} if path.stem != "__init__" else _page(path) for path in modules), *map(_branch, folders)]}


def _page(path: Path) -> str:
    """Return where a module's page lies; a package's is the front of its branch."""
    module = path.relative_to(ROOT).with_suffix("")
    return f"code/{module.parent.as_posix()}/{'index' if module.name == '__init__' else module.name}.md"
