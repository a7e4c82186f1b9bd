"""Train on the desk or in Colab.

python -m train fit --data ROOT --out RUN --weights none
python -m train evaluate RUN --data ROOT --split test
python -m train predict RUN PATH...
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge import cli
from edge.errors import MissingDependency
from train.config import RECIPES, recipe


@contextmanager
def _train_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDependency(f"wanted the packages of the train extra, found no module {error.name}: pip install '.[train]'") from error


def _fit(arguments: argparse.Namespace) -> None:
    with _train_extra():
        from train.fit import fit

    chosen = recipe(arguments.recipe, size=arguments.size, epochs=arguments.epochs, seed=arguments.seed)
    fit(arguments.data, arguments.out, chosen, weights=arguments.weights, resume=arguments.resume)


def _evaluate(arguments: argparse.Namespace) -> None:
    with _train_extra():
        from train.evaluate import evaluate_run

    evaluate_run(arguments.run, arguments.data, arguments.split, arguments.json)


def _predict(arguments: argparse.Namespace) -> None:
    with _train_extra():
        from train.evaluate import predict_paths

    for path, class_id, label, confidence in predict_paths(arguments.run, arguments.paths):
        print(f"{path}: {class_id} {label} {confidence:.3f}")


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(prog="python -m train", description="GTSRB photos in, a fine-tuned VGG-16 out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="train a classifier", description="Train a classifier; the run folder keeps all that export needs.")
    fit.add_argument("--data", type=Path, required=True, help="folder with Train.csv and the photos")
    fit.add_argument("--out", type=Path, required=True, help="run folder to write")
    fit.add_argument("--recipe", choices=sorted(RECIPES), default="full", help="named settings")
    fit.add_argument("--weights", default="imagenet", help="imagenet, none (from scratch), or a file of VGG-16's notop weights")
    fit.add_argument("--size", type=int, help="side of the input in pixels, instead of the recipe's")
    fit.add_argument("--epochs", type=int, help="epochs, instead of the recipe's")
    fit.add_argument("--seed", type=int, help="seed, instead of the recipe's")
    fit.add_argument("--resume", action="store_true", help="go on after the last whole epoch in --out")
    fit.set_defaults(command=_fit)
    evaluate = commands.add_parser("evaluate", help="score a run", description="Score a run's model with Keras.")
    evaluate.add_argument("run", type=Path, help="run folder")
    evaluate.add_argument("--data", type=Path, required=True, help="folder with Train.csv and Test.csv")
    evaluate.add_argument("--split", choices=("valid", "test"), required=True, help="held-out tracks of the training photos, or the test photos")
    evaluate.add_argument("--json", type=Path, help="write the result here")
    evaluate.set_defaults(command=_evaluate)
    predict = commands.add_parser("predict", help="name the signs in photos", description="Name the signs in photos with Keras.")
    predict.add_argument("run", type=Path, help="run folder")
    predict.add_argument("paths", type=Path, nargs="+", help="image files of single signs")
    predict.set_defaults(command=_predict)
    return parser


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(cli.main(_parser()))
