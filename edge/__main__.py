"""Name traffic signs in images, videos and the drawn flight.

python -m edge run demo:// --video out/annotated.mp4 --events out/events.jsonl --json out/summary.json
python -m edge run FOLDER --events out/events.jsonl
python -m edge classify CROPS... --csv out/names.csv
python -m edge check
python -m edge doctor
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge import cli
from edge.bundle.manifest import SHIPPED
from edge.commands import watching as outputs
from edge.engines.open import ENGINES, PRECISIONS, PROVIDERS
from edge.errors import InputError

if TYPE_CHECKING:
    from edge.frame import Source
    from edge.outputs.passes import PassSink
    from edge.pipeline import Summary
    from edge.result import Sink

SPOTTERS = ("auto", "learned", "colour", "none")
AUTO_ENGINE = "what runs the model; auto is tensorrt on a Jetson, and on a PC with an engine built there; else onnxruntime"


def _run(arguments: argparse.Namespace) -> None:
    from edge.board.machine import peak_rss_mib
    from edge.bundle.lineage import now, result
    from edge.bundle.manifest import read_bundle
    from edge.engines.open import open_engine
    from edge.errors import OutputError
    from edge.files import check_place, write_json
    from edge.pipeline import open_spotter, run
    from edge.recognition.classifier import Classifier
    from edge.sources.open import open_source
    from edge.sources.uri import without_credentials

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
        passes = _pass_sink(arguments.source)
        written = _sinks(arguments, source, labels)
        service = _service_sink(source)
        sinks = [*written, *service, *outputs.watching_sinks(arguments, source, engine, labels, written, stack), *([passes] if passes else [])]
        summary = run(source, spotter, classifier, sinks, max_frames=arguments.max_frames)
    figures = summary.figures() | {"peak_rss_mib": round(peak_rss_mib(), 1), "engine": engine.name, "precision": engine.precision}
    figures |= {"passes": passes.score()} if passes else {}
    figures["missed"] = missed = _missed(sinks)
    if arguments.json is not None:
        conditions = {key: getattr(arguments, key) for key in ("source", "spotter", "provider", "max_frames")}
        conditions |= {
            "source": without_credentials(arguments.source),
            "bundle": bundle.manifest.name,
            "video": arguments.video is not None,
        } | outputs.conditions(arguments)
        write_json(arguments.json, result("edge run", started_at, conditions, figures))
    _print_summary(summary, figures, [path for path in (arguments.video, arguments.events, arguments.json) if path])
    if missed["events"]:
        raise OutputError(f"wanted every event in {arguments.events}, {missed['events']} lines found no space; those before stand whole: free the disk")
    if summary.interrupted:
        raise KeyboardInterrupt


def _service_sink(source: Source) -> list[Sink]:
    """Return the sink that tells systemd, where it started this process; a source that waits for a camera tells it too."""
    from edge.outputs.notify import ServiceSink
    from edge.sources.live.feed import LiveSource

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
    from edge.outputs.console import ConsoleSink
    from edge.outputs.events import EventSink

    sinks: list[Sink] = [EventSink(arguments.events, labels, max_bytes=arguments.events_max)] if arguments.events else []
    sinks.append(ConsoleSink(labels))
    if arguments.video and source.live:
        from edge.outputs.segments import SegmentedVideoSink

        sinks.append(SegmentedVideoSink(arguments.video, source.fps, labels))
    elif arguments.video:
        from edge.outputs.video import VideoSink

        sinks.append(VideoSink(arguments.video, source.fps, labels))
    return sinks


def _missed(sinks: Sequence[Sink]) -> dict[str, int]:
    """Count what sinks left out, for want of space or time."""
    from edge.outputs.events import EventSink
    from edge.outputs.segments import SegmentedVideoSink

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
    if figures["missed"]["video"]:
        print(f"{'not in video':<14}{figures['missed']['video']} frames")
    for path in outputs:
        print(f"{'written':<14}{path}")


def _classify(arguments: argparse.Namespace) -> None:
    from edge.commands.classify import classify

    classify(arguments.paths, arguments.bundle, arguments.csv)


def _check(arguments: argparse.Namespace) -> None:
    from edge.commands.check import check
    from edge.engines.self_test import Choice

    check(arguments.bundle, Choice(arguments.engine, arguments.precision, arguments.provider))


def _service(arguments: argparse.Namespace) -> None:
    from edge.bundle.manifest import read_bundle
    from edge.commands.service import default_user, groups_here, install, remove, unit
    from edge.sources.open import open_source

    if arguments.action == "remove":
        remove(apply=arguments.apply)
        return
    if arguments.source is None:
        raise InputError("wanted --source with service install, found none: say what the camera is, such as rtp://@:5600")
    if arguments.bundle is not None:
        read_bundle(arguments.bundle)
    open_source(arguments.source)  # a source that is no source is told now, not by the journal
    text = unit(arguments.source, arguments.user or default_user(), arguments.bundle, shlex.split(arguments.options), groups_here())
    install(text, apply=arguments.apply)


def _doctor(arguments: argparse.Namespace) -> None:
    from edge.commands.doctor.command import doctor
    from edge.files import check_place

    if arguments.json is not None:
        check_place(arguments.json)
    doctor(arguments.source, None if arguments.board else arguments.bundle, arguments.json)


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(prog="python -m edge", description="Frames in, named traffic signs out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="name signs in frames", description="Find, name and follow the signs in a source of frames.")
    run.add_argument(
        "source",
        metavar="SOURCE",
        help="stills, video (?realtime=1 as a camera would), demo://, csi://0, v4l2:///dev/video0, rtsp://, rtp://@:5600",
    )
    run.add_argument("--bundle", type=Path, default=SHIPPED, help="folder with manifest.json")
    run.add_argument("--engine", choices=ENGINES, default="auto", help=AUTO_ENGINE)
    run.add_argument("--provider", choices=PROVIDERS, default="cpu", help="where ONNX Runtime computes")
    run.add_argument("--precision", choices=PRECISIONS, default="auto", help="auto is int8 or fp16, as built, on tensorrt; int8-cpu on onnxruntime")
    run.add_argument(
        "--spotter",
        choices=SPOTTERS,
        default="auto",
        help="what proposes boxes; auto is learned where the bundle has one, else colour; none: the whole frame",
    )
    run.add_argument("--events", type=Path, metavar="F", help="write sightings here, as JSON lines")
    run.add_argument(
        "--events-max", type=cli.mebibytes, metavar="MIB", help="begin a new events file at this size, keep 3 older ones, and what earlier runs wrote"
    )
    run.add_argument("--video", type=Path, metavar="F", help="write the annotated frames here (.mp4, .avi, .mkv; .mkv segments of a live source)")
    run.add_argument("--max-frames", type=cli.count, metavar="N", help="stop after so many frames")
    run.add_argument("--json", type=Path, metavar="F", help="write the figures of the run here")
    outputs.add_options(run)
    run.set_defaults(command=_run)
    classify = commands.add_parser("classify", help="name crops", description="Name images that hold one sign each.")
    classify.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="crops, or folders of crops")
    classify.add_argument("--bundle", type=Path, default=SHIPPED, help="folder with manifest.json")
    classify.add_argument("--csv", type=Path, metavar="F", help="write a table here instead of printing it")
    classify.set_defaults(command=_classify)
    check = commands.add_parser("check", help="prove a bundle", description="Compare a bundle's files and outputs with what they were when it was made.")
    check.add_argument("bundle", type=Path, nargs="?", default=SHIPPED, metavar="BUNDLE", help="folder with manifest.json")
    check.add_argument("--engine", choices=[name for name in ENGINES if name != "fake"], default="auto", help=AUTO_ENGINE)
    check.add_argument("--provider", choices=PROVIDERS, default="cpu", help="where ONNX Runtime computes")
    check.add_argument("--precision", choices=PRECISIONS, default="auto", help="auto is every one that the engine can run")
    check.set_defaults(command=_check)
    doctor = commands.add_parser("doctor", help="look at the machine", description="Tell what this machine is, what is wrong with it, and what cures it.")
    doctor.add_argument("source", nargs="?", metavar="SOURCE", help="try this source too, for 10 s: what edge run takes")
    doctor.add_argument("--bundle", type=Path, default=SHIPPED, help="folder with manifest.json")
    doctor.add_argument("--board", action="store_true", help="the machine alone: nothing need be deployed on it yet")
    doctor.add_argument("--json", type=Path, metavar="F", help="write facts and findings here")
    doctor.set_defaults(command=_doctor)
    service = commands.add_parser("service", help="run as a service", description="Keep edge run going by systemd: prints the unit, or writes it.")
    service.add_argument("action", choices=("install", "remove"), help="what to do")
    service.add_argument("--source", metavar="URI", help="the camera: what edge run takes; @FILE where it has a password")
    service.add_argument("--bundle", type=Path, metavar="DIR", help="folder with manifest.json (without one: the bundle that ships)")
    service.add_argument("--user", metavar="U", help="who it runs as (without one: who calls, or who called sudo)")
    service.add_argument("--apply", action="store_true", help="write the unit and start it; without this nothing is changed")
    service.add_argument("--options", default="", metavar="TEXT", help="other options of edge run, such as --options='--web 8080'")
    service.set_defaults(command=_service)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    # OpenCV's own words about damaged files would stand between our lines; it reads this as it loads.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        with cli.heeding_sigterm() as terminated:
            code = cli.main(_parser(), argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads us has gone (as `head` does): nothing is left to say, also not by Python as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return cli.EXIT_REFUSED
    return 0 if terminated.is_set() and code == cli.EXIT_INTERRUPTED else code


if __name__ == "__main__":
    sys.exit(main())
