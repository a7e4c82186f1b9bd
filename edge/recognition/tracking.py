"""Follows signs from frame to frame and decides when one is sure enough to be announced, once.

A track predicts its box by constant, damped velocity of centre and log size, takes the detection that fits best, and lets its last detections vote. It is
announced when enough votes agree and a last, closer look does too, keeps its number through gaps, and ends when it has not been seen for long. Plain floats
only: no clock, no images.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from edge.geometry.boxes import Box, area, distance, holds_centre, mean_side, overlap
from edge.geometry.similarity import Similarity
from edge.result import Detection, Report, Sighted, Track

_State = tuple[float, float, float, float]


@dataclass(frozen=True)
class TrackerSettings:
    """How a tracker decides.

    Attributes:
        min_iou: least overlap of a predicted box with a detection of the same sign, or of what was clearly none with what still is.
        gate: where the overlap is less, the largest distance of centres, in mean sides of the two boxes: small signs move by more than their size.
        entry_votes: votes (the k of k-of-n) that must agree before a sign is announced or changes its class.
        entry_frames: frames within which so many votes must have come: what is taken for a sign now and then is none.
        entry_share: least share of that class in the weight of all votes.
        entry_side_px: least mean side for that: digits cannot be told apart below, and GTSRB's smallest signs have 15 px.
        vote_side_px: least mean side of a box that is named at all: a little before it may be announced, so that its votes are there by then.
        window: how many of a track's last votes count (the n).
        max_age: frames without a detection after which a track ends.
        better_view: factor by which a box's side times confidence must grow for an update.
        ask_every: frames after which an announced sign is named again, as long as its last votes agree, and what was clearly no sign is looked at again.
        longest_rest: frames after which what was clearly no sign, time and again, is looked at once more.
        known_iou: least overlap of a box with where such a sign should be, for its name to stand until then.
    """

    min_iou: float = 0.3
    gate: float = 1.0
    entry_votes: int = 5
    entry_frames: int = 12
    entry_share: float = 0.75
    entry_side_px: float = 20.0
    vote_side_px: float = 16.0
    window: int = 8
    max_age: int = 15
    better_view: float = 2.0
    ask_every: int = 4
    longest_rest: int = 16
    known_iou: float = 0.5


_DAMPING = 0.9
"""Share of its velocity that a track keeps from one frame to the next."""
_SMOOTHING = 0.5
"""Share of a newly measured velocity in a track's own."""
_SAME_CLASS = 0.5
"""What the same class is worth in matching, in units of IoU, so that signs which cross keep their tracks."""
_SHOWN_AGE = 2
"""Frames without a detection for which a track is still shown."""


class Tracker:
    """Turns the detections of successive frames into reports."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        """Start without tracks; None is `TrackerSettings()`."""
        self._settings = settings or TrackerSettings()
        self._followers: list[_Follower] = []
        self._refusals: list[_Refusal] = []
        self._proposed: list[Box] = []
        self._proposed_before: list[Box] = []
        self._announced = self._opened = 0

    @property
    def seen(self) -> list[Sighted]:
        """What each track, announced or not, took in this frame."""
        return [Sighted(follower.number, follower.told.track if follower.told else None, follower.seen) for follower in self._followers if follower.age == 0]

    @property
    def followed(self) -> list[int]:
        """The numbers that whatever is followed, announced or not, has from its first frame on."""
        return [follower.number for follower in self._followers]

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Announced tracks that were seen lately, oldest first."""
        return tuple(follower.track() for follower in self._followers if follower.told is not None and follower.age <= _SHOWN_AGE)

    @property
    def idle(self) -> bool:
        """Whether nothing is followed or left alone that could move."""
        return not (self._followers or self._refusals or self._proposed_before)

    def move(self, motion: Similarity) -> None:
        """Move what is expected as the whole picture moved since the frame before; call it before anything of the coming frame is asked.

        What is measured of a track's velocity is then its own, beside that of the picture (as N. Aharon et al. do in "BoT-SORT", 2022).
        """
        for follower in self._followers:
            follower.move(motion)
        for refusal in self._refusals:
            refusal.box_xyxy = motion.upright(refusal.box_xyxy)
        self._proposed_before = [motion.upright(box) for box in self._proposed_before]

    def wants(self, box_xyxy: Box, *, doubtful: bool = False) -> bool:
        """Tell whether a box of the coming frame is to be named; ask once about each.

        It must be large enough for its name to count, and not where something was lately that is clearly no sign. Where it is doubtful, the frame before must
        have had a box there too: most of what is taken for a sign by mistake comes and goes.
        """
        self._proposed.append(box_xyxy)
        if mean_side(box_xyxy) < self._settings.vote_side_px:
            return False
        if doubtful and not any(distance(one, box_xyxy) <= self._settings.gate for one in self._proposed_before):
            return False
        refusal = self._refusal_at(box_xyxy)
        if refusal is not None:
            refusal.box_xyxy = box_xyxy  # it moves with the picture
        return refusal is None or refusal.frames <= 0

    def refuse(self, box_xyxy: Box) -> None:
        """Take note that a box of the coming frame holds clearly no sign: it is not wanted again for some frames, unless a sign was followed there.

        Each time in a row that it is found to hold none, it is left alone for twice as long.
        """
        before = self._refusal_at(box_xyxy)
        if before is not None:
            self._refusals.remove(before)
        if not any(overlap(follower.expected_xyxy, box_xyxy) >= self._settings.min_iou for follower in self._followers):
            rest = min(2 * before.rest, self._settings.longest_rest) if before else self._settings.ask_every
            self._refusals.append(_Refusal(box_xyxy, rest, rest))

    def known(self, box_xyxy: Box) -> Detection | None:
        """Return what a box in the coming frame holds as far as the tracks know it, or None where it is to be named: a sign is named again only so often."""
        for follower in self._followers:
            if follower.settled(self._settings.ask_every) and overlap(follower.expected_xyxy, box_xyxy) >= self._settings.known_iou:
                return Detection(box_xyxy, follower.votes[-1].class_id, follower.votes[-1].confidence, fresh=False)
        return None

    def update(self, detections: Sequence[Detection], *, confirms: Callable[[Detection], bool] = lambda _: True) -> list[Report]:
        """Take one frame's detections, of which there may be none; call it for every frame. Those that are not fresh show where a sign is, and do not vote.

        Args:
            detections: of the frame.
            confirms: asked about the detection with which a sign would be announced; where it refuses, the votes begin anew.

        Returns:
            What is new: at most one report for each track.
        """
        for follower in self._followers:
            follower.predict()
        self._proposed, self._proposed_before = [], self._proposed
        for refusal in self._refusals:
            refusal.frames -= 1
        self._refusals = [refusal for refusal in self._refusals if refusal.frames > -self._settings.ask_every]
        self._assign(distinct(detections))
        reports = [report for follower in self._followers if (report := self._speak(follower, confirms)) is not None]
        self._followers = [follower for follower in self._followers if follower.age <= self._settings.max_age]
        return reports

    def finish(self) -> list[Report]:
        """Take leave of every announced track that is still alive, at the end of a source."""
        followers, self._followers = self._followers, []
        return [follower.report("gone") for follower in followers if follower.told is not None]

    def _refusal_at(self, box_xyxy: Box) -> _Refusal | None:
        return next((one for one in self._refusals if overlap(one.box_xyxy, box_xyxy) >= self._settings.min_iou), None)

    def _assign(self, detections: Sequence[Detection]) -> None:
        """Give each detection to the track that it continues best, best pairs first; what remains opens tracks."""
        fits = [(self._fit(follower, detection), i, j) for i, follower in enumerate(self._followers) for j, detection in enumerate(detections)]
        waiting, free = dict(enumerate(self._followers)), dict(enumerate(detections))
        for fit, i, j in sorted(fits, key=lambda entry: -entry[0]):
            if fit > 0 and i in waiting and j in free:
                waiting.pop(i).take(free.pop(j))
        for detection in free.values():
            if detection.fresh:
                self._opened += 1
                self._followers.append(_Follower(detection, self._settings.window, self._opened))

    def _fit(self, follower: _Follower, detection: Detection) -> float:
        """Return how well a detection continues a track, 0 where it cannot; overlap beats mere nearness."""
        shared, nearness = overlap(follower.box_xyxy, detection.box_xyxy), 1 - distance(follower.box_xyxy, detection.box_xyxy) / self._settings.gate
        if shared < self._settings.min_iou and nearness <= 0:
            return 0.0
        return max(shared, self._settings.min_iou * nearness) + _SAME_CLASS * (follower.votes[-1].class_id == detection.class_id)

    def _speak(self, follower: _Follower, confirms: Callable[[Detection], bool]) -> Report | None:
        settings = self._settings
        if follower.age > settings.max_age:
            return follower.report("gone") if follower.told is not None else None
        if follower.age > 0:
            return None
        class_id, confidence, count, share = follower.majority()
        dense = follower.told is not None or follower.frames_of(settings.entry_votes) <= settings.entry_frames
        sure = dense and count >= settings.entry_votes and share >= settings.entry_share and follower.side >= settings.entry_side_px
        quality = follower.side * confidence
        if follower.told is None and sure:
            if not confirms(follower.votes[-1]):
                follower.start_over()
                return None
            self._announced += 1
            return follower.tell("sighting", _Told(self._announced, class_id, confidence, quality))
        if follower.told is not None and sure and (class_id != follower.told.class_id or quality >= settings.better_view * follower.told.quality):
            return follower.tell("update", _Told(follower.told.track, class_id, confidence, quality))
        return None


def distinct(detections: Sequence[Detection]) -> list[Detection]:
    """Keep one detection of each sign: of two boxes of which one holds the other's centre the surer, but of two with the same class the larger.

    The core of a sign (the yellow of a priority road) is often named as surely as the whole of it.
    """
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda entry: -entry.confidence):
        rivals = [one for one in kept if holds_centre(one.box_xyxy, detection.box_xyxy) or holds_centre(detection.box_xyxy, one.box_xyxy)]
        if all(one.class_id == detection.class_id and area(one.box_xyxy) < area(detection.box_xyxy) for one in rivals):
            kept = [one for one in kept if one not in rivals] + [detection]
    return kept


@dataclass
class _Refusal:
    """What is clearly no sign, where it was seen last, for how many more frames that stands, and for how many it was meant to."""

    box_xyxy: Box
    frames: int
    rest: int


@dataclass(frozen=True)
class _Told:
    """What was said last about a track."""

    track: int
    class_id: int
    confidence: float
    quality: float


class _Follower:
    """One sign, announced or not."""

    def __init__(self, detection: Detection, window: int, number: int) -> None:
        self.number = number
        self.votes: deque[Detection] = deque([detection], window)
        self._frame = 0
        self._voted: deque[int] = deque([0], window)
        self.seen = detection
        self.age = 0
        self.told: _Told | None = None
        self._state = self._anchor = _state(detection.box_xyxy)
        self._velocity: _State = (0.0, 0.0, 0.0, 0.0)

    @property
    def box_xyxy(self) -> Box:
        """Where it should be in this frame."""
        return _box(self._state)

    @property
    def expected_xyxy(self) -> Box:
        """Where it should be in the next frame."""
        return _box(_combine(1.0, self._state, 1.0, self._velocity))

    @property
    def side(self) -> float:
        """Mean side when it was seen last, pixels."""
        _, _, log_width, log_height = _state(self.seen.box_xyxy)
        return math.exp((log_width + log_height) / 2)

    def settled(self, frames: int) -> bool:
        """Tell whether it was announced, all its votes still say so, and the last of them will be less than so many frames old in the next frame."""
        told = self.told
        return told is not None and self._frame + 1 - self._voted[-1] < frames and all(vote.class_id == told.class_id for vote in self.votes)

    def predict(self) -> None:
        """Move on by one frame."""
        self.age += 1
        self._frame += 1
        self._state = _combine(1.0, self._state, 1.0, self._velocity)
        self._velocity = _combine(_DAMPING, self._velocity, 0.0, self._velocity)

    def move(self, motion: Similarity) -> None:
        """Move with the picture: where it is, and where it was seen last."""
        self._state, self._anchor = (_state(motion.upright(_box(one))) for one in (self._state, self._anchor))

    def take(self, detection: Detection) -> None:
        """Go to where it was seen."""
        self._state = _state(detection.box_xyxy)
        measured = _combine(1 / self.age, self._state, -1 / self.age, self._anchor)
        self._velocity = _combine(1 - _SMOOTHING, self._velocity, _SMOOTHING, measured)
        self.seen, self._anchor = detection, self._state
        if detection.fresh:
            self.votes.append(detection)
            self._voted.append(self._frame)
        self.age = 0

    def start_over(self) -> None:
        """Forget all votes but the last."""
        self.votes = deque([self.votes[-1]], self.votes.maxlen)
        self._voted = deque([self._voted[-1]], self._voted.maxlen)

    def frames_of(self, votes: int) -> float:
        """Return the frames in which its last so many votes came, the present one included; infinite where there are fewer."""
        return self._frame - self._voted[-votes] + 1 if len(self._voted) >= votes else math.inf

    def majority(self) -> tuple[int, float, int, float]:
        """Return the class with the most weight among the votes, its mean confidence, its count, and its share of all weight."""
        weights: dict[int, float] = {}
        for vote in self.votes:
            weights[vote.class_id] = weights.get(vote.class_id, 0.0) + vote.confidence
        class_id = max(weights, key=weights.__getitem__)
        count = sum(vote.class_id == class_id for vote in self.votes)
        return class_id, weights[class_id] / count, count, weights[class_id] / max(sum(weights.values()), 1e-9)

    def tell(self, event: Literal["sighting", "update"], told: _Told) -> Report:
        """Remember what is said, and say it."""
        self.told = told
        return self.report(event)

    def report(self, event: Literal["sighting", "update", "gone"]) -> Report:
        """Say what was told, at the place where it was seen last."""
        assert self.told is not None
        return Report(event, self.told.track, self.told.class_id, self.told.confidence, self.seen.box_xyxy, self.seen.quad_xy)

    def track(self) -> Track:
        """Show what was told, at the place where it should be in this frame."""
        assert self.told is not None
        return Track(self.told.track, self.told.class_id, self.told.confidence, self.box_xyxy if self.age else self.seen.box_xyxy)


def _state(box: Box) -> _State:
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2, math.log(max(x2 - x1, 1.0)), math.log(max(y2 - y1, 1.0))


def _box(state: _State) -> Box:
    x, y, log_width, log_height = state
    width, height = math.exp(log_width), math.exp(log_height)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _combine(a: float, first: _State, b: float, second: _State) -> _State:
    x, y, width, height = (a * one + b * other for one, other in zip(first, second, strict=True))
    return x, y, width, height
