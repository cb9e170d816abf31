"""Who is asking: a key is a project, created when it is first seen.

A key is valid if it has the form of one and isn't revoked. ``sk-user-…`` keys stand for a person rather than a project:
they may name any project of this sandbox in ``OpenAI-Project``, and have one of their own for when they don't.
Only hashes of keys are stored.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping

import msgspec

from holdall.sandbox.service.api_errors import ApiError, key_missing, key_wrong, organization_mismatch, project_mismatch
from holdall.sandbox.service.database import Database
from holdall.sandbox.service.ids import Ids

_KEY = re.compile(r"sk-[A-Za-z0-9_-]{6,}")


class Project(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    organization: str


class Identity:
    """The keys and projects of one data folder, remembered so that a request asks the database only once a key."""

    def __init__(self, database: Database, ids: Ids) -> None:
        self._database, self._ids = database, ids
        self._lock = threading.Lock()
        with database.read() as connection:
            rows = connection.execute("SELECT id, organization, key_hash, revoked FROM projects").fetchall()
        self._by_hash = {row["key_hash"]: Project(id=row["id"], organization=row["organization"]) for row in rows}
        self._by_id = {project.id: project for project in self._by_hash.values()}
        self._revoked = {row["key_hash"] for row in rows if row["revoked"]}

    def of(self, headers: Mapping[str, str]) -> Project | str:
        """The project that a request may work in, or its key where that key is new; raises the 401."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise key_missing()
        hashed = _hashed(key)
        if not _KEY.fullmatch(key) or hashed in self._revoked:
            raise key_wrong(key)
        own = self._by_hash.get(hashed)
        if own is None:
            return key
        return self._chosen(own, key.startswith("sk-user-"), headers)

    def _chosen(self, own: Project, is_user: bool, headers: Mapping[str, str]) -> Project:
        wanted = headers.get("openai-project") or None
        organization = headers.get("openai-organization") or None
        chosen = own
        if wanted is not None and wanted != own.id:
            if not is_user:
                raise project_mismatch()
            if wanted not in self._by_id:
                raise ApiError(401, f"No such project: {wanted}.", code="invalid_project")
            chosen = self._by_id[wanted]
        if organization is not None and organization != chosen.organization:
            raise organization_mismatch()
        return chosen

    def admit(self, key: str) -> None:
        """Give a new key its project. Blocking."""
        hashed = _hashed(key)
        with self._lock:
            if hashed in self._by_hash:
                return
            project = Project(id=self._ids.project(), organization=self._ids.organization())
            with self._database.write() as connection:
                connection.execute(
                    "INSERT INTO projects (id, organization, key_hash) VALUES (?, ?, ?)",
                    (project.id, project.organization, hashed),
                )
            self._by_id[project.id] = project
            self._by_hash[hashed] = project

    def revoke(self, key: str) -> None:
        """From now on the key is refused; what is in its project stays. Blocking."""
        self.admit(key)
        with self._lock, self._database.write() as connection:
            connection.execute("UPDATE projects SET revoked = 1 WHERE key_hash = ?", (_hashed(key),))
        self._revoked.add(_hashed(key))


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
