"""Pictures of what was found: names, what they replace and what not, and that they cost the loop nothing."""

from __future__ import annotations

import logging
import os
import threading
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import done, lines, refused
from media import picture
from packets import wait_for

from edge.datasets.gtsrb import LABELS
from edge.frame import Frame
from edge.outputs.events import EventSink
from edge.outputs.pictures import PictureSink
from edge.result import Report, Result

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=timezone.utc)
RUN = "20310506T070809Z"
BOX = (40.0, 20.0, 60.0, 40.0)


def result(index: int, *reports: Report, still: str | None = None, final: bool = False) -> Result:
    return Result(Frame(index, picture(index, (96, 64)), 1_000_000, still), reports, (), (), 22_400_000, final)


def report(event: str = "sighting", track: int | None = 3, box: tuple[float, float, float, float] = BOX) -> Report:
    return Report(event, track, 14, 0.98, box)  # type: ignore[arg-type]


def sink_of(folder: Path, *, stills: bool = False, patience_s: float = 10.0) -> PictureSink:
    return PictureSink(folder, LABELS, stills=stills, patience_s=patience_s, wall=lambda: NOW)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def size_wh(path: Path) -> tuple[int, int]:
    image = cv2.imread(str(path))
    assert image is not None
    return image.shape[1], image.shape[0]


def test_a_sighting_has_one_picture_and_one_crop_which_follow_better_views(tmp_path: Path) -> None:
    pictures = sink_of(tmp_path / "seen")
    with EventSink(tmp_path / "e.jsonl", LABELS, pictured=pictures.place) as events, pictures:
        for one in (
            result(1, report(), report(track=4)),
            result(2),
            result(3, report("update", box=(10, 10, 60, 60))),
            result(4, report("gone"), report("gone", 4), final=True),
        ):
            events.write(one)
            pictures.write(one)
    assert names(tmp_path / "seen") == [f"{RUN}-0003-crop.jpg", f"{RUN}-0003.jpg", f"{RUN}-0004-crop.jpg", f"{RUN}-0004.jpg"]
    assert (pictures.written, pictures.missed) == (2, 0)
    assert pictures.product == f"{tmp_path / 'seen'} (2 pictures)"
    assert size_wh(tmp_path / "seen" / f"{RUN}-0003.jpg") == (96, 64)
    small, large = (size_wh(tmp_path / "seen" / f"{RUN}-{track}-crop.jpg") for track in ("0004", "0003"))
    assert 20 < small[0] == small[1] < 50 <= large[0]
    told = [(event["event"], event["track"], event["picture"]) for event in lines(tmp_path / "e.jsonl")]
    third, fourth = (f"seen/{RUN}-{track}-crop.jpg" for track in ("0003", "0004"))
    assert told == [("sighting", 3, third), ("sighting", 4, fourth), ("update", 3, third), ("gone", 3, third), ("gone", 4, fourth)]


def test_what_is_drawn_on_a_picture_is_not_on_the_crop(tmp_path: Path) -> None:
    grey = np.full((200, 200, 3), 90, np.uint8)
    with sink_of(tmp_path) as sink:
        sink.write(Result(Frame(1, grey, 1, None), [report(box=(60, 60, 120, 120))], (), [], 2))
        sink.write(Result(Frame(1, grey, 1, None), [Report("sighting", None, 14, 0.9, BOX)], (), [], 2))  # no track: nothing that could be named
    assert names(tmp_path) == [f"{RUN}-0003-crop.jpg", f"{RUN}-0003.jpg"]
    assert np.abs(cv2.imread(str(tmp_path / f"{RUN}-0003-crop.jpg")).astype(int) - 90).max() <= 2
    assert (grey == 90).all()


def test_another_run_replaces_nothing(tmp_path: Path) -> None:
    for turn in range(3):
        with sink_of(tmp_path) as sink:
            sink.write(result(turn, report()))
    whole = [name for name in names(tmp_path) if "crop" not in name]
    assert whole == [f"{RUN}-0003.jpg", f"{RUN}.2-0003.jpg", f"{RUN}.3-0003.jpg"]
    assert len({(tmp_path / name).read_bytes() for name in whole}) == 3


def test_photos_keep_their_names_and_replace_nothing(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_text("mine")
    stills = ["a/b.png", "a/b.jpg", "b.jpg", "../up.JPEG", "/etc/x.png", "c.png.jpg", "c.png"]
    with sink_of(tmp_path, stills=True) as sink:
        for index, still in enumerate(stills):
            one = result(index, report(track=None), report(track=None), still=still)
            assert sink.place(one, one.reports[0]) == sink.place(one, one.reports[1])
            sink.write(one)
        sink.write(result(99, final=True))
    assert names(tmp_path) == ["a/b.jpg", "a/b.png.jpg", "b-2.jpg", "b.jpg", "c.png-2.jpg", "c.png.jpg", "etc/x.png.jpg", "up.JPEG"]
    assert (tmp_path / "b.jpg").read_text() == "mine"
    assert sink.written == len(stills)


def test_a_disk_that_hangs_costs_pictures_and_no_time(tmp_path: Path) -> None:
    held = threading.Event()

    def free(folder: Path) -> int:
        held.wait(30)
        return 1 << 40

    with PictureSink(tmp_path, LABELS, stills=False, free=free, wall=lambda: NOW) as sink:
        for track in range(1, 101):
            sink.write(result(track, report(track=track)))
        missed = sink.missed
        assert 90 <= missed < 100
        held.set()
        wait_for(lambda: sink.written == 100 - missed, "what was left to be written", 30)
    assert len(names(tmp_path)) == 2 * (100 - missed)
    assert sink.missed == missed


def test_signs_that_are_announced_at_once_all_have_their_pictures(tmp_path: Path) -> None:
    held = threading.Event()

    def free(folder: Path) -> int:
        held.wait(30)
        return 1 << 40

    with PictureSink(tmp_path, LABELS, stills=False, free=free, wall=lambda: NOW) as sink:
        for index in range(5):
            sink.write(result(index, *(report(track=10 * index + place) for place in range(1, 11))))
        held.set()
        wait_for(lambda: sink.written == 50, "all pictures", 30)
    assert (len(names(tmp_path)), sink.missed) == (100, 0)


def test_a_full_disk_is_told_once_and_pictures_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    space = [1 << 20]
    with caplog.at_level(logging.WARNING), PictureSink(tmp_path, LABELS, stills=True, patience_s=10, free=lambda folder: space[0]) as sink:
        for index in range(6):
            if index == 4:
                wait_for(lambda: sink.missed == 4, "pictures that found no space")
                space[0] = 1 << 40
            sink.write(result(index, still=f"{index}.jpg"))
    assert names(tmp_path) == ["4.jpg", "5.jpg"]
    assert sink.missed == 4
    told = [record.getMessage() for record in caplog.records]
    assert ["1 MiB are free" in told[0], "after 4 that" in told[1], len(told)] == [True, True, 2]


def test_a_picture_that_cannot_be_written_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file where a folder is wanted")
    with sink_of(tmp_path, stills=True) as sink:
        sink.write(result(0, still="a/1.jpg"))
        sink.write(result(1, still="2.jpg"))
    assert names(tmp_path) == ["2.jpg", "a"]
    assert (sink.written, sink.missed) == (1, 1)


def test_a_run_over_photos_and_one_over_a_flight(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--bundle", bundle, "--engine", "fake", "--spotter", "none", "--events", tmp_path / "e.jsonl", "--pictures", tmp_path / "out" / "seen")
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for index, name in enumerate(("1.png", "2.jpg", os.fsdecode(b"str\xdfe.png"), "sub/1.png")):
        (photos / name).write_bytes(cv2.imencode(Path(name).suffix, picture(index, (96, 64)))[1].tobytes())
    done("run", photos, *options)
    assert "(4 pictures)" in capsys.readouterr().out
    assert [(tmp_path / event["picture"]).is_file() for event in lines(tmp_path / "e.jsonl")] == [True] * 4
    done("run", "demo://?frames=20", *options)
    (sighting, _) = lines(tmp_path / "e.jsonl")
    assert (tmp_path / sighting["picture"]).is_file()
    assert len(names(tmp_path / "out" / "seen")) == 6


def test_a_folder_that_is_read_gets_no_pictures(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "1.png").write_bytes(cv2.imencode(".png", picture(0, (96, 64)))[1].tobytes())
    (tmp_path / "link").symlink_to(photos)
    (tmp_path / "file").write_text("a file")
    for place in (photos, photos / "seen", tmp_path / "link" / "seen", tmp_path / "file", bundle / "seen"):
        told = refused(capsys, "run", photos, "--bundle", bundle, "--engine", "fake", "--pictures", place)
        assert "choose another" in told
    assert names(photos) == ["1.png"]
    assert "--events" in refused(capsys, "run", photos, "--bundle", bundle, "--events", tmp_path / "x", "--pictures", tmp_path / "x")
