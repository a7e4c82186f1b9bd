"""Messages on disk: their order, their bound, and what kills and damage leave."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from media import small_disk

from edge.errors import OutputError
from edge.outputs.mqtt.spool import Spool

ROOT = Path(__file__).resolve().parents[4]


def waiting(spool: Spool) -> list[bytes]:
    return [message for _, message in spool.behind(0, 10**6)]


def test_messages_wait_in_their_order_across_runs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "spool"
    first = Spool(path)
    first.add([b"1", b"2", b"3"])
    (number, _), *_ = first.behind(0, 1)
    first.forget(number)
    first.close()
    second = Spool(path)
    assert second.waiting == 2
    second.add([b"4"])
    assert waiting(second) == [b"2", b"3", b"4"]
    second.forget(10**9)
    second.add([b"5"])
    assert waiting(second) == [b"5"]
    assert second.behind(0, 1)[0][0] > number + 3  # numbers are not given twice
    second.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_oldest_give_way_and_the_file_does_not_grow(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", most=100)
    gone = sum(spool.add([f"{turn} {place} ".encode() * 50 for place in range(10)]) for turn in range(100))
    assert (gone, spool.waiting) == (900, 100)
    assert waiting(spool)[0].startswith(b"90 0 ")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5 << 20
    spool.forget(10**9)
    spool.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1 << 16


def test_a_killed_process_leaves_all_that_was_put_there(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from edge.outputs.mqtt.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]))\n"
        "for number in range(10**9):\n    spool.add([str(number).encode()]); print(number, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "spool")], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(200)]
    process.send_signal(signal.SIGKILL)
    told += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    spool = Spool(tmp_path / "spool")
    kept = waiting(spool)
    spool.close()
    assert kept == [str(number).encode() for number in range(len(kept))]
    assert len(kept) >= sum(line.endswith("\n") for line in told)


def test_one_run_holds_it(tmp_path: Path) -> None:
    first = Spool(tmp_path / "spool")
    with pytest.raises(OutputError, match="another run sends to this prefix"):
        Spool(tmp_path / "spool")
    first.close()
    Spool(tmp_path / "spool").close()


def test_a_damaged_file_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "spool").write_bytes(os.urandom(8192))
    spool = Spool(tmp_path / "spool")
    spool.add([b"1"])
    assert waiting(spool) == [b"1"]
    spool.close()
    assert (tmp_path / "spool.damaged").stat().st_size == 8192
    assert "put aside" in caplog.text


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="wanted to write"):
        Spool(tmp_path / "file" / "spool")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="XDG_STATE_HOME"):
        Spool(tmp_path / "folder")


def test_a_full_disk_leaves_what_is_there(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.add([b"1"])
    with small_disk(1 << 16), pytest.raises(sqlite3.Error):
        spool.add([bytes(1 << 20)])
    spool.add([b"2"])
    assert (waiting(spool), spool.waiting) == ([b"1", b"2"], 2)
    spool.close()
