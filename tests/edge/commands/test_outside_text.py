"""Names, labels and options from outside: no crash, no line that they forge, no traceback. Each command is a process of its own, for a crash is one's end."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest
from commands import command, rewrite
from media import picture, write_image, write_video

from edge.bundle.manifest import Thresholds
from edge.cli import ROOT
from edge.datasets.gtsrb import LABELS

ODD = os.fsdecode(b"stra\xdfe")
"""A file name that is no UTF-8."""
FORGED = "x\nERROR: fake\x1b[31m"
DEMO = "demo://?frames=6&width=160&height=96"
FAKE = ("--engine", "fake", "--spotter", "none")


def ended(*argv: object, cwd: Path = ROOT, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*argv), cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, errors="surrogateescape", timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    for told in (done.stdout, done.stderr):
        assert told.isascii() or "\udcdf" not in told
        assert "Traceback" not in told
        assert "\x1b" not in told
        assert not any(line.startswith("ERROR: fake") for line in told.splitlines())
    return done


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_may_have_any_name_and_stand_in_any_folder(tmp_path: Path, tiny_bundle: Path, suffix: str) -> None:
    folder = tmp_path / ODD
    folder.mkdir()
    argv = ("run", DEMO, "--bundle", tiny_bundle, *FAKE, "--video", ODD + suffix, "--events", f"{ODD}.jsonl", "--json", f"{ODD}.json")
    assert "written       stra\\xdfe" in ended(*argv, cwd=folder).stdout
    again = ended("run", ODD + suffix, "--bundle", tiny_bundle, *FAKE, "--json", "again.json", cwd=folder)
    assert again.stderr == ""
    assert json.loads((folder / "again.json").read_text())["frames"] == 6


def test_a_bundle_may_stand_in_any_folder(tmp_path: Path, tiny_bundle: Path) -> None:
    moved = tiny_bundle.rename(tmp_path / ODD)
    assert "stra\\xdfe: tiny, 3 files" in ended("check", moved).stdout


def test_every_crop_gets_its_row_whatever_its_name(tmp_path: Path, tiny_bundle: Path) -> None:
    for name in (ODD, FORGED, "plain"):
        write_image(tmp_path / "in" / "x.png", picture(0)).rename(tmp_path / "in" / f"{name}.png")
    ended("classify", tmp_path / "in", "--bundle", tiny_bundle, "--csv", tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        names = [Path(row["path"]).name for row in csv.DictReader(file)]
    assert sorted(names) == ["plain.png", "stra\\xdfe.png", "x\\nERROR: fake\\x1b[31m.png"]
    assert "stra\\xdfe.png: " in ended("classify", tmp_path / "in", "--bundle", tiny_bundle).stdout


def test_stills_are_told_by_names_that_are_safe(tmp_path: Path, tiny_bundle: Path) -> None:
    write_image(tmp_path / "in" / "x.png", picture(0)).rename(tmp_path / "in" / f"{FORGED}{ODD}.png")
    rewrite(tiny_bundle, thresholds=Thresholds(0.0))
    ended("run", tmp_path / "in", "--bundle", tiny_bundle, *FAKE, "--events", tmp_path / "e.jsonl")
    event = json.loads((tmp_path / "e.jsonl").read_text().splitlines()[0])
    assert event["still"] == "x\\nERROR: fake\\x1b[31mstra\\xdfe.png"


@pytest.mark.parametrize("label", [f"{FORGED}\u202e\x00", "Stop\ud800\udcdf"])
def test_a_label_and_a_bundles_name_are_shown_on_their_line(tmp_path: Path, tiny_bundle: Path, label: str) -> None:
    rewrite(tiny_bundle, thresholds=Thresholds(0.0))
    raw = json.loads((tiny_bundle / "manifest.json").read_text())
    (tiny_bundle / "manifest.json").write_text(json.dumps(raw | {"labels": [label] * len(LABELS), "name": label}))
    write_video(tmp_path / "in.avi", 3)
    ended("check", tiny_bundle, "--precision", "fp16")
    write_image(tmp_path / "x.png", picture(0))
    ended("run", tmp_path / "x.png", "--bundle", tiny_bundle, *FAKE, "--video", tmp_path / "v.avi", "--events", tmp_path / "e.jsonl")
    assert json.loads((tmp_path / "e.jsonl").read_text().splitlines()[0])["label"].isprintable()


@pytest.mark.parametrize("source", [f"rtsp://HOST/{ODD}\x1b", f"nothing{ODD}\x1b[31m", f"@{ODD}"])
def test_a_source_that_is_no_text_is_refused_in_one_line(tiny_bundle: Path, source: str) -> None:
    assert ended("run", source, "--bundle", tiny_bundle, *FAKE, code=1).stderr.count("\n") == 1


def test_wrong_usage_is_told_without_what_moves_a_cursor() -> None:
    assert "\\x1b[31m" in ended("run", "x", "\x1b[31m", code=2).stderr
    assert "secret" not in ended("run", DEMO, "rtsp://ad:secret@HOST", code=2).stderr


@pytest.mark.parametrize("closed", ["1>&-", "1>&- 2>&- 0<&-"])
def test_a_stream_that_was_closed_is_done_without(tmp_path: Path, tiny_bundle: Path, closed: str) -> None:
    words = command("run", DEMO, "--bundle", tiny_bundle, *FAKE, "--events", tmp_path / "e.jsonl", "--json", tmp_path / "s.json")
    line = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(["bash", "-c", f"{line} {closed}"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "s.json").read_text())["frames"] == 6
    assert all(line.startswith("{") for line in (tmp_path / "e.jsonl").read_text().splitlines())


def test_an_encoding_without_a_character_escapes_it(tmp_path: Path, tiny_bundle: Path) -> None:
    write_image(tmp_path / "x.png", picture(0)).rename(tmp_path / "標.png")
    argv = command("classify", tmp_path / "標.png", "--bundle", tiny_bundle)
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u6a19.png: " in done.stdout


def test_options_that_no_shell_would_take_are_refused() -> None:
    assert "closing quotation" in ended("service", "install", "--source", "rtp://@:5600", "--options", '--events "x', code=1).stderr.lower()
    secret = ended("service", "install", "--source", "rtp://@:5600", "--options", "--restream rtmp://u:secret@HOST/x", code=1)
    assert "secret" not in secret.stdout + secret.stderr


def test_a_source_in_a_file_that_others_can_read_is_warned_of(tmp_path: Path, tiny_bundle: Path) -> None:
    file = tmp_path / "camera"
    file.write_text(f"{DEMO}\n")
    for mode, warned in ((0o600, False), (0o640, True), (0o644, True)):
        file.chmod(mode)
        assert ("chmod 600" in ended("run", f"@{file}", "--bundle", tiny_bundle, *FAKE, "--max-frames", 1).stderr) == warned
