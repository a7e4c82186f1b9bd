"""What a run keeps for a person's look: which signs and why, within a bound, whatever happens to the run or to the disk."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import command, done, refused, started
from media import picture
from packets import wait_for

from edge.__main__ import main
from edge.cli import bounded_folder
from edge.datasets.gtsrb import LABELS
from edge.drawn.scenes import Flight
from edge.errors import OutputError
from edge.frame import Frame
from edge.geometry.boxes import Box
from edge.geometry.pose import Pose
from edge.outputs.keep.sink import KeepSink
from edge.outputs.keep.store import Store
from edge.outputs.keep.telling import Teller
from edge.recognition.tracking import Tracker
from edge.result import Detection, Doubt, Report, Result, Sighted

STOP, YIELD, THIRTY = 14, 13, 1
BOX: Box = (40.0, 20.0, 60.0, 40.0)
THRESHOLD = 0.9
MUCH = 64 << 20
ROOT = Path(__file__).resolve().parents[3]


def named(class_id: int, confidence: float = 0.99, box: Box = BOX) -> Detection:
    return Detection(box, class_id, confidence, 0.9)


def result(index: int, *detections: Detection, doubts: Sequence[Doubt] = (), reports: Sequence[Report] = (), still: str | None = None) -> Result:
    frame = Frame(index, picture(index, (96, 64)), 1_000_000, still, time_s=1.8e9, media_s=index / 30, pose=Pose(0.0, 52.1, 10.2, 20.0, 1.0, -20.0, 90.0, 0.0))
    return Result(frame, reports, detections, (), 22_400_000, doubts=doubts)


def followed(results: Iterable[Result]) -> Iterator[Result]:
    """Have the detections followed as the loop does."""
    tracker = Tracker()
    for one in results:
        tracker.update(one.detections)
        yield replace(one, seen=tracker.seen)


def kept(folder: Path) -> list[dict[str, Any]]:
    told = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    for item in told:
        for view in item["views"]:
            assert cv2.imread(str(folder / view["picture"])).shape[1::-1] == tuple(view["size_wh"])
            assert cv2.imread(str(folder / view["crop"])) is not None
    return told


def sink_of(folder: Path, most_bytes: int = MUCH, *, stills: bool = False, **options: Any) -> KeepSink:
    return KeepSink(folder, most_bytes, LABELS, THRESHOLD, stills=stills, about={"bundle": "b", "source": "s"}, **{"patience_s": 10.0, **options})


def run_over(folder: Path, results: Sequence[Result], **options: Any) -> KeepSink:
    with sink_of(folder, **options) as sink:
        for one in results if options.get("stills") else followed(results):
            sink.write(one)
    return sink


def test_votes_that_disagree_are_kept_with_what_is_known_of_them(tmp_path: Path) -> None:
    run_over(tmp_path, [result(index, named(STOP if index % 2 else YIELD, 0.95)) for index in range(8)])
    (item,) = kept(tmp_path)
    assert item["reasons"] == ["votes"]
    assert item["telling"] > 0.9
    assert [(vote["label"], vote["count"]) for vote in item["votes"]] == [("Yield", 4), ("Stop", 4)]
    assert item["why"] == ["named Yield 4 times, Stop 4 times"]
    assert item["labels"] == list(LABELS)
    assert {view["label"] for view in item["views"]} == {"Stop", "Yield"}
    view = item["views"][0]
    assert (view["box_xyxy"], view["time"], view["pose"]["yaw_deg"], view["others"]) == (list(BOX), "2027-01-15T08:00:00.000Z", 90.0, [])
    assert (item["bundle"], item["source"], item["track"]) == ("b", "s", None)


def test_a_sure_sign_is_not_kept_and_one_with_an_unsure_name_is(tmp_path: Path) -> None:
    apart = (5.0, 5.0, 25.0, 25.0)
    sink = run_over(tmp_path, [result(index, named(STOP), named(YIELD, 0.6, apart)) for index in range(20)])
    (item,) = kept(tmp_path)
    assert item["reasons"] == ["unsure"]
    assert item["why"] == ["named Yield with 60% on average"]
    (view,) = item["views"]
    assert [other["label"] for other in view["others"]] == ["Stop"]
    assert sink.product == f"{tmp_path} (1 worth a look: signwing review {tmp_path})"


def test_votes_that_are_clear_in_the_end_are_not_kept(tmp_path: Path) -> None:
    run_over(tmp_path, [result(index, named(YIELD if index == 2 else STOP)) for index in range(25)])
    assert list(tmp_path.glob("2*")) == []


def test_a_threshold_that_lets_all_through_makes_no_name_sure(tmp_path: Path) -> None:
    teller = Teller(0.1, stills=True)
    assert [len(teller.look(result(index, named(STOP, confidence)))[0]) for index, confidence in enumerate((0.75, 0.85))] == [1, 0]


def test_what_the_second_look_refused_and_what_stood_near_the_line(tmp_path: Path) -> None:
    far = (5.0, 40.0, 25.0, 60.0)
    refused_once = [Doubt(named(STOP), "refused", taken=True)]
    nearly = [Doubt(named(YIELD, 0.95, far), "near", taken=False)]
    run_over(tmp_path, [result(index, named(STOP), doubts=[*nearly, *(refused_once if index == 4 else [])]) for index in range(6)])
    assert sorted(item["reasons"][0] for item in kept(tmp_path)) == ["near", "refused"]


def test_what_comes_and_goes_is_not_kept(tmp_path: Path) -> None:
    run_over(tmp_path, [result(index, doubts=[Doubt(named(YIELD, 0.95), "near", taken=False)] if index % 40 < 2 else []) for index in range(200)])
    assert kept(tmp_path) == []


def test_a_rare_class_is_kept_once_there_are_signs_enough_to_say_so(tmp_path: Path) -> None:
    def flight(signs: int) -> list[Result]:
        shown = []
        for sign in range(signs):
            class_id = STOP if sign == 0 else THIRTY
            for age in range(20):  # gone for longer than a track lives
                seen = [named(class_id)] if age < 2 else []
                reports = [Report("sighting", sign, class_id, 0.99, BOX)] if age == 1 else []
                shown.append(result(20 * sign + age, *seen, reports=reports))
        return shown

    run_over(tmp_path / "short", flight(8))
    assert kept(tmp_path / "short") == []
    run_over(tmp_path / "long", flight(24))
    assert [(item["votes"][0]["label"], item["reasons"]) for item in kept(tmp_path / "long")] == [("Stop", ["rare"])]


def test_an_item_is_what_the_run_followed_however_signs_cross(tmp_path: Path) -> None:
    places: list[Box] = [(30.0, 20.0, 50.0, 40.0), (50.0, 20.0, 70.0, 40.0)]
    shown = []
    for index in range(12):
        seen = [Sighted(number, None, named(class_id, 0.6, places[(number + index // 4) % 2])) for number, class_id in enumerate((STOP, YIELD), 1)]
        shown.append(replace(result(index, *(one.detection for one in seen)), seen=seen))
    with sink_of(tmp_path) as sink:
        for one in shown:
            sink.write(one)
    items = kept(tmp_path)
    assert sorted(vote["label"] for item in items for vote in item["votes"]) == ["Stop", "Yield"]
    assert [item["votes"][0]["label"] for item in items for _ in item["views"]] == [view["label"] for item in items for view in item["views"]]


def test_a_box_that_was_once_not_taken_belongs_to_its_sign_where_it_is_named_so(tmp_path: Path) -> None:
    def flickers(class_id: int) -> list[Result]:
        doubt = [Doubt(named(class_id), "near", taken=False)]
        return [result(index, *([] if index % 2 else [named(STOP)]), doubts=doubt if index % 2 else ()) for index in range(12)]

    run_over(tmp_path / "same", flickers(STOP))
    assert [(item["reasons"], item["votes"][0]["count"]) for item in kept(tmp_path / "same")] == [(["near"], 12)]
    run_over(tmp_path / "other", flickers(YIELD))
    assert [[vote["label"] for vote in item["votes"]] for item in kept(tmp_path / "other")] == [["Yield"]]


def test_views_follow_a_sign_that_comes_nearer_and_stay_few(tmp_path: Path) -> None:
    shown = []
    for index in range(40):
        side = 10 + index
        shown.append(result(index, named(STOP if index % 3 else YIELD, 0.9, (48.0 - side / 2, 32.0 - side / 2, 48.0 + side / 2, 32.0 + side / 2))))
    run_over(tmp_path, shown)
    (item,) = kept(tmp_path)
    sides = [view["box_xyxy"][2] - view["box_xyxy"][0] for view in item["views"]]
    assert 2 <= len(sides) <= 4
    assert sides == sorted(sides, reverse=True)
    assert sides[0] > 30
    assert len(list(tmp_path.iterdir())) == 2 * len(sides) + 2  # and the lock


def test_photos_count_one_by_one(tmp_path: Path) -> None:
    run_over(tmp_path, [result(index, named(STOP, 0.5 if index == 1 else 0.99), still=f"{index}.jpg") for index in range(3)], stills=True)
    (item,) = kept(tmp_path)
    assert item["views"][0]["still"] == "1.jpg"


def test_a_bound_is_kept_and_the_least_telling_go_first(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(200_000)
    with Store(tmp_path, 1 << 20) as store:
        for number in range(12):
            name = f"20310506T070809Z-00000{number % 2}-{number:04d}"
            views = [{"picture": f"{name}-1.jpg", "crop": f"{name}-1.png"}]
            store.put(name, {"telling": 0.9 if number in (1, 7) else 0.2, "views": views}, {f"{name}-1.jpg": noise, f"{name}-1.png": b"x"})
            assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1 << 20
    left = sorted(int(path.stem[-4:]) for path in tmp_path.glob("*.json"))
    assert left == [1, 7, 9, 10, 11]


def test_old_items_give_way_however_telling_they_were() -> None:
    assert 0.9 * 0.5 ** (600 / 200) < 0.2  # README: an item tells half as much once 200 more are kept


def test_what_is_taken_away_meanwhile_is_no_fault(tmp_path: Path) -> None:
    name = "20310506T070809Z-000000-0001"
    views = [{"picture": f"{name}-{view}.jpg", "crop": f"{name}-{view}.png"} for view in (1, 2)]
    first, second = ({view["picture"]: b"x", view["crop"]: b"x"} for view in views)
    with Store(tmp_path, MUCH) as store:
        store.put(name, {"telling": 1, "views": views[:1]}, first)
        for path in tmp_path.glob("2*"):
            path.unlink()
        store.put(name, {"telling": 1, "views": views[:1]}, {})
        assert not list(tmp_path.glob("2*"))
        store.put(name, {"telling": 1, "views": views}, second)
    assert json.loads((tmp_path / f"{name}.json").read_text())["views"] == views[1:]


def test_a_kill_leaves_whole_items_alone(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    run_over(folder, [result(index, named(STOP, 0.5)) for index in range(5)])
    (whole,) = folder.glob("*.json")
    orphan = "20310506T070809Z-0000ff-0001"
    for name in (f"{orphan}-1.jpg", f".{orphan}.partial.json", f".{whole.stem}-2.partial.png"):
        (folder / name).write_bytes(b"half")
    (folder / "mine.jpg").write_bytes(b"mine")
    run_over(folder, [])
    assert {path.name for path in folder.iterdir()} == {".keep.lock", "mine.jpg", whole.name, f"{whole.stem}-1.jpg", f"{whole.stem}-1.png"}


def test_a_run_that_is_killed_leaves_items_that_can_be_read(tmp_path: Path) -> None:
    running = started(command("run", "demo://?seed=3&frames=100000", "--quiet", "--keep", tmp_path / "kept"), ROOT)
    try:
        wait_for(lambda: len(list((tmp_path / "kept").glob("*.json"))) > 1, "items", 60)
    finally:
        running.send_signal(signal.SIGKILL)
        running.communicate()
    assert len(kept(tmp_path / "kept")) > 1
    with Store(tmp_path / "kept", MUCH):  # the lock of who was killed is free
        pass


def test_two_runs_do_not_keep_in_one_folder(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(tmp_path / "kept", MUCH):
        told = refused(capsys, "run", "demo://?frames=5", "--bundle", bundle, "--engine", "fake", "--keep", tmp_path / "kept")
        assert "another run" in told
    done("run", "demo://?frames=5", "--bundle", bundle, "--engine", "fake", "--keep", tmp_path / "kept")


def test_places_that_cannot_be_kept_in(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("a file")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "1.png").write_bytes(cv2.imencode(".png", picture(0, (96, 64)))[1].tobytes())
    for place in (tmp_path / "file", "/proc/kept", photos, photos / "kept", bundle / "kept", f"{photos},5"):
        refused(capsys, "run", photos, "--bundle", bundle, "--engine", "fake", "--keep", place)
    if os.geteuid():
        tmp_path.chmod(0o500)
        refused(capsys, "run", photos, "--bundle", bundle, "--engine", "fake", "--keep", tmp_path / "kept")
    assert [path.name for path in photos.iterdir()] == ["1.png"]


def test_a_folder_that_holds_something_else_is_not_mixed_with(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, name = tmp_path / "map", "20310506T070809Z-000000-0001"
    other.mkdir()
    (other / "map.geojson").write_text("{}")
    run = ("run", "demo://?frames=2", "--bundle", bundle, "--engine", "fake", "--quiet", "--keep")
    told = refused(capsys, *run, other)
    assert ("map.geojson" in told, str(other / "kept") in told) == (True, True)
    with pytest.raises(OutputError, match="map"), Store(other, MUCH):
        pass
    assert [path.name for path in other.iterdir()] == ["map.geojson"]
    (other / f"{name}.json").write_text("{}")  # as --collect copies it, with other files beside it
    for folder in (other, tmp_path / "new", tmp_path / "new"):
        done(*run, folder)


@pytest.mark.parametrize("text", ["k,-5", "k,abc", "k,0", "k,", "", " ", ",5", "a,b,"])
def test_a_size_that_is_none_is_no_part_of_a_folders_name(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "demo://?frames=2", "--keep", text])
    assert ended.value.code == 2
    assert "error: argument --keep: wanted" in capsys.readouterr().err


def test_a_folder_whose_name_holds_a_comma_is_given_with_its_size() -> None:
    assert bounded_folder(256)("a,b,256") == (Path("a,b"), 256 << 20)
    assert bounded_folder(256)("a b") == (Path("a b"), 256 << 20)


def test_a_full_disk_is_told_once_and_keeping_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    space = [1 << 20]
    with caplog.at_level(logging.WARNING), sink_of(tmp_path, stills=True, free=lambda folder: space[0]) as sink:
        for index in range(6):
            if index == 4:
                wait_for(lambda: sink.missed == 4, "items that found no space")
                space[0] = 1 << 40
            sink.write(result(index, named(STOP, 0.5), still=f"{index}.jpg"))
    assert len(kept(tmp_path)) == 2
    told = [record.getMessage() for record in caplog.records]
    assert ["1 MiB are free" in told[0], "after 4 views" in told[1], len(told)] == [True, True, 2]
    assert str(sink.failure).count("4 found no space") == 1


def test_a_run_whose_disk_was_full_says_so_in_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("edge.outputs.keep.store.RESERVE_BYTES", 1 << 62)  # a disk that is full for us
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in (1, 2, 3):  # blurred: some of their signs have no sure name
        cv2.imwrite(str(photos / f"{seed}.png"), cv2.GaussianBlur(Flight(seed=seed).frame(60).image, (0, 0), 3))
    figures = tmp_path / "run.json"
    told = refused(capsys, "run", photos, "--quiet", "--keep", tmp_path / "kept", "--json", figures)
    missed = json.loads(figures.read_text())["missed"]["keep"]
    assert f"{tmp_path / 'kept'}, {missed} found no space" in told
    assert missed > 0
    assert kept(tmp_path / "kept") == []


def test_a_disk_that_hangs_costs_the_loop_nothing(tmp_path: Path) -> None:
    held = threading.Event()

    def free(folder: Path) -> int:
        held.wait(30)
        return 1 << 40

    with sink_of(tmp_path, stills=True, patience_s=0.0, free=free) as sink:
        began = time.monotonic()
        for index in range(200):
            sink.write(result(index, named(STOP, 0.5), still=f"{index}.jpg"))
        assert time.monotonic() - began < 5
        missed = sink.missed
        assert 180 < missed < 200
        assert sink.failure is None
        held.set()
        wait_for(lambda: len(list(tmp_path.glob("*.json"))) == 200 - missed, "what was left to be written", 30)


def test_a_damaged_item_is_thrown_out_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_over(tmp_path, [result(index, named(STOP, 0.5)) for index in range(5)])
    (path,) = tmp_path.glob("*.json")
    path.write_text("{")
    with Store(tmp_path, 1) as store:
        assert "first to be thrown out" in caplog.text
        with pytest.raises(OutputError, match="another run"), Store(tmp_path, 1):
            pass
        name = "20310506T070809Z-000000-0001"
        store.put(name, {"telling": 1, "views": [{"picture": f"{name}-1.jpg", "crop": f"{name}-1.png"}]}, {f"{name}-1.jpg": b"x", f"{name}-1.png": b"x"})
    assert [each.name for each in tmp_path.iterdir()] == [".keep.lock"]


def test_nothing_is_remembered_of_what_is_out_of_sight() -> None:
    teller = Teller(THRESHOLD, stills=False)
    for each in followed(result(index, *([named(STOP, 0.5, (index % 70, 10.0, index % 70 + 20, 30.0))] if index % 30 < 5 else [])) for index in range(3000)):
        teller.look(each)
    assert len(teller._items) <= 1


def test_an_item_of_a_final_result_is_not_seen_twice() -> None:
    teller = Teller(THRESHOLD, stills=False)
    assert teller.look(replace(result(1, named(STOP, 0.5)), final=True)) == ([], [], [])
