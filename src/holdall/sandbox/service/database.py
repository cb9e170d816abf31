"""The state of a sandbox in one SQLite file, in WAL mode, so that a kill at any moment leaves only whole requests.

One connection a thread. Readers see one snapshot for a whole request; writers take turns (the service runs all of
them on one thread). Every list is read by keyset over ``seq``, the order in which things were created.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdall.sandbox.sandbox_errors import CannotStart, SandboxError

_STATE = "state.sqlite3"

# Times are Unix seconds. JSON columns hold the value as the API shows it.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS projects (
    id TEXT PRIMARY KEY, organization TEXT NOT NULL, key_hash TEXT NOT NULL UNIQUE, revoked INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS assistants (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, id TEXT NOT NULL UNIQUE, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS assistants_listed ON assistants (project, seq);

CREATE TABLE IF NOT EXISTS files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, id TEXT NOT NULL UNIQUE, blob TEXT NOT NULL,
    filename TEXT NOT NULL, purpose TEXT NOT NULL, bytes INTEGER NOT NULL, created_at INTEGER NOT NULL,
    expires_at INTEGER, text_bytes INTEGER NOT NULL, error_code TEXT, error_message TEXT
);
CREATE INDEX IF NOT EXISTS files_listed ON files (project, seq);
CREATE INDEX IF NOT EXISTS files_by_purpose ON files (project, purpose, seq);

CREATE TABLE IF NOT EXISTS stores (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    description TEXT, metadata BLOB NOT NULL, expires_after BLOB, created_at INTEGER NOT NULL,
    last_active_at INTEGER NOT NULL, completed INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0, usage_bytes INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS stores_listed ON stores (project, seq);

-- outcome is what indexing ends in; until ready_at it reads as in_progress. The store's columns of counts are kept
-- over outcomes, so counting a store means counting only what is still in progress.
CREATE TABLE IF NOT EXISTS memberships (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, store INTEGER NOT NULL, id TEXT NOT NULL, file INTEGER NOT NULL,
    created_at INTEGER NOT NULL, ready_at REAL NOT NULL, outcome TEXT NOT NULL, usage_bytes INTEGER NOT NULL,
    error_code TEXT, error_message TEXT, attributes BLOB NOT NULL, chunking BLOB NOT NULL,
    first_passage INTEGER, passage_count INTEGER NOT NULL DEFAULT 0,
    UNIQUE (store, id)
);
CREATE INDEX IF NOT EXISTS memberships_listed ON memberships (store, seq);
CREATE INDEX IF NOT EXISTS memberships_pending ON memberships (store, ready_at, outcome, usage_bytes);
CREATE INDEX IF NOT EXISTS memberships_by_outcome ON memberships (store, outcome, seq);
CREATE INDEX IF NOT EXISTS memberships_of_file ON memberships (file);
CREATE INDEX IF NOT EXISTS memberships_unsearchable ON memberships (store, ready_at)
    WHERE first_passage IS NULL AND outcome = 'completed';

CREATE TABLE IF NOT EXISTS batches (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, store INTEGER NOT NULL, id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL, ready_at REAL NOT NULL, is_cancelled INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL, failed INTEGER NOT NULL, cancelled INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS batches_of_store ON batches (store);
CREATE TABLE IF NOT EXISTS batch_members (
    batch INTEGER NOT NULL, membership INTEGER NOT NULL, PRIMARY KEY (batch, membership)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS batches_of_membership ON batch_members (membership);

CREATE TABLE IF NOT EXISTS containers (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    memory_limit TEXT NOT NULL, minutes INTEGER NOT NULL, created_at INTEGER NOT NULL,
    last_active_at INTEGER NOT NULL, operations INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS containers_listed ON containers (project, seq);
CREATE TABLE IF NOT EXISTS container_files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, container INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, blob TEXT NOT NULL,
    path TEXT NOT NULL, bytes INTEGER NOT NULL, created_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS container_files_listed ON container_files (container, seq);

-- number is never given again, so the last one given is kept. Skills of no project are OpenAI's own, which have no zip.
CREATE TABLE IF NOT EXISTS skills (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, id TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL,
    default_version INTEGER NOT NULL, last_number INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS skills_listed ON skills (project, seq);
CREATE TABLE IF NOT EXISTS skill_versions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, skill INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, number INTEGER NOT NULL,
    name TEXT NOT NULL, description TEXT NOT NULL, created_at INTEGER NOT NULL, blob TEXT NOT NULL,
    UNIQUE (skill, number)
);
CREATE INDEX IF NOT EXISTS skill_versions_listed ON skill_versions (skill, seq);
INSERT OR IGNORE INTO skills VALUES (-1, '', 'openai-spreadsheets', 1767225600, 1, 1);
INSERT OR IGNORE INTO skill_versions VALUES (
    -1, -1, 'skillver_openai_spreadsheets_1', 1, 'spreadsheets', 'Read and write spreadsheets.', 1767225600, ''
);

-- given is all that was sent, secrets included; body what is shown of it.
CREATE TABLE IF NOT EXISTS templates (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, id TEXT NOT NULL UNIQUE, name TEXT,
    body BLOB NOT NULL, given BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS templates_listed ON templates (project, seq);

-- items is all that the answer was made of and the answer's own items, for the response that comes next.
CREATE TABLE IF NOT EXISTS responses (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, id TEXT NOT NULL UNIQUE, body BLOB NOT NULL,
    items BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS agents (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, id TEXT NOT NULL UNIQUE, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS agents_listed ON agents (project, seq);

-- Agents of Foundry: id is the name, body what belongs to no version; the id of a version is NAME:NUMBER.
CREATE TABLE IF NOT EXISTS foundry_agents (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, id TEXT NOT NULL COLLATE NOCASE,
    kind TEXT NOT NULL, last_number INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL, UNIQUE (project, id)
);
CREATE INDEX IF NOT EXISTS foundry_agents_listed ON foundry_agents (project, seq);
CREATE TABLE IF NOT EXISTS foundry_versions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, agent INTEGER NOT NULL, id TEXT NOT NULL COLLATE NOCASE,
    number INTEGER NOT NULL, draft INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (agent, number)
);
CREATE INDEX IF NOT EXISTS foundry_versions_listed ON foundry_versions (agent, draft, seq);

-- shelf is the store's own word, so that one MATCH finds within one store without touching the others.
CREATE VIRTUAL TABLE IF NOT EXISTS passages USING fts5 (
    shelf, words, membership UNINDEXED, position UNINDEXED, tokenize = 'unicode61 remove_diacritics 2'
);
"""


class Database:
    """The SQLite file of a data folder, locked against a second process until ``close``."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _STATE
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._lock = self._lock_folder(folder)
        try:
            self._connection().executescript(_SCHEMA)
        except sqlite3.Error as error:
            self.close()
            raise SandboxError(f"can't open the sandbox's state {self._path}: {error}") from None

    @staticmethod
    def _lock_folder(folder: Path) -> sqlite3.Connection:
        # An exclusive SQLite transaction is a lock that every platform has and that ends with its process.
        for name in ("lock.sqlite3", _STATE):
            # Before SQLite makes them, which gives what it makes beside them the same permissions.
            os.close(os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600))
            os.chmod(folder / name, 0o600)
        lock = sqlite3.connect(folder / "lock.sqlite3", timeout=0, isolation_level=None, check_same_thread=False)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            lock.close()
            if "locked" not in str(error):
                raise SandboxError(f"can't lock the sandbox's data {folder}: {error}") from None
            raise CannotStart(
                f"the sandbox can't start on {folder}: another sandbox is running there",
                hint="stop the other one, or name another folder with --data",
            ) from None
        return lock

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            found.row_factory = sqlite3.Row
            found.execute("PRAGMA journal_mode = WAL")
            # What is committed survives the process, which is what a sandbox promises; not a power cut.
            found.execute("PRAGMA synchronous = NORMAL")
            found.execute("PRAGMA cache_size = -16000")
            self._local.connection = found
            with self._guard:
                self._opened.append(found)
        return found

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One snapshot of the state."""
        connection = self._connection()
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("COMMIT")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed when the block ends, undone when it raises."""
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def close(self) -> None:
        """Close every thread's connection; nothing may use them any more."""
        with self._guard:
            for connection in self._opened:
                connection.close()
            self._opened.clear()
        self._lock.close()
