"""What every command shares: one line for a user's mistake, exit codes, and a parser that shows its defaults."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from edge.errors import SignwingError

EXIT_REFUSED = 1
EXIT_INTERRUPTED = 130

Command = Callable[[argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """A parser whose help prints each default, and whose subcommands do too."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("formatter_class", argparse.ArgumentDefaultsHelpFormatter)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]


def count(text: str) -> int:
    """Read an option that counts something, from 1 up.

    Raises:
        ArgumentTypeError: no whole number, or less.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number from 1 up, found {text!r}")
    return int(text)


def main(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that `parser` finds (its `command` default) and return the exit code: 0 done, 1 refused in one line, 130 interrupted."""
    arguments = parser.parse_args(argv)
    try:
        arguments.command(arguments)
    except SignwingError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
