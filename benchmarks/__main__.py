"""Measure a bundle on this machine; nothing about the machine is changed.

python -m benchmarks accuracy --data ROOT --split test
python -m benchmarks detection --frames DIR --split held-out
python -m benchmarks views --frames DIR --crops ROOT
python -m benchmarks proof --data ROOT
python -m benchmarks tracks
python -m benchmarks motion
python -m benchmarks place
python -m benchmarks live
python -m benchmarks season
python -m benchmarks latency --batch 1 8
python -m benchmarks memory
python -m benchmarks pipeline
python -m benchmarks detector
python -m benchmarks peers --data ROOT
python -m benchmarks clients
python -m benchmarks all --json result.json
python -m benchmarks report result.json --out report.html
python -m benchmarks compare before.json after.json
python -m benchmarks compare OLD_BUNDLE NEW_BUNDLE --data ROOT
python -m benchmarks reference result.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measuring.setting import Setting
from benchmarks.proof import PARTS
from edge import cli
from edge.bundle.manifest import SHIPPED
from edge.commands.words import SPOTTERS
from edge.engines.open import ENGINES, PRECISIONS, PROVIDERS
from edge.errors import InputError
from edge.files import check_place
from edge.sources.demo import VIEWS


def _accuracy(arguments: argparse.Namespace) -> None:
    from benchmarks.accuracy import accuracy

    accuracy(_setting(arguments), arguments.data, arguments.split, arguments.json)


def _detection(arguments: argparse.Namespace) -> None:
    from benchmarks.detection import detection

    detection(_setting(arguments), arguments.frames, arguments.gt, arguments.split, arguments.spotter, arguments.sheet, arguments.json)


def _views(arguments: argparse.Namespace) -> None:
    from benchmarks.views import views

    names = [name.strip() for name in arguments.views.split(",")] if arguments.views else None
    asked = (arguments.frames, arguments.crops, arguments.split, names, arguments.limit, arguments.spotter, arguments.sheet, arguments.json)
    views(_setting(arguments), *asked)


def _tracks(arguments: argparse.Namespace) -> None:
    from benchmarks.tracking.tracks import tracks

    flown = arguments.view, arguments.seeds, arguments.frames, arguments.silent_minutes
    tracks(_setting(arguments), arguments.spotter, *flown, arguments.data, arguments.json, arguments.faces)


def _proof(arguments: argparse.Namespace) -> None:
    from benchmarks.proof.proof import proof

    proof(_setting(arguments), arguments.data, arguments.parts, arguments.limit, arguments.unknown, arguments.json)


def _motion(arguments: argparse.Namespace) -> None:
    from benchmarks.tracking.motion import motion

    motion(_setting(arguments), arguments.spotter, arguments.frames, arguments.json)


def _place(arguments: argparse.Namespace) -> None:
    from benchmarks.place import place

    if arguments.json is not None:
        check_place(arguments.json)
    place(arguments.seeds, arguments.frames, arguments.draws, arguments.json)


def _live(arguments: argparse.Namespace) -> None:
    from benchmarks.live import live

    live(_setting(arguments), arguments.seeds, arguments.frames, arguments.json)


def _season(arguments: argparse.Namespace) -> None:
    from benchmarks.season import season

    season(_setting(arguments), arguments.flights, arguments.frames, arguments.json)


def _latency(arguments: argparse.Namespace) -> None:
    from benchmarks.latency import latency

    latency(_setting(arguments), arguments.batch, arguments.runs, arguments.json)


def _memory(arguments: argparse.Namespace) -> None:
    from benchmarks.memory import memory

    memory(_setting(arguments), arguments.batch, arguments.runs, arguments.json)


def _pipeline(arguments: argparse.Namespace) -> None:
    from benchmarks.pipeline import SOURCES, pipeline

    pipeline(_setting(arguments), arguments.sources or SOURCES, arguments.spotter, arguments.seconds, arguments.json, outputs=arguments.outputs)


def _detector(arguments: argparse.Namespace) -> None:
    from benchmarks.peers.detector import detector

    detector(_setting(arguments), arguments.spotter, arguments.rounds, arguments.json)


def _peers(arguments: argparse.Namespace) -> None:
    from benchmarks.peers.runtimes import peers

    peers(_setting(arguments), arguments.data, arguments.rounds, arguments.runs, arguments.json)


def _clients(arguments: argparse.Namespace) -> None:
    from benchmarks.clients import clients
    from benchmarks.pipeline import FLAT_OUT

    looking = arguments.slow, arguments.dead, arguments.rounds, arguments.seconds, arguments.json
    clients(_setting(arguments), arguments.source or FLAT_OUT, *looking, silent=arguments.silent, refused=arguments.refused)


def _all(arguments: argparse.Namespace) -> None:
    from benchmarks.collect import collect

    collect(_setting(arguments), arguments.json)


def _report(arguments: argparse.Namespace) -> None:
    from benchmarks.report.page import report

    report(arguments.results, arguments.out, arguments.markdown)


def _compare(arguments: argparse.Namespace) -> None:
    if arguments.before.is_dir() and arguments.after.is_dir():
        from benchmarks.bundles import bundles

        if arguments.data is None:
            raise InputError("wanted --data ROOT to compare bundles on, found none: give the folder above gtsrb/ and gtsdb/")
        if arguments.json is not None:
            check_place(arguments.json)
        old, new = (Setting(bundle, arguments.engine, arguments.precision, arguments.provider) for bundle in (arguments.before, arguments.after))
        bundles(old, new, arguments.data, arguments.limit, arguments.silent_minutes, arguments.json)
        return
    from benchmarks.report.compare import compare

    compare(arguments.before, arguments.after, arguments.band)


def _reference(arguments: argparse.Namespace) -> None:
    from benchmarks.report.reference import keep

    keep(arguments.results, arguments.out)


def _setting(arguments: argparse.Namespace) -> Setting:
    if arguments.json is not None:
        check_place(arguments.json)
    return Setting(arguments.bundle, arguments.engine, arguments.precision, arguments.provider)


def _parser(prog: str = "python -m benchmarks") -> argparse.ArgumentParser:
    parser = cli.Parser(prog=prog, description="Measure a bundle on this machine; every figure comes with its conditions.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    accuracy = _add(commands, "accuracy", _accuracy, "top-1 on GTSRB's photos")
    accuracy.add_argument("--data", type=Path, required=True, metavar="ROOT", help="a GTSRB folder, or one that holds gtsrb/")
    accuracy.add_argument("--split", choices=("valid", "test"), required=True, help="the tracks that training held out, or the test photos")
    detection = _add(commands, "detection", _detection, "signs found and named in real frames")
    detection.add_argument("--frames", type=Path, required=True, metavar="DIR", help="folder of the frames, or that above their images/")
    detection.add_argument("--gt", type=Path, metavar="F", help="the table of their signs (without one: gt.txt in DIR)")
    detection.add_argument("--split", choices=("all", "train", "held-out"), default="all", help="held-out: the groups that the shipped spotter never saw")
    detection.add_argument("--spotter", choices=SPOTTERS, default="auto", help="what proposes boxes")
    detection.add_argument("--sheet", type=Path, default=Path("out/detection.png"), metavar="F", help="where to draw what went wrong; it shows photos")
    views = _add(commands, "views", _views, "signs found and named as a drone sees them: turned, shaken, dark, compressed")
    views.add_argument("--frames", type=Path, required=True, metavar="DIR", help="folder of GTSDB's frames, or that above their images/")
    views.add_argument("--crops", type=Path, metavar="ROOT", help="a GTSRB folder, or one that holds gtsrb/: its test photos, too")
    views.add_argument("--split", choices=("train", "tuning", "held-out"), default="held-out", help="held-out: the groups that the shipped models never saw")
    views.add_argument("--views", metavar="NAME,...", help="some of the views alone, such as 'roll 30,pitch 45' (without it: all)")
    views.add_argument("--limit", type=cli.count, metavar="N", help="photos, at most, evenly spread (without it: all)")
    views.add_argument("--spotter", choices=SPOTTERS, default="auto", help="what proposes boxes")
    views.add_argument("--sheet", type=Path, default=Path("out/views.png"), metavar="F", help="where to draw what went wrong; it shows photos")
    proving = _add(commands, "proof", _proof, "the protocols that others use, beside the best figures that are published")
    proving.add_argument("--data", type=Path, required=True, metavar="ROOT", help="a folder with gtsrb/ and gtsdb/")
    proving.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what is measured")
    proving.add_argument("--limit", type=cli.count, default=500, metavar="N", help="photos that are corrupted, evenly spread")
    proving.add_argument("--unknown", type=Path, metavar="DIR", help="photos of signs that the bundle does not know, to be rejected as well")
    tracks = _add(commands, "tracks", _tracks, "what is announced along drawn flights, and of real signs")
    tracks.add_argument("--view", choices=VIEWS, default=VIEWS[0], help=f"whose camera flies; {VIEWS[0]} where it is left out")
    tracks.add_argument("--seeds", type=int, nargs="*", default=list(range(20)), metavar="N", help="of the flights; none is none")
    tracks.add_argument("--frames", type=cli.count, default=600, metavar="N", help="of each flight")
    tracks.add_argument("--silent-minutes", type=float, default=10.0, metavar="N", help="of flight without a sign")
    tracks.add_argument("--faces", type=Path, metavar="DIR", help="a bundle that carries faces, or a data set that has them: flights show these")
    tracks.add_argument("--data", type=Path, metavar="ROOT", help="a folder with gtsrb/ and gtsdb/: real signs that come nearer, too")
    tracks.add_argument("--spotter", choices=SPOTTERS, default="auto", help="what proposes boxes")
    moving = _add(commands, "motion", _motion, "what a camera that pans, banks and shakes costs")
    moving.add_argument("--frames", type=cli.count, default=60, metavar="N", help="of each film")
    moving.add_argument("--spotter", choices=SPOTTERS, default="auto", help="what proposes boxes")
    placing = commands.add_parser("place", help="how far signs are placed from where they stand", description="Measure: places of drawn flights' signs.")
    placing.add_argument("--seeds", type=int, nargs="+", default=list(range(12)), metavar="N", help="of the flights")
    placing.add_argument("--frames", type=cli.count, default=600, metavar="N", help="of each flight")
    placing.add_argument("--draws", type=cli.count, default=5, metavar="N", help="times that each flight's poses are spoiled")
    placing.add_argument("--json", type=Path, metavar="F", help="write the result here")
    placing.set_defaults(command=_place)
    beside = _add(commands, "live", _live, "signs placed live beside a vehicle against those of the recording")
    beside.add_argument("--seeds", type=int, nargs="+", default=[1, 3, 4], metavar="N", help="of the flights")
    beside.add_argument("--frames", type=cli.count, default=300, metavar="N", help="of each flight, 10 a second")
    many = _add(commands, "season", _season, "whether one process and Ray's workers survey many flights alike")
    many.add_argument("--flights", type=cli.count, default=40, metavar="N", help="that are drawn")
    many.add_argument("--frames", type=cli.count, default=90, metavar="N", help="of each, 10 a second")
    latency = _add(commands, "latency", _latency, "how long a call takes")
    latency.add_argument("--batch", type=cli.count, nargs="+", default=[1], metavar="N", help="crops per call, one or more sizes")
    latency.add_argument("--runs", type=cli.count, default=200, metavar="N", help="timed calls for each size")
    memory = _add(commands, "memory", _memory, "resident memory of a process that runs it")
    memory.add_argument("--batch", type=cli.count, default=16, metavar="N", help="crops per call")
    memory.add_argument("--runs", type=cli.count, default=20, metavar="N", help="calls")
    pipeline = _add(commands, "pipeline", _pipeline, "the whole runtime, source to sink")
    pipeline.add_argument(
        "sources", nargs="*", metavar="SOURCE", help="what edge run takes (without one: the drawn flight at 1280x720, flat out and at 30 fps)"
    )
    pipeline.add_argument("--spotter", choices=SPOTTERS, default="auto", help="what proposes boxes")
    pipeline.add_argument("--seconds", type=cli.count, default=30, metavar="N", help="of each source")
    pipeline.add_argument("--outputs", action="store_true", help="with events, the page and MAVLink (extras web and mavlink)")
    detector = _add(commands, "detector", _detector, "the runtime beside a general detector")
    detector.add_argument("--spotter", choices=SPOTTERS, default="auto", help="what proposes our boxes")
    detector.add_argument("--rounds", type=cli.count, default=5, metavar="N", help="turns of each")
    peers = _add(commands, "peers", _peers, "the same weights through other runtimes")
    peers.add_argument("--data", type=Path, metavar="ROOT", help="a GTSRB folder, or one that holds gtsrb/ (without one: times alone)")
    peers.add_argument("--rounds", type=cli.count, default=5, metavar="N", help="turns of each")
    peers.add_argument("--runs", type=cli.count, default=40, metavar="N", help="timed calls of a turn")
    looking = _add(commands, "clients", _clients, "what those who look at the page cost the loop")
    looking.add_argument("source", nargs="?", metavar="SOURCE", help="what edge run takes (without one: the drawn flight at 1280x720, flat out)")
    looking.add_argument("--slow", type=cli.count, default=50, metavar="N", help="clients that read 20 kB/s")
    looking.add_argument("--dead", type=cli.count, default=50, metavar="N", help="clients that stop reading")
    looking.add_argument("--silent", type=cli.count, default=5000, metavar="N", help="connections that say nothing")
    looking.add_argument("--refused", type=cli.count, default=5000, metavar="N", help="requests a second without the token")
    looking.add_argument("--rounds", type=cli.count, default=5, metavar="N", help="turns without and with them")
    looking.add_argument("--seconds", type=cli.count, default=10, metavar="N", help="of each turn")
    everything = _add(commands, "all", _all, "everything that needs no photos, in one file")
    everything.set_defaults(json=Path("benchmarks.json"))
    report = commands.add_parser("report", help="draw results", description="Draw results in one HTML page that opens anywhere.")
    report.add_argument("results", type=Path, nargs="+", metavar="RESULT", help="what --json of the benchmarks wrote")
    report.add_argument("--out", type=Path, default=Path("benchmarks.html"), metavar="F", help="the page")
    report.add_argument("--markdown", type=Path, metavar="F", help="write the figures as a table here, too")
    report.set_defaults(command=_report)
    compare = _add(
        commands, "compare", _compare, "two bundles on the same pictures, or two results side by side; exit code 1 if anything is worse", bundle=False
    )
    for side in ("before", "after"):
        compare.add_argument(side, type=Path, metavar=side.upper(), help="a bundle's folder, or what --json of a benchmark wrote")
    compare.add_argument("--band", type=cli.share, default=0.1, metavar="SHARE", help="of results: relative change that counts as the same")
    compare.add_argument("--data", type=Path, metavar="ROOT", help="of bundles: a folder with gtsrb/ and gtsdb/ or one of them")
    compare.add_argument("--limit", type=cli.count, default=500, metavar="N", help="photos in a drone's views, evenly spread")
    compare.add_argument("--silent-minutes", type=float, default=2.0, metavar="N", help="of flight without a sign")
    reference = commands.add_parser("reference", help="keep results to compare with", description="Join a machine's results in one file without any paths.")
    reference.add_argument("results", type=Path, nargs="+", metavar="RESULT", help="what --json of the benchmarks wrote, on one machine")
    reference.add_argument("--out", type=Path, metavar="F", help="where to (without one: benchmarks/reference/, named after the machine)")
    reference.set_defaults(command=_reference)
    return parser


def _add(
    commands: argparse._SubParsersAction[cli.Parser], name: str, command: Callable[[argparse.Namespace], None], says: str, *, bundle: bool = True
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=says, description=f"Measure: {says}.")
    if bundle:
        parser.add_argument("--bundle", type=Path, default=SHIPPED, metavar="DIR", help="folder with manifest.json")
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="what runs the model; auto is onnxruntime")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="auto is int8-cpu")
    parser.add_argument("--provider", choices=PROVIDERS, default="cpu", help="where ONNX Runtime computes")
    parser.add_argument("--json", type=Path, metavar="F", help="write the result here")
    parser.set_defaults(command=command)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "python -m benchmarks") -> int:
    """Run a command and return its exit code."""
    return cli.main(_parser(prog), argv)


if __name__ == "__main__":
    sys.exit(main())
