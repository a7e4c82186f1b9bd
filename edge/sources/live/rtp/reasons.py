"""Why an RTP stream gives no pictures, and what cures it. Pure: facts in, a line out."""

from __future__ import annotations

from dataclasses import dataclass

from edge.sources.live.rtp.kinds import NO_RTP

TOLD_NS = 3_000_000_000
"""A reason is told when it has held for so long, and what came longer ago is none."""


@dataclass(frozen=True)
class Heard:
    """What came to a port.

    Attributes:
        port: the UDP port.
        given: the codec that the user named; None if none.
        found: what the packets certainly hold; None where nothing tells.
        codec: what is taken for it.
        other: what comes that is no video of ours, by name.
        pinned: the host that alone is listened to; None for all.
        quiet_ns: how long no datagram has come.
        passing_ns: how long packets of one sender have been passing; 0 while none do.
        foreign: whether datagrams come, and none that passes.
        sets: whether there are parameter sets.
        starts: whether there was a picture that decoding can begin with.
    """

    port: int
    given: str | None
    found: str | None
    codec: str | None
    other: str | None
    pinned: str | None
    quiet_ns: int
    passing_ns: int
    foreign: bool
    sets: bool
    starts: bool


def why(heard: Heard) -> str:
    """Return the reason in one line, with its cure; empty where pictures should come, or while it is too early to tell."""
    port = f"UDP {heard.port}"
    if heard.quiet_ns >= TOLD_NS:
        return f"nothing comes to {port}: check that the sender sends to this machine's address and this port, and the firewall"
    if heard.pinned is not None and heard.foreign:
        return f"packets come to {port}, and none from {heard.pinned}: check from="
    if heard.given is not None and heard.found not in (None, heard.given):
        return f"wanted {_name(heard.given)} on {port}, found {_name(heard.found)}: leave codec={heard.given} out"
    if heard.other is not None and not heard.sets:
        return f"wanted RTP of H.264 or H.265 on {port}, found {heard.other}: {_cure(heard.other, heard.port)}"
    if heard.passing_ns < TOLD_NS:
        return ""
    if heard.codec is None:
        return f"wanted RTP of H.264 or H.265 on {port}, found RTP of neither: have the sender encode one of them"
    if not heard.sets:
        where = "SPS and PPS" if heard.codec == "h264" else "VPS, SPS and PPS"
        cure = "give the sender's .sdp file as the source, or have it repeat them (GStreamer: config-interval=1; ffmpeg: -bsf:v dump_extra)"
        return f"packets of {_name(heard.codec)} come to {port}, no parameter sets ({where}) among them: {cure}"
    if not heard.starts:
        return f"packets of {_name(heard.codec)} come to {port}, no key frame among them yet: wait for it, or have the sender make one each second"
    return ""


def _name(codec: str | None) -> str:
    return {"h264": "H.264", "h265": "H.265"}.get(codec or "", "neither")


def _cure(other: str, port: int) -> str:
    if not other.startswith("RTP") and other != NO_RTP:
        return f"give udp://@:{port}"
    return f"have the sender encode H.264, or hand it on by ffmpeg: -c:v libx264 -f rtp rtp://127.0.0.1:{port}"
