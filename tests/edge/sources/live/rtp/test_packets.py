"""RTP taken apart: headers, counts, units; and that no byte string makes any of it fail."""

from __future__ import annotations

import random

import pytest
from packets import H265_SETS, PPS, SPS, fragments, h264_stream, rtp

from edge.sources.live.rtp.nal import CODECS, Depacketizer, ParameterSets, codec_of, format_parameters, is_intra, units
from edge.sources.live.rtp.packets import CodecGuess, Packet, Reorder, SequenceCount, ahead, parse_packet


def parsed(datagram: bytes) -> Packet:
    packet = parse_packet(datagram)
    assert packet is not None
    return packet


def test_a_header_is_taken_apart_with_contributors_extension_and_padding() -> None:
    plain = parsed(rtp(513, b"\x65abc", ssrc=9, kind=97, marker=True, timestamp=77))
    assert plain[1:] == (97, True, 513, 77, 9, b"\x65abc")
    full = bytes([0x80 | 0x20 | 0x10 | 2]) + rtp(1)[1:12] + bytes(8) + b"\xbe\xde\x00\x01" + bytes(4) + b"\x65abc" + b"\x00\x02"
    assert parsed(full).payload == b"\x65abc"


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\x80", rtp(1)[:11], b"\x40" + rtp(1)[1:], rtp(1, kind=72), b"\xb0" + rtp(1)[1:12] + b"\xbe", b"\x90" + rtp(1)[1:12] + b"\0\0\xff\xff"],
)
def test_what_is_no_rtp_is_none(datagram: bytes) -> None:
    assert parse_packet(datagram) is None


@pytest.mark.parametrize(
    ("sequences", "lost", "reordered", "duplicates", "jumps"),
    [
        ([5, 6, 7], 0, 0, 0, 0),
        ([65534, 65535, 0, 1], 0, 0, 0, 0),
        ([65534, 1, 2], 2, 0, 0, 0),
        ([65534, 1, 65535, 0, 2], 0, 2, 0, 0),
        ([1, 2, 2, 3, 1], 0, 0, 2, 0),
        ([1, 2, 30000, 3, 4], 0, 0, 0, 0),
        ([1, 2, 30000, 30001, 30003], 1, 0, 0, 1),
        ([10, 12, 11, 11], 0, 1, 1, 0),
    ],
)
def test_losses_late_and_double_packets_are_counted_over_the_wrap(sequences: list[int], lost: int, reordered: int, duplicates: int, jumps: int) -> None:
    count = SequenceCount()
    for sequence in sequences:
        count.note(sequence)
    assert (count.lost, count.reordered, count.duplicates, count.jumps) == (lost, reordered, duplicates, jumps)


def test_a_random_channel_is_counted_exactly() -> None:
    chance = random.Random(1)
    sent = list(range(65000, 75000))
    kept = [sequence for sequence in sent if chance.random() > 0.2 or sequence in (sent[0], sent[-1])]
    late = sorted(kept, key=lambda sequence: sequence + (chance.randrange(20) if sequence not in (sent[0], sent[-1]) else 0))
    count = SequenceCount()
    assert all(count.note(sequence % 65536) for sequence in late)
    assert (count.lost, count.duplicates) == (len(sent) - len(kept), 0)
    assert count.reordered > 1000


def test_late_packets_get_their_places_and_a_lost_one_is_not_waited_for() -> None:
    chance = random.Random(2)
    kept = [sequence for sequence in range(65000, 69000) if chance.random() > 0.1]
    late = sorted(kept, key=lambda sequence: sequence + (chance.randrange(12) if sequence != kept[0] else -1))
    reorder, found = Reorder(), []
    for sequence in late:
        found += reorder.push(parsed(rtp(sequence)))
    found += reorder.flush()
    assert [packet.sequence for packet in found] == [sequence % 65536 for sequence in kept]


def test_units_of_h264_come_out_of_single_aggregated_and_fragmented_packets() -> None:
    unit = b"\x65" + bytes(range(200))
    aggregated = b"\x78" + b"".join(len(each).to_bytes(2, "big") + each for each in (SPS, PPS))
    assert [(each.kind, each.data) for each in units(aggregated, "h264")] == [(7, SPS), (8, PPS)]
    depacketizer = Depacketizer("h264")
    pieces = fragments(unit, 33)
    assert [whole for piece in pieces for whole in depacketizer.push(piece, gap=False)] == [(5, unit)]
    assert [whole for piece in (pieces[0], *pieces[2:]) for whole in depacketizer.push(piece, gap=piece == pieces[2])] == []
    assert depacketizer.damaged >= 1
    assert depacketizer.push(SPS, gap=False) == [(7, SPS)]


def test_units_of_h265_come_out_of_single_aggregated_and_fragmented_packets() -> None:
    aggregated = b"\x60\x01" + b"".join(len(each).to_bytes(2, "big") + each for each in H265_SETS)
    assert [(each.kind, each.data) for each in units(aggregated, "h265")] == list(zip((32, 33, 34), H265_SETS, strict=True))
    depacketizer, unit = Depacketizer("h265"), b"\x26\x01" + bytes(range(100))
    pieces = [b"\x62\x01" + bytes([head | 19]) + unit[at : at + 40] for head, at in ((0x80, 2), (0, 42))] + [b"\x62\x01" + bytes([0x40 | 19]) + unit[82:]]
    assert [whole for piece in pieces for whole in depacketizer.push(piece, gap=False)] == [(19, unit)]
    assert is_intra(19, "h265")
    assert not is_intra(1, "h265")


def test_the_codec_is_told_from_what_only_one_can_send() -> None:
    for codec, payloads in (("h264", [SPS, PPS, *fragments(b"\x65" + bytes(100), 30)]), ("h265", [*H265_SETS, b"\x62\x01\x93abc", b"\x02\x01abc"])):
        assert {codec_of(payload) for payload in payloads} == {codec}
        guess = CodecGuess()
        for payload in payloads:
            guess.note(payload)
        assert guess.codec == codec
    assert codec_of(b"\x06\x05sei") is None


def test_parameter_sets_are_kept_in_the_order_that_a_decoder_wants() -> None:
    sets = ParameterSets("h265")
    for unit in (H265_SETS[2], H265_SETS[0]):
        sets.note(units(unit, "h265"))
    assert format_parameters(sets) == {}
    sets.note(units(H265_SETS[1], "h265"))
    assert list(format_parameters(sets)) == ["sprop-vps", "sprop-sps", "sprop-pps"]
    assert tuple(sets.units.values()) == H265_SETS


@pytest.mark.parametrize("seed", range(5))
def test_no_byte_string_makes_it_fail(seed: int) -> None:
    chance = random.Random(seed)
    stream = h264_stream(50, gop=10)
    count, guess, reorder = SequenceCount(), CodecGuess(), Reorder()
    readers = [(codec, Depacketizer(codec), ParameterSets(codec)) for codec in CODECS]
    for _ in range(3000):
        datagram = bytearray(chance.choice(stream))
        for _ in range(chance.randrange(4)):
            datagram[chance.randrange(len(datagram))] = chance.randrange(256)
        packet = parse_packet(chance.choice((chance.randbytes(chance.randrange(60)), bytes(datagram[: chance.randrange(len(datagram) + 1)]), bytes(datagram))))
        if packet is None:
            continue
        guess.note(packet.payload)
        count.note(packet.sequence)
        reorder.push(packet)
        for codec, depacketizer, sets in readers:
            depacketizer.push(packet.payload, gap=chance.random() < 0.1)
            sets.note(units(packet.payload, codec))
            format_parameters(sets)
    assert count.lost >= 0


def test_distances_wrap() -> None:
    assert [ahead(0, 65535), ahead(65535, 0), ahead(5, 5), ahead(32767, 0), ahead(32768, 0)] == [1, -1, 0, 32767, -32768]
