"""What the README tells people to type is what the commands accept, and no command is missing from it."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TYPED = [line.split("#")[0].strip() for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line.strip()]


def parser_of(stage: str) -> argparse.ArgumentParser:
    if stage == "train":
        pytest.importorskip("keras")
    parser: argparse.ArgumentParser = importlib.import_module(f"{stage}.__main__")._parser()
    return parser


def commands_of(parser: argparse.ArgumentParser) -> list[str]:
    return [name for action in parser._actions if isinstance(action, argparse._SubParsersAction) for name in action.choices]


@pytest.mark.parametrize("line", [line for line in TYPED if line.startswith("python -m ") and " venv " not in line])
def test_commands_of_the_readme_parse(line: str) -> None:
    stage, *arguments = shlex.split(line)[2:]
    if stage == "pip":
        return
    assert callable(parser_of(stage).parse_args(arguments).command)


@pytest.mark.parametrize("line", [line for line in TYPED if line.startswith("scripts/")])
def test_scripts_of_the_readme_exist(line: str) -> None:
    script = ROOT / line.split()[0]
    assert script.is_file()
    assert script.stat().st_mode & 0o111


@pytest.mark.parametrize("stage", ["train", "export", "edge", "benchmarks"])
def test_no_command_is_missing_from_the_readme(stage: str) -> None:
    for command in commands_of(parser_of(stage)):
        assert f"python -m {stage} {command}" in README
