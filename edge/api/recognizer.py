"""Signs in pictures and in streams, for programs: the models of a bundle, opened once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from edge.api.pictures import Color, OwnFrames, as_bgr, is_one
from edge.api.placing import surveyor_beside, surveyor_of, told_by
from edge.api.results import Event, Sign, Signs
from edge.bundle.manifest import SHIPPED, read_bundle
from edge.engines.open import open_engine
from edge.errors import InputError
from edge.frame import FeedState, Frame, Source
from edge.mapping.surveyor import Surveyor
from edge.outputs.annotate import mark
from edge.outputs.events import events_of, state_event
from edge.pipeline import MIN_SIDE_PX, Loop, Summary, name_boxes, open_spotter, run
from edge.recognition.classifier import Classifier
from edge.recognition.tracking import distinct
from edge.result import Report, Result, Sink
from edge.sources.open import open_source


class Recognizer:
    """Finds and names traffic signs.

    It may be shared by threads: calls wait for each other, and each stream has tracks of its own. Closed as a context manager, or by `close`.

    Attributes:
        bundle: the bundle's name.
        engine: the classifier's; its `name` and `precision` tell what runs.
        labels: what can be named, by class id.
        manifest: all that the bundle tells of itself.
    """

    def __init__(
        self, bundle: str | os.PathLike[str] | None = None, *, engine: str = "auto", precision: str = "auto", provider: str = "cpu", spotter: str = "auto"
    ) -> None:
        """Open the models.

        Args:
            bundle: a folder with a manifest; None for the bundle that ships.
            engine: "auto", "tensorrt", "onnxruntime", "openvino" or "fake".
            precision: "auto", "int8", "fp16", "int8-cpu" or "fp32".
            provider: of ONNX Runtime: "cpu", "cuda" or "tensorrt".
            spotter: "auto", "learned", "colour" or "none".

        Raises:
            BundleError: no bundle, a damaged one, or one without this spotter or precision.
            EngineError: the engine refuses a model or an option.
            MissingDependency: the engine's library is not installed.
        """
        read = read_bundle(SHIPPED if bundle is None else Path(bundle))
        options = {"engine": engine, "precision": precision, "provider": provider}
        self.bundle, self.labels, self.manifest = read.manifest.name, read.manifest.labels, read.manifest
        self._lock = threading.Lock()
        with ExitStack() as stack:
            self.engine = open_engine(read, "classifier", **options)
            self._classifier = stack.enter_context(Classifier(self.engine, read.manifest.thresholds.confidence))
            self._spotter = stack.enter_context(open_spotter(spotter, read, **options))
            self._open = stack.pop_all()

    @overload
    def recognize(self, images: str | os.PathLike[str], *, color: Color = "bgr") -> Signs: ...
    @overload
    def recognize(self, images: NDArray[Any], *, color: Color = "bgr") -> Any: ...
    @overload
    def recognize(self, images: Iterable[Any], *, color: Color = "bgr") -> list[Signs]: ...
    @overload
    def recognize(self, images: Any, *, color: Color = "bgr") -> Any: ...
    def recognize(self, images: Any, *, color: Color = "bgr") -> Signs | list[Signs]:
        """Return the signs in a picture, the surest first; of several pictures a list of them.

        Args:
            images: a picture: (height, width, 3) uint8, a path, or a PIL image; or an iterable of these, or an array (n, height, width, 3).
            color: the order of an array's colours, "bgr" as OpenCV has it or "rgb".

        Raises:
            InputError: what is given is no picture; the message says what was wanted.
            EngineError: the engine failed.
        """
        if is_one(images) or not isinstance(images, Iterable):
            return self._signs_in(as_bgr(images, color))
        return [self._signs_in(as_bgr(image, color)) for image in images]

    def follow(
        self,
        source: str | os.PathLike[str] | Iterable[Any],
        *,
        color: Color = "bgr",
        idle_s: float | None = None,
        max_frames: int | None = None,
        pose: str | None = None,
        camera: str | None = None,
    ) -> Iterator[Event]:
        """Give the events of a stream as they come, until it ends or the iterator is closed.

        Args:
            source: whatever `edge run` takes; or an iterable of frames as `recognize` takes them, or of pairs (frame, `edge.Pose`).
            color: the order of colours of frames that are arrays.
            idle_s: after so many seconds without a frame an event of the kind "idle" is given, so that nobody waits longer than that; None waits.
            max_frames: ends after so many frames.
            pose: where the camera was along a recording, as `edge run --pose` takes it: "flight.SRT", "log.bin,offset=12.4".
            camera: what it sees, as `edge run --camera` takes it: "hfov=82,pitch=-20", "calibration.yml". With it, and with poses from a file or beside
                frames, events tell where their signs stand.

        Raises:
            SourceError: the source cannot be opened.
            InputError: what is given is no source, no frame, no poses or no camera.
            EngineError: the engine failed.
        """
        if isinstance(source, (str, os.PathLike)):
            uri, opened = os.fspath(source), open_source(os.fspath(source))
            recorded = not (opened.live or opened.stills)
            poses = None if pose is None else told_by(pose, "pose", "place", linked=False, recorded=recorded, film=uri, camera=camera)
            return self._events(opened, surveyor_of(self.manifest, uri, camera, poses), idle_s, max_frames)
        if not isinstance(source, Iterable):
            raise InputError(f"wanted a source as edge run takes it, or an iterable of frames, found {type(source).__name__}: give one of these")
        if pose is not None:
            raise InputError("wanted pairs (frame, Pose) where frames are a program's own, found pose=FILE: give each frame its pose")
        return self._events(OwnFrames(source, color), surveyor_beside(self.manifest, camera), idle_s, max_frames)

    def run(self, source: Source, sinks: Sequence[Sink], **options: Any) -> Summary:
        """Bring a whole source to sinks, as `edge run` does; takes and raises what `edge.pipeline.run` does."""
        return run(source, self._spotter, self._classifier, sinks, **options)

    def annotate(self, image: Any, signs: Iterable[Sign], *, color: Color = "bgr") -> NDArray[np.uint8]:
        """Return a copy of a picture, (height, width, 3) uint8 BGR, with signs drawn on it; raises as `recognize` does."""
        copy = as_bgr(image, color).copy()
        mark(copy, [Report("sighting", None, sign.class_id, sign.confidence, sign.box_xyxy) for sign in signs], self.labels)
        return copy

    def close(self) -> None:
        """Close the models; twice is as good as once."""
        self._open.close()

    def __enter__(self) -> Recognizer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _signs_in(self, image: NDArray[np.uint8]) -> Signs:
        with self._lock:
            found = distinct(name_boxes(image, self._spotter(image), self._classifier, min_side_px=MIN_SIDE_PX))
        found = sorted(found, key=lambda one: -one.confidence)
        return Signs(Sign(self.labels[one.class_id], one.class_id, one.confidence, one.box_xyxy) for one in found)

    def _events(self, source: Source, surveyor: Surveyor | None, idle_s: float | None, max_frames: int | None) -> Iterator[Event]:
        loop = Loop(self._spotter, self._classifier, stills=source.stills, surveyor=surveyor)
        told = _Told(self.labels)
        with source:
            for came in _awaited(iter(source), idle_s):
                if came is None:
                    yield Event("idle")
                    continue
                with self._lock:
                    loop.take(came, [told])
                yield from told.taken()
                if loop.frames == max_frames:
                    break
            loop.finish([told])
            yield from told.taken()


class _Told:
    """A sink that keeps events until they are taken."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels
        self._events: list[Event] = []

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def write(self, result: Result) -> None:
        self._events += map(Event.of_line, events_of(result, self._labels))

    def feed(self, state: FeedState) -> None:
        self._events.append(Event.of_line(state_event(state)))

    def taken(self) -> list[Event]:
        taken, self._events = self._events, []
        return taken


def _awaited(coming: Iterator[Frame | FeedState], idle_s: float | None) -> Iterator[Frame | FeedState | None]:
    """Give what comes, and None each time that nothing has come for `idle_s`. Nothing is fetched before it is asked for: a live frame stays the newest."""
    if idle_s is None:
        yield from coming
        return
    fetcher = ThreadPoolExecutor(1, "frames")
    try:
        asked = fetcher.submit(next, coming, StopIteration)
        while True:
            try:
                came = asked.result(idle_s)
            except NotYet:
                yield None
                continue
            if came is StopIteration:
                return
            yield came  # type: ignore[misc]
            asked = fetcher.submit(next, coming, StopIteration)
    finally:
        fetcher.shutdown(wait=False)
