"""Tables in temporary files, so that what is known of each of a million files takes no memory."""

from __future__ import annotations

import sqlite3
from typing import Any

from holdall.errors import CannotWrite
from holdall.safe_files import Closing

# Once a statement has found the disk full, without a journal the others find the file malformed.
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT)


class _Connection(sqlite3.Connection):
    """A connection that raises CannotWrite where the disk is full."""

    # Several statements a file: a context manager would cost as much as the statement.

    def execute(self, *args: Any) -> sqlite3.Cursor:
        try:
            return super().execute(*args)
        except sqlite3.DatabaseError as error:
            raise _of_disk(error) from None

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        try:
            return super().executemany(*args)
        except sqlite3.DatabaseError as error:
            raise _of_disk(error) from None


def _of_disk(error: sqlite3.DatabaseError) -> Exception:
    """What to raise for an error of SQLite's."""
    # An extended code has the primary one in its lowest byte.
    if error.sqlite_errorcode & 0xFF not in _NO_ROOM:
        return error
    return CannotWrite(
        f"can't write temporary files: {error}",
        hint="free disk space for temporary files (TMPDIR), then run the same command again to resume",
    )


class TemporaryDatabase(Closing):
    """A nameless SQLite file, deleted when closed, with a small cache."""

    def __init__(self, schema: str) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False, factory=_Connection)
        # It never outlives the process, so there is nothing to recover and nothing to sync; and one transaction serves
        # for all, where each statement's own would take most of its time.
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-8000", "temp_store=FILE"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.executescript(schema)
        self._database.execute("BEGIN")

    def close(self) -> None:
        self._database.close()


class NumberTable(TemporaryDatabase):
    """Numbers by their keys, texts or numbers from -2^63 on. Not thread-safe."""

    def __init__(self) -> None:
        super().__init__("CREATE TABLE numbers (key PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID")

    def put(self, numbers: dict[Any, int]) -> None:
        # In the order of the table: each of its pages is written once.
        self._database.executemany("INSERT OR REPLACE INTO numbers VALUES (?, ?)", sorted(numbers.items()))

    def get(self, key: str | int) -> int | None:
        found = self._database.execute("SELECT number FROM numbers WHERE key = ?", (key,)).fetchone()
        return None if found is None else int(found[0])

    def discard(self, key: str | int) -> None:
        self._database.execute("DELETE FROM numbers WHERE key = ?", (key,))

    def __bool__(self) -> bool:
        return bool(self._database.execute("SELECT EXISTS (SELECT 1 FROM numbers)").fetchone()[0])
