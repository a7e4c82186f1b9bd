"""Two bundles on the same pictures: which one is better, or whether they cannot be told apart.

Both see every picture, so what counts is where they differ (Q. McNemar, "Note on the sampling error of the difference between correlated proportions",
Psychometrika 1947; here exact). A sign or a photo that is seen in several views is one trial: the better bundle there is the one right in more of them. As
several things are judged at once, each must be surer (S. Holm, "A simple sequentially rejective multiple test procedure", 1979).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import comb
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.detection import Runtime, Told, opened, progress, tell
from benchmarks.measuring.setting import Setting, print_conditions, write_result
from benchmarks.tracking.tracks import FPS
from edge.bundle.lineage import now
from edge.datasets.aerial import CROP_VIEWS, FRAME_VIEWS, JUDGED, SEED, has_ffmpeg
from edge.datasets.classes import check_known
from edge.datasets.gtsdb import find_frames, paint_out, read_sides
from edge.datasets.gtsrb import read_photo, read_test
from edge.errors import DataError, VerificationError
from edge.images import fit_crop, read_image
from edge.pipeline import run
from edge.sources.demo import SCHEME
from edge.sources.open import open_source

SAME, BETTER, WORSE = "not to be told apart", "better", "worse"
MOST_CHANCE = 0.05
"""Of calling two bundles different that are not, in all rows together."""
SLOWER = 1.05
"""Times as long as the old one: from here on slower is worse."""
_SPOTTER = "auto"


@dataclass(frozen=True)
class Row:
    """What both bundles did in one kind of picture.

    Attributes:
        name: of the kind.
        old: what the old bundle reached: a share of what was to be found, a count of false boxes, or milliseconds.
        new: the same of the new one.
        trials: signs, photos or frames.
        better: trials in which the new bundle did more.
        worse: those in which it did less.
        matters: differences this small are none, whatever chance says.
    """

    name: str
    old: float
    new: float
    trials: int
    better: int
    worse: int
    matters: bool = True

    @property
    def chance(self) -> float:
        """That bundles which are alike differ so much or more: two-sided, exact."""
        fewer, both = min(self.better, self.worse), self.better + self.worse
        chance: float = 2 * sum(comb(both, count) for count in range(fewer + 1)) / 2**both  # of whole numbers, which no float could hold
        return min(1.0, chance)


def verdicts(rows: Sequence[Row]) -> dict[str, str]:
    """Return of each row's name `BETTER`, `WORSE` or `SAME`, of the new bundle, by Holm's method."""
    said = dict.fromkeys((row.name for row in rows), SAME)
    for place, row in enumerate(sorted(rows, key=lambda one: one.chance)):
        if row.chance > MOST_CHANCE / (len(rows) - place):
            break
        if row.matters:
            said[row.name] = BETTER if row.better > row.worse else WORSE
    return said


@dataclass
class _Trials:
    """How often each bundle was right in each trial, and out of how often."""

    right: dict[Any, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    asked: int = 0

    def note(self, trial: Any, old: int, new: int) -> None:
        self.right[trial][0] += old
        self.right[trial][1] += new
        self.asked += 1

    def row(self, name: str, *, fewer_is_better: bool = False) -> Row:
        old, new = (sum(pair[side] for pair in self.right.values()) for side in (0, 1))
        gains = [(pair[0] - pair[1] if fewer_is_better else pair[1] - pair[0]) for pair in self.right.values()]
        scale = 1 if fewer_is_better else max(self.asked, 1)
        return Row(name, round(old / scale, 4), round(new / scale, 4), len(gains), sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains))


def bundles(before: Setting, after: Setting, data: Path, limit: int, silent_minutes: float, json_path: Path | None) -> dict[str, Any]:
    """Judge an old and a new bundle on photos, frames and drawn flights; print a table and what it says.

    Args:
        before: what runs of the old bundle.
        after: the same of the new one.
        data: a folder with `gtsrb/` or `gtsdb/` or both: the test photos, and the frames of the held-out groups.
        limit: photos that are looked at in the drone's views, evenly spread.
        silent_minutes: of a drawn flight without a sign, at 30 frames a second.
        json_path: where the result goes, or None.

    Returns:
        `rows` (of each: `name`, `old`, `new`, `trials`, `better`, `worse`, `chance`, `verdict`) and `verdict`, that of the new bundle.

    Raises:
        DataError: neither photos nor frames at `data`, or of classes that one of the bundles does not know.
        InputError: a picture cannot be read.
        BundleError: no bundle, or a damaged one.
        EngineError: an engine fails.
        VerificationError: the new bundle is worse; the table is printed first.
        OutputError: `json_path` cannot be written.
    """
    started_at = now()
    conditions = after.conditions(old=str(before.bundle), data=str(data), limit=limit, silent_minutes=silent_minutes)
    rows: list[Row] = []
    with ExitStack() as stack:
        pair = [stack.enter_context(opened(setting, _SPOTTER)) for setting in (before, after)]
        print_conditions(pair[1].engine.name, pair[1].engine.precision, after)
        for one, setting in zip(pair, (before, after), strict=True):
            check_known(one.names, data, str(setting.bundle))
        photos = _photos(data)
        if photos:
            rows += _on_photos(photos, limit, pair)
        if find_frames(data) is not None:
            rows += _on_frames(data, pair)
        if not rows:
            raise DataError(f"wanted GTSRB's test photos or GTSDB's frames in {data}, found neither: give the folder above gtsrb/ and gtsdb/")
        if silent_minutes:
            rows.append(_in_silence(silent_minutes, pair))
    said = verdicts(rows)
    verdict = WORSE if WORSE in said.values() else BETTER if BETTER in said.values() else SAME
    width = max(len(row.name) for row in rows)
    print(f"{'':{width}}      old      new   trials   better there   worse there   chance")
    for row in rows:
        print(f"{row.name:{width}} {row.old:>8.4g} {row.new:>8.4g} {row.trials:>8} {row.better:>14} {row.worse:>13} {row.chance:>8.2g}   {said[row.name]}")
    print(f"the new bundle is {verdict}" + (" than the old one" if verdict != SAME else ""))
    figures = {"rows": [{**vars(row), "chance": row.chance, "verdict": said[row.name]} for row in rows], "verdict": verdict}
    write_result(json_path, "compare", started_at, conditions, figures)
    if verdict == WORSE:
        raise VerificationError(f"wanted a bundle no worse than {before.bundle}, found it worse in {', '.join(_worse(said))}: keep the old one")
    return figures


def _worse(said: dict[str, str]) -> Iterator[str]:
    return (name for name, verdict in said.items() if verdict == WORSE)


def _photos(data: Path) -> list[Any]:
    try:
        return list(enumerate(read_test(data)))
    except DataError:
        return []


def _on_photos(photos: Sequence[Any], limit: int, pair: Sequence[Runtime]) -> Iterator[Row]:
    """Judge on photos as they are, and on some of them in the drone's views."""
    plain, seen = _Trials(), _Trials()
    some = set(np.linspace(0, len(photos) - 1, min(limit, len(photos))).astype(int).tolist())
    for place, photo in progress(photos, "photos"):
        image = read_photo(photo)
        plain.note(place, *_named(image, photo.class_id, pair))
        for view in CROP_VIEWS.values() if place in some else ():
            seen.note(place, *_named(view.apply(image, np.random.default_rng([SEED, place])), photo.class_id, pair))
    yield plain.row("photos")
    yield seen.row(f"photos, {len(CROP_VIEWS)} views of a drone")


def _named(image: Any, class_id: int, pair: Sequence[Runtime]) -> list[int]:
    return [int(one.engine.infer(fit_crop(image, one.classifier.size)[None]).argmax() == class_id) for one in pair]


def _on_frames(data: Path, pair: Sequence[Runtime]) -> Iterator[Row]:
    """Judge on the held-out frames as they are, in the judged views, and with their signs painted out; and by the time that both take."""
    plain, seen, false, bare = _Trials(), _Trials(), _Trials(), _Trials()
    took_s: list[list[float]] = [[], []]
    names = [name for name in JUDGED if has_ffmpeg() or not FRAME_VIEWS[name].needs_ffmpeg]
    for place, frame in progress(list(enumerate(read_sides(data).held)), "frames"):
        image = read_image(frame.path)
        for name in ("as they are", *names):
            view, boxes = FRAME_VIEWS[name].apply(image, frame.boxes_xyxy, place)
            told: list[Told] = []
            for side in (0, 1) if place % 2 else (1, 0):  # so that what the one warms up favours neither
                began = time.perf_counter()
                told.append(tell(replace(frame, boxes_xyxy=boxes), view, pair[side], (view.shape[1], view.shape[0])))
                took_s[side].append(time.perf_counter() - began)
            old, new = told if place % 2 else told[::-1]
            trials = seen if name in names else plain
            for sign in np.flatnonzero(old.counting()).tolist():
                trials.note((place, sign), *(int(sign in _rightly(one)) for one in (old, new)))
            false.note(place, *(_falsely(one) for one in (old, new)))
        painted = paint_out(image, frame.boxes_xyxy)
        bare.note(place, *(len(tell(frame, painted, one).detections) for one in pair))
    yield plain.row("frames")
    yield seen.row(f"frames, {len(names)} views of a drone")
    yield false.row("false boxes in all of these", fewer_is_better=True)
    yield bare.row("false boxes, signs painted out", fewer_is_better=True)
    faster = sum(new < old for old, new in zip(*took_s, strict=True))
    old_ms, new_ms = (1000 * median(times) for times in took_s)
    ratio = median(new / old for old, new in zip(*took_s, strict=True))
    yield Row("milliseconds a frame", old_ms, new_ms, len(took_s[0]), faster, len(took_s[0]) - faster, matters=not 1 / SLOWER < ratio < SLOWER)


def _rightly(told: Told) -> set[int]:
    """Return the places of signs that were found and named right."""
    pairs = zip(told.detections, told.matched, strict=True)
    return {place for detection, place in pairs if place >= 0 and detection.class_id == told.frame.class_ids[place]}


def _falsely(told: Told) -> int:
    """Count detections that are about no sign."""
    return sum(place < 0 for place in told.matched)


def _in_silence(minutes: float, pair: Sequence[Runtime]) -> Row:
    """Judge on a drawn flight without a sign: each false sighting is a trial of its own."""
    flight = f"{SCHEME}?signs=0&frames={max(1, round(minutes * 60 * FPS))}"
    old, new = (run(open_source(flight), one.spotter, one.classifier, []).sightings for one in pair)
    return Row("sightings in a flight without a sign", old, new, old + new, old, new)
