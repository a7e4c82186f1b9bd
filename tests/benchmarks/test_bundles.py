"""Two bundles on the same pictures: an untrained one is worse, one whose thresholds let nothing through finds less, and a bundle is no other than itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drawn_sets import write_frames, write_test_photos

from benchmarks.bundles import BETTER, SAME, WORSE, Row, verdicts
from edge.__main__ import signwing
from edge.bundle.manifest import MANIFEST, SHIPPED
from edge.datasets.aerial import JUDGED


@pytest.fixture
def photos(tmp_path: Path, draw_crops: Callable[..., Any]) -> Path:
    """A folder with 30 drawn test photos, and none of GTSDB's frames."""
    return write_test_photos(tmp_path / "photos", draw_crops)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A folder with three frames and no photo."""
    return write_frames(tmp_path / "frames")


def compare(old: Path, new: Path, data: Path, out: Path) -> tuple[int, dict[str, Any]]:
    code = signwing(["compare", str(old), str(new), "--data", str(data), "--limit", "2", "--silent-minutes", "0", "--json", str(out)])
    return code, json.loads(out.read_text(encoding="utf-8"))


def test_an_untrained_bundle_is_worse_and_the_shipped_one_better_than_it(photos: Path, tiny_bundle: Path, tmp_path: Path, capsys: Any) -> None:
    code, told = compare(SHIPPED, tiny_bundle, photos, tmp_path / "worse.json")
    assert (code, told["verdict"]) == (1, WORSE)
    assert "found it worse in photos" in capsys.readouterr().err
    row = told["rows"][0]
    assert (row["name"], row["trials"], row["better"]) == ("photos", 30, 0)
    assert row["worse"] > 20
    assert compare(tiny_bundle, SHIPPED, photos, tmp_path / "better.json")[1]["verdict"] == BETTER


def test_thresholds_that_let_nothing_through_cost_frames(frames: Path, tmp_path: Path) -> None:
    strict = Path(shutil.copytree(SHIPPED, tmp_path / "strict"))
    manifest = json.loads((strict / MANIFEST).read_text(encoding="utf-8"))
    fusion = manifest["thresholds"]["fusion"]
    fusion["bias"] = fusion["second"]["bias"] = -1000.0
    (strict / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    rows = {row["name"]: row for row in compare(SHIPPED, strict, frames, tmp_path / "strict.json")[1]["rows"]}
    assert (rows["frames"]["old"], rows["frames"]["new"], rows["frames"]["worse"]) == (1, 0, 1)
    views = rows[f"frames, {len(JUDGED)} views of a drone"]
    assert (views["trials"], views["worse"], views["new"]) == (1, 1, 0)
    assert rows["milliseconds a frame"]["trials"] == 1 + len(JUDGED)


def test_a_bundle_is_no_other_than_itself(photos: Path, tmp_path: Path) -> None:
    code, told = compare(SHIPPED, SHIPPED, photos, tmp_path / "same.json")
    assert (code, told["verdict"]) == (0, SAME)
    assert all(row["better"] == row["worse"] == 0 for row in told["rows"])


def test_chance_is_exact_and_several_rows_must_each_be_surer() -> None:
    assert Row("", 0, 0, 9, 6, 0).chance == pytest.approx(2 / 2**6)
    assert Row("", 0, 0, 9, 3, 3).chance == 1
    assert Row("", 0, 0, 9, 0, 0).chance == 1
    assert Row("", 0, 0, 5000, 2600, 2400).chance == pytest.approx(0.0049, abs=2e-4)
    rows = [Row("sure", 0, 0, 20, 0, 12), Row("alone it would be", 0, 0, 20, 6, 0), Row("none", 0, 0, 20, 3, 2)]
    assert verdicts(rows) == {"sure": WORSE, "alone it would be": SAME, "none": SAME}
    assert verdicts(rows[1:2]) == {"alone it would be": BETTER}
    assert verdicts([Row("too small a difference to matter", 0, 0, 20, 0, 12, matters=False)]) == {"too small a difference to matter": SAME}


def test_bundles_want_pictures(tmp_path: Path, capsys: Any) -> None:
    assert signwing(["compare", str(SHIPPED), str(SHIPPED)]) == 1
    assert "wanted --data ROOT" in capsys.readouterr().err
    assert signwing(["compare", str(SHIPPED), str(SHIPPED), "--data", str(tmp_path)]) == 1
    assert "found neither" in capsys.readouterr().err
