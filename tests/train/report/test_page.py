"""The page of a run: whole, without a network, and with nothing in it that a name could break."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the train extra")

from edge.datasets.gtsrb import CLASSES, LABELS, score
from edge.errors import OutputError
from train.report.page import REPORT, Seen, write_report

HOSTILE = "<script>alert('x')</script>&\"photos\""
VOID = {"meta", "img"}
PICTURES = {"balance.png", "confusion.png", "curves.png", "predictions.png", "samples.png"}


class Page(HTMLParser):
    """Text, attributes and the balance of a page's tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def shows(self, *words: str) -> bool:
        return all(word in self.words for word in words)


@pytest.fixture(scope="module")
def seen(draw_crops: Any) -> Seen:
    crops, class_ids = draw_crops(12, 24)
    probabilities = np.full((12, CLASSES), 0.01, np.float32)
    probabilities[np.arange(12), class_ids] = 0.58
    probabilities[3] = np.roll(probabilities[3], 1)
    rows = [{"epoch": n, "loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5, "seconds": 2.0} for n in (1.0, 2.0)]
    ids = np.array(class_ids, np.int64)
    return Seen(rows, crops, ids, probabilities, np.repeat(ids, 3), np.repeat(ids, 2), [(class_ids[0], crops[0], [crops[1]] * 7)], LABELS)


def run(seen: Seen, **changes: Any) -> dict[str, Any]:
    return {
        "recipe": {"name": "full", "epochs": 5, "size": 24, "weight_decay": 0.005},
        "weights": "none",
        "data": "photos",
        "photos": {"train": 36, "valid": 12},
        "metrics": {"valid": score(seen.probabilities.argmax(axis=1), seen.class_ids)},
        "lineage": {"made_at": "2026-01-01T00:00:00+00:00", "commit": None, "python": "3.11", "versions": {"keras": "3.15"}},
        "environment": {"machine": {"cpu": "a CPU", "board": None}, "devices": [{"kind": "gpu", "name": "Tesla T4", "memory_mib": 15360}]},
        "peak_memory": {"host_peak_mib": 2048.0, "gpu_peak_mib": None},
        "seconds": 5400.0,
        **changes,
    }


def test_the_page_tells_figures_recipe_environment_and_worst_class(tmp_path: Path, seen: Seen) -> None:
    path = write_report(tmp_path / "run", run(seen), seen)
    assert path == tmp_path / "run" / REPORT
    page = Page(path)
    assert page.shows("0.9167", "1 of 12 wrong", "2", "of 5 planned", "1 h 30 min", "2.00 GiB", "no GPU used", "36", "12 to validate")
    assert page.shows("weight decay", "0.005", "machine cpu", "a CPU", "gpu, Tesla T4, 15360", "versions keras")
    true = int(seen.class_ids[3])
    assert page.shows(f"{true} {LABELS[true]}", f"{LABELS[(true + 1) % CLASSES]}\u00a0\u00d71")


def test_the_pictures_lie_beside_the_page_and_in_it(tmp_path: Path, seen: Seen) -> None:
    page = Page(write_report(tmp_path, run(seen), seen))
    assert {path.name for path in tmp_path.iterdir()} == {*PICTURES, REPORT}
    links = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    inside = {base64.b64decode(link.removeprefix("data:image/png;base64,"), validate=True) for link in links}
    assert inside == {(tmp_path / name).read_bytes() for name in PICTURES}


def test_nothing_is_fetched_and_nothing_a_user_named_becomes_markup(tmp_path: Path, seen: Seen) -> None:
    recipe = {"name": HOSTILE, "epochs": 5, HOSTILE: HOSTILE}
    hostile = run(seen, recipe=recipe, weights=HOSTILE, data=HOSTILE, environment={HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]})
    page = Page(write_report(tmp_path, hostile, seen))
    text = (tmp_path / REPORT).read_text(encoding="utf-8")
    assert not {tag for tag, _, _ in page.attributes} & {"script", "link", "iframe"}
    assert "<script" not in text
    assert not any(word in text for word in ("http:", "https:", "url(", "@import"))
    assert page.shows(f"Signwing run: {HOSTILE}", HOSTILE, f"{HOSTILE}; {HOSTILE}")


def test_a_run_without_a_mistake_and_with_a_gpu_is_told_so(tmp_path: Path, seen: Seen) -> None:
    perfect = Seen(**{**vars(seen), "class_ids": seen.probabilities.argmax(axis=1)})
    page = Page(write_report(tmp_path, run(perfect, peak_memory={"host_peak_mib": 1024.0, "gpu_peak_mib": 8294.4}, seconds=30.0), perfect))
    assert page.shows("0 of 12 wrong", "8.10 GiB", "0.5 min", "None: every validation photo was named rightly.")


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path, seen: Seen) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(OutputError):
        write_report(tmp_path / "run", run(seen), seen)
