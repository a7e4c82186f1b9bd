"""Motion: films whose truth is known, and what is told of them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.tracking.motion import FAST_PX, MOVES, SIZE_WH, film


def test_every_film_is_estimated_scored_and_timed(tiny_bundle: Path, tmp_path: Path) -> None:
    options = ["--bundle", str(tiny_bundle), "--engine", "fake", "--spotter", "colour", "--json", str(tmp_path / "out.json")]
    assert main(["motion", "--frames", "6", *options]) == 0
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [move["name"] for move in document["moves"]] == list(MOVES)
    for move in document["moves"]:
        assert move["told"] == 5
        assert move["error_px"]["p50"] <= move["error_px"]["p95"] < 4
        signs = move["signs"]
        assert signs["all"] == signs["right"] + signs["wrong"] + signs["missed"] > 0
    for what in ("estimate_ms", "level_ms"):
        assert 0 < document[what]["min"] <= document[what]["p50"] <= document[what]["p90"]


@pytest.mark.parametrize(("name", "fastest"), [("still", 0.0), ("yaw of 120 degrees a second", FAST_PX)])
def test_a_film_moves_as_it_says(name: str, fastest: float) -> None:
    middle = [np.array(seen.place.inverse().point(SIZE_WH[0] / 2, SIZE_WH[1] / 2)) for seen in film(name, 5)]
    steps = [float(np.hypot(*(after - before))) for before, after in pairwise(middle)]
    assert max(steps) == pytest.approx(fastest, abs=1e-6)
