"""The process that holds the builder: one build or one self-test, then it ends and all its memory is free again.

`export.engines.process` starts it. It takes one `Job` as JSON in its argument, writes JSON lines to the standard output ({"share", "phase"} while it builds, at
the end {"done": ...} or {"failed": ..., "retry": ...}) and everything else to the standard error. When its standard input ends, it gives up: its parent is gone
or was interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from edge.bundle.sidecar import this_board
from edge.engines.self_test import Choice, self_test
from edge.engines.cuda import open_cuda
from edge.engines.trt import load_tensorrt
from edge.errors import SignwingError, VerificationError
from edge.files import written_beside
from edge.bundle.manifest import Bundle, read_bundle
from edge.bundle.sidecar import plan_path
from export.engines.build import BuildError, Settings, build_plan

_REPORT_EVERY_S = 0.1
_FIRST_TO_KILL = "1000"


@dataclass(frozen=True)
class Rung:
    """One attempt: scratch memory of a layer, memory for trying tactics (None: TensorRT's default), and the optimisation level."""

    workspace_mib: int
    tactic_mib: int | None
    level: int

    def __str__(self) -> str:
        tactics = "" if self.tactic_mib is None else f", tactics within {self.tactic_mib} MiB"
        return f"workspace {self.workspace_mib} MiB{tactics}, optimisation level {self.level}"


@dataclass(frozen=True)
class Job:
    """What the child is to do.

    Attributes:
        act: "build" or "test".
        folder: of the bundle.
        staged: folder that `engines/` of the new engine stands in until it is proven, beside a copy of the golden file.
        role: of the model.
        precision: of the model.
        max_batch: largest batch.
        typing: "strong" or "weak".
        rung: with how much.
        cache: folder for timings.
    """

    act: str
    folder: str
    staged: str
    role: str
    precision: str
    max_batch: int
    typing: str
    rung: Rung
    cache: str


def main(argument: str) -> int:
    """Do a job and return the exit code."""
    # Libraries print to the standard output as they like: what the parent reads goes through a copy of it.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8") as events:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        with suppress(OSError):  # the kernel's, where there is one: this process goes first, not its parent or the session
            Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_KILL, encoding="ascii")
        raw = json.loads(argument)
        job = Job(**{**raw, "rung": Rung(**raw["rung"])})
        try:
            done = _build(job, _reporter(events, _given_up())) if job.act == "build" else _test(job)
        except (SignwingError, MemoryError) as error:
            _tell(events, failed=str(error) or "no memory left", retry=isinstance(error, BuildError | MemoryError))
            return 1
        _tell(events, done=done)
    return 0


def _build(job: Job, watch: Callable[[float, str], bool]) -> dict[str, Any]:
    trt, device = load_tensorrt(), open_cuda().device
    bundle = read_bundle(Path(job.folder))
    spec = bundle.model(job.role, job.precision)
    board = this_board(trt.__version__, device.name, device.compute_capability)
    key = "-".join("".join(letter if letter.isalnum() else "." for letter in part) for part in (board.tensorrt, board.gpu, board.l4t or "pc"))
    settings = Settings(job.max_batch, job.typing, timing_cache=Path(job.cache) / f"timings-{key}.cache", **asdict(job.rung))
    plan = build_plan(trt, bundle.verified_path(spec.file, spec.sha256), spec, settings, watch=watch, tell=lambda line: print(line, file=sys.stderr))
    with written_beside(plan_path(Path(job.staged), job.role, job.precision)) as beside:
        beside.write_bytes(plan)
    return {"board": asdict(board)}


def _test(job: Job) -> dict[str, Any]:
    """Run the new engine as users will, past the guard; `staged` has the golden file too."""
    bundle = Bundle(Path(job.staged), read_bundle(Path(job.folder)).manifest)
    for outcome in self_test(bundle, job.role, Choice("tensorrt", job.precision)):
        if not outcome.passed:
            wanted = f"golden outputs within {outcome.tolerance:g} from the new {job.role} in {job.precision}"
            raise VerificationError(f"wanted {wanted}, found {outcome.difference:.2g} away: choose another --precision")
    return {"difference": outcome.difference}


def _given_up() -> threading.Event:
    """An event that is set when the standard input ends."""
    ended = threading.Event()

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):  # not through sys.stdin, whose lock a waiting thread would hold when Python ends
            pass
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    return ended


def _reporter(events: TextIO, given_up: threading.Event) -> Callable[[float, str], bool]:
    lock, told = threading.Lock(), -_REPORT_EVERY_S

    def report(share: float, phase: str) -> bool:
        nonlocal told
        with lock:
            if time.monotonic() - told >= _REPORT_EVERY_S:
                told = time.monotonic()
                _tell(events, share=share, phase=phase)
        return not given_up.is_set()

    return report


def _tell(events: TextIO, **event: Any) -> None:
    with suppress(BrokenPipeError):  # the parent is gone: the standard input says so too
        events.write(json.dumps(event) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
