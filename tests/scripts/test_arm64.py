"""What scripts/arm64/run says of two machines, and what it said last. The run itself takes too long to be a test."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "scripts/arm64"
SIGHTING = {"event": "sighting", "frame": 11, "track": 1, "class_id": 14, "label": "Stop", "confidence": 0.9993, "box_xyxy": [390.8, 150.5, 414.4, 173.8]}


def compared(folder: Path, **changes: Any) -> subprocess.CompletedProcess[str]:
    for name, event in (("board", SIGHTING), ("desk", SIGHTING | changes)):
        (folder / name).write_text(json.dumps({"event": "feed"}) + "\n" + json.dumps(event) + "\n")
    return subprocess.run([sys.executable, FOLDER / "compare.py", folder / "board", folder / "desk"], capture_output=True, text=True, check=False)


def test_the_same_signs_are_told_with_their_differences(tmp_path: Path) -> None:
    done = compared(tmp_path, confidence=0.9991, box_xyxy=[390.8, 151.75, 414.4, 173.8])
    assert done.returncode == 0, done.stderr
    assert done.stdout == "signs: Stop\nthe same 1 events on both; confidences differ by 0.0002 at most, corners of boxes by 1.25 pixels\n"


def test_another_sign_is_refused(tmp_path: Path) -> None:
    done = compared(tmp_path, class_id=13)
    assert done.returncode == 1
    assert "wanted the same events on both machines" in done.stderr


def test_the_last_run_went_well_and_says_of_what() -> None:
    text = (FOLDER / "last.txt").read_text()
    assert re.match(r"scripts/arm64/run, \d{4}-\d\d-\d\d, commit [0-9a-f]{12}\n", text)
    assert "board: aarch64" in text
    rows = re.findall(r"^ *(classifier|spotter) +onnxruntime +(\S+) .+ (\S+)$", text, re.MULTILINE)
    assert len(rows) == 3 * 2  # in the deploy, and then on both machines
    assert {verdict for *_, verdict in rows} == {"ok"}
    assert re.search(r"^the same [1-9]\d* events on both", text, re.MULTILINE)
    assert text.count("signs: ") == 2
