"""The gate: what passes, what does not, who else gets it, and what is told of a port that cannot be had."""

from __future__ import annotations

import itertools
import os
import random
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from packets import SPS, bound, collect, h264_stream, rtp, send, wait_for

from edge.errors import SourceError
from edge.sources.live.rtp.gate import RtpGate
from edge.sources.live.rtp.packets import ahead
from edge.sources.live.rtp.sockets import free_ports


def free_port() -> int:
    return free_ports()


def bodies(packets: Sequence[bytes]) -> list[bytes]:
    """Packets without the numbers that the gate changes for the decoder."""
    return [packet[:2] + packet[12:] for packet in packets]


def passed(gate: RtpGate, port: int, packets: Sequence[bytes]) -> list[bytes]:
    """What the decoder gets of packets that are sent to the gate; their order is told by the numbers too."""
    with bound(gate.port) as decoder:
        send(packets, port)
        got = collect(decoder)
    sequences, times = [[int.from_bytes(packet[at:to], "big") for packet in got] for at, to in ((2, 4), (4, 8))]
    assert {packet[8:12] for packet in got} <= {got[0][8:12]}
    assert all(-200 < ahead(after, before) < 200 for before, after in itertools.pairwise(sequences))
    assert all(abs(after - before) < 200_000 for before, after in itertools.pairwise(times))
    return bodies(got)


def test_packets_reach_the_decoder_as_one_stream_and_each_forward_address_unchanged() -> None:
    port, packets = free_port(), h264_stream(60, gop=20, first=65400)
    with bound() as watcher, RtpGate("", port, forward=[("127.0.0.1", watcher.getsockname()[1])]) as gate:
        assert passed(gate, port, packets) == bodies(packets)
        assert collect(watcher) == packets
        counters = gate.counters
    assert (counters.packets, counters.lost, counters.foreign, counters.senders, counters.unheard) == (len(packets), 0, 0, 0, 0)
    assert counters.codec == "h264"
    assert 0 < counters.intra_ns <= counters.last_ns


def test_loss_order_and_doubles_are_counted_and_doubles_are_not_passed_on() -> None:
    port, packets = free_port(), h264_stream(60, gop=20)
    odd = [*packets[:10], packets[11], packets[10], *packets[12:30], packets[29], *packets[33:]]
    with RtpGate("127.0.0.1", port, codec="h264") as gate:
        got = passed(gate, port, odd)
        counters = gate.counters
    assert (counters.lost, counters.reordered, counters.duplicates) == (3, 1, 1)
    assert len(got) == len(odd) - 1


def test_a_decoder_that_comes_in_the_middle_gets_all_since_the_last_intra_frame() -> None:
    port, packets = free_port(), h264_stream(30, gop=20)
    begin = next(at for at in range(20, len(packets)) if packets[at][12:] == SPS)
    with RtpGate("", port) as gate:
        send(packets[:-2], port)
        wait_for(lambda: gate.counters.packets == len(packets) - 2, "packets through the gate")
        assert gate.counters.unheard == len(packets) - 2
        assert list(gate.parameters) == ["sprop-parameter-sets"]
        assert passed(gate, port, packets[-2:]) == bodies(packets[begin:])
        # and so does the one that takes its place
        again = h264_stream(12, gop=6, first=len(packets))
        send(again[:-1], port)
        wait_for(lambda: gate.counters.packets == len(packets) + len(again) - 1, "packets through the gate")
        assert passed(gate, port, again[-1:]) == bodies(again[len(again) // 2 :])


def test_what_came_before_a_long_pause_is_not_shown_to_who_comes_after_it() -> None:
    packets, address = h264_stream(30, gop=20), ("127.0.0.1", 1)
    with RtpGate("", free_port()) as gate:
        for packet in packets[:-3]:
            gate._take(packet, address, 1_000_000_000)
        with bound(gate.port) as decoder:
            for packet in packets[-3:]:
                gate._take(packet, address, 12_000_000_000)
            assert bodies(collect(decoder)) == bodies(packets[-3:])


def test_a_sender_that_starts_anew_is_followed_and_loses_nothing() -> None:
    port = free_port()
    first, second = h264_stream(40, gop=20, ssrc=1), h264_stream(700, gop=20, ssrc=2, first=40000)
    with RtpGate("", port) as gate:
        assert passed(gate, port, first + second) == bodies(first + second)
        assert gate.counters.senders == 1
        assert gate.counters.lost == 0
        assert gate.counters.foreign == 0


def test_a_sender_that_jumps_is_followed_and_a_damaged_number_is_not() -> None:
    port = free_port()
    first, second = h264_stream(40, gop=20), h264_stream(40, gop=20, first=40000)
    damaged = [*first[:30], rtp(20000, b"\x41damaged"), *first[30:]]
    with RtpGate("", port) as gate:
        assert passed(gate, port, damaged + second) == bodies(first + second)
        assert (gate.counters.lost, gate.counters.senders) == (0, 0)


def test_a_second_camera_is_foreign() -> None:
    port = free_port()
    ours, theirs = h264_stream(200, gop=20, ssrc=1), h264_stream(200, gop=20, ssrc=2)
    with RtpGate("", port) as gate:
        got = passed(gate, port, ours[:2] + [packet for pair in zip(ours[2:], theirs, strict=False) for packet in pair])
        assert got == bodies(ours)
        assert gate.counters.foreign == len(theirs) - 2


def test_a_stranger_with_the_cameras_number_is_foreign_and_one_that_came_first_gives_way() -> None:
    port, packets = free_port(), h264_stream(200, gop=20)
    junk = [rtp(3 * at + 9, b"\x41junk") for at in range(len(packets) + 20)]
    with RtpGate("", port) as gate, bound() as stranger, bound(gate.port) as decoder:
        send(junk[:20], port, sender=stranger)
        wait_for(lambda: gate.counters.packets + gate.counters.foreign == 20, "the stranger's packets")
        collect(decoder)
        send(packets[:3], port)
        for packet, stray in zip(packets[3:], junk[23:], strict=True):
            send([packet], port, pause_s=0)
            send([stray], port, sender=stranger)
        assert bodies(collect(decoder)) == bodies(packets)
        # What the stranger had passed on before is foreign too, as soon as there is one that shows what a camera shows.
        counters = gate.counters
    assert (counters.packets, counters.lost, counters.senders, counters.foreign) == (len(packets), 0, 1, len(junk) - 3)


def test_a_sender_that_is_named_is_the_only_one_and_the_others_are_counted() -> None:
    port, packets = free_port(), h264_stream(60, gop=20)
    with bound() as camera, bound() as stranger:
        for place in (("127.0.0.1", camera.getsockname()[1]), ("127.0.0.2", None)):
            with RtpGate("", port, sender=place) as gate, bound(gate.port) as decoder:
                send(packets, port, sender=stranger)
                wait_for(lambda gate=gate: gate.counters.foreign == len(packets), "the stranger's packets")  # type: ignore[misc]
                if place[1] is None:
                    continue
                send(packets, port, sender=camera)
                assert bodies(collect(decoder)) == bodies(packets)
                assert gate.counters.foreign == len(packets)


def test_noise_never_reaches_the_decoder_and_the_camera_still_does() -> None:
    port, chance = free_port(), random.Random(5)
    packets = h264_stream(100, gop=20)
    noise = [chance.choice((b"", b"\x80")) + chance.randbytes(chance.randrange(1400)) for _ in range(5 * len(packets))]
    mixed = [datagram for at, packet in enumerate(packets) for datagram in (*noise[5 * at : 5 * at + 5], packet)]
    with RtpGate("", port, codec="h264") as gate:
        assert passed(gate, port, mixed) == bodies(packets)
        assert gate.counters.foreign == len(noise)


def test_a_multicast_group_is_joined() -> None:
    port, group, packets = free_port(), "239.255.12.34", h264_stream(20, gop=20)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        try:
            probe.sendto(b"", (group, port))
        except OSError:
            pytest.skip("no interface takes multicast")
    with RtpGate(group, port) as gate, RtpGate(group, port) as other, bound(gate.port) as first, bound(other.port) as second:
        send(packets, port, group)
        assert bodies(collect(first)) == bodies(packets)
        assert bodies(collect(second)) == bodies(packets)


def test_a_busy_port_is_told_with_who_holds_it_and_leaves_nothing_open() -> None:
    before = threading.active_count()
    with bound() as holder:
        port = holder.getsockname()[1]
        with pytest.raises(SourceError, match=rf"UDP port {port}, found .*\(process {os.getpid()}\) on it: .*forward=") as told, RtpGate("", port):
            pytest.fail("it opened")
    assert "\n" not in str(told.value)
    assert threading.active_count() == before
    with RtpGate("", port):
        pass


@pytest.mark.parametrize(
    ("host", "forward", "codec", "told"),
    [
        ("", [("127.0.0.1", 5600)], None, "another port"),
        ("", [("no such host.", 5601)], None, "check the host"),
        ("", [], "vp8", "h264 or h265"),
        ("192.0.2.1", [], None, "no such address on this machine"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(host: str, forward: list[tuple[str, int]], codec: str | None, told: str) -> None:
    with pytest.raises(SourceError, match=told), RtpGate(host, 5600, forward=forward, codec=codec):
        pytest.fail("it opened")


def test_a_forward_address_that_nobody_listens_on_disturbs_nothing() -> None:
    port, packets = free_port(), h264_stream(40, gop=20)
    with RtpGate("", port, forward=[("127.0.0.1", free_port())]) as gate:
        assert passed(gate, port, packets) == bodies(packets)


def test_gates_that_open_and_close_leave_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    port, packets, (threads, descriptors) = free_port(), h264_stream(40, gop=20), held()
    for turn in range(21):
        if turn == 1:  # what the first one of a process opens for good is no leak
            threads, descriptors = held()
        with RtpGate("", port, record=tmp_path / "flight", forward=[("127.0.0.1", free_port())]) as gate:
            send(packets[:5], port)
            wait_for(lambda: gate.counters.packets == 5, "packets through the gate")
    assert held()[0] <= threads  # one of an earlier test may have ended meanwhile
    assert held()[1] <= descriptors


def test_packets_of_any_size_pass() -> None:
    port, packets = free_port(), [rtp(index, b"\x41" + bytes(60_000)) for index in range(4)]
    with RtpGate("", port) as gate:
        assert passed(gate, port, packets) == bodies(packets)
