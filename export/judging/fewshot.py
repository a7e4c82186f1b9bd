"""What training on a few photos a class reaches: results of `train evaluate` over several runs, told in the model card beside the shipped model's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.errors import InputError

RECIPE = "fewshot"
KEYS = ("weights", "per_class", "seeds", "n", "top1", "top1_std")


def read_fewshot(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Read results that `train evaluate RUN RUN ... --split test --json F` wrote over runs of the recipe fewshot with the same weights.

    Returns:
        One record a file, with the keys `KEYS`: `weights`, `per_class` (photos of each class to train), `seeds`, `n` (test photos), `top1` (mean) and
        `top1_std` (of the sample).

    Raises:
        InputError: a file that is no such result.
    """
    return [_read(Path(path)) for path in paths]


def _read(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        runs, split = result["conditions"]["runs"], result["conditions"]["split"]
        record = {
            "weights": _one({Path(run["weights"]).name for run in runs}),
            "per_class": _one({run["recipe"]["train_per_class"] for run in runs}),
            "seeds": [run["recipe"]["seed"] for run in runs],
            **{key: result[key] for key in ("n", "top1", "top1_std")},
        }
        wanted = split == "test" and {run["recipe"]["name"] for run in runs} == {RECIPE}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{_wanted(path)}, found a fault ({error!r}): evaluate the runs again") from error
    if not wanted:
        raise InputError(f"{_wanted(path)}, found split {split} of {', '.join(str(run['recipe']['name']) for run in runs)}: evaluate those runs")
    return record


def _wanted(path: Path) -> str:
    return f"wanted the JSON of python -m train evaluate RUN RUN ... --split test over runs of recipe {RECIPE} with the same weights in {path}"


def _one(values: set[Any]) -> Any:
    if len(values) != 1:
        raise ValueError(f"runs that differ: {sorted(map(str, values))}")
    return values.pop()
