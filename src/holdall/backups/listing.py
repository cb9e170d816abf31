"""The bundles of a folder, newest first: a summary of each, for which kilobytes of it are read.

A summary proves nothing but that the end of a file fits its length; ``verify`` proves a bundle.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

from holdall.backups.folder_record import Facts, FolderRecord, stamp_of
from holdall.bundle.layout import (
    BAGIT,
    INFO,
    SUFFIX,
    Digests,
    FidelityCount,
    HoldallInfo,
    Source,
    source_identity,
    source_title,
)
from holdall.bundle.reader import Formatted, open_bundle, require_format
from holdall.bundle.seekable import FrameError
from holdall.bundle.totals import verdict_of
from holdall.errors import BundleError, DamagedBundle, NewerFormat, NotABundle
from holdall.folder.bagfolder import UNFINISHED, BagFolder
from holdall.safe_files import reading
from holdall.untrusted import MAX_JSON, require_plain
from holdall.verdict import Verdict

# Bytes of what a list keeps of one bundle; mostly some 600.
_MOST_FACTS = 16 << 10
_TOO_MUCH = f"its source and counts take more than {_MOST_FACTS} bytes"


class BundleState(StrEnum):
    """What a file is, judged by its summary."""

    WHOLE = "whole"
    DAMAGED = "damaged"
    FOREIGN = "foreign"
    """Not one of our bundles."""
    UNREADABLE = "unreadable"
    """The system refuses to read it, its format is newer than this version, or its metadata is too long."""


class ListedBundle(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself. Only a whole one has what follows ``problem``; times are seconds since 1970, UTC.

    ``is_folder``: it is an unpacked folder, which has no seal and of which no verification is known. ``size`` is in
    bytes, of a folder that of its contents; ``modified`` is the time of the file. ``problem`` says in a sentence what
    is wrong where ``state`` isn't whole. ``taken_at`` is when the capture began, ``source_identity`` equal for all
    bundles of one project, ``source_title`` its name for people. ``verdict`` is that of the export. ``seal`` is the
    sha256 that the seal states (64 hex digits): another one is another bundle. ``verified_at`` and ``verified_ok`` are
    of the last `holdall verify` of all of this file; None where none is known.
    """

    path: Path
    size: int
    modified: float
    state: BundleState
    is_folder: bool = False
    problem: str = ""
    taken_at: int | None = None
    source: Source | None = None
    source_identity: str | None = None
    source_title: str | None = None
    counts: dict[str, int] = {}
    fidelities: dict[str, FidelityCount] = {}
    verdict: Verdict | None = None
    digests: Digests | None = None
    seal: str | None = None
    verified_at: float | None = None
    verified_ok: bool | None = None


def summaries(folders: Iterable[Path], *, unpacked: bool = False) -> list[ListedBundle]:
    """The bundles of the folders: the newest first, those without a time last. A path of a file stands for itself.

    In a folder each ``*.tar.zst`` counts, with ``unpacked`` each folder of a bundle too, and nothing below it. What
    can't be read is in the list, with its problem. Only what is new or changed since the last list is read. Raises
    CannotWrite (can't be read) for a folder that isn't there or can't be listed.
    """
    records: dict[Path, FolderRecord] = {}
    found = []
    for path in dict.fromkeys(path for folder in folders for path in _candidates(folder, unpacked)):
        record = records.get(path.parent) or records.setdefault(path.parent, FolderRecord(path.parent))
        found.append(_of_folder(path) if unpacked and _is_unpacked(path) else _summarized(path, record))
    for record in records.values():
        record.save()
    return sorted(found, key=lambda one: (one.taken_at is None, -(one.taken_at or 0), str(one.path)))


def summarize(path: Path) -> ListedBundle:
    """The summary of the file at ``path``. Raises nothing for what is there: all that is wrong is in the summary."""
    return _summarized(path, FolderRecord(path.parent))


def _candidates(folder: Path, unpacked: bool) -> Iterator[Path]:
    """Of a folder its bundles; of anything else, and of a bundle's folder, itself."""
    with reading(folder):
        if not stat.S_ISDIR(os.stat(folder).st_mode) or (unpacked and _is_unpacked(folder)):
            yield folder
            return
        with os.scandir(folder) as found:
            names = sorted(
                item.name
                for item in found
                if item.name.endswith(SUFFIX) or (unpacked and item.is_dir() and _is_unpacked(folder / item.name))
            )
    yield from (folder / name for name in names)


def _is_unpacked(folder: Path) -> bool:
    """Whether it is the folder of a bundle, by the names in it."""
    return all(os.path.isfile(folder / name) for name in (BAGIT, INFO))


def _of_folder(path: Path) -> ListedBundle:
    """The summary of a bundle's folder, of which one file is read each time: it may be edited at any time."""
    state, problem, size, modified, facts = BundleState.WHOLE, "", 0, 0.0, None
    folder = BagFolder(path)
    try:
        modified = os.stat(path / INFO).st_mtime
        raw = folder.read(INFO, MAX_JSON)
        require_plain(raw)
        require_format(path, msgspec.json.decode(raw, type=Formatted).format)
        facts = Facts.of(msgspec.json.decode(raw, type=HoldallInfo), None)
        if len(msgspec.json.encode(facts)) > _MOST_FACTS:
            facts, state, problem = None, BundleState.UNREADABLE, _TOO_MUCH
        elif os.path.lexists(path / UNFINISHED):
            state, problem = BundleState.DAMAGED, "unpack was interrupted; run it again"
    except OSError as error:
        state, problem = BundleState.UNREADABLE, error.strerror or str(error)
    except NewerFormat as error:
        state, problem = BundleState.UNREADABLE, error.message
    except (ValueError, RecursionError, FrameError) as error:
        state, problem = BundleState.DAMAGED, f"{INFO}: {error}"
    size = facts.counts.get("bytes", 0) if facts else 0
    found = ListedBundle(path=path, size=size, modified=modified, state=state, problem=problem, is_folder=True)
    return _with_facts(found, facts) if facts else found


def _summarized(path: Path, record: FolderRecord) -> ListedBundle:
    try:
        there = os.stat(path)
    except OSError as error:
        return ListedBundle(
            path=path, size=0, modified=0.0, state=BundleState.UNREADABLE, problem=error.strerror or str(error)
        )
    known = record.find(path.name, stamp_of(there))
    facts, state, problem = known.facts, BundleState.WHOLE, ""
    if facts is None:
        facts, state, problem = _read(path)
        if facts:
            record.put(path.name, msgspec.structs.replace(known, facts=facts))
    if known.verified_ok is False and state is BundleState.WHOLE:
        state, problem = BundleState.DAMAGED, "verify found damage"
    found = ListedBundle(
        path=path,
        size=there.st_size,
        modified=there.st_mtime,
        state=state,
        problem=problem,
        verified_at=known.verified_at,
        verified_ok=known.verified_ok,
    )
    return _with_facts(found, facts) if facts else found


def _read(path: Path) -> tuple[Facts | None, BundleState, str]:
    """What the bundle at ``path`` says of itself, for kilobytes of it; or why it can't be read."""
    try:
        with open_bundle(path) as bundle:
            facts = Facts.of(bundle.info, bundle.frames.seal())
            if len(msgspec.json.encode(facts)) > _MOST_FACTS:
                return None, BundleState.UNREADABLE, _TOO_MUCH
            return facts, BundleState.WHOLE, ""
    except NotABundle:
        return None, BundleState.FOREIGN, "not a holdall bundle"
    except FrameError as error:
        return None, BundleState.DAMAGED, str(error)
    except BundleError as error:
        state = BundleState.DAMAGED if isinstance(error, DamagedBundle) else BundleState.UNREADABLE
        return None, state, error.message.removeprefix(f"can't read {path}: ")


def _with_facts(found: ListedBundle, facts: Facts) -> ListedBundle:
    return msgspec.structs.replace(
        found,
        taken_at=facts.started,
        source=facts.source,
        source_identity=source_identity(facts.source),
        source_title=source_title(facts.source),
        counts=facts.counts,
        fidelities=facts.fidelities,
        verdict=verdict_of(facts.losses),
        digests=facts.digests,
        seal=facts.seal,
    )
