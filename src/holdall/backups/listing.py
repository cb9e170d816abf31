"""The bundles of a folder, newest first: a summary of each, for which kilobytes of it are read.

A summary proves nothing but that end and beginning of a file fit together; ``verify`` proves a bundle.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

from holdall.bundle.durable import reading
from holdall.bundle.layout import SUFFIX, Digests, FidelityCount, HoldallInfo, Source, source_identity, source_title
from holdall.bundle.reader import open_bundle
from holdall.bundle.seekable import FrameError
from holdall.bundle.totals import declared_verdict
from holdall.errors import BundleError, DamagedBundle, NotABundle
from holdall.verdict import Verdict


class BundleState(StrEnum):
    """What a file is, as far as its summary says."""

    WHOLE = "whole"
    DAMAGED = "damaged"
    FOREIGN = "foreign"
    """Not one of our bundles."""
    UNREADABLE = "unreadable"
    """The system refuses to read it, or its format is newer than this version."""


class ListedBundle(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself. Only a whole one has what follows ``problem``; times are seconds since 1970, UTC.

    ``size`` is in bytes, ``modified`` the time of the file. ``problem`` says in a sentence what is wrong where
    ``state`` isn't whole. ``taken_at`` is when the capture began, ``source_identity`` equal for all bundles of one
    project, ``source_title`` its name for people. ``verdict`` is that of the export. ``seal`` is the sha256 that the
    seal states (64 hex digits): another one is another bundle. ``verified_at`` and ``verified_ok`` are of the last
    `holdall verify` of all of this file; None where none is known.
    """

    path: Path
    size: int
    modified: float
    state: BundleState
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


def summaries(folders: Iterable[Path]) -> list[ListedBundle]:
    """The bundles of the folders: the newest first, those without a time last. A path of a file stands for itself.

    In a folder each ``*.tar.zst`` counts, and nothing below it. What can't be read is in the list, with its problem.
    Raises CannotWrite (can't be read) for a folder that isn't there or can't be listed.
    """
    paths = dict.fromkeys(path for folder in folders for path in _candidates(folder))
    return sorted(map(summarize, paths), key=lambda one: (-(one.taken_at or 0), str(one.path)))


def summarize(path: Path) -> ListedBundle:
    """The summary of the file at ``path``. Raises nothing for what is there: all that is wrong is in the summary."""
    try:
        there = os.stat(path)
    except OSError as error:
        return _without(path, 0, 0.0, BundleState.UNREADABLE, error.strerror or str(error))
    try:
        with open_bundle(path) as bundle:
            return _of(path, there, bundle.info, bundle.frames.seal())
    except NotABundle:
        return _without(path, there.st_size, there.st_mtime, BundleState.FOREIGN, "not a holdall bundle")
    except FrameError as error:
        return _without(path, there.st_size, there.st_mtime, BundleState.DAMAGED, str(error))
    except BundleError as error:
        state = BundleState.DAMAGED if isinstance(error, DamagedBundle) else BundleState.UNREADABLE
        return _without(path, there.st_size, there.st_mtime, state, error.message)


def _candidates(folder: Path) -> Iterator[Path]:
    """Of a folder its bundles by their names; of anything else itself."""
    with reading(folder):
        if not stat.S_ISDIR(os.stat(folder).st_mode):
            yield folder
            return
        with os.scandir(folder) as found:
            names = sorted(entry.name for entry in found if entry.name.endswith(SUFFIX))
    yield from (folder / name for name in names)


def _of(path: Path, there: os.stat_result, info: HoldallInfo, seal: str) -> ListedBundle:
    return ListedBundle(
        path=path,
        size=there.st_size,
        modified=there.st_mtime,
        state=BundleState.WHOLE,
        taken_at=info.started,
        source=info.source,
        source_identity=source_identity(info.source),
        source_title=source_title(info.source),
        counts=info.counts,
        fidelities=info.fidelities,
        verdict=declared_verdict(info),
        digests=info.digests,
        seal=seal,
    )


def _without(path: Path, size: int, modified: float, state: BundleState, problem: str) -> ListedBundle:
    return ListedBundle(path=path, size=size, modified=modified, state=state, problem=problem)
