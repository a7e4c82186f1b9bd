"""Who of all that send is the camera: what must be shown for it, and what strangers cannot change."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import count

import pytest
from packets import H265_SETS, PPS, SPS, h264_stream, rtp

from edge.sources.live.rtp.packets import Packet, parse_packet
from edge.sources.live.rtp.senders import FORMER_NS, GONE_NS, HELD_BYTES, HELD_NS, SILENT_NS, SenderLock

MS = 1_000_000
CAMERA, STRANGER = ("10.0.0.2", 5000), ("10.0.0.66", 666)


def parsed(datagram: bytes) -> Packet:
    packet = parse_packet(datagram)
    assert packet is not None
    return packet


def camera(pictures: int = 2000, *, first: int = 0, ssrc: int = 7, gop: int = 10) -> list[Packet]:
    return [parsed(packet) for packet in h264_stream(pictures, gop=gop, first=first, ssrc=ssrc)]


def confirmed(lock: SenderLock, packets: Sequence[Packet], now_ns: int = 0) -> int:
    """Let a camera have the port and the decoder make pictures; return the time after it."""
    for at, packet in enumerate(packets):
        lock.admit(packet, CAMERA, now_ns + at * MS)
        lock.pictures += 1
    assert lock.sender is not None
    assert lock.sender.address == CAMERA
    return now_ns + len(packets) * MS


def junk(kind: int = 0) -> Sequence[Packet]:
    """Two thousand packets that look like video and hold none."""
    chance = random.Random(kind)
    return [parsed(rtp(sequence, b"\x41" + chance.randbytes(30), ssrc=99)) for sequence in range(2000)]


def test_a_sender_is_followed_until_it_is_silent_and_what_the_next_said_meanwhile_is_not_lost() -> None:
    lock = SenderLock("h264")
    old, new = camera(20, ssrc=1), camera(20, ssrc=2)
    assert lock.admit(old[0], CAMERA, 0) == []
    assert lock.admit(old[1], CAMERA, 1 * MS) == old[:2]
    assert lock.admit(old[2], CAMERA, 1 * MS) == old[2:3]
    assert lock.admit(new[0], CAMERA, 2 * MS) == lock.admit(new[1], CAMERA, 3 * MS) == []
    assert lock.admit(old[3], CAMERA, 4 * MS) == [old[3]]
    assert lock.admit(new[2], CAMERA, 300 * MS) == []
    assert lock.admit(new[3], CAMERA, 500 * MS) == new[:4]
    assert (lock.sender and lock.sender.ssrc, lock.changes) == (2, 1)


def test_sound_and_noise_do_not_become_the_camera() -> None:
    lock, chance = SenderLock("h265"), random.Random(3)
    for sequence in range(2000):
        noise = parse_packet(b"\x80" + chance.randbytes(40))
        sound = parsed(rtp(sequence, b"\xfc\x00\x00opus", ssrc=5, kind=98))
        plain = parsed(rtp(sequence, b"\x40\x01" + chance.randbytes(160), ssrc=6, kind=8))
        assert lock.admit(sound, CAMERA, sequence * MS) == lock.admit(plain, CAMERA, sequence * MS) == []
        assert noise is None or lock.admit(noise, CAMERA, sequence * MS) == []
    packets = [parsed(rtp(sequence, b"\x02\x01pic")) for sequence in range(2)]
    assert [len(lock.admit(packet, CAMERA, 3000 * MS)) for packet in packets] == [0, 2]


def test_a_stranger_with_the_cameras_number_is_another_sender() -> None:
    lock, packets = SenderLock(None), camera(200)
    confirmed(lock, packets[:30])
    for at, packet in enumerate(packets[30:]):
        stray = parsed(rtp(packet.sequence + 20, b"\x41stray", ssrc=packet.ssrc))
        assert lock.admit(stray, STRANGER, (30 + at) * MS) == []
        assert lock.admit(packet, CAMERA, (30 + at) * MS) == [packet]
    assert lock.changes == 0


@pytest.mark.parametrize("strangers", [1, 100, 1000])
def test_strangers_that_show_no_picture_delay_a_camera_by_nothing(strangers: int) -> None:
    lock = SenderLock(None)
    for at in range(2000):
        lock.admit(parsed(rtp(at // strangers, b"\x41junk", ssrc=at % strangers)), (STRANGER[0], at % strangers), at * MS)
    assert [packet for each in camera(1)[:4] for packet in lock.admit(each, CAMERA, 2000 * MS)] == camera(1)[:4]
    assert lock.sender is not None
    assert lock.sender.address == CAMERA


def test_sound_of_a_dynamic_type_that_looks_like_all_kinds_of_video_is_no_camera() -> None:
    lock, chance = SenderLock(None), random.Random(1)
    for sequence in range(20_000):
        lock.admit(parsed(rtp(sequence, chance.randbytes(80), ssrc=5, kind=111)), STRANGER, sequence * 20 * MS)
    assert [len(lock.admit(packet, CAMERA, 400_001 * MS)) for packet in camera(1)[:4]] == [0, 0, 3, 1]


@pytest.mark.parametrize("forgers", [1, 100])
def test_who_forges_parameter_sets_and_shows_no_picture_gives_way_within_two_seconds(forgers: int) -> None:
    lock, forged = SenderLock(None), camera(400)
    at_ns, turns = 0, count()

    def forge(until_ns: int) -> None:
        nonlocal at_ns
        while at_ns < until_ns:
            turn = next(turns)
            lock.admit(forged[turn // forgers], (STRANGER[0], turn % forgers), at_ns)
            at_ns += 1000 * MS // (20 * forgers)

    forge(10_000 * MS)
    assert lock.sender is not None
    came_ns = at_ns
    for packet in camera(2000, ssrc=7777):
        forge(at_ns + 3 * MS)
        lock.admit(packet, CAMERA, at_ns)
        if lock.sender.address == CAMERA:
            break
    assert at_ns - came_ns < 2_000 * MS


def test_who_can_be_seen_keeps_the_port_and_gets_it_back() -> None:
    lock, packets = SenderLock(None), camera()
    now_ns = confirmed(lock, packets[:40])
    other = camera(400, ssrc=8)
    for at, packet in enumerate(other[:200]):
        now_ns += MS
        lock.admit(packet, STRANGER, now_ns)
        if at == 199:
            assert lock.sender is not None
            assert lock.sender.address == CAMERA
    now_ns += SILENT_NS
    for packet in other[200:220]:
        lock.admit(packet, STRANGER, now_ns)
        lock.pictures += 1
    assert (lock.sender.address, lock.changes) == (STRANGER, 1)
    assert lock.admit(packets[400], CAMERA, now_ns) == []
    assert lock.admit(packets[401], CAMERA, now_ns) == packets[400:402]
    assert lock.admit(other[220], STRANGER, now_ns) == []
    # One that was seen for long keeps it, though the first comes back.
    now_ns += SILENT_NS
    for packet in other[221:260]:
        lock.admit(packet, STRANGER, now_ns)
        lock.pictures += 1
    now_ns += FORMER_NS
    lock.admit(other[260], STRANGER, now_ns)
    assert lock.admit(packets[402], CAMERA, now_ns) == lock.admit(packets[403], CAMERA, now_ns) == []


def test_junk_takes_the_port_of_a_camera_that_is_gone_alone_and_gives_it_back_at_once() -> None:
    lock, packets = SenderLock(None), camera()
    now_ns, noise = confirmed(lock, packets[:40]), junk()
    for place, (pause_ns, address) in enumerate(((SILENT_NS, CAMERA), (GONE_NS, STRANGER))):
        for packet in noise[2 * place : 2 * place + 2]:
            lock.admit(packet, STRANGER, now_ns + pause_ns)
        assert lock.sender is not None
        assert lock.sender.address == address
    assert lock.admit(packets[300], CAMERA, now_ns + GONE_NS) == []
    assert lock.admit(packets[301], CAMERA, now_ns + GONE_NS) == packets[300:302]


def test_one_without_parameter_sets_keeps_the_port_from_who_sends_less() -> None:
    lock = SenderLock(None)
    for at, packet in enumerate(junk()):
        lock.admit(packet, CAMERA, at * 3 * MS)
        if at % 50 == 0:
            lock.admit(parsed(rtp(at // 50, b"\x41other", ssrc=3)), STRANGER, at * 3 * MS)
    assert (lock.sender and lock.sender.address, lock.changes) == (CAMERA, 0)


def test_h265_is_known_by_its_own_sets() -> None:
    lock = SenderLock(None)
    for at, packet in enumerate(junk()[:20]):
        lock.admit(packet, STRANGER, at * MS)
    packets = [parsed(rtp(at, payload)) for at, payload in enumerate([*H265_SETS, b"\x26\x01idr", b"\x02\x01pic"])]
    assert [len(lock.admit(packet, CAMERA, 30 * MS)) for packet in packets] == [0, 0, 0, 4, 1]


def test_what_is_held_is_bounded_in_bytes_and_in_age() -> None:
    lock = SenderLock(None)
    now_ns = confirmed(lock, camera(100))
    most = 0
    for sequence in range(20):
        for ssrc in range(64):
            lock.admit(parsed(rtp(sequence, b"\x41" + bytes(60_000), ssrc=ssrc)), STRANGER, now_ns)
        most = max(most, lock.held_bytes)
    assert HELD_BYTES // 2 < most < HELD_BYTES + (1 << 20)
    lock.sweep(now_ns + 2 * HELD_NS)
    assert lock.held_bytes == 0


@pytest.mark.parametrize("seed", range(3))
def test_no_byte_string_makes_it_fail(seed: int) -> None:
    chance, stream, lock = random.Random(seed), h264_stream(50, gop=10), SenderLock(None)
    for index in range(3000):
        datagram = bytearray(chance.choice(stream))
        for _ in range(chance.randrange(4)):
            datagram[chance.randrange(len(datagram))] = chance.randrange(256)
        packet = parse_packet(bytes(datagram[: chance.randrange(len(datagram) + 1)]))
        if packet is not None:
            lock.admit(packet, ("10.0.0.1", chance.randrange(4)), index * MS)
            lock.pictures += chance.randrange(2)


def test_sets_that_no_camera_makes_prove_nothing() -> None:
    for sets in ((b"\x07" + SPS[1:], PPS), (b"\x67\x07" + SPS[2:], PPS), (SPS + bytes(2000), PPS), (SPS, PPS, *[b"\x41pic"] * 20)):
        lock = SenderLock(None)
        forged = [parsed(rtp(at, payload, ssrc=5)) for at, payload in enumerate([*sets, b"\x65idr", b"\x41pic"])]
        for packet in forged:
            lock.admit(packet, STRANGER, 0)
        assert [len(lock.admit(packet, CAMERA, 300 * MS)) for packet in camera(1)[:3]] == [0, 0, 3]
