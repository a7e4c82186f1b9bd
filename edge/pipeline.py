"""The loop: frame, boxes, names, tracks, sinks; and what it took, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import Bundle
from edge.engines.open import open_engine
from edge.errors import BundleError, SourceError
from edge.frame import FeedState, Frame, Source
from edge.geometry.boxes import mean_side
from edge.mapping.surveyor import Surveyor
from edge.process import signals
from edge.recognition.classifier import Classifier
from edge.recognition.ego_motion import PictureMotion
from edge.recognition.proposals import Proposals, Spotter, spot_whole
from edge.recognition.spotter_colour import spot_by_colour
from edge.recognition.spotter_learned import LearnedSpotter
from edge.recognition.tracking import Tracker, TrackerSettings, distinct
from edge.result import Ages, Detection, Doubt, Report, Result, Sighted, Sink, Track
from edge.vehicle.levelling import Leveller, View
from edge.vehicle.utc import UtcClock

MIN_SIDE_PX = TrackerSettings.vote_side_px
"""Least mean side of a sign that is named, in a still as in a track: digits cannot be told apart below."""
NEAR = 1.0
"""Margin, in log odds, within which a box may as well be judged otherwise in the next frame."""
FEED_KEYS = ("state", "captured", "dropped", "damaged", "reconnects", "detail", "foreign")
STAGES = ("source", "level", "spot", "classify", "track", "place", "sinks")


@dataclass(frozen=True)
class Summary:
    """A run in figures.

    Attributes:
        frames: frames that were worked on.
        dropped: frames that gave way to newer ones.
        unreadable: frames that could not be decoded.
        sightings: signs that were announced.
        fps: frames a second, sinks included.
        age_ms: p50, p90, p99 (right to half a percent) and max of the time from a frame's arrival to its result.
        stage_ms: mean of each of `STAGES`.
        feed: what a live source ended as, each of `FEED_KEYS`; None of others.
        interrupted: whether the user ended it.
    """

    frames: int
    dropped: int
    unreadable: int
    sightings: int
    fps: float
    age_ms: dict[str, float]
    stage_ms: dict[str, float]
    feed: dict[str, Any] | None
    interrupted: bool

    def figures(self) -> dict[str, Any]:
        """Return the keys that a `--json` result has of it."""
        return {key: value for key, value in vars(self).items() if key != "interrupted"}


@contextmanager
def open_spotter(name: str, bundle: Bundle, *, engine: str = "auto", precision: str = "auto", provider: str = "cpu") -> Iterator[Spotter]:
    """Give a spotter by its name: learned, colour, none (the whole frame), or auto, which is learned where the bundle holds one and else colour.

    Args:
        name: of the spotter.
        bundle: where a learned one lies.
        engine: as of `edge.engines.open.open_engine`, like `precision` and `provider`; they concern a learned one alone.
        precision: see there.
        provider: see there.

    Raises:
        BundleError: no learned spotter in the bundle, or a damaged one.
        EngineError: the engine refuses it or an option.
        MissingDependency: the engine's library is not installed.
    """
    threshold, fusion = bundle.manifest.thresholds.spotter, bundle.manifest.thresholds.fusion
    if name == "learned" and threshold is None:
        raise BundleError(f"wanted a learned spotter in {bundle.folder}, found none: export one with --spotter RUN, or use --spotter colour")
    if name in ("learned", "auto") and threshold is not None:
        with LearnedSpotter(open_engine(bundle, "spotter", engine=engine, precision=precision, provider=provider), threshold, fusion) as learned:
            yield learned
    else:
        yield spot_whole if name == "none" else spot_by_colour


def name_boxes(
    image: NDArray[np.uint8],
    proposals: Proposals,
    classifier: Classifier,
    tracker: Tracker | None = None,
    min_side_px: float = 0.0,
    doubts: list[Doubt] | None = None,
) -> list[Detection]:
    """Name what stands in the proposals for a frame, (height, width, 3) uint8 BGR.

    Boxes whose mean side is below `min_side_px` are left out; a tracker has a least side of its own. What stood near to being judged otherwise is added to
    `doubts`.

    What a tracker does not want, or knows, is not classified; of the rest, what is no sign, by the proposals' fusion or else by the classifier, is left out.
    Without a tracker there is no other frame that could confirm a sign: the second look decides, where there is one.
    """
    scored = [
        ((float(x1), float(y1), float(x2), float(y2)), float(score)) for (x1, y1, x2, y2), score in zip(proposals.boxes_xyxy, proposals.scores, strict=True)
    ]
    scored = [(box, score) for box, score in scored if mean_side(box) >= min_side_px]
    fusion, named = proposals.fusion, []
    if tracker is not None:
        scored = [(box, score) for box, score in scored if tracker.wants(box, doubtful=fusion is not None and fusion.doubts(score))]
    wanted = [(box, score, tracker.known(box) if tracker else None) for box, score in scored]
    asked = [(box, score) for box, score, known in wanted if known is None]
    looks_twice = tracker is None and proposals.second is not None
    for (box, score), naming in zip(asked, classifier.name_in(image, [box for box, _ in asked]), strict=True):
        detection = Detection(box, naming.class_id, naming.confidence, score)
        margin = float(fusion.margin(score, naming.confidence)) if fusion else classifier.margin(naming)
        taken = margin >= 0 if fusion else classifier.accepts(naming)
        if looks_twice or taken:
            named.append(detection)
        elif tracker is not None and fusion is not None and fusion.rules_out(score, naming.confidence):
            tracker.refuse(box)
        if doubts is not None and not looks_twice and abs(margin) <= NEAR:
            doubts.append(Doubt(detection, "near", taken))
    if looks_twice:
        return confirmed(proposals, named, doubts)
    return named + [known for _, _, known in wanted if known is not None]


def confirmed(proposals: Proposals, detections: Sequence[Detection], doubts: list[Doubt] | None = None) -> list[Detection]:
    """Keep, of the detections in the proposals' frame, what a second look from nearer takes for a sign; all where there is no second look.

    What that look hardly tells from the other is added to `doubts`.

    Raises:
        EngineError: the engine failed.
    """
    second = proposals.second
    if second is None or proposals.closer is None:
        return list(detections)
    likely = [one for one in detections if second.pays(one.score, one.confidence)]
    scores = [one.score for one in likely]
    closer = proposals.closer([one.box_xyxy for one in likely], scores)
    margins = second.margin(scores, closer, [one.confidence for one in likely]).tolist()
    if doubts is not None:
        doubts += [Doubt(one, "near", margin >= 0) for one, margin in zip(likely, margins, strict=True) if abs(margin) <= NEAR]
    return [one for one, margin in zip(likely, margins, strict=True) if margin >= 0]


def run(
    source: Source,
    spotter: Spotter,
    classifier: Classifier,
    sinks: Sequence[Sink],
    *,
    max_frames: int | None = None,
    leveller: Leveller | None = None,
    surveyor: Surveyor | None = None,
    min_side_px: float = MIN_SIDE_PX,
    clock_ns: Callable[[], int] = time.monotonic_ns,
    utc: UtcClock | None = None,
) -> Summary:
    """Bring a source's frames to the sinks until it ends, `max_frames` are done, or the user interrupts; then close the source and finish the sinks.

    A live source that loses its feed ends nothing: the sinks are told, and signs that were in sight take their leave. With a leveller, signs are looked for in
    frames that it turned level, and told where they are in the frames as they came. With a surveyor they are told where they stand.
    Signs whose mean side is below `min_side_px` are not named. Ages go by `clock_ns`, as the source's frames do; the time of day by `utc`,
    without one by this machine's clock.

    Raises:
        SourceError: the source gives no frame at all.
        OutputError: a sink cannot be opened or written.
        EngineError: the engine fails.
    """
    loop = Loop(spotter, classifier, stills=source.stills, leveller=leveller, surveyor=surveyor, min_side_px=min_side_px, clock_ns=clock_ns, utc=utc)
    interrupted = False
    with source, ExitStack() as stack:
        try:
            coming = iter(source)
            came = _next(coming)
            if came is None:
                raise SourceError(f"wanted frames from {source.uri}, found none that can be read: choose another source")
            for sink in sinks:
                stack.enter_context(sink)
            stack.enter_context(signals.rescued(lambda: loop.rescue(sinks)))
            while came is not None and not signals.came():
                loop.take(came, sinks)
                came = _next(coming) if loop.frames != max_frames else None
        except KeyboardInterrupt:
            interrupted = True
        loop.finish(sinks)
    return loop.summary(source, interrupted or signals.came())


def _next(coming: Iterator[Frame | FeedState]) -> Frame | FeedState | None:
    with signals.interruptible():
        return next(coming, None)


class Loop:
    """What a run carries from frame to frame.

    Attributes:
        frames: that were worked on.
    """

    def __init__(
        self,
        spotter: Spotter,
        classifier: Classifier,
        *,
        stills: bool,
        leveller: Leveller | None = None,
        surveyor: Surveyor | None = None,
        min_side_px: float = MIN_SIDE_PX,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        utc: UtcClock | None = None,
    ) -> None:
        """Take what finds, names and places signs and levels frames, and how large a sign must be; in frames that are no stills they are followed.

        Ages go by `clock_ns`, the time of day by `utc`.
        """
        self._min_side_px = min_side_px if stills else 0.0  # a tracker has a least side of its own
        self._tracker = None if stills else Tracker(TrackerSettings(vote_side_px=min_side_px))
        self._spotter, self._classifier, self._leveller, self._surveyor = spotter, classifier, leveller, surveyor
        self._clock_ns, self._utc = clock_ns, utc or UtcClock()
        self._motion = PictureMotion()
        self.frames = self._sightings = 0
        self._ages = Ages()
        self._last: Frame | None = None
        self._writing: Sink | None = None
        self._stages_ns = dict.fromkeys(STAGES, 0)
        self._started_ns = self._lap_ns = time.perf_counter_ns()

    def take(self, came: Frame | FeedState, sinks: Sequence[Sink]) -> None:
        """Work on a frame, or hand a change of the feed on."""
        moment_ns = came.at_ns if isinstance(came, FeedState) else came.received_ns
        time_s, time_unknown = self._utc.at(moment_ns)
        came = replace(came, time_s=time_s, time_unknown=time_unknown)
        if isinstance(came, FeedState):
            self._tell(came, sinks)
        else:
            self._step(came, sinks)

    def _step(self, frame: Frame, sinks: Sequence[Sink]) -> None:
        self._lap("source")
        view = self._leveller.view(frame) if self._leveller is not None else View(frame, frame.image)
        frame = view.frame if self._surveyor is None else self._surveyor.posed(view.frame)
        self._lap("level")
        self._follow_picture(view)
        self._lap("track")
        proposals = self._spotter(view.image)
        self._lap("spot")
        doubts: list[Doubt] = []
        detections = view.mark(name_boxes(view.image, proposals, self._classifier, self._tracker, self._min_side_px, doubts))
        doubts = [replace(doubt, detection=marked) for doubt, marked in zip(doubts, view.mark([doubt.detection for doubt in doubts]), strict=True)]
        self._lap("classify")
        if self._tracker is None:
            reports = _as_stills(distinct(detections))
        else:

            def confirms(one: Detection) -> bool:
                sure = bool(confirmed(proposals, [one]))
                if not sure:
                    doubts.append(Doubt(one, "refused", taken=True))
                return sure

            reports = self._tracker.update(detections, confirms=confirms)
        reports, detections = view.in_frame(reports), view.in_frame(detections)
        doubts = [replace(doubt, detection=placed) for doubt, placed in zip(doubts, view.in_frame([doubt.detection for doubt in doubts]), strict=True)]
        seen = self._tracker.seen if self._tracker else []
        tracks = view.in_frame(_in_sight(view.mark(self._tracker.tracks), seen, frame.image)) if self._tracker else []
        self._lap("track")
        if self._surveyor is not None:
            reports = self._surveyor.place(frame, reports, seen)
        self._lap("place")
        placed = view.in_frame([one.detection for one in seen])
        seen = [replace(one, detection=detection) for one, detection in zip(seen, placed, strict=True)]
        result = Result(frame, reports, detections, tracks, self._clock_ns(), level=view.change, doubts=doubts, seen=seen)
        for sink in sinks:
            self._writing = sink
            sink.write(result)
        self._writing = None
        self._lap("sinks")
        self.frames, self._last = self.frames + 1, frame
        self._sightings += sum(report.event == "sighting" for report in reports)
        self._ages.add(result.age_ms)

    def _follow_picture(self, view: View) -> None:
        """Move what the tracker expects as the camera moved the picture."""
        if self._tracker is not None:
            motion = self._motion.see(view, wanted=not self._tracker.idle)
            if motion is not None:
                self._tracker.move(motion)

    def _tell(self, state: FeedState, sinks: Sequence[Sink]) -> None:
        if state.state == "lost":
            self.finish(sinks)
        for sink in sinks:
            sink.feed(state)

    def finish(self, sinks: Sequence[Sink]) -> None:
        """Take leave of the tracks that still live."""
        reports = self._tracker.finish() if self._tracker else []
        if self._last is not None and reports:
            reports = View(self._last, self._last.image).in_frame(reports)
            reports = reports if self._surveyor is None else self._surveyor.place(self._last, reports)
            result = Result(self._last, reports, (), (), self._clock_ns(), final=True)
            for sink in sinks:
                sink.write(result)

    def rescue(self, sinks: Sequence[Sink]) -> None:
        """Finish every sink but the one whose call hangs, from another thread than that which hangs."""
        for sink in reversed(sinks):
            if sink is not self._writing:
                with suppress(Exception):  # what fails now keeps no other from its end
                    sink.__exit__(None, None, None)

    def summary(self, source: Source, interrupted: bool) -> Summary:
        """Return the run in figures."""
        frames = max(self.frames, 1)
        seconds = (self._lap_ns - self._started_ns) / 1e9
        stage_ms = {stage: round(ns / frames / 1e6, 3) for stage, ns in self._stages_ns.items()}
        fps = round(self.frames / seconds, 2) if seconds else 0.0
        told = {key: getattr(source.feed, key) for key in FEED_KEYS} if source.feed is not None else None
        return Summary(self.frames, source.dropped, source.unreadable, self._sightings, fps, self._ages.figures(), stage_ms, told, interrupted)

    def _lap(self, stage: str) -> None:
        now = time.perf_counter_ns()
        self._stages_ns[stage] += now - self._lap_ns
        self._lap_ns = now


def _in_sight(tracks: Sequence[Track], seen: Sequence[Sighted], image: NDArray[np.uint8]) -> list[Track]:
    """Leave out what was not seen in this frame and should stand across the picture's edge: that sign has left."""
    size_wh, now = np.array(image.shape[1::-1]), {one.track for one in seen}
    corners = [np.reshape(one.box_xyxy if one.quad_xy is None else one.quad_xy, (-1, 2)) for one in tracks]
    return [one for one, at in zip(tracks, corners, strict=True) if one.track in now or bool(((at >= 0) & (at <= size_wh)).all())]


def _as_stills(detections: Sequence[Detection]) -> list[Report]:
    """Announce every detection of a still; there is no other frame that could confirm it."""
    return [Report("sighting", None, d.class_id, d.confidence, d.box_xyxy, d.quad_xy) for d in detections]
