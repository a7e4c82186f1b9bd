"""One recording from its frames to its events. As a program it takes a job as a line of JSON, and prints what came of it as another."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from edge.api.placing import surveyor_of, told_by
from edge.api.recognizer import Recognizer
from edge.cli import prepare_streams
from edge.commands.survey.storage import here
from edge.errors import SignwingError, one_line
from edge.frame import FeedState
from edge.outputs.events import events_of
from edge.pipeline import MIN_SIDE_PX
from edge.result import Result
from edge.sources.open import open_source

_SAY_OF_POSES = ("edge.mapping.surveyor", "edge.api.offset", "edge.api.placing")
_UNTOLD = "in a survey media_s alone tells it"


@dataclass(frozen=True)
class Job:
    """A recording, and what is typed beside it: `options` are those of the recognizer; the rest is as `edge run` takes it."""

    address: str
    poses: str
    camera: str | None
    offset: str | None
    min_side: int | None
    options: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What came of a recording: why it failed, empty where it did not; else what was said of its poses, its event lines, frames, and length in seconds."""

    failure: str = ""
    notes: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    frames: int = 0
    unreadable: int = 0
    seconds: float = 0.0


class _Told:
    """A sink that keeps event lines. They tell no time of this machine, so that any machine writes the same."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.lines: list[str] = []
        self.seconds = 0.0
        self._labels = labels

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def write(self, result: Result) -> None:
        self.seconds = result.frame.media_s or 0.0
        now_ns = round(self.seconds * 1e9)
        timeless = replace(result, frame=replace(result.frame, received_ns=now_ns, time_s=None, time_unknown=_UNTOLD), done_ns=now_ns)
        self.lines += [json.dumps(event) for event in events_of(timeless, self._labels)]

    def feed(self, state: FeedState) -> None:
        pass


class _Notes(logging.Handler):
    """Keeps what is said of poses while a recording is worked on; other warnings name files by paths, which are none of the result's."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> _Notes:
        for name in _SAY_OF_POSES:
            logging.getLogger(name).addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        for name in _SAY_OF_POSES:
            logging.getLogger(name).removeHandler(self)


def work(job: Job) -> Outcome:
    """Do a job; whatever is wrong with the recording is told in the outcome."""
    try:
        return _done(job)
    except SignwingError as error:
        return Outcome(failure=str(error))
    except Exception as error:  # a fault of ours, or of a decoder, must not end the other recordings
        return Outcome(failure=f"{type(error).__name__}: {one_line(error)}")


def _done(job: Job) -> Outcome:
    drawn = job.address.startswith("demo://")
    with _Notes() as notes, here([each for each in (job.address, job.poses) if each and not drawn]) as files:
        uri = job.address if drawn else str(files[0])
        with Recognizer(**job.options) as recognizer:
            source = open_source(uri)
            offset = "" if job.offset is None else f",offset={job.offset}"
            camera, poses = None, None
            if job.poses:
                camera = job.camera
                poses = told_by(f"{files[1]}{offset}", "--pose", "place", linked=False, recorded=not source.stills, film=uri, camera=camera)
            surveyor, told = surveyor_of(recognizer.manifest, uri, camera, poses), _Told(recognizer.labels)
            summary = recognizer.run(source, [told], surveyor=surveyor, min_side_px=job.min_side or MIN_SIDE_PX)
    return Outcome("", notes.lines, told.lines, summary.frames, summary.unreadable, round(told.seconds, 3))


def job_of(line: str) -> Job:
    """Read a job as `asdict` and JSON wrote it."""
    return Job(**json.loads(line))


def _end_with_parent() -> None:
    """End this process when nobody waits for it any more: then its input ends."""
    sys.stdin.read()
    os._exit(1)


def main(answer: Callable[[str], object] = print) -> None:
    """Take a job from the standard input, do it, and print its outcome."""
    prepare_streams()
    job = job_of(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer(json.dumps(asdict(work(job))))


if __name__ == "__main__":
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    main()
    sys.stdout.flush()
    os._exit(0)  # the thread that waits for the input's end would hold it up
