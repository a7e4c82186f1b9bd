"""What a datagram is that is not the video that was waited for. Pure."""

from __future__ import annotations

from edge.sources.live.rtp.packets import Packet, parse_packet

_TS, _TS_SIZE = 0x47, 188
_TS_ENOUGH = 4
_STATIC = {26: "JPEG", 28: "nv", 31: "H.261", 32: "MPEG video", 33: "MPEG-TS", 34: "H.263"}
"""Payload types of RFC 3551 that are no sound and none of ours."""
SOUND = range(24)
NO_RTP = "no RTP"
_VP8_KEY = b"\x9d\x01\x2a"
_VP8_LARGEST_HEAD = 12


def other_payload(packet: Packet) -> str | None:
    """Name what an RTP packet holds, where that is certainly neither H.264 nor H.265: "MPEG-TS", "JPEG", "VP8", "sound" and so on; else None."""
    payload = packet.payload
    if packet.payload_type in SOUND:
        return "sound"
    if packet.payload_type in _STATIC:
        return _STATIC[packet.payload_type]
    if _is_ts(payload):
        return "MPEG-TS"
    # A key frame's start code stands behind the payload descriptor (RFC 7741) and a frame tag of 3 bytes.
    return "VP8" if payload[:1] and payload[0] & 0x1F == 0x10 and _VP8_KEY in payload[4:_VP8_LARGEST_HEAD] else None


def kind_of(datagram: bytes) -> str:
    """Name what a datagram is that is no packet of video."""
    if _is_ts(datagram) or _holds_ts(datagram):
        return "MPEG-TS"
    if datagram[:4] == b"\0\0\0\1" or datagram[:3] == b"\0\0\1":
        return "raw H.264 or H.265"
    packet = parse_packet(datagram)
    return NO_RTP if packet is None else f"RTP of {other_payload(packet) or 'video'}"


def _is_ts(data: bytes) -> bool:
    return len(data) >= _TS_SIZE and len(data) % _TS_SIZE == 0 and all(data[at] == _TS for at in range(0, len(data), _TS_SIZE))


def _holds_ts(data: bytes) -> bool:
    """Tell whether packets of a transport stream follow each other in a datagram that begins and ends within one."""
    at = data.find(_TS, 0, _TS_SIZE)
    while at >= 0:  # by the few bytes that could be a mark: strangers may send thousands of datagrams a second
        marks = data[at::_TS_SIZE]
        if len(marks) >= _TS_ENOUGH and marks.count(_TS) == len(marks):
            return True
        at = data.find(_TS, at + 1, _TS_SIZE)
    return False
