"""Removes the bundles of a folder that a retention policy doesn't keep.

Grouped by source, never by folder or host. Whatever the policy says, these stay: the newest whole bundle of a source,
the last one that holds a file at a better fidelity than the others, what can't be proved to be a whole bundle of ours,
and what is being written. Each bundle that would go, and the newest, is verified first; that is remembered.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from enum import StrEnum
from itertools import groupby
from pathlib import Path

import msgspec

from holdall.backups.folder_record import note_verification, stamp_at
from holdall.backups.listing import BundleState, ListedBundle, summaries
from holdall.backups.retention import RetentionPolicy, reasons_to_keep
from holdall.bundle.partial import partial_folder
from holdall.bundle.reader import open_bundle
from holdall.bundle.seekable import FrameError
from holdall.bundle.verification import verify
from holdall.errors import BundleError, UsageFault
from holdall.model import Fidelity
from holdall.progress import Progress
from holdall.safe_files import sync_folder


class Fate(StrEnum):
    """What becomes of a bundle. ``REMOVE`` is that of a dry run."""

    KEEP = "keep"
    REMOVE = "remove"
    REMOVED = "removed"
    LOCKED = "locked"
    """The policy removes it, and the system refuses."""


class PruneOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``now`` is in Unix seconds. Without ``delete`` nothing is removed. ``source``, a ``source_identity``: only its
    bundles are judged."""

    folder: Path
    policy: RetentionPolicy
    now: float
    delete: bool = False
    source: str | None = None


class JudgedBundle(msgspec.Struct, kw_only=True):
    """One bundle, its fate and why. ``damaged``: not whole, which a person should look at."""

    bundle: ListedBundle
    fate: Fate = Fate.REMOVE
    reasons: list[str] = []
    damaged: bool = False
    stamp: str | None = None


def prune(options: PruneOptions, progress: Progress) -> list[JudgedBundle]:
    """Judge each bundle of the folder, newest first, and with ``delete`` remove those that nothing keeps.

    Raises UsageFault without a policy or where the folder is none, CannotWrite where it can't be listed.
    """
    if not options.policy:
        raise UsageFault("can't prune: no policy given", hint="for example --keep-daily 7 --keep-monthly 12")
    if not options.folder.is_dir():
        raise UsageFault(f"can't prune {options.folder}: not a folder", hint="name the folder of your bundles")
    listed = summaries([options.folder])
    found = [_judged(one) for one in listed if options.source in (None, one.source_identity)]
    groups: dict[str, list[JudgedBundle]] = {}
    for one in found:
        if one.fate is Fate.REMOVE and one.bundle.source_identity is not None:
            groups.setdefault(one.bundle.source_identity, []).append(one)
    for group in groups.values():
        _decide(group, options, progress)
    if options.delete:
        for one in found:
            if one.fate is Fate.REMOVE:
                _remove(one)
        if any(one.fate is Fate.REMOVED for one in found):
            sync_folder(options.folder)
    return found


def _judged(bundle: ListedBundle) -> JudgedBundle:
    """Keeps what isn't a whole bundle of ours or must not be touched; the policy decides on the rest."""
    if bundle.state is not BundleState.WHOLE or bundle.source_identity is None or bundle.taken_at is None:
        damaged = bundle.state is BundleState.DAMAGED
        said = f"{bundle.state}: {bundle.problem}" if damaged else bundle.problem
        return JudgedBundle(bundle=bundle, fate=Fate.KEEP, reasons=[said], damaged=damaged)
    if reason := _untouchable(bundle.path):
        return JudgedBundle(bundle=bundle, fate=Fate.KEEP, reasons=[reason])
    return JudgedBundle(bundle=bundle, stamp=stamp_at(bundle.path))


def _untouchable(path: Path) -> str:
    if os.path.lexists(partial_folder(path)):
        return f"being written: {partial_folder(path).name}"
    try:
        return "" if stat.S_ISREG(os.lstat(path).st_mode) else "a link, not a file"
    except OSError as error:
        return error.strerror or str(error)


def _decide(group: list[JudgedBundle], options: PruneOptions, progress: Progress) -> None:
    """Decide on the bundles of one source, the newest first. Any policy keeps the newest; it must be whole.

    What proves to be damaged counts for nothing, so the policy chooses again without it.
    """
    left = group
    while left:
        times = [float(one.bundle.taken_at or 0) for one in left]
        for one, reasons in zip(left, reasons_to_keep(times, options.policy, options.now), strict=True):
            one.fate, one.reasons = Fate.KEEP if reasons else Fate.REMOVE, reasons
        if all(one.fate is Fate.KEEP for one in left):
            return
        _keep_better_copies(left)
        for one in left:
            if one is left[0] or one.fate is Fate.REMOVE:
                _prove(one, options.now, progress)
        if not any(one.damaged for one in left):
            return
        left = [one for one in left if not one.damaged]


def _prove(one: JudgedBundle, now: float, progress: Progress) -> None:
    """Verify all of the bundle, unless that was done before and it is unchanged since."""
    if one.bundle.verified_ok or one.damaged:
        return
    try:
        findings = verify(one.bundle.path, progress=progress).findings
        problem = findings[0].message if findings else ""
        note_verification(one.bundle.path, one.stamp, ok=not findings, now=now)
    except BundleError as error:
        problem = error.message
    if problem:
        one.fate, one.reasons, one.damaged = Fate.KEEP, [f"damaged: {problem}"], True
    else:
        one.bundle = msgspec.structs.replace(one.bundle, verified_at=now, verified_ok=True)


_FIDELITIES = list(Fidelity)
_Worth = tuple[int, bool, bool]


def _keep_better_copies(group: list[JudgedBundle]) -> None:
    """Keep bundles that have a better copy of a file than all kept bundles that list it. A file that no kept bundle
    lists is gone from the project, and only the policy counts."""
    best: dict[str, _Worth] = {}
    for one in group:
        if one.fate is Fate.KEEP:
            _learn(one, best)
    # Newest first: of several equally good copies, the newest is enough.
    for one in (one for one in group if one.fate is Fate.REMOVE):
        first, count = "", 0
        try:
            for id, name, fidelity, worth in _files(one.bundle.path):
                if id in best and worth > best[id]:
                    first, count = first or f"{name or id} as {fidelity}", count + 1
                    best[id] = worth
        except BundleError as error:
            one.fate, one.reasons, one.damaged = Fate.KEEP, [f"damaged: {error.message}"], True
            continue
        if count:
            more = f" and {count - 1} more" if count > 1 else ""
            one.fate, one.reasons = Fate.KEEP, [f"best copy of {first}{more}"]


def _learn(one: JudgedBundle, best: dict[str, _Worth]) -> None:
    try:
        for id, _, _, worth in _files(one.bundle.path):
            best[id] = max(worth, best.get(id, worth))
    except BundleError as error:
        one.reasons, one.damaged = [f"damaged: {error.message}"], True


def _files(path: Path) -> Iterator[tuple[str, str | None, Fidelity, _Worth]]:
    """Id, name, fidelity and worth of each file of a bundle. Raises BundleError."""
    with open_bundle(path) as bundle:
        for line in bundle.ledger():
            worth = (-_FIDELITIES.index(line.fidelity), not line.truncated, not line.doubt)
            yield line.id, line.filename, line.fidelity, worth


def _remove(one: JudgedBundle) -> None:
    """Delete it, if it is still the file that was judged."""
    path = one.bundle.path
    if reason := _untouchable(path):
        one.fate, one.reasons = Fate.KEEP, [reason]
        return
    try:
        with open_bundle(path) as bundle:
            same = bundle.frames.seal() == one.bundle.seal
    except (BundleError, FrameError):
        same = False
    if not same or stamp_at(path) != one.stamp:
        one.fate, one.reasons = Fate.KEEP, ["changed meanwhile"]
        return
    try:
        os.unlink(path)
    except OSError as error:
        one.fate, one.reasons = Fate.LOCKED, [f"kept, locked: {error.strerror or error}"]
    else:
        one.fate = Fate.REMOVED


def by_source(found: list[JudgedBundle]) -> Iterator[tuple[str, list[JudgedBundle]]]:
    """The bundles by source, each newest first; last, under ``""``, those without a known source."""
    ordered = sorted(found, key=lambda one: (one.bundle.source_identity is None, one.bundle.source_identity or ""))
    for _, some in groupby(ordered, key=lambda one: one.bundle.source_identity):
        group = list(some)
        yield group[0].bundle.source_title or "", group
