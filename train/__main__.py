"""Train on the desk or in Colab.

python -m train fetch gtsrb DEST
python -m train fit --data ROOT --out RUN --weights none
python -m train evaluate RUN --data ROOT --split test
python -m train predict RUN PATH...
python -m train draw photos --out DIR
python -m train prepare ROOT --out DIR
python -m train teach ROOT OUT
python -m train fit --add DIR --out RUN
"""

from __future__ import annotations

import argparse
import gc
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge import cli
from edge.board.extras import install
from edge.errors import InputError, MissingDependency
from train.recipes import FEATURES, FULL, NAMES, OWN, OWN_SPOTTER, PRECISIONS, SPOTTERS, extending, recipe, spotter_recipe

if TYPE_CHECKING:
    from train.own.prepare import Options


@contextmanager
def _train_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDependency(f"wanted the packages of the train extra, found no module {error.name}: {install('train')}") from error


def _fetch(arguments: argparse.Namespace) -> None:
    with _train_extra():
        from train.fetch import fetch

    fetch(arguments.dest)
    print(f"GTSRB is complete in {arguments.dest}: give that to --data")


def _fit(arguments: argparse.Namespace) -> None:
    arguments.recipe = arguments.recipe or (FULL.name if arguments.add is None else OWN.name)
    if arguments.add is None and arguments.data is None:
        raise InputError("wanted --data ROOT with photos to train on, found none: give it, or --add DIR with reviewed ones")
    if arguments.add is not None:
        _fit_added(arguments)
        return
    if arguments.recipe in SPOTTERS:
        _fit_spotter(arguments)
        return
    with _train_extra():
        from train.fit import fit

    changes = {name: getattr(arguments, name) for name in ("size", "width", "epochs", "seed", "precision")}
    chosen = recipe(arguments.recipe, **changes, **_rate(arguments), air=False if arguments.no_air else None)
    if arguments.extend is not None:
        chosen = extending(chosen)
        arguments.weights, arguments.teacher = arguments.weights or str(arguments.extend), arguments.teacher or arguments.extend
    fit(
        arguments.data,
        arguments.out,
        chosen,
        weights=arguments.weights or _usual(OWN.name, chosen.name, "imagenet"),
        resume=arguments.resume,
        features=arguments.features,
        budget_gib=arguments.memory_budget,
        distributed=arguments.distribute,
        teacher=arguments.teacher,
        leave_out_broken=arguments.leave_out_broken,
    )


def _fit_added(arguments: argparse.Namespace) -> None:
    if arguments.recipe != OWN.name or arguments.extend is not None:
        raise InputError(f"wanted --add with recipe {OWN.name}, whose classes are those of --weights BUNDLE, found another, or --extend: leave that out")
    from edge.bundle.manifest import SHIPPED

    with _train_extra():
        from train.add import add

    changes = {name: getattr(arguments, name) for name in ("seed", "precision", "size", "width")}
    changes |= {**_rate(arguments), "air": False if arguments.no_air else None}
    options = {"features": arguments.features, "budget_gib": arguments.memory_budget, "distributed": arguments.distribute}
    options |= {"leave_out_broken": arguments.leave_out_broken, **({"teacher": arguments.teacher} if arguments.teacher else {})}
    bundle = Path(arguments.weights or SHIPPED)
    add(arguments.add, arguments.out, bundle, arguments.data, resume=arguments.resume, epochs=arguments.epochs, changes=changes, options=options)


def _usual(own: str, recipe: str, others: str) -> str:
    """Return what a recipe begins with: that for signs of one's own with the bundle that ships."""
    from edge.bundle.manifest import SHIPPED

    return str(SHIPPED) if recipe == own else others


def _rate(arguments: argparse.Namespace) -> dict[str, float | None]:
    return dict.fromkeys(("scratch_rate", "tuning_rate"), arguments.rate)


def _fit_spotter(arguments: argparse.Namespace) -> None:
    chosen = spotter_recipe(
        arguments.recipe,
        epochs=arguments.epochs,
        seed=arguments.seed,
        precision=arguments.precision,
        **_rate(arguments),
        air=False if arguments.no_air else None,
        size=arguments.size,
        width=arguments.width,
        memory_budget=arguments.memory_budget,
        distribute=arguments.distribute or None,
        teacher=arguments.teacher,
        leave_out_broken=arguments.leave_out_broken or None,
    )
    with _train_extra():
        from train.fit_spotter import fit_spotter

    weights = arguments.weights or _usual(OWN_SPOTTER.name, chosen.name, "none")
    fit_spotter(arguments.data, arguments.out, chosen, weights=weights, resume=arguments.resume)


def _evaluate(arguments: argparse.Namespace) -> None:
    with _train_extra():
        from train.evaluate import evaluate_runs

    evaluate_runs(arguments.runs, arguments.data, arguments.split, arguments.json)


def _predict(arguments: argparse.Namespace) -> None:
    with _train_extra():
        from train.evaluate import predict_paths

    for path, class_id, label, confidence in predict_paths(arguments.run, arguments.paths):
        print(f"{path}: {class_id} {label} {confidence:.3f}")


def _draw(arguments: argparse.Namespace) -> None:
    with _train_extra():
        from train.draw import draw

    drawn = draw(arguments.kind, arguments.out, arguments.n, arguments.seed)
    print(f"{drawn} {arguments.kind} in {arguments.out}")


def _prepare(arguments: argparse.Namespace) -> None:
    with _train_extra():
        from train.own.prepare import prepare

    prepare(arguments.root, arguments.out, _options(arguments))


def _options(arguments: argparse.Namespace) -> Options:
    from train.own.folders import Table
    from train.own.prepare import Options

    table = Table(arguments.table, arguments.path_column, arguments.class_column) if arguments.table else None
    return Options(table, arguments.alike, arguments.seed, arguments.leave_out_broken, getattr(arguments, "extend", None), arguments.faces)


def _teach(arguments: argparse.Namespace) -> None:
    with _train_extra():
        from train.teach import teach

    try:
        teach(arguments.root, arguments.out, _options(arguments), epochs=arguments.epochs)
    except KeyboardInterrupt:
        again = shlex.join(["signwing", "teach", str(arguments.root), str(arguments.out)])
        print(f"\nwhat is done is kept; to go on, type the same again: {again}, with the options that you gave", file=sys.stderr)
        raise


def _parser(prog: str = "python -m train") -> argparse.ArgumentParser:
    parser = cli.Parser(prog=prog, description="Photos of signs in, a fine-tuned VGG-16 out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    fetch = commands.add_parser("fetch", help="download a data set", description="Download the official archives and unpack them; call again to go on.")
    fetch.add_argument("name", choices=("gtsrb",), help="data set")
    fetch.add_argument("dest", type=Path, help="folder for it: what --data takes")
    fetch.set_defaults(command=_fetch)
    _add_fit(commands)
    evaluate = commands.add_parser("evaluate", help="score a run", description="Score a run's model with Keras; of several runs the mean and the spread.")
    evaluate.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder")
    evaluate.add_argument("--data", type=Path, required=True, help="folder with Train.csv and Test.csv")
    evaluate.add_argument("--split", choices=("valid", "test"), required=True, help="held-out tracks of the training photos, or the test photos")
    evaluate.add_argument("--json", type=Path, help="write the result here")
    evaluate.set_defaults(command=_evaluate)
    predict = commands.add_parser("predict", help="name the signs in photos", description="Name the signs in photos with Keras.")
    predict.add_argument("run", type=Path, help="run folder")
    predict.add_argument("paths", type=Path, nargs="+", help="image files of single signs")
    predict.set_defaults(command=_predict)
    _add_own(commands)
    draw = commands.add_parser("draw", help="draw a data set", description="Draw signs, photos or scenes: no data set, no network.")
    draw.add_argument("kind", choices=("signs", "photos", "scenes"), help="faces with alpha, photos as GTSRB has them, or scenes as GTSDB has them")
    draw.add_argument("--out", type=Path, required=True, help="new or empty folder")
    draw.add_argument("--n", type=int, help="pictures in all, instead of 43 signs, 4300 photos or 100 scenes")
    draw.add_argument("--seed", type=int, default=0, help="another seed draws others")
    draw.set_defaults(command=_draw)
    return parser


def _add_own(commands: argparse._SubParsersAction[cli.Parser]) -> None:
    found = "photos in a folder for each class, frames as YOLO, COCO, Pascal VOC or TT100K, or both; a folder, or a zip"
    prepare = commands.add_parser("prepare", help="make a data set of photos and frames of your own", description="Look at a folder, split it, and copy it.")
    prepare.add_argument("root", type=Path, metavar="ROOT", help=found)
    prepare.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty folder: what --data takes")
    prepare.add_argument("--extend", type=Path, metavar="BUNDLE", help="the classes of this bundle come first, and those that are found are added")
    prepare.set_defaults(command=_prepare)
    teach = commands.add_parser("teach", help="teach signs of your own, all in one", description="Look, train, export, check; type it again to go on.")
    teach.add_argument("root", type=Path, metavar="ROOT", help=found)
    teach.add_argument("out", type=Path, metavar="OUT", help="folder for the data set, the runs and the bundle")
    teach.add_argument("--epochs", type=cli.count, help="epochs of both trainings, instead of the recipes'")
    teach.set_defaults(command=_teach)
    for each in (prepare, teach):
        each.add_argument("--table", type=Path, metavar="CSV", help="photos are listed here, by paths from its folder, instead of lying in folders of classes")
        each.add_argument("--path-column", default="path", metavar="NAME", help="of --table: the column of the paths")
        each.add_argument("--class-column", default="class", metavar="NAME", help="of --table: the column of the classes' names")
        each.add_argument("--faces", type=Path, metavar="DIR", help="an SVG or a PNG of each class's face, by its name, of which pictures are made, too")
        each.add_argument("--alike", type=int, default=4, metavar="BITS", help="near duplicates differ in so many of 64 bits at most; -1: none is looked for")
        each.add_argument("--seed", type=int, default=0, help="another seed splits otherwise")
        each.add_argument("--leave-out-broken", action="store_true", help="go on without pictures that cannot be read, and boxes outside their frame")


def _add_fit(commands: argparse._SubParsersAction[cli.Parser]) -> None:
    fit = commands.add_parser(
        "fit", help="train a classifier or the spotter", description="Train a classifier or the spotter; the run folder keeps all that export needs."
    )
    fit.add_argument(
        "--data",
        type=Path,
        help="folder with the photos, in any of GTSRB's public layouts or as prepare wrote it; for the spotter that above gtsdb/ and gtsrb/",
    )
    fit.add_argument("--out", type=Path, required=True, help="run folder to write")
    fit.add_argument("--recipe", choices=sorted(NAMES), help="named settings (without it: full, and with --add own)")
    fit.add_argument(
        "--weights",
        help="imagenet (the default; of recipe own the bundle that ships), none (from scratch), drawn (from photos that are drawn here, trained on first), "
        "a bundle whose classifier learns on, "
        "or a file of VGG-16's notop weights; for the spotter none (the default), or a bundle or the model.keras of one that is to learn on",
    )
    fit.add_argument("--no-air", action="store_true", help="leave out the drone's views: turned, dark, blurred, foggy, compressed")
    fit.add_argument("--size", type=int, help="side of the input in pixels, instead of the recipe's")
    fit.add_argument("--width", type=float, help="share of VGG-16's channels to keep: of wider weights the most telling, for slow processors")
    fit.add_argument("--teacher", type=Path, metavar="BUNDLE", help="learn from this bundle's classifier beside the labels: for what --width leaves")
    fit.add_argument(
        "--extend",
        type=Path,
        metavar="BUNDLE",
        help="add the data set's signs to this bundle's, as prepare --extend did: it is what is begun from, and teaches",
    )
    fit.add_argument(
        "--add",
        type=Path,
        metavar="DIR",
        help="learn on from the bundle of --weights (without it: the one that ships) with what signwing review DIR made; what it knows is shown from --data, "
        "or else by photos that are made here",
    )
    fit.add_argument("--epochs", type=int, help="epochs, instead of the recipe's")
    fit.add_argument("--rate", type=float, help="peak of the learning rate, instead of the recipe's: lower where good weights learn on")
    fit.add_argument("--seed", type=int, help="seed, instead of the recipe's")
    fit.add_argument("--precision", choices=PRECISIONS, help="instead of the recipe's, auto: what is fast on this machine")
    fit.add_argument("--features", choices=FEATURES, default="auto", help="of frozen layers: computed in each step or cached once; auto caches where it can")
    fit.add_argument("--memory-budget", type=float, metavar="GIB", help="choose batch and caching to stay inside: the GPU's memory, or the process's")
    fit.add_argument(
        "--leave-out-broken", action="store_true", help="train without the photos that cannot be read (without this all are named, and nothing is trained)"
    )
    fit.add_argument("--distribute", action="store_true", help="split each batch over all devices and processes (with KERAS_BACKEND=jax)")
    fit.add_argument("--resume", action="store_true", help="go on after the last whole epoch in --out")
    fit.set_defaults(command=_fit)


def main(argv: Sequence[str] | None = None, prog: str = "python -m train") -> int:
    """Run a command and return its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    code = cli.main(_parser(prog), argv)
    gc.collect()  # an interrupted stream, as long as its threads may still take Python's lock: they would be waited for in vain
    return code


if __name__ == "__main__":
    sys.exit(main())
