"""Results as other libraries and ROS have them."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from edge.api.results import Event, Sign, Signs
from edge.errors import MissingDependency

SIGNS = Signs([Sign("Stop", 14, 0.75, (10.0, 20.0, 30.0, 60.0)), Sign("Yield", 13, 0.5, (0.0, 0.0, 8.0, 8.0))])


def test_ros_gets_its_fields() -> None:
    message = SIGNS.to_vision_msgs("camera", 1_700_000_000_250_000_000)
    assert message["header"] == {"stamp": {"sec": 1_700_000_000, "nanosec": 250_000_000}, "frame_id": "camera"}
    first = message["detections"][0]
    assert first["results"] == [{"hypothesis": {"class_id": "Stop", "score": 0.75}}]
    assert first["bbox"] == {"center": {"position": {"x": 20.0, "y": 40.0}, "theta": 0.0}, "size_x": 20.0, "size_y": 40.0}
    json.dumps(message)
    assert Signs().to_vision_msgs()["detections"] == []


def test_supervision_gets_its_detections() -> None:
    pytest.importorskip("supervision", reason="supervision is not installed")
    found = SIGNS.to_supervision()
    np.testing.assert_array_equal(found.xyxy[0], (10, 20, 30, 60))
    assert found.class_id.tolist() == [14, 13]
    assert found.data["class_name"].tolist() == ["Stop", "Yield"]
    assert len(Signs().to_supervision()) == 0


@pytest.mark.skipif(importlib.util.find_spec("supervision") is not None, reason="supervision is installed")
def test_without_supervision_its_package_is_named() -> None:
    with pytest.raises(MissingDependency, match="pip install supervision"):
        SIGNS.to_supervision()


def test_an_event_has_what_its_line_has() -> None:
    line = {
        "schema": 2,
        "event": "sighting",
        "frame": 3,
        "label": "Stop",
        "box_xyxy": [1.0, 2.0, 3.0, 4.0],
        "quad_xy": [[1.0, 2.0], [3.0, 2.0], [3.0, 4.0], [1.0, 4.0]],
        "level": 1,
    }
    event = Event.of_line(line)
    assert (event.kind, event.frame, event.label, event.box_xyxy) == ("sighting", 3, "Stop", (1.0, 2.0, 3.0, 4.0))
    assert event.quad_xy == ((1.0, 2.0), (3.0, 2.0), (3.0, 4.0), (1.0, 4.0))
    assert event.track is None
