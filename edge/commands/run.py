"""`python -m edge run`: opens what the options name, runs the loop, and tells what came of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.board.machine import peak_rss_mib
from edge.bundle.lineage import now, result
from edge.bundle.manifest import read_bundle
from edge.commands import camera_option, level_option, watching
from edge.engines.open import open_engine
from edge.errors import OutputError
from edge.files import check_place, write_json
from edge.frame import Source
from edge.outputs.console import ConsoleSink
from edge.outputs.events import EventSink
from edge.outputs.notify import ServiceSink
from edge.outputs.segments import SegmentedVideoSink
from edge.outputs.video import VideoSink
from edge.pipeline import Summary, open_spotter
from edge.pipeline import run as run_pipeline
from edge.recognition.classifier import Classifier
from edge.result import Sink
from edge.sources.live.feed import LiveSource
from edge.sources.open import open_source
from edge.sources.uri import without_credentials

if TYPE_CHECKING:
    from edge.outputs.passes import PassSink


def run(arguments: argparse.Namespace) -> None:
    """Run the loop as the command line says; prints the summary and writes what was asked for.

    Raises:
        SignwingError: what cannot be opened, read or written, in a line.
        KeyboardInterrupt: the user ended it, after all was finished.
    """
    started_at = now()
    bundle = read_bundle(arguments.bundle)
    if arguments.json is not None:
        check_place(arguments.json)
    options = {key: getattr(arguments, key) for key in ("engine", "precision", "provider")}
    engine, labels = open_engine(bundle, "classifier", **options), bundle.manifest.labels
    with (
        Classifier(engine, bundle.manifest.thresholds.confidence) as classifier,
        open_spotter(arguments.spotter, bundle, **options) as spotter,
        open_source(arguments.source) as source,
        ExitStack() as stack,
    ):
        leveller = level_option.open_leveller(arguments.level, source, linked=arguments.mavlink is not None)
        surveyor = camera_option.open_surveyor(arguments, source, labels, leveller)
        passes = _pass_sink(arguments.source)
        written = _sinks(arguments, source, labels)
        service = _service_sink(source)
        sinks = [
            *written,
            *service,
            *watching.watching_sinks(arguments, source, engine, labels, written, stack, leveller, surveyor),
            *([passes] if passes else []),
        ]
        summary = run_pipeline(source, spotter, classifier, sinks, max_frames=arguments.max_frames, leveller=leveller, surveyor=surveyor)
    figures = summary.figures() | {"peak_rss_mib": round(peak_rss_mib(), 1), "engine": engine.name, "precision": engine.precision}
    figures |= {"passes": passes.score()} if passes else {}
    figures |= {"level": leveller.figures()} if leveller is not None else {}
    figures |= {"placed": surveyor.placed} if surveyor is not None else {}
    figures["missed"] = missed = _missed(sinks)
    if arguments.json is not None:
        conditions = {key: getattr(arguments, key) for key in ("source", "spotter", "provider", "max_frames", "level", "pose", "camera")}
        conditions |= {
            "source": without_credentials(arguments.source),
            "bundle": bundle.manifest.name,
            "video": arguments.video is not None,
        } | watching.conditions(arguments)
        write_json(arguments.json, result("edge run", started_at, conditions, figures))
    _print_summary(summary, figures, [path for path in (arguments.video, arguments.events, arguments.json) if path])
    if missed["events"]:
        raise OutputError(f"wanted every event in {arguments.events}, {missed['events']} lines found no space; those before stand whole: free the disk")
    if summary.interrupted:
        raise KeyboardInterrupt


def _service_sink(source: Source) -> list[Sink]:
    """Return the sink that tells systemd, where it started this process; a source that waits for a camera tells it too."""
    sink = ServiceSink()
    if not sink.wanted:
        return []
    if isinstance(source, LiveSource):
        source.waiting = sink.alive
    return [sink]


def _pass_sink(source: str) -> PassSink | None:
    if not source.startswith("demo://"):
        return None
    from edge.outputs.passes import PassSink

    return PassSink(source)


def _sinks(arguments: argparse.Namespace, source: Source, labels: Sequence[str]) -> list[Sink]:
    sinks: list[Sink] = [EventSink(arguments.events, labels, max_bytes=arguments.events_max)] if arguments.events else []
    sinks.append(ConsoleSink(labels))
    if arguments.video and source.live:
        sinks.append(SegmentedVideoSink(arguments.video, source.fps, labels))
    elif arguments.video:
        sinks.append(VideoSink(arguments.video, source.fps, labels))
    return sinks


def _missed(sinks: Sequence[Sink]) -> dict[str, int]:
    """Count what sinks left out, for want of space or time."""
    missed = {"events": 0, "video": 0}
    for sink in sinks:
        if isinstance(sink, EventSink):
            missed["events"] += sink.missed
        elif isinstance(sink, SegmentedVideoSink):
            missed["video"] += sink.missed
    return missed


def _print_summary(summary: Summary, figures: dict[str, Any], outputs: Sequence[Path]) -> None:
    lost = "".join(f", {count} {what}" for count, what in ((summary.dropped, "dropped"), (summary.unreadable, "unreadable")) if count)
    print(f"\n{'frames':<14}{summary.frames}{lost}")
    print(f"{'speed':<14}{summary.fps:.1f} FPS")
    print(f"{'age':<14}p50 {summary.age_ms['p50']:.1f} ms, p99 {summary.age_ms['p99']:.1f} ms")
    print(f"{'peak memory':<14}{figures['peak_rss_mib']:.0f} MiB")
    print(f"{'sightings':<14}{summary.sightings}")
    if "passes" in figures:
        print(f"{'passes right':<14}{figures['passes']['right']}/{figures['passes']['all']}")
    if "level" in figures:
        print(f"{'levelled':<14}{figures['level']['levelled']}/{summary.frames} frames, by {figures['level']['by']}")
    if figures["missed"]["video"]:
        print(f"{'not in video':<14}{figures['missed']['video']} frames")
    for path in outputs:
        print(f"{'written':<14}{path}")
