"""The releases on a board: where they lie, which is current, whether one is whole, and the lock that a deploy holds. Carried beside board.py: Python 3.8."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from contextlib import contextmanager
from pathlib import Path

HOME = Path("/opt/signwing")
RELEASES, CURRENT, LOCK, SWITCHING = HOME / "releases", HOME / "current", HOME / "lock", HOME / "switching.json"
UNIT = "signwing.service"
PROVED = "release.json"
KEPT = 3


class Refused(Exception):  # noqa: N818 - it says what it is, as edge.errors does
    """What is told in one line."""


def say(text):
    """Tell the desk; if it is gone, what is under way is taken back."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the rest of the process
        raise Refused("the connection to the desk is gone: deploy again") from None


@contextmanager
def locked():
    """Hold the lock. The kernel lets go of it with its holder; what still stands in it then tells of one that was killed."""
    RELEASES.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+") as lock:
        lock.seek(0)
        held = lock.read().strip()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(f"wanted to be alone, found a deploy under way ({held}): wait for it") from None
        if held:
            say(f"taking over from a deploy that was killed ({held})")
        lock.truncate(0)
        lock.write(f"pid {os.getpid()} of {os.environ.get('SUDO_USER') or 'root'} since {now()}")
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


def current_release():
    """Return the id of the current release; None where nothing is deployed."""
    try:
        return Path(os.readlink(str(CURRENT))).name  # noqa: PTH115 - Python 3.8
    except OSError:
        return None


def proved_releases():
    """Releases that have run, the one that was made current last first."""
    return sorted((path.parent for path in RELEASES.glob(f"*/{PROVED}")), key=lambda release: record_of(release.name).get("at", ""), reverse=True)


def record_of(release):
    """Return what a release's record says; nothing where it never ran."""
    try:
        return json.loads((RELEASES / release / PROVED).read_text())
    except OSError:
        return {}


def prune():
    """Remove all releases but the current one and the last that ran before it."""
    current = current_release()
    kept = {current, *[release.name for release in proved_releases() if release.name != current][: KEPT - 1]}
    for release in RELEASES.iterdir():
        if release.name not in kept:
            shutil.rmtree(release)


def read_sums(folder):
    """Return the files that SHA256SUMS of a folder names, each with its digest.

    Raises:
        Refused: one that lies outside.
    """
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    pairs = [(line[66:], line[:64]) for line in lines]
    if any(name.startswith("/") or ".." in name.split("/") for name, _ in pairs):
        raise Refused("wanted SHA256SUMS of files within a release, found others: deploy from a clean checkout")
    return pairs


def is_whole(folder):
    """Tell whether all files of a release are there as they left the desk."""
    return (folder / "SHA256SUMS").exists() and all(holds(folder / name, digest) for name, digest in read_sums(folder))


def verify(folder):
    """Refuse a folder with a file that is missing or damaged.

    Raises:
        Refused: there is one.
    """
    for name, digest in read_sums(folder):
        if not holds(folder / name, digest):
            raise Refused(f"wanted {name} as it left the desk, found it damaged: deploy again")


def holds(path, digest):
    """Tell whether a file is there and has this SHA-256."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == digest
    except OSError:
        return False


def replace_file(path, text):
    """Write a file in one step: what reads it finds the old text or the new one."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    beside.replace(path)


def now():
    """Return the time with its zone, for a record."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def bytes_in(folder):
    """Return the size of what lies in a folder; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) if folder.is_dir() else 0
