"""What is shown of text from outside: one line, nothing that moves a cursor, and no password in any form that cameras take."""

from __future__ import annotations

import pytest

from edge.errors import InputError, SourceError, one_line
from edge.outside.text import printable, shown, without_credentials
from edge.sources.uri import parse_uri

HIDDEN = {
    "rtsp://ad:p@ss@HOST/s": "rtsp://HOST/s",
    "rtsp://ad:a/b@HOST/s": "rtsp://HOST/s",
    "rtsp://ad:a?b#c=d&e@HOST/s?x=1": "rtsp://HOST/s?x=1",
    "rtsp://ad:p w@[::1]:554/s": "rtsp://[::1]:554/s",
    "rtsp://tokentoken@HOST/s": "rtsp://HOST/s",
    "rtsp://HOST/user=admin&password=secret&channel=1&stream=0.sdp": "rtsp://HOST/user=***&password=***&channel=1&stream=0.sdp",
    "rtsp://HOST/user=admin_password=tlJ_wpbo6_channel=1_stream=0.sdp?real_stream": ("rtsp://HOST/user=***_password=***_channel=1_stream=0.sdp?real_stream"),
    "rtsp://HOST/s?token=ab/cdef==&flip=9": "rtsp://HOST/s?token=***&flip=9",
    "rtsp://HOST/s?p%61ssword=secret&channel=1": "rtsp://HOST/s?p%61ssword=***&channel=1",
    "http://HOST/videostream.cgi?loginuse=admin&loginpas=secret": "http://HOST/videostream.cgi?loginuse=***&loginpas=***",
    "http://HOST/cgi?usr=admin&pwd=secret;rate=0": "http://HOST/cgi?usr=***&pwd=***;rate=0",
    "rtsp://HOST/ISAPI/101?authbasic=YWRtaW46c2Vj": "rtsp://HOST/ISAPI/101?authbasic=***",
    "srt://HOST:9?passphrase=secretsecret&latency=20": "srt://HOST:9?passphrase=***&latency=20",
    "rtsp://HOST/s?jwt=eyJhbGciOi.x.y&subtype=1": "rtsp://HOST/s?jwt=***&subtype=1",
    "http://HOST/cgi?pa$$word!=secret&resolution=1920x1080": "http://HOST/cgi?pa$$word!=***&resolution=1920x1080",
    "http://HOST/s#access_token=abcdef": "http://HOST/s#access_token=***",
    "rtsp://HOST/s?nobody-knows=abcd&x=1": "rtsp://HOST/s?nobody-knows=***&x=1",
    "rtsp://cam.example:554/live@2x/s": "rtsp://cam.example:554/***@2x/s",
    "rtsp://10.0.0.5:8555/s?user=ad&mail=a@b.example": "rtsp://10.0.0.5:8555/s?user=***&mail=***",
    "rtsp://[::1]:99/proxy/rtsp://ad:secret@CAM/s": "rtsp://[::1]:99/***@CAM/s",
    "rtsp://HOST/cam/realmonitor?channel=1&subtype=0&unicast=true&proto=Onvif": "rtsp://HOST/cam/realmonitor?channel=1&subtype=0&unicast=true&proto=Onvif",
    "rtsp:/ad:secret@HOST/s": "rtsp:/HOST/s",
    "ad:secret@HOST/s": "HOST/s",
    "rtp://@:5600?codec=h265": "rtp://@:5600?codec=h265",
    "rtsp://HOST/live": "rtsp://HOST/live",
    "/data/12:30@north.mp4": "/data/12:30@north.mp4",
}


@pytest.mark.parametrize("address", HIDDEN)
def test_an_address_is_shown_without_what_lets_one_in(address: str) -> None:
    assert without_credentials(address) == HIDDEN[address]


@pytest.mark.parametrize("address", [address for address in HIDDEN if " " not in address])
def test_so_is_one_within_a_sentence_and_the_sentence_stays(address: str) -> None:
    assert shown(f"wanted video from '{address}', found none: try rtsp://USER:PASSWORD@HOST/s or --source @FILE") == (
        f"wanted video from '{HIDDEN[address]}', found none: try rtsp://USER:PASSWORD@HOST/s or --source @FILE"
    )


def test_errors_hide_passwords_whoever_raises_them() -> None:
    assert str(SourceError("wanted frames from rtsp://ad:secret@HOST/s, found none")) == "wanted frames from rtsp://HOST/s, found none"
    assert one_line(ValueError("cannot open rtsp://ad:secret@HOST/s\n\x1b[31m")) == "cannot open rtsp://HOST/s \\x1b[31m"


@pytest.mark.parametrize("address", ["rtsp://ad:secret word@HOST/s?flip=9", "rtp://ad:pass?wordword@HOST:5600", "v4l2://ad:pass?word=secret@HOST"])
def test_no_refusal_of_an_option_holds_a_part_of_a_password(address: str) -> None:
    uri = parse_uri(address)
    with pytest.raises(SourceError) as refused:
        uri.check_keys("codec")
    assert not any(part in str(refused.value) for part in ("secret", "word", "pass"))


def test_text_from_outside_stays_on_its_line() -> None:
    assert printable("Stop") == "Stop"
    assert printable("Größe 标志 می\u200cروم 👍") == "Größe 标志 می\u200cروم 👍"
    assert printable("a\nERROR: b\r\x1b[31m\x00\x9b\u2028\u202e\ud800") == "a\\nERROR: b\\r\\x1b[31m\\x00\\x9b\\u2028\\u202e\\ud800"
    assert printable("stra\udcdfe.mp4") == "stra\\xdfe.mp4"
    assert str(InputError("found a\nb")) == "found a\\nb"
