"""What is remembered of the bundles of a folder: one small file beside them, ``.holdall-list.json``.

A cache: it saves reading bundles again, and has the time of each one's last verification. If it is deleted, unreadable,
of another version or can't be written, only that is lost. An entry holds as long as the bundle's name, size, time and
inode are the same.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from holdall.bundle.layout import SUFFIX, Digests, FidelityCount, HoldallInfo, Instant, Size, Source
from holdall.bundle.totals import declared_verdict
from holdall.errors import CannotWrite
from holdall.safe_files import open_regular, write_pieces
from holdall.untrusted import require_plain

NAME = ".holdall-list.json"
_VERSION = 1
# Bytes of the file, and values in it: a bundle takes some 700 and 45.
_MOST, _RICHEST = 16 << 20, 1_000_000


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle's first reading tells: a part of its ``holdall.json``, and its seal; an
    unpacked folder has none. ``losses`` by their reason."""

    started: Instant
    source: Source
    counts: dict[str, Size]
    fidelities: dict[str, FidelityCount]
    losses: dict[str, Size]
    digests: Digests
    seal: str | None

    @classmethod
    def of(cls, info: HoldallInfo, seal: str | None) -> Facts:
        return cls(
            started=info.started,
            source=info.source,
            counts=info.counts,
            fidelities=info.fidelities,
            losses={reason.value: count for reason, count in declared_verdict(info).counts.items()},
            digests=info.digests,
            seal=seal,
        )


class Known(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is remembered of one file, for as long as it has this ``stamp``. Times are seconds since 1970."""

    stamp: str
    facts: Facts | None = None
    verified_at: Instant | None = None
    verified_ok: bool | None = None


class _Content(msgspec.Struct, kw_only=True):
    version: int
    bundles: dict[str, Known] = {}


class _Version(msgspec.Struct, kw_only=True):
    version: int


class FolderRecord:
    """The record of one folder. Nothing here raises for what the file is or can't become."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._bundles = _read(self._path) or {}
        self._new: dict[str, Known] = {}

    def find(self, name: str, stamp: str) -> Known:
        """What is known of the file of that name, where it is still the one with this stamp."""
        known = self._bundles.get(name)
        return known if known and known.stamp == stamp else Known(stamp=stamp)

    def put(self, name: str, known: Known) -> None:
        """Remember it, once the record is saved."""
        # A name of bytes that aren't UTF-8 can't be written down.
        if name == name.encode(errors="ignore").decode() and self.find(name, known.stamp) != known:
            self._bundles[name] = self._new[name] = known

    def save(self) -> None:
        """Write what is new, without what is gone, where the folder has a record already or several bundles."""
        folder = self._path.parent
        if not self._new or not (os.path.lexists(self._path) or _has_several(folder)):
            return
        # Another process may have written since this one has read.
        there = _read(self._path)
        if there is None:
            return
        names = {*there, *self._new}
        kept = {name: self._new.get(name) or there[name] for name in names if os.path.lexists(folder / name)}
        data = msgspec.json.encode(_Content(version=_VERSION, bundles=dict(sorted(kept.items()))))
        if len(data) <= _MOST:
            # A read-only folder or a full disk: the next one does the same work again.
            with suppress(CannotWrite, OSError):
                write_pieces(self._path, [data], force=True)
        self._new = {}


def stamp_of(there: os.stat_result) -> str:
    """Equal for as long as a file is the same one, unchanged."""
    return f"{there.st_size} {there.st_mtime_ns} {there.st_ino}"


def stamp_at(path: Path) -> str | None:
    """The stamp of the file at ``path``; None where there is none."""
    try:
        return stamp_of(os.stat(path))
    except OSError:
        return None


def note_verification(path: Path, before: str | None, *, ok: bool, now: float) -> None:
    """Remember the result of verifying all of the bundle at ``path``, unless it has changed since that began, when it
    had the stamp ``before``. Raises nothing."""
    if before and stamp_at(path) == before:
        record = FolderRecord(path.parent)
        known = record.find(path.name, before)
        record.put(path.name, msgspec.structs.replace(known, verified_at=int(now), verified_ok=ok))
        record.save()


def _has_several(folder: Path) -> bool:
    """Whether there is more than one bundle, by their names."""
    with suppress(OSError), os.scandir(folder) as found:
        return sum(entry.name.endswith(SUFFIX) for entry in found) > 1
    return False


def _read(path: Path) -> dict[str, Known] | None:
    """The file's content; {} if it is unreadable, None if it must not be replaced either: it has a later version, or
    another program wrote it."""
    try:
        with open_regular(path) as file:
            data = file.read(_MOST + 1)
    except FileNotFoundError:
        return {}
    except OSError:
        return None
    try:
        require_plain(data, longest=_MOST, richest=_RICHEST)
        if msgspec.json.decode(data, type=_Version).version > _VERSION:
            return None
        return msgspec.json.decode(data, type=_Content).bundles
    except ValueError:
        return {}
