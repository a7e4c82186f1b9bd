"""What lies in the folder that `edge run --keep` fills on this board, for scripts/deploy --collect. Carried beside board.py: Python 3.8."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from releases import UNIT, Refused, plain, say

UNITS = Path("/etc/systemd/system")


def folder_of_service(unit):
    """Return the folder that the service keeps in, as the command in its unit tells.

    Raises:
        Refused: there is no unit, or it keeps nothing.
    """
    try:
        lines = unit.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise Refused(f"wanted the folder that {UNIT} keeps in, found no such service: name the folder with --from") from None
    command = next((line.partition("=")[2] for line in lines if line.startswith("ExecStart=")), "")
    # As `edge service` quotes it for systemd, which expands % and $.
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(command)]
    given = [words[place + 1] for place, word in enumerate(words[:-1]) if word == "--keep"]
    if not given:
        raise Refused(f"wanted a service that keeps, found no --keep in {unit}: install it with --options='--keep /var/lib/signwing/kept', or name --from")
    folder, comma, size = given[-1].rpartition(",")
    return Path(folder if comma and size.isdecimal() else given[-1])


def look(folder):
    """Return how many items lie in a folder, and their bytes; None where this user may not read them.

    Raises:
        Refused: there is no such folder.
    """
    try:
        files = [path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()]
        for path in files:
            path.open("rb").close()
        return sum(path.suffix == ".json" for path in files), sum(path.stat().st_size for path in files)
    except PermissionError:
        return None
    except (FileNotFoundError, NotADirectoryError):
        raise Refused(f"wanted a folder that run --keep fills, found none at {folder}: name another with --from") from None


def main():
    """Print the folder, and on a second line its items and bytes, or "unreadable"; a refusal is one line on the standard error and exit code 1."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    try:
        folder = arguments.folder or folder_of_service(UNITS / UNIT)
        found = look(folder)
        say(str(folder))
        say("unreadable" if found is None else f"{found[0]} {found[1]}")
    except (Refused, OSError) as failure:
        print(plain(f"scripts/deploy: on the board: {failure}"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
