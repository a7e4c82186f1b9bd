"""Few-shot results for the model card: read as `train evaluate` writes them, anything else refused in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.errors import InputError
from export.judging.fewshot import KEYS, read_fewshot


def result(**changes: Any) -> dict[str, Any]:
    runs = [{"run": f"runs/{seed}", "weights": "none", "recipe": {"name": "fewshot", "seed": seed, "train_per_class": 28}} for seed in range(3)]
    return {"conditions": {"runs": runs, "split": "test"}, "n": 2526, "top1": 0.98, "top1_std": 0.002} | changes


def written(folder: Path, document: Any) -> Path:
    path = folder / "few.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_reads_what_evaluate_writes(tmp_path: Path) -> None:
    record = read_fewshot([written(tmp_path, result())])
    assert record == [{"weights": "none", "per_class": 28, "seeds": [0, 1, 2], "n": 2526, "top1": 0.98, "top1_std": 0.002}]
    assert tuple(record[0]) == KEYS


def other(key: str, value: Any) -> dict[str, Any]:
    document = result()
    run = document["conditions"]["runs"][1]
    if key in run:
        run[key] = value
    else:
        run["recipe"][key] = value
    return document


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"top1": 0.5},
        result(conditions={"runs": result()["conditions"]["runs"], "split": "valid"}),
        result(conditions={"runs": [], "split": "test"}),
        other("weights", "drawn"),
        other("name", "full"),
        other("train_per_class", 10),
        {key: value for key, value in result().items() if key != "top1_std"},
    ],
)
def test_refuses_other_results(tmp_path: Path, document: Any) -> None:
    with pytest.raises(InputError, match=r"^wanted the JSON of python -m train evaluate") as refused:
        read_fewshot([written(tmp_path, document)])
    assert "\n" not in str(refused.value)


def test_refuses_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found a fault"):
        read_fewshot([tmp_path / "none.json"])
