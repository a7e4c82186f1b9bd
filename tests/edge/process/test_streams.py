"""Writing to who may not read: nobody waits longer than was said, what is lost is counted, and what gets through is whole."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from packets import wait_for

from edge.process.streams import MOST_BYTES, Outlet, TextOutlet, standard_streams, wait_for_readers


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def everything(reading: int) -> bytes:
    os.set_blocking(reading, False)
    found = b""
    with suppress(BlockingIOError):
        while piece := os.read(reading, 1 << 20):
            found += piece
    return found


def test_all_arrives_in_order_where_somebody_reads(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    outlet, found = Outlet(writing), []
    reader = threading.Thread(target=lambda: found.extend(iter(lambda: os.read(reading, 1 << 16), b"")))
    reader.start()
    pieces = [b"%06d %s\n" % (number, b"x" * (number % 9000)) for number in range(300)]
    outlet.patience_s = None
    assert all(outlet.offer(piece) for piece in pieces)
    assert outlet.close()
    os.close(writing)
    reader.join(10)
    assert b"".join(found) == b"".join(pieces)
    assert outlet.lost == 0


@pytest.mark.parametrize("patience_s", [0.0, 0.02])
def test_a_reader_that_stalls_costs_its_own_lines_and_they_are_counted(pipe: tuple[int, int], patience_s: float) -> None:
    reading, writing = pipe
    outlet, piece = Outlet(writing, patience_s=patience_s), b"y" * 999 + b"\n"
    taken = sum(outlet.offer(piece) for _ in range(5000))
    assert MOST_BYTES // 1000 <= taken < 5000 - 1000
    assert outlet.lost == 5000 - taken
    # The reader comes back: what waited is there, whole, and more is taken again.
    got = b""
    while len(got) < taken * 1000:
        got += os.read(reading, 1 << 16)
    assert got == piece * taken
    wait_for(lambda: outlet.offer(piece), "room")
    assert outlet.close()


def test_what_still_waits_at_the_end_is_given_up_and_counted(pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1])
    for _ in range(300):
        assert outlet.offer(b"z" * 1000)
    assert not outlet.close(0.05)
    assert 300 - 70 <= outlet.lost <= 300
    everything(pipe[0])


def test_a_reader_that_has_gone_is_not_waited_for(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    outlet = Outlet(writing, patience_s=None)
    outlet.offer(b"x")
    wait_for(lambda: outlet.broken, "the news")
    assert not outlet.offer(b"x")
    assert outlet.close()
    assert outlet.lost == 2


def test_a_full_disk_is_told_and_tried_again() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        outlet = Outlet(full.fileno(), patience_s=None)
        assert all(outlet.offer(b"x") for _ in range(100))
        assert outlet.close()
    assert (outlet.lost, outlet.broken, outlet.fault) == (100, False, "No space left on device")


def test_a_descriptor_that_another_made_non_blocking_is_waited_for(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    outlet = Outlet(writing)
    for _ in range(100):
        assert outlet.offer(b"x" * 2000)
    got = b""
    while len(got) < 200_000:
        got += os.read(reading, 1 << 16)
    assert outlet.close()
    assert outlet.lost == 0


def test_text_goes_out_by_lines_and_lost_lines_are_told_when_others_get_through(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with os.fdopen(os.dup(writing), "w", encoding="ascii") as stream:
        text = TextOutlet(stream, patience_s=0.0)
        print("wor", end="", file=text)
        print("d", "\u00df\udcff", sep="\n", file=text)
        assert os.read(reading, 100) in (b"word\n\\xdf\\udcff\n", b"word\n")
        for number in range(6000):
            print(f"{number:999d}", file=text)
        missing = text._missing
        assert missing > 500
        everything(reading)
        wait_for(lambda: bool(everything(reading) is not None and text.outlet._waiting == 0), "room")
        print("back", end="", file=text)
        text.flush()
        assert text.outlet.close()
        assert everything(reading).endswith(f"({missing} lines before this found no reader)\nback".encode())


def test_the_standard_streams_are_put_back_and_what_is_no_descriptor_stays(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with standard_streams() as outlets:
        assert len(outlets) == 2
        print("out")
        print("err", file=sys.stderr)
        wait_for_readers(0.5)
        assert [each.outlet.patience_s for each in outlets] == [0.5, 0.5]
    assert (sys.stdout, sys.stderr) == before
    assert capfd.readouterr() == ("out\n", "err\n")
    sys.stdout = io.StringIO()
    try:
        with standard_streams() as outlets:
            assert len(outlets) == 1
            print("kept")
        assert sys.stdout.getvalue() == "kept\n"
    finally:
        sys.stdout = before[0]
