"""`python -m edge run`: opens what the options name, runs the loop, and tells what came of it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.board.machine import peak_rss_mib
from edge.bundle.lineage import now, result
from edge.commands import watching
from edge.commands.wiring import READER_S, check_places, recognizer_of, wired
from edge.errors import OutputError
from edge.files import STDOUT, STREAM_S, check_place, descriptor, write_json
from edge.outputs.events import EventSink
from edge.outputs.keep.sink import KeepSink
from edge.outputs.mqtt.sink import MqttSink
from edge.outputs.pictures import PictureSink
from edge.outputs.restream.sink import RestreamSink
from edge.outputs.segments import SegmentedVideoSink
from edge.outputs.video import VideoSink
from edge.outside.text import printable, without_credentials
from edge.pipeline import MIN_SIDE_PX, Summary
from edge.process import signals, threads
from edge.process.streams import HURRY_S, wait_for_readers
from edge.result import Sink
from edge.sources.open import open_source

if TYPE_CHECKING:
    from edge.outputs.passes import PassSink

SCORE_S = 0.5
"""What an interrupted flight gets for its score."""

_LOG = logging.getLogger(__name__)
_WRITING = EventSink | KeepSink | PictureSink | SegmentedVideoSink | VideoSink


def run(arguments: argparse.Namespace) -> None:
    """Run the loop as the command line says; prints the summary and writes what was asked for.

    Raises:
        SignwingError: what cannot be opened, read or written, in a line.
        KeyboardInterrupt: the user ended it, after all was finished.
    """
    started_at = now()
    check_places(arguments)
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
    with recognizer_of(arguments) as recognizer, open_source(arguments.source) as source, ExitStack() as stack:
        engine = recognizer.engine
        wait_for_readers(0.0 if source.live else READER_S)
        wiring = wired(arguments, source, recognizer.manifest, {"engine": engine.name, "precision": engine.precision})
        if wiring.monitor is not None:
            stack.enter_context(wiring.monitor)
        signals.gently()
        min_side_px = arguments.min_side or MIN_SIDE_PX
        loop: dict[str, Any] = {"leveller": wiring.leveller, "surveyor": wiring.surveyor, "utc": wiring.utc, "min_side_px": min_side_px}
        summary = recognizer.run(source, wiring.sinks, max_frames=arguments.max_frames, **loop)
    figures = summary.figures() | {"peak_rss_mib": round(peak_rss_mib(), 1), "engine": engine.name, "precision": engine.precision}
    score = _score(wiring.passes) if wiring.passes else None
    figures |= {"passes": score} if score else {}
    figures |= {"level": wiring.leveller.figures()} if wiring.leveller is not None else {}
    figures |= {"placed": wiring.surveyor.placed} if wiring.surveyor is not None else {}
    figures["missed"] = missed = _missed(wiring.sinks)
    figures["restarts"] = threads.restarts()
    _print_summary(summary, figures)
    faults = _faults(arguments, wiring.sinks, missed["events"])
    products = [sink.product for sink in wiring.sinks if isinstance(sink, _WRITING) and sink.product]
    if arguments.json is not None:
        conditions = {key: getattr(arguments, key) for key in ("source", "spotter", "provider", "max_frames", "level", "pose", "camera")}
        conditions |= {
            "source": without_credentials(arguments.source),
            "bundle": recognizer.bundle,
            "min_side": min_side_px,
            "video": arguments.video is not None,
            "pictures": arguments.pictures is not None,
            "keep": arguments.keep is not None,
        } | watching.conditions(arguments)
        try:
            write_json(arguments.json, result("edge run", started_at, conditions, figures), HURRY_S if signals.came() else STREAM_S)
            products.append(printable(arguments.json))
        except OutputError as error:
            faults.append(error)
    for product in products:
        print(f"{'written':<14}{product}")
    for fault in faults[1:]:
        _LOG.warning("%s", fault)
    if faults:
        raise faults[0]
    if summary.interrupted:
        raise KeyboardInterrupt


def _score(passes: PassSink) -> dict[str, int] | None:
    """Return the score of a flight; None where the end was asked for and a long flight would take too long to look through."""
    if not signals.came():
        return passes.score()
    found: list[dict[str, int]] = []
    looking = threading.Thread(target=lambda: found.append(passes.score()), daemon=True)
    looking.start()
    looking.join(SCORE_S)
    return found[0] if found else None


def _missed(sinks: Sequence[Sink]) -> dict[str, int]:
    """Count what sinks left out, for want of space or time."""
    missed = {"events": 0, "video": 0}
    for sink in sinks:
        if isinstance(sink, EventSink):
            missed["events"] += sink.missed
        elif isinstance(sink, SegmentedVideoSink | VideoSink):
            missed["video"] += sink.missed
        elif isinstance(sink, PictureSink):
            missed["pictures"] = sink.missed
        elif isinstance(sink, KeepSink):
            missed["keep"] = sink.missed
        elif isinstance(sink, MqttSink):
            missed["mqtt"] = sink.missed
        elif isinstance(sink, RestreamSink):
            missed["restream"] = sink.missed
    return missed


def _faults(arguments: argparse.Namespace, sinks: Sequence[Sink], events: int) -> list[OutputError]:
    """Return why outputs are not whole."""
    faults = [sink.failure for sink in sinks if isinstance(sink, KeepSink | VideoSink) and sink.failure is not None]
    if events:
        told = f"wanted every event in {arguments.events}, {events} lines found no space or no reader; the others stand whole: free the disk, or read on"
        faults.insert(0, OutputError(told))
    return faults


def _print_summary(summary: Summary, figures: dict[str, Any]) -> None:
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
    if figures["missed"].get("mqtt"):
        print(f"{'not by MQTT':<14}{figures['missed']['mqtt']} events")
    if figures["missed"].get("keep"):
        print(f"{'not kept':<14}{figures['missed']['keep']} views, for want of time or space")
    if figures["missed"].get("pictures"):
        print(f"{'no picture':<14}{figures['missed']['pictures']} times, for want of time or space")
