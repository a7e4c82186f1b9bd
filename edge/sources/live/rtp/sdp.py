"""An SDP file of an RTP sender (RFC 8866; RFC 6184 and 7798 for its parameters): where it sends, and the parameter sets that it may never send."""

from __future__ import annotations

import base64
import ipaddress
import re
from pathlib import Path
from typing import NamedTuple

from edge.errors import SourceError
from edge.outside.reading import read_bounded
from edge.sources.live.rtp.nal import CODECS, ParameterSets, units

_LONGEST = 1 << 16
_MEDIA = re.compile(r"^m=video (\d+)(?:/\d+)? RTP/\S+ (\d+)", re.MULTILINE)
_TO = re.compile(r"^c=IN IP4 ([\d.]+)", re.MULTILINE)


class Description(NamedTuple):
    """What an SDP file tells of its video.

    Attributes:
        host: the multicast group that is sent to; "" where it is an address of this machine's.
        port: the UDP port.
        sets: the parameter sets, and with them the codec.
    """

    host: str
    port: int
    sets: ParameterSets


def read_sdp(path: Path) -> Description:
    """Read an SDP file.

    Raises:
        SourceError: it cannot be read, or tells of no H.264 or H.265 with its parameter sets.
    """
    try:
        text = read_bounded(path, _LONGEST).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError as error:
        raise SourceError(f"wanted a sender's SDP in {path}, cannot read it ({error.strerror or error}): copy it again") from error
    media = _MEDIA.search(text)
    if media is None or not 0 < int(media[1]) < 1 << 16:
        raise SourceError(f"wanted a line m=video PORT RTP/AVP TYPE in {path}, found none: have the sender write its SDP anew")
    named = re.search(rf"^a=rtpmap:{media[2]} ([\w-]+)/90000", text, re.MULTILINE)
    codec = named[1].lower() if named else ""
    if codec not in CODECS:
        raise SourceError(f"wanted video in H.264 or H.265 in {path}, found {named[1] if named else 'no rtpmap'}: have the sender encode one of them")
    sets = ParameterSets(codec)
    for coded in re.findall(r"sprop-(?:parameter-sets|vps|sps|pps)=([\w+/=,]+)", text):
        for each in coded.split(","):
            sets.note(units(_decoded(each), codec))
    if not sets.complete:
        raise SourceError(f"wanted parameter sets (sprop-...) in {path}, found none that are whole: give rtp://@:{media[1]}, if the sender repeats them")
    to = _TO.search(text)
    return Description(to[1] if to and _is_group(to[1]) else "", int(media[1]), sets)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _is_group(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_multicast
    except ValueError:
        return False
