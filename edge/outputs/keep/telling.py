"""Which signs of a run are worth a person's look, and why: where its votes disagreed, the model was unsure, or the class is rare. Pure: no files, no clock.

A model learns most from what it is least sure of (B. Settles, "Active Learning Literature Survey", 2009, section 3.1), and next to nothing from more of the
same: of each sign a few views are kept, each much nearer than the last or named otherwise.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edge.geometry.boxes import Box, holds_centre, mean_side
from edge.recognition.tracking import Tracker, TrackerSettings
from edge.result import Detection, Result, Sighted

MOST_VIEWS = 4
SURE = 0.8
"""Least confidence of a sure name: a bundle that was made without places that show no sign has a threshold far below."""
_NEARER = 1.4
"""Growth of a sign's side that makes another view of it."""
_LEAST_VOTES, _AGREED = 4, 0.8
"""Votes from which on they can disagree, and the share of their weight below which they do."""
_LEAST_SEEN = 3
"""Frames in which a box must stand near the line: what comes and goes is no sign, and there is much of it."""
_MANY, _RARE_SHARE = 20, 0.05
"""Announced signs from which on a class can be rare, and its share of them."""
_REFUSED, _VOTES, _UNSURE, _NEAR, _RARE = 0.85, 0.6, 0.4, 0.35, 0.1
"""How telling each reason is at least, of 1; doubtful votes and names are more so the more doubtful they are."""
_EACH_MORE = 0.05

_Key = tuple[Literal["sign", "other"], int]
"""What the run followed as a sign, or what is followed here, and its number there."""


@dataclass
class Item:
    """One thing that was in sight, sign or not.

    Attributes:
        number: counted from 1 up.
        votes: how often each class was named.
        weights: their confidences, added up.
        near: frames in which it stood near the line.
        refused: times that the second look refused it.
        track: the number that it was announced by; None where it was not.
        rare: its class is; meant until more of it come.
        sides: mean sides of the views that are kept, pixels, and the classes that were named in them.
        frame: in which it was seen last, counted from 1 up.
    """

    number: int
    votes: Counter[int] = field(default_factory=Counter)
    weights: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    near: int = 0
    refused: int = 0
    track: int | None = None
    rare: bool = False
    sides: list[tuple[float, int]] = field(default_factory=list)
    frame: int = 0

    @property
    def ranked(self) -> list[tuple[int, int, float]]:
        """Its classes, best first: of each how often it was named, and the mean confidence."""
        ranked = sorted(self.weights, key=lambda class_id: -self.weights[class_id])
        return [(class_id, self.votes[class_id], self.weights[class_id] / self.votes[class_id]) for class_id in ranked]


@dataclass(frozen=True)
class View:
    """A view of an item that is worth keeping: where it is in the frame, and what it was named there."""

    item: Item
    detection: Detection


class Teller:
    """Looks at results, and tells what of them to keep."""

    def __init__(self, threshold: float, *, stills: bool) -> None:
        """Begin without a sign.

        Args:
            threshold: confidence, 0 to 1, below which the classifier alone would not believe itself; below `SURE` no name is sure, whatever it says.
            stills: frames are independent photos: nothing is followed, and each counts at once.
        """
        self._threshold, self._stills = max(threshold, SURE), stills
        # The run follows no box that was not taken for a sign. Here such a box is followed too, so that one thing is one item; nothing is ever announced.
        self._settings = TrackerSettings(entry_votes=1 << 30)
        self._tracker = Tracker(self._settings)
        self._items: dict[_Key, Item] = {}
        self._signs: dict[int, int] = {}
        self._frame = self._opened = 0
        self._announced: Counter[int] = Counter()
        self._rare: dict[int, list[Item]] = {}

    def look(self, result: Result) -> tuple[list[View], list[Item], list[Item]]:
        """Return the views of a result that are worth keeping, items that are out of sight, and those that are not worth it any more."""
        if result.final:
            return [], [], []
        near = {doubt.detection.box_xyxy for doubt in result.doubts if doubt.why == "near"}
        refused = {doubt.detection.box_xyxy for doubt in result.doubts if doubt.why == "refused"}
        views = []
        here, gone = self._followed(result)
        dropped = self._count_announced(result, {detection.box_xyxy: item for item, detection in here})
        for item, detection in here:
            item.near += detection.box_xyxy in near
            item.refused += detection.box_xyxy in refused
            if detection.fresh:
                item.votes[detection.class_id] += 1
                item.weights[detection.class_id] += detection.confidence
            if self.reasons(item) and self._adds(item, detection):
                views.append(View(item, detection))
        return views, gone, dropped

    def finish(self) -> tuple[list[Item], list[Item]]:
        """Return the items that are in sight as the run ends, and what is not worth keeping after all: in a short run nothing is rare."""
        dropped = []
        if self._announced.total() < _MANY:
            dropped = self._no_longer_rare([item for items in self._rare.values() for item in items])
        return list(self._items.values()), dropped

    def reasons(self, item: Item) -> dict[str, float]:
        """Return why an item is worth a look, and how telling each reason is, above 0 to 1; empty where it is not."""
        told = {}
        ranked, votes = item.ranked, item.votes.total()
        share = max(item.weights.values(), default=1.0) / max(sum(item.weights.values()), 1e-9)
        if item.refused:
            told["refused"] = _REFUSED
        if votes >= _LEAST_VOTES and share < _AGREED:
            told["votes"] = _VOTES + (1 - _VOTES) * min(1.0, 2 * (1 - share))
        if votes >= (1 if self._stills else _LEAST_SEEN) and ranked[0][2] < self._threshold:
            told["unsure"] = _UNSURE + (1 - _UNSURE) * (1 - ranked[0][2] / self._threshold)
        if item.near >= (1 if self._stills else _LEAST_SEEN):
            told["near"] = _NEAR
        if item.rare:
            told["rare"] = _RARE
        return told

    def telling(self, item: Item) -> float:
        """Return how much an item tells, 0 to 1."""
        told = self.reasons(item).values()
        return round(min(1.0, max(told, default=0.0) + _EACH_MORE * (len(told) - 1)), 3) if told else 0.0

    def _followed(self, result: Result) -> tuple[list[tuple[Item, Detection]], list[Item]]:
        """Give each detection, and each box that was not taken for a sign, its item; returns them, and the items that are out of sight."""
        others = [doubt.detection for doubt in result.doubts if not doubt.taken]
        if self._stills:
            seen = [*result.detections, *others]
            items = [self._new() for _ in seen]
            return list(zip(items, seen, strict=True)), items
        self._frame += 1
        # One item is what the run followed as one sign: followed here alone, signs that cross would be taken for each other.
        here = [(self._item(("sign", one.follower)), one.detection) for one in result.seen]
        boxes = [detection.box_xyxy for _, detection in here]
        others = [one for one in others if not any(holds_centre(box, one.box_xyxy) or holds_centre(one.box_xyxy, box) for box in boxes)]
        here += self._doubted(result.seen, others)
        for item, _ in here:
            item.frame = self._frame
        ended = [key for key, item in self._items.items() if self._frame - item.frame > self._settings.max_age]
        return here, [self._items.pop(key) for key in ended]

    def _doubted(self, signs: Sequence[Sighted], others: Sequence[Detection]) -> list[tuple[Item, Detection]]:
        """Give boxes that were not taken for signs their items: the sign that was seen there before, where it was named so too, or one of their own."""
        self._tracker.update([*(sign.detection for sign in signs), *others])
        number_of = {id(sign.detection): sign.follower for sign in signs}
        doubted = []
        for one in self._tracker.seen:
            number = number_of.get(id(one.detection))
            if number is not None:
                self._signs[one.follower] = number
                continue
            number = self._signs.get(one.follower)
            sign = None if number is None or number in number_of.values() else self._items.get(("sign", number))
            if sign is None or sign.ranked[0][0] != one.detection.class_id:
                sign = self._item(("other", one.follower))
            doubted.append((sign, one.detection))
        followed = set(self._tracker.followed)
        self._signs = {follower: number for follower, number in self._signs.items() if follower in followed}
        return doubted

    def _item(self, key: _Key) -> Item:
        if key not in self._items:
            self._items[key] = self._new()
        return self._items[key]

    def _new(self) -> Item:
        self._opened += 1
        return Item(self._opened)

    def _count_announced(self, result: Result, at: dict[Box, Item]) -> list[Item]:
        """Count signs as they are announced; the first of their class may be rare, and those that no longer are so are returned."""
        dropped: list[Item] = []
        for report in result.reports:
            item = at.get(report.box_xyxy)
            if report.event == "gone" or item is None:
                continue
            item.track = report.track
            if report.event == "sighting":
                self._announced[report.class_id] += 1
                self._rare.setdefault(report.class_id, []).append(item)
                item.rare = self._is_rare(report.class_id)
                if not item.rare:
                    dropped += self._no_longer_rare(self._rare[report.class_id])
        return dropped

    def _is_rare(self, class_id: int) -> bool:
        return self._announced[class_id] <= max(1.0, self._announced.total() * _RARE_SHARE)

    def _no_longer_rare(self, items: list[Item]) -> list[Item]:
        """Take the mark from items; returns those for which it was the only reason to keep them."""
        was, items[:] = list(items), []
        for item in was:
            item.rare = False
        return [item for item in was if item.sides and not self.reasons(item)]

    def _adds(self, item: Item, detection: Detection) -> bool:
        """Tell whether a view shows an item much nearer than those that are kept, or named otherwise, and note it."""
        side = mean_side(detection.box_xyxy)
        nearer = all(side >= _NEARER * other for other, _ in item.sides)
        other_name = len(item.sides) < MOST_VIEWS and all(class_id != detection.class_id for _, class_id in item.sides)
        if not (nearer or other_name):
            return False
        item.sides.append((side, detection.class_id))
        if len(item.sides) > MOST_VIEWS:
            item.sides.remove(min(item.sides))
        return True


def why(item: Item, reasons: dict[str, float], labels: tuple[str, ...]) -> Iterator[str]:
    """Give the reasons in words, the most telling first."""
    ranked = item.ranked
    words = {
        "refused": "the second look refused it",
        "votes": "named " + ", ".join(f"{labels[class_id]} {count} times" for class_id, count, _ in ranked[:3]),
        "unsure": f"named {labels[ranked[0][0]]} with {ranked[0][2]:.0%} on average" if ranked else "",
        "near": "little told it from no sign" if not item.track else "little told it from no sign, but it was announced",
        "rare": "a class that is rare in this flight",
    }
    for reason in sorted(reasons, key=lambda one: -reasons[one]):
        yield words[reason]
