"""The loop from a flight to a better model, closed on drawn data: a sign with a new face flies by, is kept, judged on the page, learnt, and named right.

python tests/support/own/flight_loop.py OUT [--frames N]      OUT: a folder; typed again it goes on where it was

The new face is a blue disc with a white bar, of the class "No entry", whose ground is red. Flights are drawn with it into films of their own; all else is
what a user types: run --keep, review (in Chromium, by keys), train fit --add, export bundle, compare.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

NO_ENTRY = 17
STANDING = (17, 1, 12, 17, 33, 14, 17, 2, 38)
"""Classes along the road, in turn: the new face is every third."""
SHIPPED = ROOT / "edge" / "models"
LEAST_PX, SIZE_WH = 20, (960, 540)


@contextmanager
def new_face() -> Iterator[None]:
    """Give "No entry" its new face, and let it stand often; in this process alone."""
    from edge.drawn import pictograms, signposts, signs
    from edge.drawn.canvas import BLUE, round_board
    from edge.drawn.drone import flight

    cached = [each for module in (signs, signposts, flight) for each in vars(module).values() if hasattr(each, "cache_clear")]
    before = signs.FACES[NO_ENTRY], flight.FLIGHT_CLASSES
    signs.FACES[NO_ENTRY], flight.FLIGHT_CLASSES = (round_board(BLUE, BLUE, 0.1), pictograms.bar), STANDING
    try:
        for each in cached:
            each.cache_clear()
        yield
    finally:
        signs.FACES[NO_ENTRY], flight.FLIGHT_CLASSES = before
        for each in cached:
            each.cache_clear()


def fly(out: Path, seed: int, frames: range) -> Path:
    """Draw some frames of a flight into a film, and what is in each into `truth.json` beside it."""
    from edge.drawn.drone.flight import DroneFlight

    film = out / "flight.avi"
    if (out / "truth.json").is_file():
        return film
    out.mkdir(parents=True, exist_ok=True)
    truth = []
    with new_face():
        flight = DroneFlight(seed=seed, size_wh=SIZE_WH, frames=frames.stop)
        writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"MJPG"), 30, SIZE_WH)  # type: ignore[attr-defined]
        writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 97)
        for index in frames:
            drawn = flight.frame(index)
            writer.write(drawn.image)
            truth.append([[one.pass_id, one.class_id, list(map(float, one.box_xyxy))] for one in drawn.truths])
        writer.release()
    (out / "truth.json").write_text(json.dumps(truth))
    return film


def run(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command of a stage; what it says is printed."""
    print("$ python -m", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout[-3000:], flush=True)
    if check and done.returncode:
        sys.exit(f"wanted {words[0]} {words[1]} to end well, its exit code is {done.returncode}")
    return done


def true_label(truth: list[Any], frame: int, box: tuple[float, ...]) -> str:
    """What stands in a box of a frame; "" where nothing does."""
    from edge.datasets.gtsrb_labels import LABELS
    from edge.geometry.boxes import overlap

    best = max(((overlap(tuple(sign), tuple(box)), class_id) for _, class_id, sign in truth[frame]), default=(0.0, 0))  # type: ignore[arg-type]
    return LABELS[best[1]] if best[0] > 0.3 else ""


def judge(kept: Path, truth: list[Any], profile: Path) -> Counter[str]:
    """Judge all that was kept as a person would who knows the truth: by keys, on the real page; returns how often each kind of verdict was given."""
    from browser import Browser

    def label_of(name: str) -> tuple[str, list[str]]:
        told = json.loads((kept / f"{name}.json").read_text(encoding="utf-8"))
        view = told["views"][0]
        return true_label(truth, view["frame"], view["box_xyxy"]), [vote["label"] for vote in told["votes"]] or [view["label"]]

    given: Counter[str] = Counter()
    page = subprocess.Popen([sys.executable, "-m", "edge", "review", str(kept)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert page.stdout is not None
    try:
        left = int(page.stdout.readline().split()[0])
        with Browser(profile) as browser:
            browser.open(page.stdout.readline().split()[1])
            shown = "document.getElementById('work').checkVisibility() ? document.getElementById('crop-picture').src.split('/').at(-2) : ''"
            for place in range(left):
                browser.wait(f"document.getElementById('progress').textContent.startsWith('{len(list_judged(kept))} of')")
                name = browser.wait(shown)
                wanted, votes = label_of(name)
                if not wanted:
                    given["none"] += 1
                    browser.press("n")
                elif wanted == votes[0]:
                    given["confirmed"] += 1
                    browser.press("Enter")
                elif wanted in votes[1:3]:
                    given["corrected"] += 1
                    browser.press(str(votes.index(wanted) + 1))
                else:
                    given["corrected"] += 1
                    browser.press("c")
                    browser.wait("document.activeElement.id === 'typed'")
                    for letter in wanted:
                        browser.press(letter)
                    browser.wait(f"document.querySelector('#names button').textContent === {json.dumps(wanted)}")
                    browser.press("Enter")
                browser.wait(f"({shown}) !== {json.dumps(name)}")
                assert len(list_judged(kept)) >= place + 1
            browser.wait("document.getElementById('done').checkVisibility()")
            browser.click("document.getElementById('end')")
        page.wait(30)
    finally:
        page.kill()
        page.communicate()
    return given


def list_judged(kept: Path) -> dict[str, Any]:
    """What is judged by now."""
    path = kept / "reviewed" / "judged.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))["items"]) if path.exists() else {}


def write_photos(out: Path, film: Path, truth: list[Any]) -> Path:
    """Cut photos of each sign out of a film, one in ten of its frames, and draw others of all classes, as GTSRB's test photos lie."""
    from edge.recognition.classifier import cut_out
    from train.photos.drawn import draw_photo

    root = out / "gtsrb"
    if (root / "Test.csv").is_file():
        return out
    (root / "Test").mkdir(parents=True, exist_ok=True)
    rows, seen, capture = [], Counter[int](), cv2.VideoCapture(str(film))
    for frame in truth:
        image = capture.read()[1]
        for number, class_id, box in frame:
            seen[number] += min(box[2] - box[0], box[3] - box[1]) >= LEAST_PX
            if seen[number] % 10 == 1 and min(box[2] - box[0], box[3] - box[1]) >= LEAST_PX:
                rows.append((class_id, cut_out(image, box)))
    rng = np.random.default_rng(99)
    rows += [(class_id, draw_photo(class_id, rng)) for class_id in np.repeat(np.arange(43), 4).tolist()]
    with (root / "Test.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["ClassId", "Path"])
        for place, (class_id, image) in enumerate(rows):
            cv2.imwrite(str(root / "Test" / f"{place:05}.png"), image)
            table.writerow([class_id, f"Test/{place:05}.png"])
    return out


def named(film: Path, truth: list[Any], bundle: Path, events: Path) -> dict[str, Any]:
    """Fly with a bundle, and count signs of the new face, and others, by what they were announced as."""
    from edge.datasets.gtsrb_labels import LABELS
    from edge.geometry.boxes import overlap

    run("edge", "run", film, "--bundle", bundle, "--events", events, "--quiet")
    last: dict[int, str] = {}
    for line in events.read_text().splitlines():
        event = json.loads(line)
        for number, _, box in truth[event["frame"]] if event["event"] in ("sighting", "update") else ():
            if overlap(tuple(box), tuple(event["box_xyxy"])) > 0.3:
                last[number] = event["label"]
    classes = {number: class_id for frame in truth for number, class_id, box in frame if min(box[2] - box[0], box[3] - box[1]) >= LEAST_PX + 2}
    new = [last.get(number, "not announced") for number, class_id in classes.items() if class_id == NO_ENTRY]
    others = [last.get(number) == LABELS[class_id] for number, class_id in classes.items() if class_id != NO_ENTRY]
    return {"new_face": dict(Counter(new)), "others_right": sum(others), "others": len(others)}


def spoil(bundle: Path, out: Path) -> Path:
    """Copy a bundle, with a third of the weights of its classifier for CPUs set to nothing."""
    import onnx
    from onnx import numpy_helper

    from edge.bundle.manifest import MANIFEST
    from edge.files import sha256_of

    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(bundle, out)
    file, rng = out / "classifier.int8-cpu.onnx", np.random.default_rng(0)
    model = onnx.load(file)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if values.ndim > 1 and values.dtype == np.int8:
            values[rng.random(values.shape) < 0.33] = 0
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, file)
    manifest = json.loads((out / MANIFEST).read_text())
    for each in manifest["models"]:
        if each["file"] == file.name:
            each["sha256"] = sha256_of(file)
    (out / MANIFEST).write_text(json.dumps(manifest))
    return out


def compared(old: Path, new: Path, data: Path, out: Path) -> dict[str, Any]:
    """What `signwing compare` says of two bundles."""
    done = run("benchmarks", "compare", old, new, "--data", data, "--limit", "150", "--silent-minutes", "0.2", "--json", out, check=False)
    told = json.loads(out.read_text())
    rows = {row["name"]: [row["old"], row["new"], row["trials"], row["verdict"]] for row in told["rows"]}
    return {"verdict": told["verdict"], "exit_code": done.returncode, "rows": rows}


def main() -> None:
    """Close the loop and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, default=900, help="of each of the two flights")
    told = parser.parse_args()
    out, figures = told.out.resolve(), {}
    flown, other = out / "flown", out / "other"
    film, second = fly(flown, 21, range(told.frames)), fly(other, 22, range(told.frames))
    truth, second_truth = (json.loads((folder / "truth.json").read_text()) for folder in (flown, other))
    kept = out / "kept"
    if not any(kept.glob("*.json")):
        run("edge", "run", film, "--keep", kept, "--quiet")
    figures["kept"] = len(list(kept.glob("*.json")))
    figures["verdicts"] = dict(judge(kept, truth, out / "profile"))
    figures["photos"] = dict(Counter(path.relative_to(kept / "reviewed").parts[0] for path in (kept / "reviewed").rglob("*.png")))
    before_s, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if not (out / "run" / "run.json").is_file():
        run("train", "fit", "--add", kept, "--out", out / "run", "--resume")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
        figures["learnt"] = {"wall_minutes": round((time.monotonic() - before_s) / 60, 1), "cpu_minutes": round(cpu_s / 60, 1)}
    more = out / "more"
    if not (more / "manifest.json").is_file():
        run("export", "bundle", out / "run", "--data", out / "run" / "data", "--spotter", SHIPPED, "--out", more)
    photos = write_photos(out / "photos", second, second_truth)
    figures["other_flight"] = {name: named(second, second_truth, bundle, out / f"{name}.jsonl") for name, bundle in (("before", SHIPPED), ("after", more))}
    figures["compare"] = compared(SHIPPED, more, photos, out / "better.json")
    figures["compare_spoilt"] = compared(SHIPPED, spoil(more, out / "spoilt"), photos, out / "worse.json")
    (out / "figures.json").write_text(json.dumps(figures, indent=2))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
