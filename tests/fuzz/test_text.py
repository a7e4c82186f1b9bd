"""Addresses and requests: whatever they hold, no password is shown, nothing moves a cursor, and what is refused is refused in one line."""

from __future__ import annotations

import base64
from urllib.parse import quote, unquote

from hypothesis import example, given
from hypothesis import strategies as st
from mutations import refused_in_one_line

from edge.errors import SourceError
from edge.outputs.web.access import Access, is_loopback, names_loopback
from edge.outside.text import HARMLESS_KEYS, printable, shown, without_credentials
from edge.sources.live.open import SCHEMES, open_live
from edge.sources.uri import parse_uri

USERS = st.text(st.sampled_from("abAB01.-_%"), min_size=1, max_size=8)
PASSWORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=4, max_size=12) | st.text(st.sampled_from("ab1@:/?#&=;%_. "), min_size=4, max_size=12)
VALUES = st.text(st.sampled_from("abAB01.-_~!*'(),:@$+=%"), min_size=4, max_size=12)
SECRETS = ["password", "pwd", "PASS", "passwd", "loginpas", "token", "access_token", "api_key", "key", "auth", "authbasic", "secret", "sig", "p%61ss"]
ANY_KEYS = st.text(st.characters(exclude_categories=("Cs", "Zs", "Cc", "Zl", "Zp"), exclude_characters="=&;?/#,@"), min_size=1, max_size=12)
KEYS = st.sampled_from([*SECRETS, "jwt", "loginuse", "auth_token", "x-amz-signature", "sessionid"]) | ANY_KEYS.filter(lambda key: not is_harmless(key))
PLACES = ["/s?channel=1&{}&stream=0.sdp", "/user=x&{}&channel=1", "/user=x_{}_channel=1_stream=0.sdp", "/{}", "/s,{}", "/cgi?{};rate=1"]
SENTENCE = "wanted video from {}, found none: try again"
BARE = "rtsp://cam.example/s?channel=1&stream=0.sdp"
TOKEN = "a-token-of-a-fair-length"


def is_harmless(key: str) -> bool:
    return unquote(key).lower().rpartition("_")[2] in HARMLESS_KEYS or unquote(key).lower() in HARMLESS_KEYS


def hidden(password: str, told: str, key: str = "") -> bool:
    """Tell whether no four characters in a row of a password are shown, but for those that the rest of the text has as well."""
    return not any(password[at : at + 4] in told and password[at : at + 4] not in f"{BARE}{SENTENCE} {key}=***" for at in range(len(password) - 3))


@given(USERS, PASSWORDS)
@example("ad", "p@ssword")
@example("ad", "a/bcdef")
@example("ad", "x://yzab")
@example("ad", "ends with ")
@example("", "only")
def test_no_password_before_the_host_is_shown(user: str, password: str) -> None:
    address = f"rtsp://{user}:{password}@cam.example/s?channel=1&stream=0.sdp"
    assert without_credentials(address) == BARE
    if "://" not in password:
        assert parse_uri_told(address) in ("", BARE)
    if not any(map(str.isspace, password)):
        assert hidden(password, shown(SENTENCE.format(f"'{address}'")))
        assert hidden(password, shown(SENTENCE.format(address)))


@given(KEYS, VALUES, st.sampled_from(PLACES))
@example("password", "tlJ_wpbo6", "/user=admin_{}_channel=1_stream=0.sdp")
@example("token", "abcd/efgh==", "/s?{}&channel=1")
def test_no_value_of_a_secret_key_is_shown(key: str, value: str, place: str) -> None:
    for written in (value, quote(value, safe="")):
        address = "rtsp://cam.example" + place.format(f"{key}={written}")
        assert hidden(written, without_credentials(address), key)
        assert hidden(written, shown(SENTENCE.format(address)), key)


HOSTS = st.sampled_from(["cam", "cam.example", "cam.example:554", "10.0.0.5:9000", "[fe80::1]:554", "[::1]"])
BEHIND = st.text(st.sampled_from("abAB01.-_~!*'(),:@$+%"), max_size=12)


@given(HOSTS, BEHIND, BEHIND)
@example("cam.example:554", "live@2x", "")
@example("10.0.0.5:9000", "s?user=x@y", "@")
def test_a_host_is_shown_whatever_stands_behind_it(host: str, path: str, query: str) -> None:
    for told in (without_credentials(f"rtsp://{host}/{path}?{query}"), shown(f"wanted video from 'rtsp://{host}/{path}?{query}', found none")):
        assert f"rtsp://{host}/" in told


@given(st.text(st.characters()))
def test_what_is_shown_stays_on_its_line(text: str) -> None:
    for told in (printable(text), shown(text)):
        told.encode()
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 or character in "\u2028\u2029\u202e\u2066" for character in told)


def parse_uri_told(address: str) -> str:
    with refused_in_one_line(SourceError):
        return parse_uri(address).text
    return ""


ANYTHING = st.text(st.characters(exclude_categories=()), max_size=60)
LIKELY = st.from_regex(r"@?[a-z]{0,5}:[0-9]{0,6}\?[a-z0-9=&%,:]{0,40}", fullmatch=True)


@given(st.sampled_from(SCHEMES), ANYTHING | LIKELY)
def test_an_address_of_a_camera_is_taken_or_refused_in_one_line(scheme: str, rest: str) -> None:
    with refused_in_one_line(SourceError):
        open_live(parse_uri(f"{scheme}://{rest}"))


HEADERS = st.lists(st.tuples(st.sampled_from([b"authorization", b"host", b"cookie"]) | st.binary(max_size=12), st.binary(max_size=60)), max_size=6)


@given(HEADERS)
@example([(b"authorization", b"Basic ====")])
@example([(b"host", b"[::1"), (b"host", b"\xff")])
def test_no_headers_of_a_request_open_the_page_but_the_token(headers: list[tuple[bytes, bytes]]) -> None:
    assert Access("0.0.0.0", TOKEN).refusal(headers) in (400, 401)
    assert Access("127.0.0.1", None).refusal(headers) in (0, 400)
    assert Access("0.0.0.0", TOKEN).refusal([(b"authorization", b"Basic " + base64.b64encode(b"any:" + TOKEN.encode()))]) == 0


@given(st.text(max_size=40), st.binary(max_size=40))
def test_any_host_is_judged(host: str, header: bytes) -> None:
    assert isinstance(is_loopback(host), bool)
    assert isinstance(names_loopback(header), bool)
