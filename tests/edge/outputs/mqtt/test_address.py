"""What `--mqtt` takes, what it refuses, and that no password is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import InputError
from edge.outputs.mqtt.address import parse_broker


@pytest.mark.parametrize(
    ("text", "host", "port", "prefix", "secure", "user", "password"),
    [
        ("mqtt://10.0.0.5/drone", "10.0.0.5", 1883, "drone", False, None, None),
        ("MQTTS://broker.example/a/b/", "broker.example", 8883, "a/b", True, None, None),
        ("mqtt://[fe80::1]:1884/drone 7", "fe80::1", 1884, "drone 7", False, None, None),
        ("mqtt://me@h/d", "h", 1883, "d", False, "me", None),
        ("mqtt://me:@h/d", "h", 1883, "d", False, "me", ""),
        ("mqtts://me:p@ss/w:rd?#@h:9/d", "h", 9, "d", True, "me", "p@ss/w:rd?#"),
        ("mqtt://m%40e:p%25w%2Fd@h/d", "h", 1883, "d", False, "m@e", "p%w/d"),
    ],
)
def test_an_address_is_taken_apart(text: str, host: str, port: int, prefix: str, secure: bool, user: str | None, password: str | None) -> None:
    broker = parse_broker(text)
    assert (broker.host, broker.port, broker.prefix, broker.secure, broker.user, broker.password) == (host, port, prefix, secure, user, password)
    assert "@" not in broker.told
    assert parse_broker(broker.told).told == broker.told
    assert not password or password not in repr(broker)


@pytest.mark.parametrize(
    "text",
    [
        *("", "drone", "mqtt://", "mqtt://h", "mqtt://h/", "mqtt:///d", "http://h/d", "mqtt://h:0/d", "mqtt://h:99999/d", "mqtt://h:x/d", "mqtt:h/d"),
        *("mqtt://h/a+b", "mqtt://h/#", "mqtt://h/$SYS", "mqtt://h/a\nb", "mqtt://h/a\0b", f"mqtt://h/{'a' * 201}", "mqtt://h h/d"),
    ],
)
def test_what_names_no_broker_is_refused_and_the_cure_works(text: str) -> None:
    with pytest.raises(InputError, match="wanted a") as refusal:
        parse_broker(text)
    assert "\n" not in str(refusal.value)
    assert parse_broker("mqtt://USER:PASSWORD@HOST:1883/PREFIX").password == "PASSWORD"  # as the cure has it


@pytest.mark.parametrize("text", ["mqtt://me:s3cretword@h", "mqtt://me:s3cretword@h/#", "mqtt://me:s3/cretword@h:0/d"])
def test_a_refusal_tells_no_password(text: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_broker(text)
    assert "cretword" not in str(refusal.value)


def test_an_address_in_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "broker.txt"
    file.write_text("mqtt://me:s3cretword@h/d\nand more\n")
    file.chmod(0o600)
    assert parse_broker(f"@{file}").password == "s3cretword"
    assert not caplog.records
    file.chmod(0o644)
    parse_broker(f"@{file}")
    assert "s3cretword" not in caplog.text
    assert str(file) in caplog.text
    with pytest.raises(InputError, match="cannot read it"):
        parse_broker(f"@{tmp_path / 'none'}")
