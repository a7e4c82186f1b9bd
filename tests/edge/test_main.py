"""`edge run` as it is typed: outputs as promised, one line and exit code 1 for what cannot be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import command, done, lines, refused, rehash, started
from media import damage, picture, small_disk, write_image, write_video

from edge.__main__ import main
from edge.bundle.manifest import read_bundle
from edge.datasets.gtsrb import LABELS
from edge.drawn.scenes import Flight
from edge.sources.video import count_frames

ROOT = Path(__file__).resolve().parents[2]
SMALL_DEMO = "demo://?frames=30&width=320&height=180"


@pytest.fixture
def refuses(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    return lambda *argv: refused(capsys, *argv)


def test_a_folder_of_stills_gives_a_sighting_for_each(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("10.png", "2.png"):
        write_image(tmp_path / "in" / name, picture(3))
    out = tmp_path / "out"
    done("run", tmp_path / "in", "--bundle", bundle, "--spotter", "none", "--events", out / "e.jsonl", "--json", out / "s.json", "--video", out / "v.avi")
    events = lines(out / "e.jsonl")
    assert [(e["event"], e["frame"], e["still"], e["track"], e["box_xyxy"]) for e in events] == [
        ("sighting", 0, "2.png", None, [0.0, 0.0, 96.0, 64.0]),
        ("sighting", 1, "10.png", None, [0.0, 0.0, 96.0, 64.0]),
    ]
    assert {LABELS[e["class_id"]] for e in events} == {e["label"] for e in events}
    assert count_frames(out / "v.avi") == 2
    shown = capsys.readouterr().out
    assert shown.startswith(f"2.png: {events[0]['label']} ")
    assert "p99" in shown


def test_a_flight_gives_what_the_json_promises(bundle: Path, tmp_path: Path) -> None:
    demo = "demo://?view=car&frames=30&width=320&height=180"
    done("run", demo, "--bundle", bundle, "--json", tmp_path / "s.json", "--video", tmp_path / "v.mp4", "--precision", "fp32", "--max-frames", 20)
    summary = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert {"schema", "command", "machine", "conditions", "started_at"} <= set(summary)
    assert (summary["schema"], summary["command"]) == (1, "edge run")
    assert (summary["frames"], summary["dropped"], summary["engine"], summary["precision"]) == (20, 0, "onnxruntime", "fp32")
    assert set(summary["age_ms"]) == {"p50", "p90", "p99", "max"}
    assert set(summary["stage_ms"]) == {"source", "level", "spot", "classify", "track", "place", "sinks"}
    assert summary["peak_rss_mib"] > 30
    assert set(summary["passes"]) >= {"all", "right", "wrong", "missed", "twice"}
    # Only the part of the flight that was flown counts.
    assert summary["passes"]["all"] == len(Flight(0, (320, 180), 20).passes())
    assert count_frames(tmp_path / "v.mp4") == 20


def test_in_real_time_frames_are_lost_and_counted(bundle: Path, tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.avi", 40, fps=400.0)
    done("run", f"{path}?realtime=1", "--bundle", bundle, "--engine", "fake", "--json", tmp_path / "s.json", "--video", tmp_path / "v.avi")
    summary = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert summary["frames"] + summary["dropped"] == 40
    assert summary["engine"] == "fake"
    assert "passes" not in summary


def test_unreadable_frames_and_images_are_counted_and_passed_over(bundle: Path, tmp_path: Path) -> None:
    path = damage(write_video(tmp_path / "x.avi", 20), (7, 8))
    write_image(tmp_path / "in" / "a.png", picture(0))
    (tmp_path / "in" / "b.jpg").write_bytes(b"no image")
    for source, wanted in ((path, (18, 2)), (tmp_path / "in", (1, 1))):
        done("run", source, "--bundle", bundle, "--json", tmp_path / "s.json")
        summary = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
        assert (summary["frames"], summary["unreadable"]) == wanted


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 4), (1, 1, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_any_kind_are_run_and_named(bundle: Path, tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    path = write_image(tmp_path / "x.png", np.full(shape, 90, dtype))
    done("run", path, "--bundle", bundle, "--spotter", "none", "--events", tmp_path / "e.jsonl", "--min-side", 1)
    assert len(lines(tmp_path / "e.jsonl")) == 1
    done("classify", path, "--bundle", bundle, "--csv", tmp_path / "n.csv")
    assert len((tmp_path / "n.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("missing", "nothing at"),
        ("empty", "found none"),
        ("unreadable", "found none that can be read"),
        ("cut.mp4", "without its index"),
        ("zero.png", "found none that can be read"),
        ("gopher://x", "unknown"),
        ("demo://?frames=abc", "abc"),
        ("rtp://@", "HOST:PORT"),
    ],
)
def test_a_source_that_gives_no_frame_is_refused(bundle: Path, tmp_path: Path, source: str, told: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "unreadable").mkdir()
    (tmp_path / "unreadable" / "x.png").write_bytes(b"no image")
    (tmp_path / "zero.png").touch()
    cut = write_video(tmp_path / "cut.mp4", 20)
    cut.write_bytes(cut.read_bytes()[:-600])
    outputs = [tmp_path / "out" / name for name in ("e.jsonl", "v.mp4", "s.json")]
    argv = command(
        "run", source if "://" in source else tmp_path / source, "--bundle", bundle, "--events", outputs[0], "--video", outputs[1], "--json", outputs[2]
    )
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    warned, refusal = ended.stderr.splitlines()[:-1], ended.stderr.splitlines()[-1]
    assert ended.returncode == 1
    assert all(line.startswith("WARNING: ") for line in warned)
    assert len(warned) == (source in ("unreadable", "zero.png"))
    assert refusal.startswith("python -m edge: wanted ")
    assert told in refusal
    assert not any(output.exists() for output in outputs)


def test_what_this_version_does_not_bring_is_refused(bundle: Path, refuses: Callable[..., str]) -> None:
    assert "TensorRT" in refuses("run", SMALL_DEMO, "--bundle", bundle, "--engine", "tensorrt")
    assert "colour" in refuses("run", SMALL_DEMO, "--bundle", bundle, "--spotter", "learned")
    assert "provider" in refuses("run", SMALL_DEMO, "--bundle", bundle, "--provider", "cuda")


@pytest.mark.parametrize("option", ["--events", "--video", "--json"])
def test_an_output_that_cannot_be_written_is_refused(bundle: Path, tmp_path: Path, refuses: Callable[..., str], option: str) -> None:
    (tmp_path / "file").touch()
    assert "wanted to write" in refuses("run", SMALL_DEMO, "--bundle", bundle, option, tmp_path / "file" / "x.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert "folder" in refuses("run", SMALL_DEMO, "--bundle", bundle, option, tmp_path / "folder.mp4")


def test_stills_of_two_sizes_share_a_video(bundle: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "1.png", picture(0))
    write_image(tmp_path / "in" / "2.png", picture(0, (48, 48)))
    done("run", tmp_path / "in", "--bundle", bundle, "--video", tmp_path / "out" / "v.mp4")
    assert count_frames(tmp_path / "out" / "v.mp4") == 2


def test_a_video_that_fails_takes_nothing_else_along(bundle: Path, tmp_path: Path, refuses: Callable[..., str]) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        write_image(tmp_path / "in" / f"{number}.png", rng.integers(0, 256, (240, 320, 3), np.uint8))
    outputs = {word: tmp_path / "out" / name for word, name in (("--video", "v.mp4"), ("--events", "e.jsonl"), ("--json", "s.json"))}
    with small_disk(60_000):
        told = refuses("run", tmp_path / "in", "--bundle", bundle, "--spotter", "none", *(part for pair in outputs.items() for part in pair))
    assert "the disk may be full" in told
    summary = json.loads(outputs["--json"].read_text(encoding="utf-8"))
    assert (summary["frames"], summary["missed"]) == (40, {"events": 0, "video": 40})
    assert len(lines(outputs["--events"])) == 40
    assert not outputs["--video"].exists()


def test_quiet_prints_nothing(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", SMALL_DEMO, "--bundle", str(bundle), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("least", "found"), [((), 1), (("--min-side", "40"), 0), (("--min-side", "1"), 2)])
def test_small_signs_in_stills_are_left_out(bundle: Path, tmp_path: Path, least: tuple[str, ...], found: int) -> None:
    for side in (12, 30):  # the whole frame is one box
        write_image(tmp_path / "in" / f"{side}.png", picture(0, (side, side)))
    done("run", tmp_path / "in", "--bundle", bundle, "--spotter", "none", "--events", tmp_path / "e.jsonl", *least)
    assert len(lines(tmp_path / "e.jsonl")) == found


def test_an_output_is_no_input_however_the_input_is_written(bundle: Path, tmp_path: Path, refuses: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    film = write_video(tmp_path / "x.avi", 2)
    before = film.read_bytes()
    for typed in ("~/x.avi", f"file://{film}", f"{tmp_path}/*.avi", f"FILE://{film}?realtime=1"):
        assert "wanted" in refuses("run", typed, "--bundle", bundle, "--video", film)
    assert film.read_bytes() == before


def damage_model(bundle: Path) -> None:
    model = bundle / "classifier.int8-cpu.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")


def cut_model(bundle: Path) -> None:
    """A truncated ONNX whose hash is right: ONNX Runtime itself must refuse it."""
    model = bundle / "classifier.int8-cpu.onnx"
    model.write_bytes(model.read_bytes()[:200])
    rehash(bundle)


def other_input(bundle: Path) -> None:
    spec = read_bundle(bundle).manifest.models[0].input
    rehash(bundle, input=replace(spec, shape=(-1, 99, 99, 3)))


def newer_schema(bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (damage_model, "sha256"),
        (cut_model, "the file is damaged"),
        (other_input, "99"),
        (newer_schema, "update signwing"),
        (lambda bundle: (bundle / "classifier.int8-cpu.onnx").unlink(), "no such file"),
        (lambda bundle: (bundle / "manifest.json").write_text("{"), "JSON"),
        (lambda bundle: (bundle / "manifest.json").unlink(), "found none"),
    ],
)
def test_a_bundle_that_is_not_right_is_refused(bundle: Path, tmp_path: Path, refuses: Callable[..., str], spoil: Callable[[Path], object], told: str) -> None:
    spoil(bundle)
    write_image(tmp_path / "x.png", picture(0))
    assert told in refuses("run", tmp_path / "x.png", "--bundle", bundle, "--events", tmp_path / "e.jsonl")
    assert told in refuses("classify", tmp_path / "x.png", "--bundle", bundle, "--csv", tmp_path / "n.csv")
    assert told in refuses("check", bundle)
    assert not (tmp_path / "e.jsonl").exists()
    assert not (tmp_path / "n.csv").exists()


@pytest.mark.parametrize("argv", [[], ["fly"], ["run"], ["run", "x", "--max-frames", "0"], ["run", "x", "--precision", "int4"], ["classify"]])
def test_wrong_usage_is_exit_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_ctrl_c_and_a_stopped_service_finish_the_files(bundle: Path, tmp_path: Path, sent: int, code: int) -> None:
    events, video, summary = tmp_path / "e.jsonl", tmp_path / "v.avi", tmp_path / "s.json"
    write_image(tmp_path / "in" / "0.png", picture(0))
    for number in range(1, 3000):
        os.link(tmp_path / "in" / "0.png", tmp_path / "in" / f"{number}.png")
    argv = command("run", tmp_path / "in", "--bundle", bundle, "--spotter", "none", "--events", events, "--video", video, "--json", summary)
    running = started(argv, ROOT, subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (events.exists() and events.stat().st_size > 2000) and time.monotonic() < deadline:
        time.sleep(0.005)
    running.send_signal(sent)
    _, told = running.communicate(timeout=30)
    assert (running.returncode, told) == (code, "python -m edge: interrupted\n")
    frames = json.loads(summary.read_text(encoding="utf-8"))["frames"]
    assert 0 < frames < 3000
    assert abs(len(lines(events)) - frames) <= 1
    assert abs(count_frames(video) - frames) <= 1
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_a_full_disk_does_not_end_a_run_but_its_exit_code_tells(bundle: Path, tmp_path: Path) -> None:
    events, summary = tmp_path / "e.jsonl", tmp_path / "s.json"
    for number in range(60):
        write_image(tmp_path / "in" / f"{number}.png", picture(number))
    argv = command("run", tmp_path / "in", "--bundle", bundle, "--spotter", "none", "--events", events, "--json", summary)
    with small_disk(6000):
        running = started(argv, ROOT, subprocess.DEVNULL)
        _, told = running.communicate(timeout=60)
    assert running.returncode == 1
    warning, error = told.splitlines()
    assert "wait for space" in warning
    figures = json.loads(summary.read_text(encoding="utf-8"))
    assert figures["frames"] == 60
    assert figures["missed"]["events"] == figures["sightings"] - len(lines(events)) > 0
    assert f"{figures['missed']['events']} lines found no space" in error


def test_a_killed_run_leaves_readable_events_and_no_video(bundle: Path, tmp_path: Path) -> None:
    events, video = tmp_path / "e.jsonl", tmp_path / "v.mp4"
    argv = command("run", "demo://?width=160&height=96", "--bundle", bundle, "--spotter", "none", "--events", events, "--video", video)
    running = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (events.exists() and events.stat().st_size > 0) and time.monotonic() < deadline:
        time.sleep(0.005)
    running.kill()
    running.wait(timeout=30)
    assert lines(events)[0]["event"] == "sighting"
    assert not video.exists()


def test_a_reader_that_leaves_ends_the_run_without_a_traceback(bundle: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", picture(0))
    read_end, write_end = os.pipe()
    os.close(read_end)
    argv = command("classify", tmp_path / "x.png", "--bundle", bundle)
    ended = subprocess.run(argv, cwd=ROOT, stdout=write_end, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write_end)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_real_photos_are_run_and_named(data_root: Path, shipped_bundle: Path, tmp_path: Path) -> None:
    frames = data_root / "gtsdb" / "images"
    done("run", frames, "--bundle", shipped_bundle, "--max-frames", 5, "--events", tmp_path / "e.jsonl", "--json", tmp_path / "s.json")
    names = {path.name for path in frames.iterdir()}
    assert {event["still"] for event in lines(tmp_path / "e.jsonl")} <= names
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["frames"] == 5
