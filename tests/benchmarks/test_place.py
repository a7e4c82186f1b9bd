"""Placing: a short flight is told whole, and one without a sign is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.place import ERRORS


def test_places_maps_and_comparisons_are_told(tmp_path: Path) -> None:
    assert main(["place", "--seeds", "1", "--frames", "170", "--draws", "2", "--json", str(tmp_path / "out.json")]) == 0
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert list(document["errors"]) == list(ERRORS)
    counts = {name: errors["n"] for name, errors in document["errors"].items()}
    assert counts["shared"] == 2 * counts["none"] > 0
    assert document["errors"]["none"]["off_m"]["max"] < 0.5
    for errors in document["errors"].values():
        low, high = errors["within_95"]["interval"]
        assert low <= errors["within_95"]["share"] <= high
        assert errors["off_m"]["p50"] <= errors["off_m"]["p95"] <= errors["off_m"]["max"]
    for counted in document["maps"].values():
        assert counted == {"signs": counts["none"], "doubled": 0, "missed": 0}
    assert document["before"]["flights"] == 1
    assert document["frame_ms"] > 0


def test_a_flight_that_passes_no_sign_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["place", "--seeds", "1", "--frames", "5"]) == 1
    assert "wanted signs along flights of 5 frames, found none that were passed: give more --frames" in capsys.readouterr().err
