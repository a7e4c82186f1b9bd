"""The words of the command line, and what each of them calls."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from edge import __version__, cli
from edge.bundle.manifest import SHIPPED
from edge.commands import camera_option, level_option, watching
from edge.engines.open import ENGINES, PRECISIONS, PROVIDERS
from edge.errors import InputError

KEEP_MIB = 256
"""What --keep takes where it is not told how much: some 500 signs of a camera of 1280x720."""
SPOTTERS = ("auto", "learned", "colour", "none")
AUTO_ENGINE = "what runs the model; auto is tensorrt on a Jetson, and on a PC with an engine built there; else onnxruntime"


def _run(arguments: argparse.Namespace) -> None:
    from edge.commands.run import run

    run(arguments)


def _classify(arguments: argparse.Namespace) -> None:
    from edge.commands.classify import classify

    classify(arguments.paths, arguments.bundle, arguments.csv)


def _review(arguments: argparse.Namespace) -> None:
    from edge.commands.review.command import review

    review(arguments.folder, arguments.web_host, arguments.web, arguments.web_token_file)


def _map(arguments: argparse.Namespace) -> None:
    from edge.commands.map import make_map

    make_map(arguments.flights, arguments.out, arguments.before, arguments.tiles, arguments.faces)


def _calibrate(arguments: argparse.Namespace) -> None:
    from edge.commands.calibrate import board, calibrate

    calibrate(arguments.source, arguments.out, board(arguments.board), fisheye=arguments.fisheye)


def _survey(arguments: argparse.Namespace) -> None:
    from edge.commands.survey.command import Crew, survey

    options = {key: getattr(arguments, key) for key in ("engine", "precision", "provider", "spotter")}
    settings = {key: getattr(arguments, key) for key in ("bundle", "camera", "offset", "min_side")} | {"options": options}
    survey(arguments.recordings, arguments.out, Crew(arguments.workers, arguments.ray), settings)


def _check(arguments: argparse.Namespace) -> None:
    from edge.commands.check import check
    from edge.engines.self_test import Choice

    check(arguments.bundle, Choice(arguments.engine, arguments.precision, arguments.provider))


def _service(arguments: argparse.Namespace) -> None:
    from edge.commands.service import default_user, groups_here, install, remove, unit
    from edge.commands.service_options import StoredParser, stored

    if arguments.action == "remove":
        remove(apply=arguments.apply)
        return
    if arguments.source is None:
        raise InputError("wanted --source with service install, found none: say what the camera is, such as rtp://@:5600")
    parser = StoredParser(prog="edge run", add_help=False)
    add_run(parser)
    kept = stored(parser, arguments.source, arguments.bundle, arguments.options)
    install(unit(kept, arguments.user or default_user(), groups_here()), apply=arguments.apply)


def _doctor(arguments: argparse.Namespace) -> None:
    from edge.commands.doctor.command import doctor
    from edge.files import check_place

    if arguments.json is not None:
        check_place(arguments.json)
    doctor(arguments.source, None if arguments.board else arguments.bundle, arguments.json)


def add_run(run: argparse.ArgumentParser) -> None:
    """Add what `edge run` takes."""
    run.add_argument(
        "source",
        metavar="SOURCE",
        help="stills, video (?realtime=1 as a camera would), pattern, webcam, demo://, csi://0, v4l2:///dev/video0, rtsp://, rtp://@:5600",
    )
    _add_models(run)
    run.add_argument(
        "--events",
        type=Path,
        metavar="F",
        help="write events here: JSON lines, or a table where F ends in .csv; - is the standard output; a camera's run goes on in the file that is there",
    )
    run.add_argument(
        "--events-max",
        type=cli.mebibytes,
        metavar="MIB",
        help="begin a new events file at this size, keep 3 older ones, and what earlier runs wrote (without it: 64 for a camera)",
    )
    run.add_argument("--video", type=Path, metavar="F", help="write the annotated frames here (.mp4, .avi, .mkv; .mkv segments of a live source)")
    run.add_argument(
        "--pictures", type=Path, metavar="DIR", help="write pictures here: of photos each with its signs marked, of a stream one and a crop of each sighting"
    )
    run.add_argument(
        "--keep",
        type=cli.bounded_folder(KEEP_MIB),
        metavar="DIR[,MIB]",
        help=f"keep here what is worth a person's look, for signwing review: doubtful and rare signs; {KEEP_MIB} MiB at most unless told",
    )
    run.add_argument("--max-frames", type=cli.count, metavar="N", help="stop after so many frames")
    _add_min_side(run)
    run.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    run.add_argument("--json", type=Path, metavar="F", help="write the figures of the run here")
    level_option.add_option(run)
    camera_option.add_options(run)
    watching.add_options(run)


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, default=SHIPPED, help="folder with manifest.json")
    parser.add_argument("--engine", choices=ENGINES, default="auto", help=AUTO_ENGINE)
    parser.add_argument("--provider", choices=PROVIDERS, default="cpu", help="where ONNX Runtime computes")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="auto is int8 or fp16, as built, on tensorrt; int8-cpu on onnxruntime")
    parser.add_argument(
        "--spotter",
        choices=SPOTTERS,
        default="auto",
        help="what proposes boxes; auto is learned where the bundle has one, else colour; none: the whole frame",
    )


def _add_min_side(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--min-side", type=cli.count, metavar="PX", help="leave out signs whose mean side is smaller (without it: 16); films announce from 20 on"
    )


def _add_survey(survey: argparse.ArgumentParser) -> None:
    survey.add_argument("recordings", nargs="+", metavar="RECORDINGS", help="films with their poses beside them, folders of these, patterns, s3://..., demo://")
    survey.add_argument("--out", required=True, metavar="DIR", help="folder, or an address such as s3://BUCKET/MAP: the map, tables, and each flight's events")
    survey.add_argument("--workers", type=cli.count, metavar="N", help="processes at a time (without it: half of the processors)")
    survey.add_argument("--ray", metavar="ADDRESS", help="have the workers of a Ray cluster do it: its address, auto, or local for one of N workers here")
    survey.add_argument("--offset", metavar="S", help="each film's poses stand so many seconds later in their file; auto finds how many for each")
    camera_option.add_camera(survey)
    _add_min_side(survey)
    _add_models(survey)
    survey.set_defaults(command=_survey)


def parser_of(prog: str, stages: Mapping[str, str]) -> argparse.ArgumentParser:
    """Return the parser of all words; `stages` are those of the other stages, and what `python -m` calls them."""
    parser = cli.Parser(prog=prog, description="Frames in, named traffic signs out.")
    parser.add_argument("--version", action="version", version=f"signwing {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="name signs in frames", description="Find, name and follow the signs in a source of frames.")
    add_run(run)
    run.set_defaults(command=_run)
    classify = commands.add_parser("classify", help="name crops", description="Name images that hold one sign each.")
    classify.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="crops, or folders of crops")
    classify.add_argument("--bundle", type=Path, default=SHIPPED, help="folder with manifest.json")
    classify.add_argument("--csv", type=Path, metavar="F", help="write a table here instead of printing it")
    classify.set_defaults(command=_classify)
    review = commands.add_parser("review", help="judge what was kept", description="Open a page on which a person judges what run --keep kept.")
    review.add_argument("folder", type=Path, metavar="DIR", help="what run --keep filled, or scripts/deploy --collect copied; data sets go to DIR/reviewed")
    watching.add_page(review, default=0, help="port of the page; 0 takes a free one")
    review.set_defaults(command=_review)
    mapping = commands.add_parser("map", help="a map of signs", description="Join what flights saw to signs, and write them as a map.")
    mapping.add_argument("flights", type=Path, nargs="+", metavar="EVENTS", help="what run --events wrote, of one flight or more")
    mapping.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for map.html and signs.geojson, .kml, .csv, .gpx")
    mapping.add_argument("--before", type=Path, metavar="F", help="an older signs.geojson: tell what is new, changed, gone or unsure since")
    mapping.add_argument("--tiles", metavar="URL", help="background of map.html, such as https://SERVER/{z}/{x}/{y}.png (without it: none is asked for)")
    mapping.add_argument("--faces", type=Path, metavar="DIR", help="a bundle or a data set with faces: signs of your own are shown by these")
    mapping.set_defaults(command=_map)
    calibrate = commands.add_parser("calibrate", help="what a camera sees", description="Find a camera's lens from views of a chessboard, for --camera.")
    calibrate.add_argument("source", metavar="SOURCE", help="a film or photos of a chessboard that is moved about, or the camera itself")
    calibrate.add_argument("--out", type=Path, required=True, metavar="FILE", help="the calibration, .yml")
    calibrate.add_argument("--board", default="9x6", metavar="COLUMNSxROWS", help="its inner corners, where four squares meet")
    calibrate.add_argument("--fisheye", action="store_true", help="a lens that sees more than about 120 degrees, by OpenCV's fisheye model")
    calibrate.set_defaults(command=_calibrate)
    _add_survey(
        commands.add_parser("survey", help="a map of many flights", description="Recognize a season's recordings, file by file, and write the map of all.")
    )
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
    for word, stage in stages.items():
        commands.add_parser(word, help=f"what python -m {stage} does: signwing {word} --help", add_help=False)
    return parser
