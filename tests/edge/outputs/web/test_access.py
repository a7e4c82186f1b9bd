"""Who may read the page: tokens, names of loopback, and files that hold a token."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from edge.errors import InputError
from edge.outputs.web.access import Access, is_loopback, names_loopback, read_token

TOKEN = "correct-horse-battery-staple"
Headers = list[tuple[bytes, bytes]]


def basic(text: str) -> Headers:
    return [(b"authorization", b"Basic " + base64.b64encode(text.encode()))]


def bearer(text: str) -> Headers:
    return [(b"authorization", b"Bearer " + text.encode())]


@pytest.mark.parametrize("headers", [bearer(TOKEN), basic(f"pilot:{TOKEN}"), basic(f":{TOKEN}"), [(b"authorization", b"bEaReR  " + TOKEN.encode() + b" ")]])
def test_the_token_opens(headers: Headers) -> None:
    assert Access("0.0.0.0", TOKEN).refusal([(b"host", b"drone.example:8080"), *headers]) == 0


@pytest.mark.parametrize(
    "headers",
    [
        [],
        bearer(""),
        bearer(TOKEN[:-1]),
        bearer(TOKEN + "x"),
        bearer(TOKEN.upper()),
        bearer(TOKEN) + bearer(TOKEN),
        basic(TOKEN),
        basic(f"{TOKEN}:"),
        basic(f"a:b:{TOKEN}"),
        [(b"authorization", b"Basic !!!")],
        [(b"authorization", b"Basic \xff\xfe")],
        [(b"authorization", TOKEN.encode())],
        [(b"authorization", b"Digest " + TOKEN.encode())],
        [(b"cookie", TOKEN.encode())],
    ],
)
def test_anything_else_does_not(headers: Headers) -> None:
    assert Access("127.0.0.1", TOKEN).refusal([(b"host", b"localhost"), *headers]) == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "drone.local", ""])
def test_where_others_can_reach_the_page_a_token_is_wanted(host: str) -> None:
    with pytest.raises(InputError, match="wanted --web-token-file"):
        Access(host, None)
    assert not is_loopback(host)


@pytest.mark.parametrize("host", [b"127.0.0.1:8080", b"localhost", b"LOCALHOST:1", b"[::1]:8080", b"[::1]", b"127.1.2.3", b"::1"])
def test_loopback_is_asked_by_its_names(host: bytes) -> None:
    assert names_loopback(host)
    assert Access("127.0.0.1", None).refusal([(b"host", host)]) == 0


@pytest.mark.parametrize(
    "host", [b"evil.example", b"evil.example:8080", b"localhost.evil.example", b"[::1", b"[::1]x", b"", b"127.0.0.1.evil", b"\xff", b"a:b:c"]
)
def test_a_name_that_others_made_to_lead_to_loopback_is_refused(host: bytes) -> None:
    assert Access("127.0.0.1", None).refusal([(b"host", host)]) == 400


def test_a_token_is_read_without_the_blanks_around_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f" {TOKEN}\n")
    assert read_token(path) == TOKEN


@pytest.mark.parametrize(
    "content", [b"", b"short\n", b"two words that are long\n", b"two-lines-that-are\nlong-enough-alone\n", "pässwörter-lang-genug".encode(), b"x" * 5000]
)
def test_a_file_without_a_fair_token_is_refused_and_not_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(InputError, match="wanted one line of 16 to 4096") as told:
        read_token(path)
    assert content.decode(errors="replace").strip() not in str(told.value) or not content
    with pytest.raises(InputError, match="system refused"):
        read_token(tmp_path / "nothing")


def test_a_token_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name in ("fifo", "zeros"):
        with pytest.raises(InputError, match="than a plain file"):
            read_token(tmp_path / name)
