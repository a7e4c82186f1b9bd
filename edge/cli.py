"""What every command shares: one line for a user's mistake, exit codes, and a parser that shows its defaults."""

from __future__ import annotations

import argparse
import io
import logging
import math
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from edge.errors import SignwingError, one_line
from edge.files import check_outputs
from edge.outside.text import shown
from edge.process import patience, signals
from edge.process.descriptors import hold_standard

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds the stages."""
EXIT_REFUSED = 1
EXIT_INTERRUPTED = signals.EXIT_INTERRUPTED

OUTPUTS = frozenset(("csv", "events", "json", "keep", "markdown", "out", "pictures", "sheet", "video"))
"""Options that name what a command of any stage writes; every other path is read."""

_READ_TEXTS = frozenset(("camera", "level", "mqtt", "pose", "source", "sources", "weights"))
"""What names a file that is read, where it names a file at all."""

Command = Callable[[argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """A parser whose help prints each default, and whose subcommands do too."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("formatter_class", argparse.ArgumentDefaultsHelpFormatter)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, but refuse what is unknown here, in the subcommand that was meant: argparse would print the usage of the whole."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong with the command line, and exit with code 2."""
        super().error(shown(message))


def count(text: str) -> int:
    """Read an option that counts something, from 1 up.

    Raises:
        ArgumentTypeError: no whole number, or less.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number from 1 up, found {text!r}")
    return int(text)


def share(text: str) -> float:
    """Read an option that is a share, from 0 to 1.

    Raises:
        ArgumentTypeError: no number, or one out of range.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"wanted a number from 0 to 1, found {text!r}")
    return value


def mebibytes(text: str) -> int:
    """Read an option that is a size in MiB, from 1 up, and return it in bytes.

    Raises:
        ArgumentTypeError: no whole number, or less.
    """
    return count(text) << 20


class BoundedFolder(NamedTuple):
    """A folder that is filled up to so many bytes."""

    path: Path
    most_bytes: int


def bounded_folder(most_mib: int) -> Callable[[str], BoundedFolder]:
    """Return a reader of an option that is a folder, and behind a comma its size in MiB, where that is not to be `most_mib`.

    A folder whose own name holds a comma is given with its size.
    """

    def read(text: str) -> BoundedFolder:
        folder, comma, size = text.rpartition(",")
        if not comma:
            folder, size = text, str(most_mib)
        if not folder.strip():
            raise argparse.ArgumentTypeError(f"wanted a folder, or a folder, a comma and its size in MiB, found {text!r}")
        if not size.isdecimal() or int(size) < 1:
            cure = f"where the comma is of the folder's own name, write {f'{text},{most_mib}'!r}"
            raise argparse.ArgumentTypeError(f"wanted the folder's size in MiB behind the comma, a whole number from 1 up, found {size!r}: {cure}")
        return BoundedFolder(Path(folder), mebibytes(size))

    return read


def check_places(arguments: argparse.Namespace) -> None:
    """Refuse outputs of a command line that would replace what it reads, or each other.

    Raises:
        OutputError: there is such an output.
    """
    outputs: dict[str, list[Path]] = {}
    inputs: dict[str, list[Path]] = {}
    for name, value in vars(arguments).items():
        for each in value if isinstance(value, list | tuple) else (value,):
            if isinstance(each, Path):
                kept, called = (outputs, f"--{name}") if name in OUTPUTS else (inputs, name.replace("_", " "))
                kept.setdefault(called, []).append(each)
            elif isinstance(each, str) and name in _READ_TEXTS:
                inputs.setdefault(name, []).extend(
                    Path(text) for text in (each, each.rpartition("?")[0], each.removeprefix("@"), each.partition(",")[0]) if text
                )
    check_outputs(outputs, inputs)


def child(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules in a process of its own, by this Python.

    `python -m` would look in the current folder first, where the user may have a folder of the same name.
    """
    code = "import runpy, sys; sys.path[0] = sys.argv.pop(1); runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    return [sys.executable, "-c", code, str(ROOT), module, *arguments]


class _OneLine(logging.Formatter):
    """Writes a record as one line that fits a terminal, whatever it tells of."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def prepare_streams() -> None:
    """Make standard output, error and log ready for any text.

    What their encoding has no character for is escaped. A stream that was closed leads nowhere.
    """
    hold_standard()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler])


def main(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that `parser` finds (its `command` default) and return the exit code: 0 done, 1 refused in one line, 130 interrupted."""
    prepare_streams()
    arguments = parser.parse_args(argv)
    try:
        check_places(arguments)
        with patience.ending(parser.prog, EXIT_REFUSED):
            arguments.command(arguments)
    except SignwingError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # who reads has gone
        raise
    except Exception as error:
        print(f"{parser.prog}: {_own_fault(error)}", file=sys.stderr)
        return EXIT_REFUSED
    return 0


def _own_fault(error: Exception) -> str:
    """Tell of an error that nobody foresaw, and where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, MemoryError):
        return f"wanted more memory than there is, in {Path(place.filename).name} line {place.lineno}: free some, or give a smaller input"
    if isinstance(error, OSError):
        return shown(f"wanted to go on in {Path(place.filename).name} line {place.lineno}, the system refused: {one_line(error)}: look at what it names")
    return shown(f"a fault of its own, {type(error).__name__} in {place.filename} line {place.lineno}: {one_line(error)}: please report it with this line")
