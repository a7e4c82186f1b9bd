"""Tells what events say, and how those of two machines differ: python scripts/arm64/compare.py BOARD.jsonl [DESK.jsonl]."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(board: str, desk: str | None = None) -> None:
    """Print the signs of the first file; with a second one, whether it has the same, and the largest differences."""
    told = [_events(path) for path in (board, desk) if path]
    print("signs:", ", ".join(sorted({event["label"] for event in told[0] if event["event"] == "sighting"})) or "none")
    if desk is None:
        return
    named = [[(event["event"], event["frame"], event["track"], event["class_id"]) for event in events] for events in told]
    if named[0] != named[1]:
        sys.exit(f"scripts/arm64/compare.py: wanted the same events on both machines, found {named[0]} and {named[1]}")
    confidence = max(abs(one["confidence"] - other["confidence"]) for one, other in zip(*told, strict=True))
    corner = max(abs(a - b) for one, other in zip(*told, strict=True) for a, b in zip(one["box_xyxy"], other["box_xyxy"], strict=True))
    print(f"the same {len(told[0])} events on both; confidences differ by {confidence:.4f} at most, corners of boxes by {corner:.2f} pixels")


def _events(path: str) -> list[dict[str, object]]:
    return [event for line in Path(path).read_text(encoding="utf-8").splitlines() if (event := json.loads(line))["event"] in ("sighting", "update", "gone")]


if __name__ == "__main__":
    main(*sys.argv[1:])
