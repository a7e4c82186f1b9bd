"""Datagrams of RTP and MAVLink: whatever comes is taken apart or passed over, and nothing that is held grows without end."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated
from packets import H265_SETS, PPS, SPS, fragments, h264_stream, rtp

from edge.sources.live.rtp.nal import CODECS, Depacketizer, ParameterSets, codec_of, format_parameters, units
from edge.sources.live.rtp.packets import Reorder, SequenceCount, parse_packet
from edge.vehicle.attitude_messages import attitude_of, sent_s

PAYLOADS = [*H265_SETS, SPS, PPS, *fragments(b"\x65" * 90, 30), b"\x18\x00\x05" + SPS, b"\x60\x01\x00\x02ab"]
CORPUS = [*h264_stream(3, gop=2), *(rtp(9, payload) for payload in PAYLOADS)]


@given(st.lists(mutated(*CORPUS) | st.binary(max_size=80), max_size=40), st.sampled_from(CODECS))
def test_any_datagrams_are_taken_apart_or_passed_over(datagrams: list[bytes], codec: str) -> None:
    ordered, count, whole, sets = Reorder(), SequenceCount(), Depacketizer(codec), ParameterSets(codec)
    given, held = 0, 0
    for datagram in datagrams:
        packet = parse_packet(datagram)
        if packet is None:
            continue
        assert packet.payload in datagram
        count.note(packet.sequence)
        codec_of(packet.payload)
        sets.note(units(packet.payload, codec))
        format_parameters(sets)
        for each in ordered.push(packet):
            given += len(each.payload)
            held += sum(len(unit) for _, unit in whole.push(each.payload, gap=False))
    assert held <= 2 * given + 1024


@pytest.fixture(scope="module")
def mavlink() -> object:
    pytest.importorskip("pymavlink", reason="needs the mavlink extra")
    from edge.vehicle.mavlink_library import dialect

    return dialect("a test")


@given(data=st.data())
def test_any_bytes_of_mavlink_give_an_attitude_or_none(mavlink: object, data: st.DataObject) -> None:
    common = mavlink
    sender = common.MAVLink(None, srcSystem=1, srcComponent=1)  # type: ignore[attr-defined]
    angles = data.draw(st.lists(st.floats(width=32), min_size=7, max_size=7))
    messages = [
        common.MAVLink_attitude_message(1, *angles[:6]),  # type: ignore[attr-defined]
        common.MAVLink_mount_orientation_message(1, *angles[:3], angles[3]),  # type: ignore[attr-defined]
        common.MAVLink_heartbeat_message(2, 3, 0, 0, 4, 3),  # type: ignore[attr-defined]
    ]
    right = [message.pack(sender) for message in messages]
    content = data.draw(mutated(*right, b"".join(right)) | st.binary(max_size=80))
    receiver = common.MAVLink(None)  # type: ignore[attr-defined]
    receiver.robust_parsing = True
    for message in [*(receiver.parse_buffer(content) or ()), *messages]:
        found = attitude_of(message)
        if found is not None:
            assert math.isfinite(sent_s(message))
            assert abs(found[1].roll_deg or 0.0) <= 180
