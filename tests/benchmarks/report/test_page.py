"""Results read again: the page holds them and their conditions and opens without a network; a comparison tells better from worse."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.report.compare import BETTER, SAME, WORSE, judge
from benchmarks.report.page import _sections
from benchmarks.report.reference import FOLDER, name_of
from benchmarks.report.results import Figure, figures_of, read_results
from benchmarks.report.tables import as_markdown

MACHINE = {"board": None, "cpu": "A <processor>", "cores": 2, "system": "Linux", "load_1min": 0.1}


def document(command: str, figures: dict[str, Any], **conditions: Any) -> dict[str, Any]:
    shared = {"schema": 1, "command": f"benchmarks {command}", "machine": MACHINE, "started_at": "2026-11-25T12:00:00+00:00"}
    return {**shared, "conditions": {"size": 64, "provider": "cpu", **conditions}, "engine": "onnxruntime", "precision": "int8-cpu", **figures}


def latency(p50: float) -> dict[str, Any]:
    row = {"p50_ms": p50, "p90_ms": p50 * 1.1, "p99_ms": p50 * 1.5, "max_ms": p50 * 2, "first_ms": p50 * 3, "batch": 1, "runs": 200}
    row["roofline"] = {"operations": 1, "bytes": 1, "floor_ms": p50 / 3, "bound": "operations", "share": 0.33}
    return document("latency", {**row, "batches": [row, {**row, "batch": 8}]})


def memory() -> dict[str, Any]:
    return document("memory", {"idle_mib": 80.0, "loaded_mib": 120.0, "running_mib": 130.0, "peak_mib": 131.0, "closed_mib": 90.0})


def accuracy(top1: float) -> dict[str, Any]:
    return document("accuracy", {"n": 2526, "top1": top1, "per_class": {}}, split="test")


def pipeline(fps: float) -> dict[str, Any]:
    age = {"p50": 9.0, "p90": 10.0, "p99": 11.0, "max": 12.0}
    row = {"source": "demo://", "fps": fps, "age_ms": age, "stage_ms": {"spot": 5.0, "classify": 4.0}, "peak_rss_mib": 200.0}
    return document("pipeline", {**row, "sources": [row]})


def detector() -> dict[str, Any]:
    rows = [{"name": "ours", "fps": 60.0, "ratio": 1.0}, {"name": "YOLOX-nano int8, onnxruntime", "fps": 20.0, "ratio": 3.0}]
    return document("detector", {"fps": 60.0, "rows": rows})


def views() -> dict[str, Any]:
    def side(f1: float) -> dict[str, Any]:
        rate = {"recall": f1, "precision": f1, "f1": f1, "interval": [f1 - 0.1, f1 + 0.05]}
        rows = {name: {"n": 113, "said": 110, "find": rate, "name": rate} for name in ("as they are", "roll 45", "dim", "night", "of another version")}
        return {"views": rows, "mean_f1": f1, "crops": {"roll 45": {"n": 9, "top1": f1, "interval": [0.1, 0.9]}}, "mean_top1": None}

    return document("views", {**side(0.7), "fp32": side(0.8), "frames": 86, "left_out": []}, split="held-out")


def written(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def gathered(tmp_path: Path) -> Path:
    results = [latency(3.0), memory(), accuracy(0.996), pipeline(28.0), detector(), views()]
    return written(tmp_path / "all.json", {"schema": 1, "command": "benchmarks all", "results": results, "failed": []})


def test_the_page_holds_every_figure_and_needs_nothing_else(gathered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="needs the draw extra")
    assert main(["report", str(gathered), "--out", str(tmp_path / "page.html"), "--markdown", str(tmp_path / "table.md")]) == 0
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert html.count('<img src="data:image/png;base64,') == 7
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert "A &lt;processor&gt;" in html
    for figure in (figure for document in read_results([gathered]) for figure in figures_of(document)):
        assert figure.of in html
    assert "<script" not in html
    assert "written" not in capsys.readouterr().err
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| onnxruntime int8-cpu 64 px | 0.9960 | 3.00 / 4.50 | 3.0 | 33% / 33% | 131 |" in table
    assert "| onnxruntime, `demo://` | 28.0 | 9 / 11 | 5.0 / 4.0 | 200 |" in table
    assert "| YOLOX-nano int8, onnxruntime | 20.0 | 3.00 |" in table
    assert "| held-out frames, roll 45: F1, named | 113 | 0.7000 | 0.600 to 0.750 | 0.8000 |" in table
    assert "| mean F1 of 12 views |  | 0.7000 |  | 0.8000 |" in table
    assert "| photos, roll 45: top-1 | 9 | 0.7000 | 0.100 to 0.900 | 0.8000 |" in table
    assert "mean top-1" not in table  # some were left out
    assert "real frames" not in table


def test_every_machine_has_its_own_tables_and_power_mode() -> None:
    boards = []
    for mode in ("25W", "MAXN_SUPER"):
        one = latency(3.0)
        one["machine"] = MACHINE | {"board": "NVIDIA Jetson Orin Nano", "cpu_flags": ["asimd"]}
        one["conditions"]["before"] = {"power_mode": mode}
        boards.append(one)
    table = as_markdown([*boards, latency(2.0)])
    assert table.count("| the classifier alone |") == 3
    assert "**NVIDIA Jetson Orin Nano (asimd), 2 cores, power mode 25W, Linux**, 2026-11-25" in table
    assert [name_of(board) for board in boards] == ["nvidia-jetson-orin-nano-2-cores-25w", "nvidia-jetson-orin-nano-2-cores-maxn-super"]
    pcs = [document("latency", {}) | {"machine": MACHINE | {"cpu": "AMD EPYC", "cpu_flags": flags}} for flags in (["avx2"], ["avx2", "avx512_vnni"])]
    assert [name_of(pc) for pc in pcs] == ["amd-epyc-avx2-2-cores", "amd-epyc-avx2-avx512-vnni-2-cores"]


def test_what_was_found_along_the_way_is_told_where_there_is_something() -> None:
    passes = {"all": 9, "right": 8, "wrong": 0, "missed": 1, "twice": 0, "false": 0}
    told = {"passes": passes, "right_share": 0.89, "delay_frames": {"p50": 22.0, "p90": 27.0}}
    silent = {"frames": 0, "sightings": 0}
    whole = document("tracks", {**told, "flights": [{}], "silent": silent | {"frames": 900}, "approaches": told})
    table = as_markdown([whole])
    assert "| 1 drawn flights | 8 of 9 | 0 | 1 | 0 | 0 | 22 / 27 |" in table
    assert "| 900 drawn frames without a sign |  |  |  |  | 0 |  |" in table
    assert "| real signs that come nearer | 8 of 9 |" in table
    whole["conditions"]["view"] = "drone"
    assert "| 1 drawn flights of a drone | 8 of 9 |" in as_markdown([whole])
    assert "| 900 drawn frames of a drone without a sign |" in as_markdown([whole])
    assert "drawn" not in as_markdown([document("tracks", {**told, "flights": [], "silent": silent, "approaches": told})])


def test_panels_go_from_the_frames_as_they_are_to_the_worst() -> None:
    drawn = {}

    class Charts:
        @staticmethod
        def curves(panels: Any, up: str) -> bytes:
            drawn.update(panels)
            return up.encode()

    section = next(section for section in _sections([views()]) if "drone" in section[0])
    assert section[2](Charts) == b"F1, named"
    assert list(drawn) == [
        "roll, degrees",
        "levelled roll, degrees",
        "pitch, degrees",
        "yaw, degrees",
        "blur, pixels",
        "light, share lost",
        "quantiser, of H.265",
    ]
    assert drawn["light, share lost"]["int8-cpu"] == [(strength, 0.7, 0.6, 0.75) for strength in (0, 0.4, 0.75)]
    assert [at for at, *_ in drawn["roll, degrees"]["fp32"]] == [0, 45]


def test_a_reference_holds_one_machine_and_no_paths(gathered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = accuracy(0.996)
    more["conditions"] |= {"data": "/home/me/data", "before": {"power_mode": None}, "kept": ["/home/me/frames", "demo://"]}
    assert main(["reference", str(gathered), str(written(tmp_path / "more.json", more)), "--out", str(tmp_path / "kept.json")]) == 0
    text = (tmp_path / "kept.json").read_text(encoding="utf-8")
    assert "/home" not in text
    assert '"frames"' in text
    assert main(["compare", str(gathered), str(tmp_path / "kept.json")]) == 0
    assert main(["report", str(tmp_path / "kept.json"), "--out", str(tmp_path / "page.html")]) == 0
    other = written(tmp_path / "other.json", memory() | {"machine": MACHINE | {"cpu": "another"}})
    capsys.readouterr()
    assert main(["reference", str(gathered), str(other), "--out", str(tmp_path / "both.json")]) == 1
    assert "found a-processor-2-cores, another-2-cores" in capsys.readouterr().err
    assert not (tmp_path / "both.json").exists()


def test_the_readme_shows_the_references() -> None:
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    references = sorted(FOLDER.glob("*.json"))
    assert references
    assert as_markdown(read_results(references)).strip() in readme, (
        "python -m benchmarks report benchmarks/reference/*.json --markdown table.md, into benchmarks/README.md"
    )
    for path in references:
        assert "/" not in json.loads(path.read_text(encoding="utf-8"))["results"][0]["conditions"]["folder"]


def test_conditions_that_spoil_results_stand_in_the_table() -> None:
    spoiled = latency(3.0)
    spoiled["conditions"]["warnings"] = ["warning: load 3 on 2 cores", "warning: 91 degrees", "warning: load 2.5 on 2 cores"]
    table = as_markdown([spoiled])
    assert "warning: load 3 on 2 cores (and 1 more like this)\n" in table
    assert "warning: 91 degrees\n" in table
    assert "2.5" not in table


@pytest.mark.parametrize(
    ("value", "more_is_better", "verdict"),
    [(105, False, SAME), (95, True, SAME), (111, False, WORSE), (111, True, BETTER), (89, False, BETTER), (89, True, WORSE)],
)
def test_a_band_is_for_noise(value: float, more_is_better: bool, verdict: str) -> None:
    assert judge(100, Figure("x", "p50_ms", value, more_is_better), 0.1) == verdict


def test_accuracy_has_a_band_of_its_own() -> None:
    assert judge(0.996, Figure("x", "top1", 0.993, more_is_better=True), 0.1) == WORSE
    assert judge(0.996, Figure("x", "top1", 0.995, more_is_better=True), 0.1) == SAME


def test_what_is_worse_is_refused_and_what_is_better_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast, slow = written(tmp_path / "fast.json", latency(2.0)), written(tmp_path / "slow.json", latency(3.0))
    assert main(["compare", str(slow), str(fast)]) == 0
    assert "better   latency onnxruntime int8-cpu 64 px batch 1: p50_ms" in capsys.readouterr().out
    assert main(["compare", str(fast), str(slow)]) == 1
    assert "6 of 6 are" in capsys.readouterr().err
    assert main(["compare", str(fast), str(slow), "--band", "0.6"]) == 0


def test_nothing_in_common_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(written(tmp_path / "a.json", memory())), str(written(tmp_path / "b.json", accuracy(0.9)))]) == 1
    assert "found none" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"schema": 1}', json.dumps({**memory(), "schema": 2}), json.dumps({**memory(), "command": "edge run"}), '{"command": "benchmarks all"}'],
)
def test_other_files_are_refused_in_a_line(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text(content, encoding="utf-8")
    assert main(["report", str(tmp_path / "x.json"), "--out", str(tmp_path / "page.html")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("python -m benchmarks: wanted a result")
    assert told.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_all_measures_every_precision_and_goes_on_after_a_failure(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    from benchmarks import collect

    monkeypatch.setattr(collect, "CALLS", 2)
    monkeypatch.setattr(collect, "BATCHES", (1,))
    monkeypatch.setattr(collect, "SECONDS", 5)
    monkeypatch.setattr(collect, "SOURCES", ("demo://?frames=3&width=160&height=96", str(tmp_path / "none.mp4")))
    assert main(["all", "--bundle", str(tiny_bundle), "--json", str(tmp_path / "all.json")]) == 0
    told = json.loads((tmp_path / "all.json").read_text())
    assert [failure["step"] for failure in told["failed"]] == ["pipeline"]
    assert "none.mp4" in told["failed"][0]["error"]
    found = {(result["command"].split()[1], result["precision"]) for result in told["results"]}
    assert {("latency", "int8-cpu"), ("memory", "int8-cpu"), ("latency", "fp32"), ("memory", "fp32")} <= found
