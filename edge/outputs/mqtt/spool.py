"""Messages that wait for a broker, on disk, in their order: what a lost link or a killed run leaves is sent by the next that can."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from edge.errors import OutputError, one_line
from edge.files import telling_refusal

MOST_MESSAGES = 50_000
"""Some 40 MB."""

_LOG = logging.getLogger(__name__)


class Spool:
    """A bounded queue in an SQLite file that one process holds; beyond its bound the oldest messages give way.

    It is synced at SQLite's checkpoints: a killed process loses nothing, a power cut at most the last messages, and never the file.
    """

    def __init__(self, path: Path, most: int = MOST_MESSAGES) -> None:
        """Open or make the file; one that is damaged is put aside.

        Raises:
            OutputError: it cannot be written, or another run holds it.
        """
        self._most = most
        with telling_refusal(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with telling_refusal(path):
                self._store = _opened(path)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise OutputError(f"wanted messages of --mqtt to wait in {path}, another run sends to this prefix: give each run its own") from error
            raise OutputError(
                f"wanted messages of --mqtt to wait in {path}, SQLite refused: {one_line(error)}: free the place, or set XDG_STATE_HOME"
            ) from error
        except sqlite3.DatabaseError as error:
            _LOG.warning("messages that waited in %s are damaged and were put aside (%s)", path, one_line(error))
            path.replace(path.with_name(f"{path.name}.damaged"))
            self._store = _opened(path)
        self.waiting: int = self._store.execute("SELECT COUNT(*) FROM waiting").fetchone()[0]

    def add(self, messages: Sequence[bytes]) -> int:
        """Put messages at the end, and return how many gave way to them.

        Raises:
            sqlite3.Error: the disk is full; none was put there.
        """
        with self._store:
            self._store.executemany("INSERT INTO waiting (message) VALUES (?)", [(message,) for message in messages])
            gone = self._store.execute("DELETE FROM waiting WHERE id <= (SELECT MAX(id) FROM waiting) - ?", (self._most,)).rowcount
        self.waiting += len(messages) - gone
        return gone

    def behind(self, number: int, count: int) -> list[tuple[int, bytes]]:
        """Return so many messages behind that of a number, each with its number; numbers grow."""
        return self._store.execute("SELECT id, message FROM waiting WHERE id > ? ORDER BY id LIMIT ?", (number, count)).fetchall()

    def forget(self, number: int) -> None:
        """Let the messages up to that of a number go.

        Raises:
            sqlite3.Error: the disk is full; they are still there.
        """
        with self._store:
            self.waiting -= self._store.execute("DELETE FROM waiting WHERE id <= ?", (number,)).rowcount

    def close(self) -> None:
        """Close the file."""
        self._store.close()


def _opened(path: Path) -> sqlite3.Connection:
    """Open the file and hold it; used by one thread at a time."""
    store = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        path.chmod(0o600)  # where signs stand is nobody else's business
        for pragma in ("auto_vacuum=FULL", "locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
            store.execute(f"PRAGMA {pragma}")
        with store:
            store.execute("CREATE TABLE IF NOT EXISTS waiting (id INTEGER PRIMARY KEY AUTOINCREMENT, message BLOB NOT NULL)")
            store.execute("DELETE FROM waiting WHERE id < 0")  # takes the lock, and shows what is damaged
    except BaseException:
        store.close()
        raise
    return store
