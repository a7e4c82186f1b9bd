"""A month of a run in minutes: the clock is injected, everything else is what runs on a board. What it keeps must not grow. No part of the test suite.

    scripts/soak --month                      a month in 100,000 frames
    scripts/soak --month --frames 5000         the short form

Signs come and go, the feed breaks and comes back each two hundred frames, the wall clock is set each week, events rotate, recordings are taken away as they
are written.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from packets import h264_stream  # noqa: E402 - run as a script, from anywhere

from edge.board.machine import rss_mib  # noqa: E402
from edge.board.telemetry import Telemetry  # noqa: E402
from edge.bundle.lineage import now, result  # noqa: E402
from edge.bundle.manifest import ModelSpec, TensorSpec  # noqa: E402
from edge.datasets.gtsrb import CLASSES, LABELS  # noqa: E402
from edge.engines.fake import FakeEngine  # noqa: E402
from edge.files import write_json  # noqa: E402
from edge.frame import FeedState, Frame  # noqa: E402
from edge.geometry.pose import Pose  # noqa: E402
from edge.outputs.console import ConsoleSink  # noqa: E402
from edge.outputs.events import EventSink  # noqa: E402
from edge.outputs.mavlink.notices import Notice, Notices  # noqa: E402
from edge.outputs.memory_guard import MemoryGuard  # noqa: E402
from edge.outputs.meter import Meter, MeterSink  # noqa: E402
from edge.outputs.web.state import PageState  # noqa: E402
from edge.pipeline import run  # noqa: E402
from edge.recognition.classifier import Classifier  # noqa: E402
from edge.recognition.proposals import Proposals  # noqa: E402
from edge.result import Result  # noqa: E402
from edge.sources.live.rtp.packets import parse_packet  # noqa: E402
from edge.sources.live.rtp.recorder import Recorder  # noqa: E402
from edge.vehicle.pose_track import PoseTrack  # noqa: E402
from edge.vehicle.utc import UtcClock  # noqa: E402

MONTH_S = 30 * 86_400
FRAMES = 100_000
GROWTH_MIB = 5.0
"""Of resident memory after the first tenth."""
SPEC = ModelSpec("classifier", "none", "", "fp16", "onnxruntime", TensorSpec("images", (-1, 16, 16, 3), "uint8"), TensorSpec("p", (-1, CLASSES), "float32"))
_VISIBLE, _PERIOD = 14, 40
_BREAK, _SET_S = 200, 7 * 86_400


class Calendar:
    """The injected clock: time passes by the frame, and people set the wall clock."""

    def __init__(self, frames: int) -> None:
        self.frames, self.frame = frames, 0
        self._step_s = MONTH_S / frames

    @property
    def passed_s(self) -> float:
        return self.frame * self._step_s

    def ns(self) -> int:
        return round(self.passed_s * 1e9)

    def wall_s(self) -> float:
        return 1_800_000_000 + self.passed_s + (-3600, 0, 86_400)[int(self.passed_s // _SET_S) % 3]

    def wall(self) -> datetime:
        return datetime.fromtimestamp(self.wall_s(), timezone.utc)


class Feed:
    """A live source by the calendar."""

    uri, stills, live, fps, unreadable = "month", False, True, 30.0, 0

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self.dropped = 0
        self.feed = self._state("connecting")

    def _state(self, name: Any) -> FeedState:
        return FeedState(name, self._calendar.ns(), self._calendar.frame, 0, 0, 0, "")

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame | FeedState]:
        calendar, image = self._calendar, np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
        for index in range(calendar.frames):
            calendar.frame = index
            if index % _BREAK == _BREAK - 1:
                for name in ("stalled", "lost", "live"):
                    self.feed = self._state(name)
                    yield self.feed
            yield Frame(index, image, calendar.ns(), None)


class Keepers:
    """What else keeps something as time passes: page, guard, notices, poses, recording. Fed as the board's own threads feed them."""

    def __init__(self, calendar: Calendar, page: PageState, recorder: Recorder, folder: Path) -> None:
        self._calendar, self._page, self._recorder, self._folder = calendar, page, recorder, folder
        self._guard, self._notices, self._poses = MemoryGuard(1 << 20, []), Notices(), PoseTrack(keep_s=10.0)
        self._packets = [packet for packet in map(parse_packet, h264_stream(30, gop=10)) if packet is not None]
        self.rss: list[float] = []

    def __enter__(self) -> Keepers:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def feed(self, state: FeedState) -> None:
        self._poses.add(self._calendar.passed_s, Pose(roll_deg=1.0))

    def write(self, found: Result) -> None:
        index, passed_s = self._calendar.frame, self._calendar.passed_s
        self._page.note(found)
        while not self._page.sightings.waiting.empty():
            self._page.sightings.keep(*self._page.sightings.waiting.get())
        sample = Telemetry(self._calendar.ns(), 0.5, None, 100.0, None, {"cpu": 50.0}, None, {}, None, None)
        self._page.note_telemetry(sample)
        self._guard.note(sample)
        for part in range(4):
            self._poses.add(passed_s + part / 10, Pose(roll_deg=float(part)))
        for report in found.reports:
            self._notices.add(Notice(report.class_id, "sign", 0.9, passed_s))
        self._notices.due(passed_s)
        first = self._packets[index % len(self._packets)]
        self._recorder.offer(first._replace(sequence=index % 65536, timestamp=index * 3000 % (1 << 32)), "h264")
        if index % 500 == 0:
            self._page.status()
            for old in sorted(self._folder.glob("kept-*"))[:-2]:
                old.unlink(missing_ok=True)
        if index % max(self._calendar.frames // 200, 1) == 0:
            self.rss.append(rss_mib())


def month(frames: int) -> dict[str, Any]:
    """Live through a month and return what was kept."""
    calendar = Calendar(frames)
    meter = Meter(calendar.ns)

    def spot(image: NDArray[np.uint8]) -> Proposals:
        there = calendar.frame % _PERIOD < _VISIBLE
        return Proposals(np.array([[8, 8, 40, 40]] if there else np.empty((0, 4)), np.float32), np.array([0.9] if there else [], np.float32))

    with tempfile.TemporaryDirectory() as name, Classifier(FakeEngine(SPEC, "fp16"), 0.0) as classifier, Path(os.devnull).open("w", encoding="utf-8") as nobody:
        folder, feed = Path(name), Feed(calendar)
        page = PageState(feed, LABELS, meter, {}, wall_s=calendar.wall_s, monotonic_s=lambda: calendar.passed_s)
        events = EventSink(folder / "e.jsonl", LABELS, max_bytes=1 << 17)
        with Recorder(folder / "kept", segment_bytes=1 << 16, wall=calendar.wall, monotonic=lambda: calendar.passed_s) as recorder:
            keepers, utc = Keepers(calendar, page, recorder, folder), UtcClock(calendar.wall_s, lambda: calendar.ns() / 1e9)
            began_s = time.monotonic()
            with redirect_stdout(nobody):
                summary = run(feed, spot, classifier, [events, ConsoleSink(LABELS), MeterSink(meter), keepers], clock_ns=calendar.ns, utc=utc)
            took_s = time.monotonic() - began_s
        settled = keepers.rss[len(keepers.rss) // 10 :]
        return {
            "frames": summary.frames,
            "sightings": summary.sightings,
            "days": round(calendar.passed_s / 86_400, 1),
            "took_s": round(took_s, 1),
            "rss_mib": round(settled[0], 1),
            "rss_growth_mib": round(max(settled) - settled[0], 2),
            "event_files_mib": round(sum(path.stat().st_size for path in folder.glob("e.jsonl*")) / 2**20, 2),
            "history_rows": len(page.status()["history"]["t"]),
            "sightings_kept": len(page.sightings.listed(0, 0)),
            "uptime_s": page.status()["uptime_s"],
        }


def main() -> int:
    """Live through a month, print and write what was kept, and return 1 if it grew."""
    parser = argparse.ArgumentParser(description="A month in minutes.", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--frames", type=int, default=FRAMES, help="that the month has")
    parser.add_argument("--json", type=Path, metavar="F", default=ROOT / "out" / "month.json")
    arguments = parser.parse_args()
    started_at, figures = now(), month(arguments.frames)
    for name, value in figures.items():
        print(f"{name:<18}{value}")
    write_json(arguments.json, result("soak month", started_at, {"frames": arguments.frames, "limit_mib": GROWTH_MIB}, figures))
    print(f"{'written':<18}{arguments.json}")
    return int(figures["rss_growth_mib"] > GROWTH_MIB)


if __name__ == "__main__":
    sys.exit(main())
