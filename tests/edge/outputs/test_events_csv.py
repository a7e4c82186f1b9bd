"""Events as a table: what JSON lines hold, in columns; files that go on, rotate, are torn or are somebody else's."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import done, lines, refused
from media import small_disk

from edge.datasets.gtsrb import LABELS
from edge.frame import FeedState, Frame
from edge.geometry.pose import Place, Pose
from edge.outputs.events import EventSink
from edge.result import LevelState, Report, Result

SCHEMA = json.loads((Path(__file__).resolve().parents[3] / "edge/outputs/events.schema.json").read_text(encoding="utf-8"))
QUAD = ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0))


def result(index: int, still: str | None = None) -> Result:
    where = Place(48.1234567, 11.5, 0.5, 2.25, 190.0)
    report = Report("sighting", 3, 14, 0.98765, (10.0, 20.25, 30.5, 40.0), QUAD, where)
    frame = Frame(index, np.zeros((4, 4, 3), np.uint8), 1_000_000, still, 1_800_000_000.5, 0.25, Pose(lat=48.0, lon=11.25, roll_deg=-3.0))
    return Result(frame, [report], (), (), 22_400_000, level=LevelState(True, 5, 'ATTITUDE, "gimbal"'))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def flat(key: str, value: Any) -> list[tuple[str, Any]]:
    """An event's value as the README names its columns, for this test alone."""
    if key == "box_xyxy":
        return [(f"box_{part}", side) for part, side in zip(("x1", "y1", "x2", "y2"), value, strict=True)]
    if key == "quad_xy":
        return [(f"quad_{axis}{number}", side) for number, corner in enumerate(value, 1) for axis, side in zip("xy", corner, strict=True)]
    if isinstance(value, dict):
        return [(f"{key}_{part}", each) for part, each in value.items()]
    return [(key, value)]


def test_a_table_holds_what_json_lines_hold(tmp_path: Path) -> None:
    for name in ("e.jsonl", "e.CSV"):
        with EventSink(tmp_path / name, LABELS) as sink:
            sink.feed(FeedState("lost", 5, 10, 2, 1, 3, "nobody,\nsends", 4, 1_800_000_000.0))
            sink.write(result(17, 'a "stop", 1.jpg'))
    told, table = lines(tmp_path / "e.jsonl"), rows(tmp_path / "e.CSV")
    assert len(told) == len(table) == 3
    for event, row in zip(told, table, strict=True):
        cells = {column: each for key, value in event.items() if value is not None for column, each in flat(key, value) if each is not None}
        read = {column: cell for column, cell in row.items() if cell != ""}
        assert read == {column: str(each).lower() if isinstance(each, bool) else str(each).replace("\n", "\\n") for column, each in cells.items()}
    named = {column.partition("_")[0] for column in table[0]}
    assert {key.partition("_")[0] for key in SCHEMA["properties"]} <= named


def test_a_table_that_goes_on_has_one_header_and_no_torn_row_and_rotates_with_its_header(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    for index in (1, 2):
        with EventSink(path, LABELS, max_bytes=1 << 20) as sink:
            sink.write(result(index))
        with path.open("ab") as file:
            file.write(b"2,sighting,1")
    with EventSink(path, LABELS, max_bytes=1 << 20) as sink:
        assert [row["frame"] for row in rows(path)] == ["1", "1", "2", "2"]
    with EventSink(path, LABELS, max_bytes=2000, keep=3) as sink:
        for index in range(3, 40):
            sink.write(result(index))
    kept = [row["frame"] for name in ("e.csv.2", "e.csv.1", "e.csv") for row in rows(tmp_path / name)]
    assert kept == [str(index) for index in range(int(kept[0]), 40) for _ in range(2)]
    assert max(each.stat().st_size for each in tmp_path.iterdir()) <= 2000


def test_another_table_is_kept_and_an_empty_run_leaves_the_names(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("name,place\nStop,48\n")
    with EventSink(path, LABELS, max_bytes=1 << 20):
        pass
    assert (tmp_path / "e.csv.1").read_text() == "name,place\nStop,48\n"
    assert path.read_text().startswith("schema,event,frame,")
    assert rows(path) == []


def test_a_fifo_gets_the_names_first(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "e.csv")
    with EventSink(tmp_path / "e.csv", LABELS) as sink:
        sink.write(result(1))
        with (tmp_path / "e.csv").open("rb", buffering=0) as reading:
            told = reading.read(1 << 16)
    assert told.startswith(b"schema,event,frame,")


def test_a_run_writes_a_table_and_a_map_says_what_it_wants(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done("run", "demo://?frames=20", "--bundle", bundle, "--engine", "fake", "--spotter", "none", "--events", tmp_path / "e.csv")
    assert [row["event"] for row in rows(tmp_path / "e.csv")] == ["sighting", "gone"]
    capsys.readouterr()
    assert "JSON lines" in refused(capsys, "map", tmp_path / "e.csv", "--out", tmp_path / "map")


def test_a_disk_that_is_full_from_the_start_delays_the_names(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    with small_disk(10), EventSink(path, LABELS, max_bytes=1 << 20) as sink:
        sink.write(result(1))
        assert (sink.missed, path.read_bytes()) == (2, b"")
    with EventSink(path, LABELS, max_bytes=1 << 20) as sink:
        sink.write(result(2))
    assert [row["frame"] for row in rows(path)] == ["2", "2"]
