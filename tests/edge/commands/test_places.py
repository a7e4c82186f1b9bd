"""What a command writes replaces nothing that it reads, no other output and no device, in every stage."""

from __future__ import annotations

import argparse
import importlib
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import command, done, refused
from media import picture, write_image, write_video

from benchmarks.__main__ import main as benchmarks_main
from edge.bundle.manifest import read_bundle
from edge.cli import OUTPUTS

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    return write_video(tmp_path / "x.avi", 3)


@pytest.fixture
def refuses(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    return lambda *argv: refused(capsys, *argv)


@pytest.mark.parametrize("option", ["--video", "--events", "--json"])
def test_the_footage_is_not_written_over(bundle: Path, footage: Path, refuses: Callable[..., str], option: str) -> None:
    before = footage.read_bytes()
    (footage.parent / "list").write_text(f"{footage}\n")
    (footage.parent / "more").mkdir()
    other = write_video(footage.parent / "more" / "y.avi", 3)
    (footage.parent / "several").write_text(f"# a flight\n{other}\n{footage}\n")
    pattern = f"{footage.parent}/*.avi"
    for source in (footage, f"{footage}?realtime=1", f"@{footage.parent / 'list'}", f"@{footage.parent / 'several'}", f"file://{footage}", pattern):
        assert "found what is read" in refuses("run", source, "--bundle", bundle, option, footage)
        assert footage.read_bytes() == before


def test_names_that_outputs_make_of_theirs_are_seen(bundle: Path, footage: Path, tmp_path: Path, refuses: Callable[..., str]) -> None:
    numbered = footage.rename(tmp_path / "e.jsonl.2")
    assert "found what is read" in refuses("run", numbered, "--bundle", bundle, "--events", tmp_path / "e.jsonl", "--events-max", 1)
    assert "same place" in refuses("run", "demo://", "--bundle", bundle, "--events", tmp_path / "n", "--events-max", 1, "--json", tmp_path / "n.1")
    assert "same place" in refuses("run", f"rtp://@:5600?record={tmp_path / 'r.mkv'}", "--bundle", bundle, "--video", tmp_path / "r.mkv")
    left = write_video(tmp_path / ".y.partial.avi", 3)
    before = left.read_bytes()
    assert "found what is read" in refuses("run", left, "--bundle", bundle, "--video", tmp_path / "y.avi")
    assert left.read_bytes() == before


def test_no_two_outputs_share_a_file_and_no_token_pose_or_bundle_is_lost(bundle: Path, footage: Path, tmp_path: Path, refuses: Callable[..., str]) -> None:
    token, poses = tmp_path / "token", tmp_path / "poses.csv"
    token.write_text("a long secret token")
    poses.write_text("time_s,roll_deg\n0,0\n")
    run = ("run", footage, "--bundle", bundle)
    assert "same place" in refuses(*run, "--events", tmp_path / "a.json", "--json", tmp_path / "A.json")
    assert "found what is read" in refuses(*run, "--web", 0, "--web-token-file", token, "--events", token)
    assert "found what is read" in refuses(*run, "--level", f"{poses},offset=1", "--json", poses)
    assert "found what is read" in refuses(*run, "--json", bundle / "manifest.json")
    assert "found what is read" in refuses(*run, "--events", bundle / "new.jsonl")
    assert token.read_text() == "a long secret token"
    assert read_bundle(bundle).manifest.name == "tiny"
    assert not (bundle / "new.jsonl").exists()


def test_a_table_replaces_no_photo(bundle: Path, tmp_path: Path, refuses: Callable[..., str]) -> None:
    photo = write_image(tmp_path / "in" / "a.png", picture(0))
    (tmp_path / "hard.csv").hardlink_to(photo)
    before = photo.read_bytes()
    for source, table in ((photo, photo), (photo.parent, photo), (photo, tmp_path / "hard.csv"), (photo, bundle / "n.csv")):
        assert "found what is read" in refuses("classify", source, "--bundle", bundle, "--csv", table)
    assert photo.read_bytes() == before
    # A table beside the photos is as good as before, also twice.
    for _ in range(2):
        done("classify", photo.parent, "--bundle", bundle, "--csv", photo.parent / "names.csv")


def test_devices_and_fifos_stay_what_they_are(bundle: Path, footage: Path, tmp_path: Path, refuses: Callable[..., str]) -> None:
    photo = write_image(tmp_path / "a.png", picture(0))
    for name, device in (("null.json", "/dev/null"), ("null.avi", "/dev/null"), ("out", "/dev/stdout")):
        (tmp_path / name).symlink_to(device)
    done("run", footage, "--bundle", bundle, "--json", tmp_path / "null.json", "--events", tmp_path / "null.json")
    done("classify", photo, "--bundle", bundle, "--csv", tmp_path / "null.json")
    assert "found something else" in refuses("run", footage, "--bundle", bundle, "--video", tmp_path / "null.avi")
    assert all((tmp_path / name).is_symlink() for name in ("null.json", "null.avi", "out"))
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    os.mkfifo(tmp_path / "fifo.avi")
    assert "found something else" in refuses("run", footage, "--bundle", bundle, "--video", tmp_path / "fifo.avi")
    (tmp_path / "folder").mkdir()
    assert "found a folder" in refuses("run", footage, "--bundle", bundle, "--events", tmp_path / "folder")


def test_json_on_the_standard_output_is_whole(bundle: Path, footage: Path, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/dev/stdout")
    for name in ("-", "/dev/stdout", tmp_path / "out"):
        with (tmp_path / "text").open("wb") as text:
            argv = command("classify", write_image(tmp_path / "a.png", picture(0)), "--bundle", bundle, "--csv", name)
            assert subprocess.run(argv, cwd=ROOT, stdout=text, check=False, timeout=60).returncode == 0
        assert (tmp_path / "text").read_text().startswith("path,class_id,label,confidence\n")
    assert (tmp_path / "out").is_symlink()


def test_results_of_benchmarks_replace_nothing_either(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = tmp_path / "r.json"
    result.write_text('{"schema": 1}')
    for argv in (
        ["report", str(result), "--out", str(result)],
        ["report", str(result), "--out", str(tmp_path / "p.html"), "--markdown", str(tmp_path / "P.html")],
        ["latency", "--bundle", str(bundle), "--json", str(bundle / "manifest.json")],
        ["reference", str(result), "--out", str(result)],
    ):
        assert benchmarks_main(argv) == 1
        assert "choose another name" in capsys.readouterr().err
    assert result.read_text() == '{"schema": 1}'


@pytest.mark.parametrize("stage", ["edge", "train", "export", "benchmarks"])
def test_every_option_that_takes_a_new_file_counts_as_an_output(stage: str) -> None:
    """An option's help says "write" where it names an output: none may be left out of `edge.cli.OUTPUTS`."""
    parser = importlib.import_module(f"{stage}.__main__")._parser()
    (commands,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    options = [action for command in commands.choices.values() for action in command._actions if action.type is Path and action.option_strings]
    written = {action.dest for action in options if "write" in str(action.help) or "draw" in str(action.help)}
    assert written <= OUTPUTS


def test_results_of_training_and_export_replace_nothing_either(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = tmp_path / "data" / "gtsrb", tmp_path / "run"
    data.mkdir(parents=True)
    run.mkdir()
    table = data / "Train.csv"
    for file in (table, run / "run.json"):
        file.write_text("precious")
    evaluate = ["evaluate", str(run), "--data", str(data.parent), "--split", "test", "--json"]
    for stage, argv in (
        ("train", [*evaluate, str(table)]),
        ("train", [*evaluate, str(run / "run.json")]),
        ("train", ["fit", "--data", str(data), "--out", str(data)]),
        ("train", ["fit", "--data", str(data), "--teacher", str(tiny_bundle), "--out", str(tiny_bundle / "run")]),
        ("export", ["bundle", str(tiny_bundle), "--data", str(data), "--out", str(tiny_bundle)]),
    ):
        assert importlib.import_module(f"{stage}.__main__").main(argv) == 1
        assert "found what is read" in capsys.readouterr().err
    assert table.read_text() == (run / "run.json").read_text() == "precious"
