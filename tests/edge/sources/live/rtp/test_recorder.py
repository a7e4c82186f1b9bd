"""Recording: real streams of FFmpeg, packet by packet; what stands on the disk plays, whatever happened on the way."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import cv2
import pytest
from media import small_disk
from packets import real_stream, rtp, send, wait_for

from edge.errors import OutputError
from edge.sources.live.rtp.gate import RtpGate
from edge.sources.live.rtp.nal import CODECS
from edge.sources.live.rtp.packets import Packet, parse_packet
from edge.sources.live.rtp.recorder import AccessUnits, Recorder
from edge.sources.live.rtp.sockets import free_ports

NOON = datetime(2026, 5, 4, 12, 0, 0, tzinfo=timezone.utc)


def offered(recorder: Recorder, packets: Iterable[bytes], codec: str) -> None:
    for datagram in packets:
        packet = parse_packet(datagram)
        if packet is not None:
            recorder.offer(packet, codec)


def played(path: Path) -> list[tuple[int, int]]:
    """Width and height of every picture that plays."""
    capture = cv2.VideoCapture(str(path))
    sizes = []
    while True:
        good, image = capture.read()
        if not good:
            return sizes
        sizes.append((image.shape[1], image.shape[0]))


def parsed(datagram: bytes) -> Packet:
    packet = parse_packet(datagram)
    assert packet is not None
    return packet


def drained(recorder: Recorder) -> None:
    wait_for(lambda: recorder._queue.empty(), "the recorder's queue")
    time.sleep(0.1)


@pytest.mark.parametrize("codec", CODECS)
def test_a_stream_is_recorded_whole_and_named_by_utc(tmp_path: Path, codec: str) -> None:
    with Recorder(tmp_path / "new" / "flight.mkv", wall=lambda: NOON) as recorder:
        offered(recorder, real_stream(codec), codec)
    (path,) = (tmp_path / "new").iterdir()
    assert path.name == f"flight-20260504T120000Z.{codec}"
    assert played(path) == [(192, 128)] * 60
    assert (recorder.recording.pictures, recorder.recording.missed) == (60, 0)


@pytest.mark.parametrize("codec", CODECS)
def test_late_and_lost_packets_cost_no_more_than_their_pictures(tmp_path: Path, codec: str) -> None:
    chance = random.Random(7)
    whole = real_stream(codec)
    packets = [packet for at, packet in enumerate(whole) if at < 80 or chance.random() > 0.01]
    assert len(packets) < len(whole)
    packets = [packet for _, packet in sorted(enumerate(packets), key=lambda each: each[0] + chance.randrange(8) * (each[0] > 0))]
    with Recorder(tmp_path / "flight") as recorder:
        offered(recorder, packets, codec)
    (path,) = tmp_path.iterdir()
    assert recorder.recording.pictures >= 50
    assert len(played(path)) >= 30


def test_segments_begin_with_an_intra_frame_and_each_plays_alone(tmp_path: Path) -> None:
    with Recorder(tmp_path / "flight", segment_bytes=1, wall=lambda: NOON) as recorder:
        offered(recorder, real_stream("h264"), "h264")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(f"flight-20260504T120000Z{turn}.h264" for turn in ("", "-2", "-3", "-4"))
    assert [len(played(path)) for path in tmp_path.iterdir()] == [15] * 4


def test_segments_end_by_the_monotonic_clock_whatever_the_wall_clock_does(tmp_path: Path) -> None:
    clock = iter(range(10_000))
    wall = iter([NOON, NOON.replace(year=1970), NOON, NOON.replace(year=1970)])
    with Recorder(tmp_path / "flight", segment_s=25.0, wall=lambda: next(wall), monotonic=lambda: float(next(clock))) as recorder:
        offered(recorder, real_stream("h264"), "h264")
    assert sorted(path.name[7:11] for path in tmp_path.iterdir()) in (["1970", "2026"], ["1970", "2026", "2026"], ["1970", "1970", "2026", "2026"])
    assert sum(len(played(path)) for path in tmp_path.iterdir()) == 60


def test_another_size_begins_another_file(tmp_path: Path) -> None:
    with Recorder(tmp_path / "flight", wall=lambda: NOON) as recorder:
        offered(recorder, real_stream("h264"), "h264")
        offered(recorder, real_stream("h264", (256, 144), 15), "h264")
    assert sorted((size, len(sizes)) for sizes in map(played, tmp_path.iterdir()) for size in set(sizes)) == [((192, 128), 60), ((256, 144), 15)]


def test_a_full_disk_is_told_once_and_recording_goes_on_when_there_is_space(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    packets, clock = real_stream("h264"), [0.0]

    def monotonic() -> float:
        clock[0] += 1.0
        return clock[0]

    with caplog.at_level(logging.WARNING), Recorder(tmp_path / "flight", monotonic=monotonic) as recorder:
        with small_disk(60_000):
            offered(recorder, packets[: len(packets) * 3 // 4], "h264")
            drained(recorder)
            missed, kept = recorder.recording.missed, recorder.recording.pictures
            assert missed > 0
            assert kept > 0
        offered(recorder, packets[len(packets) * 3 // 4 :], "h264")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "waits for space" in told[0]
    assert "goes on" in told[1]
    assert recorder.recording.pictures + recorder.recording.missed == 60
    assert sum(len(played(path)) for path in tmp_path.iterdir()) == recorder.recording.pictures > kept


def test_a_place_that_cannot_be_written_is_refused_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="wanted to write"), RtpGate("", free_ports(), record=tmp_path / "file" / "flight"):
        pytest.fail("it opened")


@pytest.mark.parametrize("codec", CODECS)
def test_the_gate_records_what_comes_in_without_being_told_the_codec(tmp_path: Path, codec: str) -> None:
    packets, port = real_stream(codec), free_ports()
    with RtpGate("", port, record=tmp_path / "flight") as gate:
        send(packets, port)
        wait_for(lambda: gate.counters.packets == len(packets), "packets through the gate")
    (path,) = tmp_path.iterdir()
    assert path.suffix == f".{codec}"
    assert len(played(path)) == 60


def test_a_disk_that_takes_nothing_costs_a_bounded_memory(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "flight")  # its thread is not begun: it takes nothing
    packet = parsed(rtp(0, b"\x65" + bytes(60_000), marker=True))
    for _ in range(1000):
        recorder.offer(packet, "h264")
    assert 100 < recorder.recording.missed < 1000
    assert (1000 - recorder.recording.missed) * 60_000 <= 16 << 20


def mutated(packets: Sequence[bytes], count: int, chance: random.Random) -> list[bytes]:
    """Real packets with bytes changed, cut off or put in; headers too."""
    changed = []
    for _ in range(count):
        packet = bytearray(chance.choice(packets))
        for _ in range(chance.randrange(1, 6)):
            packet[min(int(chance.expovariate(0.1)), len(packet) - 1)] = chance.randrange(256)
        kind = chance.randrange(4)
        changed.append(bytes(packet[: chance.randrange(len(packet))] if kind == 0 else packet + chance.randbytes(20) if kind == 1 else packet))
    return changed


def taken(gate: RtpGate) -> int:
    """Datagrams that the gate looked at; those that it holds of a new sender count when they pass."""
    return gate.counters.packets + gate.counters.foreign + gate.counters.duplicates


@pytest.mark.parametrize("codec", CODECS)
def test_noise_and_mutated_packets_end_nothing_and_the_stream_goes_on(tmp_path: Path, codec: str) -> None:
    chance, packets, port = random.Random(11), real_stream(codec), free_ports()
    half = len(packets) // 2
    with RtpGate("", port, record=tmp_path / "flight", codec=codec) as gate:
        send(packets[:half], port)
        wait_for(lambda: gate.counters.packets == half, "the first half")
        noise = [chance.randbytes(chance.randrange(200)) for _ in range(100_000)]
        for kind in (noise, mutated(packets, 10_000, chance)):
            for at in range(0, len(kind), 1000):
                seen = taken(gate)
                send(kind[at : at + 1000], port, pause_s=0)
                wait_for(lambda seen=seen: taken(gate) >= seen + 990, "the gate")  # type: ignore[misc]
        again = real_stream(codec, (256, 144), 15)
        time.sleep(0.5)
        before = gate.counters.packets
        send(again, port)
        wait_for(lambda: gate.counters.packets >= before + len(again), "the stream after it")
    assert [(256, 144)] * 15 in [played(path) for path in tmp_path.iterdir()]


RECORD = """
import sys, time
from pathlib import Path
from edge.sources.live.rtp.gate import RtpGate
with RtpGate("", int(sys.argv[1]), record=Path(sys.argv[2])) as gate:
    print("ready", flush=True)
    while True:
        time.sleep(0.02)
        print(gate.recording.pictures, flush=True)
"""


def test_what_was_recorded_plays_after_a_kill(tmp_path: Path) -> None:
    packets, port = real_stream("h264"), free_ports()
    root = Path(__file__).resolve().parents[5]
    process = subprocess.Popen([sys.executable, "-c", RECORD, str(port), str(tmp_path / "flight")], cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        send(packets[: len(packets) // 2], port)
        while int(process.stdout.readline()) < 25:
            pass
        os.kill(process.pid, signal.SIGKILL)
    (path,) = tmp_path.iterdir()
    assert len(played(path)) >= 25


@pytest.mark.parametrize("codec", CODECS)
def test_a_sender_that_marks_no_end_and_gives_one_timestamp_is_recorded(tmp_path: Path, codec: str) -> None:
    plain = [bytes([packet[0], packet[1] & 0x7F]) + packet[2:4] + bytes(4) + packet[8:] for packet in real_stream(codec)]
    with Recorder(tmp_path / "flight") as recorder:
        offered(recorder, plain, codec)
    (path,) = tmp_path.iterdir()
    assert played(path) == [(192, 128)] * 60
    assert (recorder.recording.pictures, recorder.recording.missed) == (60, 0)


@pytest.mark.parametrize("kind", [1, 5, 12])
def test_a_picture_without_an_end_is_given_up_and_memory_does_not_grow(kind: int) -> None:
    pictures = AccessUnits("h264")
    made = 0
    for number in range(2000):
        packet = parse_packet(rtp(number % 65536, bytes([0x60 | kind, 0x00]) + bytes(60_000)))
        assert packet is not None
        made += len(pictures.push(packet))
        assert pictures._size <= 9 << 20
    assert (made, pictures.given_up) == (0, 2000 * 60_002 // ((8 << 20) + 60_002))


def test_what_waits_for_the_disk_is_bounded_in_bytes(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "flight")  # whose thread never begins, as one that hangs in a write
    large = parse_packet(rtp(1, bytes(65_000), marker=True))
    assert large is not None
    for _ in range(8192):
        recorder.offer(large, "h264")
    assert recorder._queue.qsize() * 65_000 <= 17 << 20
    assert recorder.recording.missed == 8192 - recorder._queue.qsize()


def test_a_segment_that_is_removed_gives_way_to_another_at_the_next_intra_frame(tmp_path: Path) -> None:
    packets = real_stream("h264")
    with Recorder(tmp_path / "flight", wall=lambda: NOON) as recorder:
        offered(recorder, packets[: len(packets) // 2], "h264")
        drained(recorder)
        (first,) = tmp_path.iterdir()
        first.unlink()
        offered(recorder, packets[len(packets) // 2 :], "h264")
    (second,) = tmp_path.iterdir()
    assert len(played(second)) >= 15
    assert recorder.recording.missed <= 15


def test_a_recorder_whose_thread_fails_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    packets = real_stream("h264")
    with Recorder(tmp_path / "flight") as recorder:
        recorder._queue.put(("no packet", "h264"))  # type: ignore[arg-type]
        offered(recorder, packets, "h264")
        drained(recorder)
    (path,) = tmp_path.iterdir()
    assert len(played(path)) == 60
    assert "the thread recorder failed" in caplog.text
