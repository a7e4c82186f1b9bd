"""`python -m edge run`: opens what the options name, runs the loop, and tells what came of it."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.api.recognizer import Recognizer
from edge.board.machine import peak_rss_mib
from edge.bundle.lineage import now, result
from edge.commands import camera_option, level_option, watching
from edge.errors import OutputError
from edge.files import STDOUT, check_outputs, check_place, descriptor, write_json
from edge.frame import Source
from edge.outputs.console import ConsoleSink
from edge.outputs.events import EVENT_FILES, LIVE_BYTES, EventSink, numbered
from edge.outputs.notify import ServiceSink
from edge.outputs.segments import SegmentedVideoSink
from edge.outputs.video import VideoSink
from edge.outside.text import printable, without_credentials
from edge.pipeline import MIN_SIDE_PX, Summary
from edge.process import signals, threads
from edge.process.streams import wait_for_readers
from edge.result import Sink
from edge.sources.live.feed import LiveSource
from edge.sources.open import meant, named_files, open_source

if TYPE_CHECKING:
    from edge.outputs.passes import PassSink

SCORE_S = 0.7
"""What an interrupted flight gets for its score."""
READER_S = 1.0
"""What a recorded source waits for a reader that stands still, once; a live one never does."""


def run(arguments: argparse.Namespace) -> None:
    """Run the loop as the command line says; prints the summary and writes what was asked for.

    Raises:
        SignwingError: what cannot be opened, read or written, in a line.
        KeyboardInterrupt: the user ended it, after all was finished.
    """
    started_at = now()
    _check_places(arguments)
    with _text_aside(arguments):
        _run(arguments, started_at)


@contextmanager
def _text_aside(arguments: argparse.Namespace) -> Iterator[None]:
    """Print to the standard error what is for people, where the standard output is an output's; or nowhere, where it is not wanted."""
    if arguments.quiet:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            yield
        return
    aside = any(path is not None and descriptor(path) == STDOUT for path in (arguments.events, arguments.json))
    with redirect_stdout(sys.stderr) if aside else nullcontext():
        yield


def _run(arguments: argparse.Namespace, started_at: str) -> None:
    if arguments.json is not None:
        check_place(arguments.json)
    models = {key: getattr(arguments, key) for key in ("engine", "precision", "provider", "spotter")}
    with Recognizer(arguments.bundle, **models) as recognizer, open_source(arguments.source) as source, ExitStack() as stack:
        engine, labels = recognizer.engine, recognizer.labels
        wait_for_readers(0.0 if source.live else READER_S)
        leveller = level_option.open_leveller(arguments.level, source, linked=arguments.mavlink is not None)
        surveyor = camera_option.open_surveyor(arguments, source, labels, leveller)
        passes = _pass_sink(arguments.source)
        written = _sinks(arguments, source, labels)
        service = _service_sink(source)
        watched = watching.watching_sinks(arguments, source, engine, labels, written, stack, leveller, surveyor)
        sinks = [*written, *service, *watched, *([passes] if passes else [])]
        signals.gently()
        min_side_px = arguments.min_side or MIN_SIDE_PX
        loop: dict[str, Any] = {"leveller": leveller, "surveyor": surveyor, "min_side_px": min_side_px}
        summary = recognizer.run(source, sinks, max_frames=arguments.max_frames, **loop)
    figures = summary.figures() | {"peak_rss_mib": round(peak_rss_mib(), 1), "engine": engine.name, "precision": engine.precision}
    score = _score(passes) if passes else None
    figures |= {"passes": score} if score else {}
    figures |= {"level": leveller.figures()} if leveller is not None else {}
    figures |= {"placed": surveyor.placed} if surveyor is not None else {}
    figures["missed"] = missed = _missed(sinks)
    figures["restarts"] = threads.restarts()
    if arguments.json is not None:
        conditions = {key: getattr(arguments, key) for key in ("source", "spotter", "provider", "max_frames", "level", "pose", "camera")}
        conditions |= {
            "source": without_credentials(arguments.source),
            "bundle": recognizer.bundle,
            "min_side": min_side_px,
            "video": arguments.video is not None,
        } | watching.conditions(arguments)
        write_json(arguments.json, result("edge run", started_at, conditions, figures))
    failure = next((sink.failure for sink in sinks if isinstance(sink, VideoSink) and sink.failure is not None), None)
    _print_summary(summary, figures, [path for path in (None if failure else arguments.video, arguments.events, arguments.json) if path])
    if missed["events"]:
        raise OutputError(
            f"wanted every event in {arguments.events}, {missed['events']} lines found no space or no reader; the others stand whole: free the disk, or read on"
        )
    if failure is not None:
        raise failure
    if summary.interrupted:
        raise KeyboardInterrupt


def _check_places(arguments: argparse.Namespace) -> None:
    """Refuse what `edge.cli.check_places` cannot see: names that outputs make of theirs, and what stands in a source's own options.

    Raises:
        OutputError: an output would replace something.
        SourceError: the source cannot be read as one.
    """
    uri = meant(arguments.source)
    outputs = {f"--{name}": [path] for name in ("events", "video", "json") if (path := getattr(arguments, name)) is not None}
    if arguments.events is not None:
        outputs["--events"] += [numbered(arguments.events, number) for number in range(1, EVENT_FILES)]
    if uri.query.get("record"):
        outputs["record="] = [Path(uri.query["record"])]
    inputs = {"source": named_files(uri), "bundle": [arguments.bundle]}
    if arguments.web_token_file is not None:
        inputs["--web-token-file"] = [arguments.web_token_file]
    check_outputs(outputs, inputs)


def _score(passes: PassSink) -> dict[str, int] | None:
    """Return the score of a flight; None where the end was asked for and a long flight would take too long to look through."""
    if not signals.came():
        return passes.score()
    found: list[dict[str, int]] = []
    looking = threading.Thread(target=lambda: found.append(passes.score()), daemon=True)
    looking.start()
    looking.join(SCORE_S)
    return found[0] if found else None


def _service_sink(source: Source) -> list[Sink]:
    """Return the sink that tells systemd, where it started this process; a source that waits for a camera tells it too."""
    sink = ServiceSink()
    if not sink.wanted:
        return []
    if isinstance(source, LiveSource):
        source.waiting = sink.alive
    return [sink]


def _pass_sink(source: str) -> PassSink | None:
    if not source.lower().startswith("demo://"):
        return None
    from edge.outputs.passes import PassSink

    return PassSink(source)


def _sinks(arguments: argparse.Namespace, source: Source, labels: Sequence[str]) -> list[Sink]:
    sinks: list[Sink] = []
    if arguments.events is not None:
        # A live source goes on where it was: a service that is started anew must not lose what was seen before.
        bound = arguments.events_max or (LIVE_BYTES if source.live else None)
        sinks.append(EventSink(arguments.events, labels, max_bytes=bound, patience_s=0.0 if source.live else READER_S))
    if not arguments.quiet:
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
        elif isinstance(sink, SegmentedVideoSink | VideoSink):
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
        print(f"{'written':<14}{printable(path)}")
