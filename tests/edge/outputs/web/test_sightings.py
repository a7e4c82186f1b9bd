"""What the page is told of what was seen: sightings that follow their best view, crops, whole frames, event lines, and what is to be drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")
pytest.importorskip("uvicorn", reason="the extra web is not installed")
pytest.importorskip("prometheus_client", reason="the extra web is not installed")

from media import picture
from packets import wait_for
from web_client import BOX, decoded, get, get_json, result, serving

from edge.datasets.gtsrb import LABELS
from edge.drawn.signs import draw_sign
from edge.frame import FeedState
from edge.outputs.events import EventSink
from edge.outputs.web.sightings import EVENTS_KEPT, SIGHTINGS_KEPT, small_crop
from edge.result import Detection, Report


def test_sightings_come_with_their_crops_and_the_oldest_go() -> None:
    with serving() as (sink, _):
        for index in range(SIGHTINGS_KEPT + 5):
            sink.write(result(index, 14))
        answer = get_json(sink, "/api/sightings")
        numbers = [sighting["number"] for sighting in answer["sightings"]]
        assert numbers == list(range(SIGHTINGS_KEPT + 5, 5, -1))
        newest = answer["sightings"][0]
        assert (newest["label"], newest["class_id"], newest["event"], newest["frame"]) == ("Stop", 14, "sighting", SIGHTINGS_KEPT + 4)
        assert [s["number"] for s in get_json(sink, f"/api/sightings?after={numbers[2]}")["sightings"]] == numbers[:2]
        status, headers, body = get(sink, f"/{newest['crop']}")
        assert (status, headers["content-type"]) == (200, "image/jpeg")
        assert decoded(body).shape == (39, 39, 3)
        assert get(sink, "/crops/1.jpg")[0] == get(sink, "/frames/1.jpg")[0] == 404


def test_a_crop_stays_inside_the_picture_and_small() -> None:
    image = picture(3, (1280, 720))
    assert small_crop(image, (0, 0, 1280, 720)).shape[1] <= 192
    assert small_crop(image, (1270, 700, 1300, 800)).shape[0] > 0
    assert small_crop(image, (-50, -50, -10, -10)).size > 0
    crop = small_crop(image, (100, 100, 140, 130))
    assert crop.shape == (39, 52, 3)
    assert crop.base is None


def test_a_sighting_follows_its_updates_and_gives_its_whole_frame() -> None:
    with serving() as (sink, _):
        seen, better = result(3, 14, size_wh=(1600, 900)), result(30, 14, size_wh=(1600, 900))
        report = replace(seen.reports[0], event="update", class_id=13, box_xyxy=(200.0, 100.0, 300.0, 200.0))
        sink.write(seen)
        sink.write(result(4, 1))
        first, other = get_json(sink, "/api/sightings")["sightings"][::-1]
        sink.write(replace(better, reports=[report]))
        (updated,) = get_json(sink, f"/api/sightings?changed={other['changed']}")["sightings"]
        assert (updated["number"], updated["event"], updated["label"], updated["frame"], updated["size_wh"]) == (
            first["number"],
            "update",
            "Yield",
            30,
            [1600, 900],
        )
        assert updated["seen_s"] == first["seen_s"]
        assert updated["crop"] != first["crop"]
        assert decoded(get(sink, f"/{updated['crop']}")[2]).shape == (130, 130, 3)
        wait_for(lambda: get(sink, f"/{updated['whole']}")[0] == 200, "the whole frame")
        whole = decoded(get(sink, f"/{updated['whole']}")[2])
        assert whole.shape == (720, 1280, 3)
        wanted = cv2.resize(better.frame.image, (1280, 720), interpolation=cv2.INTER_AREA)
        assert np.abs(whole.astype(int) - wanted).mean() < 8
        # What is not kept any more is not brought back by an update.
        sink.write(replace(better, reports=[replace(report, track=99)]))
        assert len(get_json(sink, "/api/sightings")["sightings"]) == 2


def test_the_face_of_a_class_is_given_where_it_can_be_drawn() -> None:
    with serving() as (sink, _):
        assert get_json(sink, "/api/status")["faces"] == 43
        status, headers, stop = get(sink, "/faces/14.png")
        assert (status, headers["content-type"]) == (200, "image/png")
        np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(stop, np.uint8), cv2.IMREAD_UNCHANGED), draw_sign(14, 80))
        assert get(sink, "/faces/14.png")[2] == stop
        assert {get(sink, f"/faces/{name}.png")[0] for name in ("43", "-1", "x", "9" * 15)} == {404}


def test_events_are_given_as_they_are_written_to_a_file(tmp_path: Path) -> None:
    with serving() as (sink, _), EventSink(tmp_path / "e.jsonl", LABELS) as written:
        for taking in (sink, written):
            taking.feed(FeedState("connecting", 7, 0, 0, 0, 0, "opens"))
        for index in range(5):
            each = result(index, 14, 1)
            sink.write(each)
            written.write(each)
        status, headers, body = get(sink, "/events.jsonl")
        assert (status, headers["x-events"], body) == (200, "11", (tmp_path / "e.jsonl").read_bytes())
        assert get(sink, "/events.jsonl?after=9")[2].splitlines() == body.splitlines()[9:]
        assert get(sink, "/events.jsonl?after=11")[2] == b""
        assert get_json(sink, "/api/status")["events"] == 11
        many = replace(result(9), reports=[Report("gone", 1, 14, 0.9, BOX)] * 50)
        for _ in range(EVENTS_KEPT // 50):
            sink.write(many)
        status, headers, body = get(sink, "/events.jsonl?after=3")
        assert (len(body.splitlines()), headers["x-events"]) == (EVENTS_KEPT, str(EVENTS_KEPT + 11))


def test_a_picture_is_given_plain_with_what_is_to_be_drawn_on_it() -> None:
    with serving() as (sink, _):
        known = result(5, 14, size_wh=(1920, 1080))
        turned = replace(known.tracks[0], quad_xy=((20, 10), (50, 12), (48, 40), (19, 38)))
        doubt = Detection((900.0, 500.0, 940.4, 540.0), 3, 0.4)
        sink.write(replace(known, tracks=[turned], detections=[*known.detections, doubt]))
        status, headers, plain = get(sink, "/live.jpg?plain")
        drawing = json.loads(headers["x-drawing"])
        assert (status, drawing["size_wh"], drawing["frame"]) == (200, [1920, 1080], 5)
        assert drawing["signs"] == [["Stop", 98, [20, 10, 50, 12, 48, 40, 19, 38]]]
        assert drawing["unsure"] == [[900, 500, 940, 500, 940, 540, 900, 540]]
        status, headers, drawn = get(sink, "/live.jpg")
        assert "x-drawing" not in headers
        lines = [(np.abs(decoded(each).astype(int) - (80, 220, 60)).max(axis=2) < 40).mean() for each in (plain, drawn)]
        assert lines[0] < 1e-3 < lines[1]
        # However much is found, what tells of it fits into headers.
        crowd = [replace(turned, track=number) for number in range(200)]
        sink.write(replace(known, tracks=crowd, detections=[doubt] * 200))
        assert len(get(sink, f"/live.jpg?plain&after={1}")[1]["x-drawing"]) < 4000
