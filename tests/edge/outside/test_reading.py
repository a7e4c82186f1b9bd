"""Files that another has made: read within bounds, and no pipe is waited in."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.outside.reading import named_for_libraries, read_bounded, warn_of_readers


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(OSError, match="longer than 4 bytes"):
        read_bounded(path, 4)


def test_a_file_of_the_system_that_tells_no_size_is_read() -> None:
    assert read_bounded(Path("/proc/self/stat"), 1 << 20)
    with pytest.raises(OSError, match="longer"):
        read_bounded(Path("/proc/self/stat"), 3)


def test_what_may_never_end_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, told in (
        (tmp_path / "pipe", "else than a plain file"),
        (Path("/dev/zero"), "else than a plain file"),
        (tmp_path, "directory"),
        (tmp_path / "none", "No such"),
    ):
        with pytest.raises(OSError, match=told):
            read_bounded(path, 10)


def test_a_secret_that_others_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "token"
    path.write_text("x")
    for mode, warned in ((0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1)):
        path.chmod(mode)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            warn_of_readers(path)
        assert len(caplog.records) == warned
    warn_of_readers(tmp_path / "none")


@pytest.mark.parametrize("name", ["plain.avi", os.fsdecode(b"stra\xdfe.avi")])
def test_a_library_writes_and_reads_under_any_name(tmp_path: Path, name: str) -> None:
    with named_for_libraries(tmp_path / name) as given:
        given.encode()
        writer = cv2.VideoWriter(given, cv2.VideoWriter.fourcc(*"MJPG"), 25, (32, 32))
    writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.release()
    assert (tmp_path / name).stat().st_size > 0
    with named_for_libraries(tmp_path / name) as given:
        capture = cv2.VideoCapture(given)
    assert capture.read()[0]
    capture.release()
