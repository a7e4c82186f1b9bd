"""What every command does about errors that nobody foresaw: one line, exit code 1, and where it was."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from edge import cli


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("a\nb\x1b"), "a fault of its own, KeyError in "),
        (MemoryError(), "wanted more memory than there is"),
        (OSError(28, "No space left on device", "rtsp://ad:secret@HOST"), "the system refused"),
        (UnicodeEncodeError("utf-8", "\udcdf", 0, 1, "surrogates not allowed"), "a fault of its own"),
    ],
)
def test_an_error_that_nobody_foresaw_is_one_line(error: Exception, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    def command(arguments: argparse.Namespace) -> None:
        raise error

    parser = cli.Parser(prog="x")
    parser.set_defaults(command=command)
    assert cli.main(parser, []) == 1
    said = capsys.readouterr().err
    assert said.startswith("x: ")
    assert told in said
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert "secret" not in said
    assert Path(__file__).name in said
