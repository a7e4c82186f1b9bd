"""A short drawn flight and what a perfect detector would see of its signs, drawn once for all tests of a process."""

from __future__ import annotations

import functools

from edge.drawn.drone.flight import DroneFlight
from edge.drawn.signposts import Signpost
from edge.geometry.boxes import Box

FLIGHT = DroneFlight(1, frames=170)


@functools.cache
def boxes() -> list[dict[int, Box]]:
    """The true boxes of each frame, by their signs' numbers."""
    return [{truth.pass_id: truth.box_xyxy for truth in FLIGHT.truths(index)} for index in range(FLIGHT.frames)]


@functools.cache
def passes() -> list[tuple[Signpost, list[tuple[int, Box]]]]:
    """The signs that are seen in more than 20 frames, and the frames and boxes in which each is."""
    posts = {post.number: post for index in range(0, FLIGHT.frames, 10) for post in FLIGHT.signposts(index)}
    seen = {number: [(index, frame[number]) for index, frame in enumerate(boxes()) if number in frame] for number in posts}
    return [(posts[number], looks) for number, looks in seen.items() if len(looks) > 20]
