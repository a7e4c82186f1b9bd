"""Keeps what of a run is worth a person's look, in a thread of its own; what the disk or the encoder has no time or space for is left out and counted."""

from __future__ import annotations

import logging
import queue
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2

from edge.errors import OutputError, one_line
from edge.frame import FeedState, Frame
from edge.images import encode_image
from edge.outputs.events import pose_told, time_keys
from edge.outputs.keep.store import Store
from edge.outputs.keep.telling import Item, Teller, why
from edge.outside.text import printable
from edge.process import signals
from edge.process.threads import END_S, Worker
from edge.recognition.classifier import cut_out
from edge.result import Detection, Result

_QUEUED = 8
"""Frames that wait for the encoder."""
_DRAIN_S = 30.0
_QUALITY = 90

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """What is to be done with an item.

    Attributes:
        name: of the item.
        told: what is known of it now; None: it is to go.
        most_views: that it is to have.
        view: a new one: the frame, where the item is in it, and what else was seen there.
        last: nothing more will come of it.
    """

    name: str
    told: Mapping[str, Any] | None = None
    most_views: int = 0
    view: tuple[Frame, Detection, Sequence[Detection]] | None = None
    last: bool = False


class KeepSink:
    """Writes items as `edge.outputs.keep.store` lays them out.

    Attributes:
        missed: views that were left out.
    """

    def __init__(
        self,
        folder: Path,
        most_bytes: int,
        labels: tuple[str, ...],
        threshold: float,
        *,
        stills: bool,
        about: Mapping[str, str],
        patience_s: float = 0.0,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        wall: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Keep in `folder`.

        Args:
            folder: is made where it is not there.
            most_bytes: what it may hold.
            labels: names of the classes.
            threshold: confidence below which the classifier alone would not believe itself.
            stills: whether the frames are independent photos.
            about: what else is known of the run: `bundle` and `source`.
            patience_s: what is waited, once, for a thread that makes no progress; 0 never waits.
            free: tells the bytes left in a folder.
            wall: is asked for names alone.
        """
        self._folder, self._labels, self._about, self._patience_s, self._wall = folder, labels, dict(about), patience_s, wall
        self._teller = Teller(threshold, stills=stills)
        self._store = Store(folder, most_bytes, free)
        self._open = ExitStack()
        self._queue: queue.Queue[_Job] = queue.Queue(_QUEUED)
        self._thread = Worker(self._work, "keep")
        self._run = ""
        self._views: dict[str, list[dict[str, Any]]] = {}
        self._numbers: dict[str, int] = {}
        self.missed = self._failed = 0
        self._stalled = self._waits = False

    def __enter__(self) -> KeepSink:
        self._open.enter_context(self._store)
        self._run = f"{self._wall():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._part(*self._teller.finish())
        if not self._thread.stop(END_S if signals.came() or not self._patience_s else _DRAIN_S):
            _LOG.warning("what was to be kept in %s is not all written: there was no time", self._folder)
            return
        self._open.close()

    @property
    def failure(self) -> OutputError | None:
        """Why what was kept is not whole, where the disk had no space or refused; views that there was no time for are no fault."""
        if not self._failed:
            return None
        told = f"wanted to keep every view that is worth a look in {self._folder}, {self._failed} found no space or were refused"
        return OutputError(f"{told}; the others stand whole: free the disk, or keep elsewhere")

    @property
    def product(self) -> str:
        """What was kept, for people; empty where nothing was."""
        count = self._store.written
        return f"{printable(self._folder)} ({count} worth a look: signwing review {printable(self._folder)})" if count else ""

    def feed(self, state: FeedState) -> None:
        """Nothing: what is kept shows what came."""

    def write(self, result: Result) -> None:
        """Leave what of a result is worth a look to be written."""
        views, gone, dropped = self._teller.look(result)
        for view in views:
            others = [one for one in result.detections if one is not view.detection]
            seen = result.frame, view.detection, others
            self._leave(_Job(self._name(view.item), self._told(view.item), len(view.item.sides), seen, last=view.item in gone))
        self._part([item for item in gone if not any(view.item is item for view in views)], dropped)

    def _part(self, gone: Sequence[Item], dropped: Sequence[Item]) -> None:
        """Write what is known in the end of items that are out of sight, and remove what is not worth keeping."""
        for item in gone:
            if item.sides:  # votes that disagreed early may be clear by now
                told = self._told(item) if self._teller.reasons(item) else None
                self._leave(_Job(self._name(item), told, len(item.sides), last=True))
        for item in dropped:
            self._leave(_Job(self._name(item)))

    def _name(self, item: Item) -> str:
        return f"{self._run}-{item.number:04d}"

    def _told(self, item: Item) -> dict[str, Any]:
        """Return what is known of an item now, its views aside."""
        reasons = self._teller.reasons(item)
        votes = [{"class_id": class_id, "label": self._labels[class_id], "count": count, "confidence": round(mean, 4)} for class_id, count, mean in item.ranked]
        return {
            "telling": self._teller.telling(item),
            "reasons": sorted(reasons, key=lambda one: -reasons[one]),
            "why": list(why(item, reasons, self._labels)),
            "track": item.track,
            "votes": votes,
            **self._about,
            "labels": list(self._labels),
        }

    def _leave(self, job: _Job) -> None:
        try:
            self._queue.put(job, block=bool(self._patience_s) and not self._stalled, timeout=self._patience_s or None)
        except queue.Full:
            self.missed += job.view is not None
            self._stalled = True

    def _work(self) -> None:
        for job in self._thread.each(self._queue):
            try:
                self._take(job)
            except (OutputError, OSError, cv2.error) as error:
                self.missed += job.view is not None
                self._failed += job.view is not None
                self._tell(one_line(error))
            self._stalled = False

    def _take(self, job: _Job) -> None:
        if job.told is None:
            self._store.drop(job.name)
            self._views.pop(job.name, None)
            if job.last:
                self._numbers.pop(job.name, None)
            return
        views, pictures = list(self._views.get(job.name, [])), {}
        if job.view is not None:
            frame, detection, others = job.view
            self._numbers[job.name] = number = self._numbers.get(job.name, 0) + 1
            told = self._view_told(f"{job.name}-{number}", frame, detection, others)
            pictures[told["picture"]] = encode_image(frame.image, ".jpg", _QUALITY)
            pictures[told["crop"]] = encode_image(cut_out(frame.image, detection.box_xyxy))
            views.append(told)
        views = sorted(views, key=lambda one: -_side(one))[: job.most_views]
        self._views[job.name] = views
        if views:
            self._store.put(job.name, {**job.told, "views": views}, pictures)
        if self._waits and pictures:
            self._waits = False
            _LOG.warning("keeping goes on in %s, after %d views that were left out", self._folder, self.missed)
        if job.last:
            self._views.pop(job.name, None)
            self._numbers.pop(job.name, None)

    def _view_told(self, stem: str, frame: Frame, detection: Detection, others: Sequence[Detection]) -> dict[str, Any]:
        height, width = frame.image.shape[:2]
        return {
            "picture": f"{stem}.jpg",
            "crop": f"{stem}.png",
            **self._named(detection),
            "score": round(detection.score, 4),
            "size_wh": [width, height],
            "frame": frame.index,
            "still": frame.still,
            **time_keys(frame.time_s, frame.time_unknown),
            "media_s": frame.media_s,
            "pose": pose_told(frame.pose),
            "others": [self._named(other) for other in others],
        }

    def _named(self, detection: Detection) -> dict[str, Any]:
        return {
            "box_xyxy": [round(side, 2) for side in detection.box_xyxy],
            "class_id": detection.class_id,
            "label": self._labels[detection.class_id],
            "confidence": round(detection.confidence, 4),
        }

    def _tell(self, why_not: str) -> None:
        if not self._waits:
            self._waits = True
            _LOG.warning("keeping in %s waits for space: %s", self._folder, why_not)


def _side(view: Mapping[str, Any]) -> float:
    x1, y1, x2, y2 = view["box_xyxy"]
    return float(x2 - x1 + y2 - y1)
