"""A signal that comes before there is anything to finish: while Python imports, while models load, before the first frame. The end is in order then, too."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import started
from packets import wait_for

ROOT = Path(__file__).resolve().parents[3]
PROMISED_S = 3.0
SLACK_S = 7.0
"""For this test machine, which does other things."""


def signalled(sent: int, module: str, *argv: object, threads: int = 0) -> tuple[int, str, str]:
    """Run a command, send a signal when it has imported a module and started so many threads since, and return its exit code and what it printed."""
    running = started([sys.executable, "-X", "importtime", "-m", "edge", *map(str, argv)], ROOT)
    assert running.stderr is not None
    if not any(line.rstrip().endswith(f" {module}") for line in running.stderr):
        pytest.fail(f"{module} was not imported")
    tasks = Path(f"/proc/{running.pid}/task")
    before = len(list(tasks.iterdir()))
    wait_for(lambda: len(list(tasks.iterdir())) >= before + threads, "the threads")
    running.send_signal(sent)
    try:
        out, err = running.communicate(timeout=PROMISED_S + SLACK_S)
    except subprocess.TimeoutExpired:
        running.kill()
        pytest.fail("not ended in time")
    return running.returncode, out, "".join(line for line in err.splitlines(keepends=True) if not line.startswith("import time"))


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)])
@pytest.mark.parametrize("module", ["edge.errors", "numpy._core", "edge.commands.run", "edge.pipeline"])
def test_a_signal_while_modules_are_imported_ends_the_command(sent: int, code: int, module: str) -> None:
    assert signalled(sent, module, "run", "demo://", "--engine", "fake", "--spotter", "none") == (code, "", "python -m edge: interrupted\n")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_library_whose_import_is_cut_short_is_not_called_absent(shipped_bundle: Path, sent: int, code: int) -> None:
    for module in ("onnxruntime.capi", "onnxruntime.capi._pybind_state"):
        assert signalled(sent, module, "run", "demo://", "--bundle", shipped_bundle, "--engine", "onnxruntime") == (code, "", "python -m edge: interrupted\n")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_flight_that_ends_before_its_first_frame_tells_so(bundle: Path, tmp_path: Path, sent: int, code: int) -> None:
    video, summary = tmp_path / "v.mkv", tmp_path / "s.json"
    demo = "demo://?width=7680&height=4320"  # a frame takes seconds to draw
    outputs = ("--video", video, "--events", tmp_path / "e.jsonl", "--json", summary)
    ended, out, err = signalled(sent, "edge.outputs.passes", "run", demo, "--bundle", bundle, "--engine", "fake", "--spotter", "none", *outputs, threads=1)
    assert (ended, err) == (code, "python -m edge: interrupted\n")
    told = {line.split(maxsplit=1)[1] for line in out.splitlines() if line.startswith("written ")}
    assert out.startswith("\nframes        0\n")
    assert told == {str(path) for path in tmp_path.iterdir() if path.suffix in (".mkv", ".jsonl", ".json")}
    assert not video.exists()


@pytest.mark.parametrize("argv", [("classify", "x.png"), ("check",), ("doctor",)])
def test_what_was_cut_short_is_not_done(argv: tuple[str, ...]) -> None:
    """SIGTERM ends a camera's run as it should; a table or a proof it leaves undone."""
    assert signalled(signal.SIGTERM, "edge.commands.camera_option", *argv) == (130, "", "python -m edge: interrupted\n")


def test_the_end_is_not_left_to_python() -> None:
    """Its own ending aborts the process where a thread was left behind in C++, as a source that still draws is; and a signal kills it meanwhile."""
    code = "import atexit, os, sys; from edge.__main__ import main; atexit.register(os.abort); sys.argv[1:] = ['check', 'nowhere']; sys.exit(main())"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith("python -m edge: wanted a bundle")
