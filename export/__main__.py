"""Turn a training run into a bundle on the desk, and prove bundles.

python -m export bundle RUN --data ROOT --out BUNDLE
python -m export refresh BUNDLE --data ROOT
python -m export verify BUNDLE --data ROOT [--tensorrt-rtx]
python -m export engine BUNDLE --precision int8      (on the board)
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from edge import cli


def _bundle(arguments: argparse.Namespace) -> None:
    from export.bundle import write_bundle

    more = {"fewshot": arguments.fewshot, "spotter": arguments.spotter, "unless_worse": arguments.unless_worse}
    write_bundle(arguments.source, arguments.data, arguments.out, arguments.name, **more)


def _refresh(arguments: argparse.Namespace) -> None:
    from export.refresh import refresh

    print(f"thresholds, manifest and model card are new in {refresh(arguments.bundle, arguments.data, arguments.fewshot).folder}")


def _verify(arguments: argparse.Namespace) -> None:
    from edge.bundle.manifest import read_bundle
    from edge.datasets.gtsdb import find_frames
    from export import spotter
    from export.artefacts import SPOTTER
    from export.judging.verify import as_table, verify_bundle

    bundle = read_bundle(arguments.bundle)
    print(as_table(verify_bundle(bundle, arguments.data, tensorrt_rtx=arguments.tensorrt_rtx)))
    if bundle.holds(SPOTTER) and find_frames(arguments.data) is None:
        print(f"no frames of GTSDB in or beside {arguments.data}: what the spotter finds was not verified", file=sys.stderr)
    elif bundle.holds(SPOTTER):
        print(spotter.as_table(spotter.verify_spotter(bundle, arguments.data)))
    print(f"{arguments.bundle} holds: files, graphs, golden self-test and accuracy are what they were")


def _engine(arguments: argparse.Namespace) -> None:
    from export.engines.ladder import Options, build_engines

    options = Options(arguments.typing, arguments.max_batch, arguments.workspace, arguments.force)
    build_engines(arguments.bundle, arguments.role, arguments.precision, options)


def _parser(prog: str = "python -m export") -> argparse.ArgumentParser:
    parser = cli.Parser(prog=prog, description="A training run in, a verified bundle out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    bundle = commands.add_parser("bundle", help="make a bundle", description="Convert, quantize and verify a classifier; writes nothing if it fails.")
    bundle.add_argument("source", type=Path, metavar="SOURCE", help="run folder of train, or a bundle (its fp16 model is the source)")
    bundle.add_argument("--data", type=Path, required=True, help="folder with Train.csv that the run was trained on (Test.csv too for the model card)")
    bundle.add_argument("--out", type=Path, required=True, help="bundle folder to write; a bundle there is replaced")
    bundle.add_argument("--name", help="name of the bundle (without one: vgg16-, its input's side, and its share of the channels)")
    bundle.add_argument(
        "--fewshot", type=Path, nargs="+", default=(), metavar="F", help="for the model card: train evaluate's JSON over runs of recipe fewshot"
    )
    bundle.add_argument(
        "--spotter", type=Path, metavar="RUN", help="run of recipe spotter to add, or a bundle that has one (without: that of a bundle as SOURCE is kept)"
    )
    bundle.add_argument("--unless-worse", type=Path, metavar="OLD", help="refuse a bundle that is worse than this one, by signwing compare")
    bundle.set_defaults(command=_bundle)
    again = commands.add_parser("refresh", help="choose a bundle's fusion again", description="Choose thresholds again and tell what was measured since.")
    again.add_argument("bundle", type=Path, metavar="BUNDLE", help="bundle folder; its models stay as they are")
    again.add_argument("--data", type=Path, required=True, help="folder with Train.csv that the bundle was trained on, and gtsdb/ in or beside it")
    again.add_argument("--fewshot", type=Path, nargs="+", default=(), metavar="F", help="as for bundle (without one: what the bundle tells is kept)")
    again.set_defaults(command=_refresh)
    verify = commands.add_parser("verify", help="prove a bundle", description="Check files, graphs, golden self-test and the accuracy of each precision.")
    verify.add_argument("bundle", type=Path, metavar="BUNDLE", help="bundle folder")
    verify.add_argument("--data", type=Path, required=True, help="folder with Train.csv that the bundle was trained on")
    verify.add_argument("--tensorrt-rtx", action="store_true", help="have NVIDIA's parser and builder judge the graphs too (no GPU needed)")
    verify.set_defaults(command=_verify)
    engine = commands.add_parser("engine", help="build TensorRT engines", description="On the board: build a bundle's engines within the memory there is.")
    engine.add_argument("bundle", type=Path, metavar="BUNDLE", help="bundle folder; engines/ in it is written")
    engine.add_argument("--precision", choices=("int8", "fp16"), help="build this alone (without one: every model for TensorRT)")
    engine.add_argument("--role", choices=("classifier", "spotter"), help="build this alone (without one: both)")
    engine.add_argument("--typing", choices=("strong", "weak"), default="strong", help="weak: TensorRT 10 may choose precisions of its own")
    engine.add_argument("--max-batch", type=cli.count, default=16, metavar="N", help="most crops at once")
    engine.add_argument("--workspace", type=cli.count, metavar="MIB", help="a layer's scratch memory (without one: by what is free)")
    engine.add_argument("--force", action="store_true", help="build against the advice of the first look at the machine")
    engine.set_defaults(command=_engine)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "python -m export") -> int:
    """Run a command and return its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return cli.main(_parser(prog), argv)


if __name__ == "__main__":
    sys.exit(main())
