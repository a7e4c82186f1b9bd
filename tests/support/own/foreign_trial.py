"""The trial of signs of one's own: twelve foreign signs, 20 photos of each and 100 frames, taught on 2 cores, and judged on others.

python tests/support/own/foreign_trial.py OUT [--photos N] [--frames N] [--cores N]      OUT: a folder; typed again it goes on where it was
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]


def main() -> None:
    """Write what is taught and what is judged by, teach, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=int, default=20, help="of each class")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--cores", type=int, default=2)
    told = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: told.cores])
    import foreign_signs

    own, others = told.out / "own", told.out / "others"
    if not others.is_dir():
        foreign_signs.write_photos(own / "photos", told.photos, seed=1)
        foreign_signs.write_yolo(own / "frames", told.frames, seed=1)
        foreign_signs.write_photos(told.out / "others-half" / "photos", 25, seed=2)
        foreign_signs.write_yolo(told.out / "others-half" / "frames", 60, seed=2)
        foreign_signs.write_yolo(told.out / "others-half" / "no-signs", 40, seed=3, most=0)
        (told.out / "others-half").rename(others)
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "train", "teach", str(own), str(told.out / "taught")], cwd=ROOT, check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    taught = {"wall_minutes": round((time.monotonic() - started) / 60, 1), "cpu_minutes": round((used.ru_utime + used.ru_stime) / 60, 1), "cores": told.cores}
    print(json.dumps({**taught, **judge(told.out / "taught" / "bundle", others)}, indent=2, ensure_ascii=False))


def judge(bundle: Path, others: Path) -> dict[str, object]:
    """Name other photos, find and name in other frames, and look at frames without signs; through the models that run on a CPU."""
    import numpy as np

    from benchmarks.measuring.intervals import f1_interval, wilson
    from edge import Recognizer
    from edge.bundle.manifest import read_bundle
    from edge.engines.open import open_engine
    from edge.images import fit_crop, read_image
    from edge.recognition.finding import counted, match
    from train.own.prepare import look

    found, held = look(others), read_bundle(bundle)
    names = held.manifest.labels
    with open_engine(held, "classifier", engine="onnxruntime", precision="int8-cpu") as engine:
        size = engine.spec.input.shape[1]
        said = [names[int(engine.infer(fit_crop(read_image(shot.path), size)[None]).argmax())] for shot in found.shots]
    right = sum(name == shot.name for name, shot in zip(said, found.shots, strict=True))
    signs = hits = told = false = bare = 0
    with Recognizer(bundle) as recognizer:
        for scene in found.scenes:
            seen = recognizer.recognize(read_image(scene.path))
            if "no-signs" in scene.path.parts:
                bare, false = bare + 1, false + len(seen)
                continue
            boxes = np.array([one.box_xyxy for one in seen], np.float64).reshape(-1, 4)
            places, large = match(boxes, scene.boxes_xyxy, None), counted(scene.boxes_xyxy)
            signs += int(large.sum())
            told += sum(place < 0 or bool(large[place]) for place in places)
            hits += sum(place >= 0 and bool(large[place]) and scene.names[place] == one.label for place, one in zip(places, seen, strict=True))
    return {
        "top1": {"n": len(said), "value": round(right / len(said), 4), "interval": wilson(right, len(said))},
        "f1": {"frames": len(found.scenes) - bare, "signs": signs, "value": round(2 * hits / (signs + told), 4), "interval": f1_interval(hits, signs, told)},
        "without_signs": {"frames": bare, "false": false},
    }


if __name__ == "__main__":
    main()
