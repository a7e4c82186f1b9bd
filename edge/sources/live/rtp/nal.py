"""What RTP payloads of H.264 (RFC 6184) and H.265 (RFC 7798) hold: unit types, parameter sets, and whole NAL units again."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import NamedTuple

CODECS = ("h264", "h265")
START_CODE = b"\x00\x00\x00\x01"

# RFC 6184 table 1: aggregation STAP-A, fragmentation FU-A; the other modes are not in use by cameras.
_STAP_A, _FU_A = 24, 28
# RFC 7798 section 4.4.
_AP, _FU = 48, 49
_PARAMETERS = {"h264": (7, 8), "h265": (32, 33, 34)}
_H264_INTRA = (5,)
_H265_INTRA = range(16, 22)  # IRAP pictures that are in use: BLA, IDR, CRA
_H264_USUAL = (1, 5, 7, 8, _STAP_A, _FU_A)
_H265_USUAL = (0, 1, 19, 20, 21, 32, 33, 34, 35, 39, _AP, _FU)
_H264_SEI, _H264_SPS, _H265_SPS, _H265_SEI = 6, 7, 33, 39
_RECOVERY_POINT = 6
_H264_PROFILES = (66, 77, 88, 100, 110, 122, 244)
_LARGEST_PARAMETERS = 1024
# Delimiter, parameter sets and prefix SEI (H.264 7.4.1.2.3, H.265 7.4.2.4.4).
_H264_BEFORE = (_H264_SEI, _H264_SPS, 8, 9)
_H265_BEFORE = (32, 33, 34, 35, 39)
_LARGEST_UNIT = 4 << 20


class Unit(NamedTuple):
    """A NAL unit, or the piece of one, in a payload.

    Attributes:
        kind: the NAL unit type, 0 to 31 or 0 to 63.
        begins: whether the unit starts here.
        ends: whether it ends here.
        data: a whole unit with its header; of a fragment the unit's header, where it begins, and the piece.
    """

    kind: int
    begins: bool
    ends: bool
    data: bytes


def units(payload: bytes, codec: str) -> list[Unit]:
    """Return the units in a payload; none where it is damaged or of a mode that cameras do not use."""
    return _units_h264(payload) if codec == "h264" else _units_h265(payload)


def _units_h264(payload: bytes) -> list[Unit]:
    if not payload or payload[0] & 0x80:
        return []
    kind = payload[0] & 0x1F
    if kind == _STAP_A:
        return [Unit(data[0] & 0x1F, True, True, data) for data in _pieces(payload, 1)]
    if kind == _FU_A:
        if len(payload) < 3:
            return []
        head = payload[1]
        start = bytes([payload[0] & 0xE0 | head & 0x1F]) if head & 0x80 else b""
        return [Unit(head & 0x1F, bool(head & 0x80), bool(head & 0x40), start + payload[2:])]
    return [Unit(kind, True, True, payload)] if 0 < kind < _STAP_A else []


def _units_h265(payload: bytes) -> list[Unit]:
    if len(payload) < 3 or payload[0] & 0x80 or not payload[1] & 0x07:
        return []
    kind = payload[0] >> 1
    if kind == _AP:
        return [Unit(data[0] >> 1, True, True, data) for data in _pieces(payload, 2) if len(data) > 2]
    if kind == _FU:
        if len(payload) < 4:
            return []
        head = payload[2]
        start = bytes([payload[0] & 0x81 | (head & 0x3F) << 1, payload[1]]) if head & 0x80 else b""
        return [Unit(head & 0x3F, bool(head & 0x80), bool(head & 0x40), start + payload[3:])]
    return [Unit(kind, True, True, payload)] if kind < _AP else []


def _pieces(payload: bytes, at: int) -> Iterator[bytes]:
    while at + 2 < len(payload):
        size = int.from_bytes(payload[at : at + 2], "big")
        if not 0 < size <= len(payload) - at - 2:
            return
        yield payload[at + 2 : at + 2 + size]
        at += 2 + size


def codec_of(payload: bytes) -> str | None:
    """Tell the codec by a header that only one of the two can have in practice; None where it could be either, or neither.

    An H.265 header has an even first byte (layer 0) and a small second one; the H.264 types that cameras send are odd there or unspecified in H.265.
    """
    if len(payload) < 3 or payload[0] & 0x80:
        return None
    kind = payload[0] & 0x1F
    if not payload[0] & 1 and payload[0] >> 1 in _H265_USUAL and 0 < payload[1] < 8 and kind != _H264_SEI:
        return "h265"
    return "h264" if kind in _H264_USUAL else None


def plausible(payload: bytes, codec: str | None) -> bool:
    """Tell whether a payload can be video of `codec`, or of either where it is None."""
    return any(units(payload, each) for each in ((codec,) if codec else CODECS))


def is_intra(kind: int, codec: str) -> bool:
    """Tell whether a unit of this type belongs to a picture that can be decoded alone."""
    return kind in (_H264_INTRA if codec == "h264" else _H265_INTRA)


def is_recovery_point(kind: int, unit: bytes, codec: str) -> bool:
    """Tell whether a whole unit says that pictures are right from some frames on, though none of them can be decoded alone: where intra refresh begins anew."""
    if kind != (_H264_SEI if codec == "h264" else _H265_SEI):
        return False
    at = 1 if codec == "h264" else 2
    while at + 2 < len(unit):
        message = [0, 0]  # type and size, each a sum of bytes of which all but the last are 255 (H.264 7.3.2.3.1)
        for which in range(2):
            while at < len(unit) - 1 and unit[at] == 0xFF:
                message[which], at = message[which] + 0xFF, at + 1
            message[which], at = message[which] + unit[min(at, len(unit) - 1)], at + 1
        if message[0] == _RECOVERY_POINT:
            return True
        at += message[1]
    return False


def is_start(kind: int, unit: bytes, codec: str) -> bool:
    """Tell whether decoding can begin with the picture that a unit belongs to; of a unit that belongs to an intra frame its beginning will do."""
    return is_intra(kind, codec) or is_recovery_point(kind, unit, codec)


def is_parameters(kind: int, codec: str) -> bool:
    """Tell whether a unit of this type is a parameter set (SPS, PPS, and VPS of H.265)."""
    return kind in _PARAMETERS[codec]


def is_sound(unit: Unit, codec: str) -> bool:
    """Tell whether a parameter set or the beginning of a picture looks as a camera makes it: chance seldom does."""
    if not unit.begins or len(unit.data) < 3 or (is_parameters(unit.kind, codec) and not (unit.ends and len(unit.data) <= _LARGEST_PARAMETERS)):
        return False
    if codec == "h265":  # layer 0, temporal layer 0
        return unit.data[1] == 1 and not unit.data[0] & 1
    return bool(unit.data[0] & 0x60) and (unit.kind != _H264_SPS or unit.data[1] in _H264_PROFILES)


def is_picture(kind: int, codec: str) -> bool:
    """Tell whether a unit of this type holds a part of a picture."""
    return 1 <= kind <= 5 if codec == "h264" else kind < 32


def begins_picture(kind: int, unit: bytes, codec: str) -> bool:
    """Tell whether a whole unit, after one that holds a part of a picture, belongs to the next picture: its first slice, or what stands before that."""
    if is_picture(kind, codec):
        header = 1 if codec == "h264" else 2
        return len(unit) > header and bool(unit[header] & 0x80)  # first_mb_in_slice is 0; first_slice_segment_in_pic_flag
    return kind in (_H264_BEFORE if codec == "h264" else _H265_BEFORE)


class ParameterSets:
    """Keeps the newest parameter sets of a stream, with which a decoder that joins later can start.

    Attributes:
        codec: whose they are.
        units: whole NAL units by type, in the order that a decoder wants them in.
    """

    def __init__(self, codec: str, known: dict[int, bytes] | None = None) -> None:
        """Keep those of `codec`; `known` ones were told beforehand."""
        self.units = dict(known or {})
        self.codec = codec

    def note(self, found: list[Unit]) -> None:
        """Look at a payload's units."""
        for unit in found:
            if unit.begins and unit.ends and is_parameters(unit.kind, self.codec) and self.units.get(unit.kind) != unit.data:
                self.units = dict(sorted({**self.units, unit.kind: unit.data}.items()))

    @property
    def sequence(self) -> bytes | None:
        """The SPS, which tells the pictures' size."""
        return self.units.get(_H264_SPS if self.codec == "h264" else _H265_SPS)

    @property
    def complete(self) -> bool:
        """Whether a decoder could start with them."""
        return len(self.units) == len(_PARAMETERS[self.codec])


def format_parameters(sets: ParameterSets) -> dict[str, str]:
    """Return parameter sets as an SDP's fmtp line or GStreamer's caps have them; empty while they are not complete."""
    if not sets.complete:
        return {}
    coded = [base64.b64encode(unit).decode("ascii") for unit in sets.units.values()]
    if sets.codec == "h264":
        return {"sprop-parameter-sets": ",".join(coded)}
    return dict(zip(("sprop-vps", "sprop-sps", "sprop-pps"), coded, strict=True))


class Depacketizer:
    """Makes whole NAL units of payloads that come in order; a unit with a piece missing is left out and counted.

    Attributes:
        damaged: units that were left out.
    """

    def __init__(self, codec: str) -> None:
        """Read payloads of `codec`."""
        self.damaged = 0
        self._codec = codec
        self._pieces: list[bytes] = []
        self._size = self._kind = 0

    def push(self, payload: bytes, *, gap: bool) -> list[tuple[int, bytes]]:
        """Take a payload, and whether packets are missing before it; return (type, unit) of each unit that is whole now."""
        if gap:
            self._give_up()
        whole = []
        for unit in units(payload, self._codec):
            if unit.begins:
                self._give_up()
            elif not self._pieces or unit.kind != self._kind:
                self.damaged += not self._pieces and unit.ends
                self._give_up()
                continue
            self._kind, self._size = unit.kind, self._size + len(unit.data)
            self._pieces.append(unit.data)
            if unit.ends:
                whole.append((unit.kind, b"".join(self._pieces)))
                self._pieces, self._size = [], 0
            elif self._size > _LARGEST_UNIT:
                self._give_up()
        return whole

    def _give_up(self) -> None:
        self.damaged += bool(self._pieces)
        self._pieces, self._size = [], 0
