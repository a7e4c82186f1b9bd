"""What a service is told to run: read as `edge run` reads it, checked now instead of by the journal, and written so that it holds from every folder."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, unquote_plus

from edge import cli
from edge.bundle.manifest import read_bundle
from edge.commands.wiring import check_places, recognizer_of, wired
from edge.errors import InputError
from edge.outside.text import without_credentials
from edge.sources.open import meant, named_files, open_source
from edge.sources.uri import exists

STATE = Path("/var/lib/signwing")
"""The service's own folder, which systemd makes for it."""

_RECORD = re.compile(r"(?<=[?&]record=)[^&]+")
_RELEASES = Path("/opt/signwing")
"""Where one release follows the other: what is written there goes with its release."""


class StoredParser(cli.Parser):
    """A parser of options that are not typed now but kept: what is wrong with them is one line, and help is none of them."""

    def error(self, message: str) -> NoReturn:
        """Refuse.

        Raises:
            InputError: always.
        """
        raise InputError(f"wanted --options as python -m edge run takes them, found: {' '.join(message.split())}: python -m edge run --help lists them")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Refuse what would print help or a version and end."""
        self.error(message or "an option that only prints")


@dataclass(frozen=True)
class Stored:
    """What a unit keeps of a command line.

    Attributes:
        words: what follows `edge run`, all paths absolute.
        written: folders that outputs are written to, beside the service's own.
        read: files and folders that are read.
        source: that is meant, its scheme and path; of `@FILE` what stands in it.
    """

    words: list[str]
    written: list[Path]
    read: list[Path]
    source: str


def stored(parser: StoredParser, source: str, bundle: Path | None, options: str) -> Stored:
    """Read and check what a service is to run.

    Args:
        parser: of `edge run`.
        source: as `edge run` takes it.
        bundle: None for the one that ships.
        options: other options, as a shell would take them apart.

    Raises:
        SignwingError: `edge run` would refuse it at its start, or a password would stand in the unit.
    """
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise InputError(f"wanted --options that a shell could take apart, found {without_credentials(options)!r} ({error}): close what is open") from None
    words = [*(["--bundle", str(bundle)] if bundle else []), *words]
    for word in (source, *words):
        told = without_credentials(word)
        if told != word:
            cure = "write it into a file that the service's user alone can read (chmod 600), and give --source @FILE, or --mqtt @FILE"
            raise InputError(f"wanted no password in what a unit keeps, which every user of this machine could read, found what may be one ({told}): {cure}")
    place = _absolute_source(source)
    asked = parser.parse_args([place, *words])
    if asked.source != place:
        raise InputError(f"wanted options alone in --options, found {asked.source!r}: the source is for --source")
    cli.check_places(asked)
    check_places(asked)
    wired(asked, open_source(place), read_bundle(asked.bundle).manifest, {})  # not entered: no camera is opened, no port bound, nothing written
    recognizer_of(asked).close()
    uri = meant(place)
    outputs = {f"--{name}": _path_of(given) for name, given in vars(asked).items() if name in cli.OUTPUTS and given is not None}
    outputs |= {"record=": Path(uri.query["record"])} if uri.query.get("record") else {}
    written = {_folder_of(name, path.absolute()) for name, path in outputs.items() if str(path) != "-" and not path.is_relative_to("/dev")} - {STATE}
    named = [Path(name) for name in (place.removeprefix("@"), (asked.level or "").partition(",")[0]) if name and exists(name)]
    named += [Path(asked.mqtt[1:])] if (asked.mqtt or "").startswith("@") else []
    named += [path for name, path in vars(asked).items() if isinstance(path, Path) and name not in cli.OUTPUTS]
    read = {path.absolute() for path in (*named, *named_files(place))}
    return Stored([place, *_spelt_out(parser, [place, *words])], sorted(written), sorted(read), f"{uri.scheme}://{uri.path}")


def _path_of(given: Path | cli.BoundedFolder) -> Path:
    return given.path if isinstance(given, cli.BoundedFolder) else given


def _absolute_source(text: str) -> str:
    if text.startswith("@") and not exists(text):
        return f"@{Path(text[1:]).absolute()}"
    if meant(text).scheme:
        return _RECORD.sub(lambda found: quote(str(Path(unquote_plus(found[0])).absolute()), safe="/~:@"), text)
    return text if text.lower().startswith("file://") else str(Path.cwd() / Path(text).expanduser())


def _folder_of(name: str, path: Path) -> Path:
    """Return the folder that an output is written to.

    Raises:
        InputError: it is not there, or is not there for long.
    """
    folder = path.parent
    if folder.is_relative_to(_RELEASES):
        raise InputError(f"wanted a place for {name} that outlives this release, found {path}: take {STATE / path.name}")
    if folder == STATE or folder.is_relative_to(STATE):
        return STATE
    if not folder.is_dir():
        raise InputError(f"wanted a folder for {name} that is there, found none at {folder}: make it for the service's user, or take {STATE / path.name}")
    return folder


def _spelt_out(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Return the options among some words, each by its whole name and with the text that was given, paths absolute."""
    options = [action for action in parser._actions if action.option_strings]
    for action in parser._actions:
        action.default = argparse.SUPPRESS
        if action.nargs != 0:
            action.type = _as_text(action.type, action.dest)
    given = vars(parser.parse_args(words))
    told = []
    for action in options:
        if action.dest not in given:
            continue
        value = given[action.dest]
        texts = [] if action.nargs == 0 else value if isinstance(value, list) else [value]
        told += [f"{action.option_strings[-1]}={texts[0]}"] if len(texts) == 1 and texts[0].startswith("-") else [action.option_strings[-1], *texts]
    return told


def _as_text(convert: Any, dest: str) -> Callable[[str], str]:
    """Return a reader of an option that checks as its own does, and keeps the text; a path's, absolute."""

    def read(text: str) -> str:
        value = convert(text) if convert else text
        if isinstance(value, Path) and text != "-":
            return str(value.absolute())
        if isinstance(value, cli.BoundedFolder):
            return f"{value.path.absolute()},{value.most_bytes >> 20}"
        name, comma, rest = text.partition(",")
        if dest == "level" and exists(name):
            return f"{Path(name).absolute()}{comma}{rest}"
        if dest == "mqtt" and text.startswith("@"):
            return f"@{Path(text[1:]).absolute()}"
        return text

    return read
