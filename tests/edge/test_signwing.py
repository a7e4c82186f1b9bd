"""The console command: one parser with `python -m edge`, the other stages behind their words, from any folder; and cures that work where they are printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="needs tomli before Python 3.11")

from edge import __version__
from edge.__main__ import STAGES, main, signwing
from edge.board import extras
from edge.cli import child

ROOT = Path(__file__).resolve().parents[2]


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as pip installs it: a script in a folder of its own."""
    script = folder / "bin" / "signwing"
    script.parent.mkdir(exist_ok=True)
    script.write_text("import sys\nfrom edge.__main__ import signwing\nsys.exit(signwing())\n")
    return subprocess.run([sys.executable, str(script), *words], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the user's own with names like ours in it."""
    (tmp_path / "edge.py").write_text("raise SystemExit('the user wrote this')")
    for stage in ("train", "export", "benchmarks"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "__init__.py").write_text("raise SystemExit('the user wrote this')")
    return tmp_path


def test_it_works_beside_files_of_the_same_names(folder: Path) -> None:
    assert typed(folder, "--version").stdout == f"signwing {__version__}\n"
    assert "usage: signwing bench latency" in typed(folder, "bench", "latency", "--help").stdout
    assert "usage: signwing export verify" in typed(folder, "export", "verify", "--help").stdout
    assert "usage: signwing train fit" in typed(folder, "train", "fit", "--help").stdout


def test_a_child_of_ours_is_ours_too(folder: Path) -> None:
    told = subprocess.run(
        child("edge", "--version"), cwd=folder, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, capture_output=True, text=True
    )
    assert (told.returncode, told.stdout) == (0, f"signwing {__version__}\n")


@pytest.mark.parametrize("words", [("run", "demo://", "--evnts", "x"), ("bench", "latency", "--bach", "8"), ("export", "verify", "B", "--data", "D", "--no")])
def test_an_unknown_option_shows_the_usage_of_the_command_that_was_meant(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    meant = " ".join(words[: 2 if words[0] in STAGES else 1])
    with pytest.raises(SystemExit) as ended:
        signwing(words)
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert told.startswith(f"usage: signwing {meant} ")
    assert "unrecognized arguments: --" in told


def test_a_mistake_is_told_under_the_name_that_was_typed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = str(tmp_path / "none.json")
    assert signwing(["bench", "compare", missing, missing]) == 1
    assert capsys.readouterr().err.startswith("signwing bench: wanted ")
    assert signwing(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("signwing: wanted ")
    assert main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("python -m edge: wanted ")


def test_a_stage_that_is_not_carried_along_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(STAGES, "train", "a_stage_that_boards_lack")
    assert signwing(["train", "fit"]) == 1
    assert re.fullmatch(r"signwing: wanted the folder a_stage_that_boards_lack/ in .*, found none: run this in a checkout\n", capsys.readouterr().err)


def test_help_names_the_other_stages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        signwing(["--help"])
    told = capsys.readouterr().out
    assert all(re.search(rf"^    {word} ", told, re.M) for word in ("run", "classify", "check", "doctor", "service", *STAGES))


def test_a_cure_names_the_packages_of_the_extra_and_a_python_that_is_there() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for extra, packages in extras.PACKAGES.items():
        assert sorted(packages) == sorted(re.split(r"[<>=;\[ ]", wanted)[0] for wanted in told[extra]), extra
        python, *words = shlex.split(extras.install(extra))
        assert Path(python) == Path(sys.executable)
        assert words == ["-m", "pip", "install", "-c", str(ROOT / "constraints.txt"), *packages]


def test_no_message_sends_people_to_an_index_that_does_not_know_us() -> None:
    for stage in ("edge", "train", "export", "benchmarks", "scripts"):
        for path in (ROOT / stage).rglob("*.py"):
            assert not re.search(r"pip install[^\n]*(signwing\[|'\.\[)", path.read_text(encoding="utf-8")), path
