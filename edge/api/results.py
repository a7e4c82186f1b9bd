"""What programs get: a sign in a picture, an event of a stream; and both as other libraries and ROS have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from edge.errors import MissingDependency
from edge.geometry.boxes import Box
from edge.geometry.similarity import Quad


@dataclass(frozen=True)
class Sign:
    """A sign in a picture.

    Attributes:
        label: what it is.
        class_id: its place among the bundle's labels.
        confidence: the classifier's probability, 0 to 1.
        box_xyxy: x1, y1, x2, y2 in pixels of the picture, end-exclusive.
    """

    label: str
    class_id: int
    confidence: float
    box_xyxy: Box


class Signs(list[Sign]):
    """The signs of one picture."""

    def to_supervision(self) -> Any:
        """Return them as a `supervision.Detections`, with the labels in `data["class_name"]`.

        Raises:
            MissingDependency: supervision is not installed.
        """
        try:
            from supervision import Detections
        except ImportError as error:
            raise MissingDependency("wanted the package supervision, found none: pip install supervision") from error
        return Detections(
            xyxy=np.array([sign.box_xyxy for sign in self], np.float32).reshape(-1, 4),
            confidence=np.array([sign.confidence for sign in self], np.float32),
            class_id=np.array([sign.class_id for sign in self], int),
            data={"class_name": np.array([sign.label for sign in self], str)},
        )

    def to_vision_msgs(self, frame_id: str = "", stamp_ns: int = 0) -> dict[str, Any]:
        """Return them as a dictionary with the fields of ROS 2's `vision_msgs/msg/Detection2DArray` (4.x, from Humble on).

        Args:
            frame_id: of the camera.
            stamp_ns: when the picture was taken, nanoseconds since 1970.
        """
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        header = {"stamp": {"sec": seconds, "nanosec": nanoseconds}, "frame_id": frame_id}
        return {"header": header, "detections": [_detection_2d(sign, header) for sign in self]}


def _detection_2d(sign: Sign, header: dict[str, Any]) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(side) for side in sign.box_xyxy)
    return {
        "header": header,
        "results": [{"hypothesis": {"class_id": sign.label, "score": float(sign.confidence)}}],
        "bbox": {"center": {"position": {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2}, "theta": 0.0}, "size_x": x2 - x1, "size_y": y2 - y1},
        "id": "",
    }


@dataclass(frozen=True)
class Event:
    """What an event line of `edge run --events` tells; None where there is nothing to tell.

    Attributes:
        kind: "sighting" when a sign is announced, "update" when it is known better, "gone" when it is over, "state" when a live feed, or what is known of
            the attitude, changes, "idle" when nothing has happened for as long as was asked.
        frame: the frame's number.
        still: its name in a folder.
        received_ns: `time.monotonic_ns` when it arrived.
        age_ms: from then to the event.
        track: the sign's number in this stream.
        class_id: of the sign.
        label: of the sign.
        confidence: of the name, 0 to 1.
        box_xyxy: where it is, pixels, end-exclusive.
        state: of the feed: "connecting", "live", "stalled" or "lost".
        time: UTC, ISO 8601 with milliseconds.
        time_unknown: why there is no time, where this machine's clock is not set.
        media_s: time in a recording, seconds.
        quad_xy: corners, where the frame was levelled.
        pose: of the camera: `lat`, `lon`, `alt_m`, `roll_deg`, `pitch_deg`, `yaw_deg`.
        where: the sign stands: `lat`, `lon`, `alt_m`, `sigma_m`, `facing_deg`.
        feed: of a state: the feed's counters, and `detail` for people.
    """

    kind: Literal["sighting", "update", "gone", "state", "idle"]
    frame: int | None = None
    still: str | None = None
    received_ns: int | None = None
    age_ms: float | None = None
    track: int | None = None
    class_id: int | None = None
    label: str | None = None
    confidence: float | None = None
    box_xyxy: Box | None = None
    state: str | None = None
    time: str | None = None
    time_unknown: str | None = None
    media_s: float | None = None
    quad_xy: Quad | None = None
    pose: Mapping[str, float | None] | None = None
    where: Mapping[str, float | None] | None = None
    feed: Mapping[str, Any] | None = None

    @staticmethod
    def of_line(line: Mapping[str, Any]) -> Event:
        """Return the event that an event line, as `edge.outputs.events.event_of` makes it, tells."""
        known = {field.name for field in fields(Event)}
        told = {key: value for key, value in line.items() if key in known}
        if told.get("box_xyxy") is not None:
            told["box_xyxy"] = tuple(told["box_xyxy"])
        if told.get("quad_xy") is not None:
            told["quad_xy"] = tuple(tuple(corner) for corner in told["quad_xy"])
        return Event(kind=line["event"], **told)
