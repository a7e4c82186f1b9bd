"""What the pages tell people to type is what the commands accept, no command is missing from them, and every link leads somewhere."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from edge.__main__ import SHORT
from edge.__main__ import STAGES as WORDS

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("edge", "train", "export", "benchmarks")
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "README.zh-CN.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "scripts/README.md",
        "scripts/fleet/README.md",
        *(f"{stage}/README.md" for stage in STAGES),
    )
}


def typed_in(page: str) -> list[str]:
    """The lines of the page's shell blocks, without their comments, and the commands that stand in its tables."""
    text = PAGES[page]
    lines = [line.split("#")[0].strip() for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    tables = [span for row in text.splitlines() if row.startswith("|") for span in re.findall(r"`((?:signwing |scripts/)\w[^`]*)`", row)]
    return [command for line in (*lines, *tables) if line for command in line.split(" && ")]


TYPED = sorted({(page, line) for page in PAGES for line in typed_in(page)})


def arguments_of(line: str) -> tuple[str, list[str]] | None:
    """The stage that a command line is for and its arguments; None where it is for none of ours."""
    words = shlex.split(line)
    if words[0] == "signwing":
        words[1:1] = [SHORT[words[1]]] if words[1] in SHORT else []
        return (WORDS[words[1]], words[2:]) if words[1] in WORDS else ("edge", words[1:])
    if "-m" in words and words[words.index("-m") + 1] in STAGES:
        return words[words.index("-m") + 1], words[words.index("-m") + 2 :]
    return None


def parser_of(stage: str) -> argparse.ArgumentParser:
    if stage == "train":
        pytest.importorskip("keras")
    parser: argparse.ArgumentParser = importlib.import_module(f"{stage}.__main__")._parser()
    return parser


def commands_of(parser: argparse.ArgumentParser) -> list[str]:
    return [name for action in parser._actions if isinstance(action, argparse._SubParsersAction) for name in action.choices]


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "line"), [each for each in TYPED if arguments_of(each[1])])
def test_commands_of_the_pages_parse(page: str, line: str) -> None:
    found = arguments_of(line)
    assert found is not None
    stage, arguments = found
    assert callable(parser_of(stage).parse_args(arguments).command), page


@pytest.mark.parametrize(("page", "line"), [each for each in TYPED if each[1].startswith("scripts/")])
def test_scripts_of_the_pages_exist(page: str, line: str) -> None:
    script = ROOT / line.split()[0]
    assert script.is_file(), page
    assert script.suffix == ".py" or script.stat().st_mode & 0o111


@pytest.mark.parametrize("stage", STAGES)
def test_no_command_is_missing_from_its_stages_page(stage: str) -> None:
    shown = [arguments_of(line) for page, line in TYPED if page == f"{stage}/README.md"]
    for command in commands_of(parser_of(stage)):
        assert any(found and found[0] == stage and found[1][0] == command for found in shown), command


def test_both_first_pages_have_the_same_commands_and_links() -> None:
    assert typed_in("README.zh-CN.md") == typed_in("README.md")
    links = [set(re.findall(r"\]\(([^)]+)\)", PAGES[page])) - {"README.md", "README.zh-CN.md"} for page in ("README.md", "README.zh-CN.md")]
    assert links[0] == links[1]


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_first_page_is_short(page: str) -> None:
    assert len(PAGES[page].splitlines()) <= 150


@pytest.mark.parametrize("page", [page for page in PAGES if page.count("/")])
def test_a_stages_page_opens_with_the_line_to_type(page: str) -> None:
    assert re.match(r"# .+\n\n```bash\n(python|signwing|scripts/|cd scripts/)", PAGES[page])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_page_names_each_of_its_rooms(stage: str) -> None:
    named = set(re.findall(r"^\| `(\w+)/` \|", PAGES[f"{stage}/README.md"], re.MULTILINE))
    assert named == {path.name for path in (ROOT / stage).iterdir() if path.is_dir() and path.name != "__pycache__"}


@pytest.mark.parametrize(("page", "link"), sorted({(page, link) for page, text in PAGES.items() for link in re.findall(r"\]\(([^)]+)\)", text)}))
def test_links_and_pictures_of_the_pages_exist(page: str, link: str) -> None:
    place, _, anchor = link.partition("#")
    target = (ROOT / page).parent / place if place else ROOT / page
    assert target.is_file()
    assert not anchor or anchor in anchors_of(target)


def test_the_demo_brings_what_the_first_page_goes_on_with() -> None:
    """Scripts that share an environment want the same in it: else each of them would make it anew."""
    wanted: dict[str, set[str]] = {}
    for script in (ROOT / "scripts").iterdir():
        found = re.search(r"scripts/venv (\w+) (\S+?)[ )]", script.read_text(encoding="utf-8")) if script.is_file() and not script.suffix else None
        if found and script.name != "venv":
            wanted.setdefault(found[1], set()).add(found[2])
    assert any("--web" in line for line in typed_in("README.md"))
    assert wanted["edge"] == {"edge,web,video"}
    assert all(len(extras) == 1 for extras in wanted.values())


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md", "edge/README.md"])
def test_the_least_signs_are_those_of_the_code(page: str) -> None:
    from edge.recognition.tracking import TrackerSettings

    named, announced = (f"{side:g}" for side in (TrackerSettings.vote_side_px, TrackerSettings.entry_side_px))
    told = next(line for line in PAGES[page].splitlines() if re.search(r"the mean of width and height|宽与高的平均", line))
    assert re.findall(r"(\d+) ?(?:pixels|像素)", told.split("816x480")[0])[:2] == [named, announced]
