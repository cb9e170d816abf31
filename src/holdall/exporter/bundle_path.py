"""Where a bundle goes: on with what an earlier run left unfinished, or under a name of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from holdall.bundle.journal import discard_partial, find_partial, partial_folder, unfinished
from holdall.bundle.layout import SUFFIX, Capture
from holdall.errors import AlreadyExists

__all__ = ["FRESH_FOR", "where_to_write"]

FRESH_FOR = 7 * 86400
"""Seconds since its begin for which an unfinished bundle is gone on with unasked."""


def where_to_write(fresh: Path, capture: Capture, *, named: bool, resume: bool | None, now: float) -> tuple[Path, bool]:
    """The target of an export that would begin at ``fresh``, and whether it goes on with an unfinished bundle.

    Where the user has not ``named`` the file, any unfinished bundle of the same capture in the folder is gone on with.
    ``resume`` True: whatever its age; False: it is thrown away. Raises AlreadyExists where it is older than seven days
    and nothing was said, BundleInUse where it should be thrown away and another process is at it.
    """
    target = fresh if named else find_partial(fresh.parent, capture)
    begin = unfinished(target) if target else None
    if target and begin and resume is False:
        discard_partial(target)
    if target is None or begin is None or resume is False or not begin.goes_on(capture, target.name):
        return (fresh if named else _free(fresh)), False
    if resume is None and now - begin.started > FRESH_FOR:
        when = datetime.fromtimestamp(begin.started, UTC)
        raise AlreadyExists(
            f"can't write {target}: {partial_folder(target)} holds the same export, begun on {when:%Y-%m-%d} and "
            "never finished",
            hint="--resume goes on with it, contents from then included; --no-resume throws it away and begins anew",
        )
    return target, True


def _free(fresh: Path) -> Path:
    """A name that nobody else took within the same second."""
    stem, number, target = fresh.name.removesuffix(SUFFIX), 1, fresh
    while target.exists() or partial_folder(target).exists():
        number += 1
        target = fresh.with_name(f"{stem}-{number}{SUFFIX}")
    return target
