"""The releases on a board: where they lie, which is current, whether one is whole, and the lock that a deploy holds. Carried beside board.py: Python 3.8."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

HOME = Path("/opt/signwing")
RELEASES, CURRENT, LOCK, SWITCHING = HOME / "releases", HOME / "current", HOME / "lock", HOME / "switching.json"
UNIT = "signwing.service"
PROVED = "release.json"
KEPT = 3
MARK = "SIGNWING_DEPLOY"
"""What a deploy starts has this in its environment, with the line that stands in the lock: by this alone it is known as a deploy's own."""


class Refused(Exception):  # noqa: N818 - it says what it is, as edge.errors does
    """What is told in one line."""


def say(text):
    """Tell the desk; if it is gone, what is under way is taken back."""
    try:
        print(plain(text), flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the rest of the process
        raise Refused("the connection to the desk is gone: deploy again") from None


def plain(text):
    """Return a text that a terminal shows and does not obey: it may come from a bundle, or from what a build prints."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


@contextmanager
def locked():
    """Hold the lock. The kernel lets go of it with its holder; what still stands in it then tells of one that was killed."""
    RELEASES.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+", errors="replace") as lock:
        lock.seek(0)
        held = lock.read().strip()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(f"wanted to be alone, found a deploy under way ({held}): wait for it") from None
        if held:
            say(f"taking over from a deploy that was killed ({held})")
            _end_children_of(held)
        lock.truncate(0)
        lock.write(f"pid {os.getpid()} of {os.environ.get('SUDO_USER') or 'root'} since {now()}")
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


def _end_children_of(held):
    """End what a killed deploy left running, which would write into what is made anew."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and f"{MARK}={held}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
                say(f"ended process {entry.name}, which that deploy left")


def current_release():
    """Return the id of the current release; None where nothing is deployed."""
    try:
        return Path(os.readlink(str(CURRENT))).name  # noqa: PTH115 - Python 3.8
    except OSError:
        return None


def proved_releases():
    """Releases that have run, the one that was made current last first."""
    return sorted((path.parent for path in RELEASES.glob(f"*/{PROVED}")), key=lambda release: order_of(release.name), reverse=True)


def order_of(release):
    """Return what orders releases by when they were made current: a count, since a board may have no clock that runs while it is off; then the time."""
    told = record_of(release)
    count = told.get("count")
    return (count if isinstance(count, int) else 0, str(told.get("at")))


def record_of(release):
    """Return what a release's record says; nothing where it never ran, or where the record is damaged."""
    return read_state(RELEASES / release / PROVED, {})


def prune():
    """Remove all releases but the current one and the last that ran before it."""
    current = current_release()
    kept = {current, *[release.name for release in proved_releases() if release.name != current][: KEPT - 1]}
    for release in RELEASES.iterdir():
        if release.name not in kept:
            remove_file(release / PROVED)  # first: one that is half removed is none to go back to
            shutil.rmtree(release)


def read_sums(folder, release):
    """Return the files that SHA256SUMS of a folder names, each with its digest.

    Raises:
        Refused: it is not the one that this release is called by.
    """
    if not holds(folder / "SHA256SUMS", release):
        raise Refused(f"wanted SHA256SUMS of {release} as it left the desk, found it damaged: deploy again")
    pairs = [(line[66:], line[:64]) for line in (folder / "SHA256SUMS").read_text().splitlines()]
    if any(name.startswith("/") or ".." in name.split("/") for name, _ in pairs):
        raise Refused("wanted SHA256SUMS of files within a release, found others: deploy from a clean checkout")
    return pairs


def is_whole(release):
    """Tell whether all files of a release are there as they left the desk."""
    try:
        verify(release, release.name)
    except Refused:
        return False
    return True


def verify(folder, release):
    """Refuse a folder that is to hold a release, with a file that is missing or damaged.

    Raises:
        Refused: there is one.
    """
    for name, digest in read_sums(folder, release):
        if not holds(folder / name, digest):
            raise Refused(f"wanted {name} as it left the desk, found it damaged: deploy again")


def holds(path, digest):
    """Tell whether a file is there and its SHA-256 begins so."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest)
    except OSError:
        return False


def read_state(path, unknown):
    """Return what a file of JSON holds; `unknown` where there is none, or one that is damaged."""
    try:
        held = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return unknown
    return held if isinstance(held, type(unknown)) else unknown


def replace_file(path, text):
    """Write a file in one step: whoever reads it, also after a power cut, finds the old text or the new one."""
    beside = path.with_name(f"{path.name}.new")
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def remove_file(path):
    """Remove a file, if it is there, so that no power cut brings it back."""
    if path.exists():
        path.unlink()
        sync_folder(path.parent)


def sync_folder(folder):
    """Wait until the disk has the names in a folder as they are now."""
    place = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def sync_disk():
    """Wait until the disk has all that was written to the one where the releases are.

    Raises:
        OSError: it could not be written.
    """
    place = os.open(str(HOME), os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(place):
            raise OSError(ctypes.get_errno(), f"cannot sync {HOME}")
    finally:
        os.close(place)


def now():
    """Return the time with its zone, for a record."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def bytes_in(folder):
    """Return the size of what lies in a folder; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) if folder.is_dir() else 0
