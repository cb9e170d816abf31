"""The two lists of what a bundle could not take in, as ``export``, ``inspect``, ``supply`` and ``import`` show them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from holdall.capped import KEPT
from holdall.cli.console import human_size

if TYPE_CHECKING:
    from holdall.bundle.missing import MissingFromBundle, Wanted
    from holdall.capped import Capped
    from holdall.credentials import Suspect
    from holdall.dependencies import User

__all__ = ["as_json", "show", "show_credentials"]

_SHOWN = 20


def show(
    write: Callable[[str], None], shortfall: MissingFromBundle, *, limit: int | None = _SHOWN, more: str = ""
) -> None:
    """Write both lists, a line an item; nothing where a list is empty. ``more`` says what shows the rest."""
    if shortfall.total:
        write(f"please supply, if you have the originals (files that are not there byte for byte: {shortfall.total}):")
        width = len(str(min(shortfall.total, limit or shortfall.total)))
        said = None
        for wanted in islice(shortfall.wanted(), limit):
            # Most files of one export have one reason; it is said when it changes.
            why = f": {_flat(wanted.message)}" if wanted.message and wanted.message != said else ""
            said = wanted.message
            write(f"  {wanted.number:>{width}}. {_wanted(wanted)}{why}")
        _left(write, shortfall.total, limit, more)
    if shortfall.outside:
        write("referred to by the definitions, and in no bundle:")
        for dependency in shortfall.outside[:limit]:
            write(f"  {_flat(str(dependency))}{_users(dependency.used_by)}")
        _left(write, len(shortfall.outside), limit, more)


def show_credentials(write: Callable[[str], None], found: Capped[Suspect], *, limit: int | None = _SHOWN) -> None:
    """Write which fields seem to hold a credential, never the value; nothing where none does."""
    if found:
        write("seem to hold a credential, and whoever has the bundle has it too (change it, and take it out):")
        for suspect in found[:limit]:
            write(f"  {_flat(str(suspect))}")
        _left(write, found.total, min(limit or KEPT, KEPT), f"--json lists the first {KEPT}")


def as_json(shortfall: MissingFromBundle, *, limit: int | None = None) -> dict[str, Any]:
    """The lists as JSON-able values; ``please_supply`` cut off at ``limit``, ``please_supply_total`` is of all."""
    return {
        "please_supply": [msgspec.to_builtins(wanted) for wanted in islice(shortfall.wanted(), limit)],
        "please_supply_total": shortfall.total,
        "outside": [msgspec.to_builtins(dependency) for dependency in shortfall.outside],
        "credentials": msgspec.to_builtins(shortfall.credentials),
        "credentials_total": shortfall.credentials.total,
    }


def _wanted(wanted: Wanted) -> str:
    name = _flat(wanted.filename or "(no name)")
    size = human_size(wanted.size) if wanted.size is not None else "size unknown"
    has = "missing" if wanted.fidelity != "text" else "its text stops short" if wanted.truncated else "only its text"
    if wanted.doubt:
        has += f" (text, joined doubtfully: {_flat(wanted.doubt)})"
    gone = ", gone from the project" if wanted.gone else ""
    return f"{name}, {size}, {wanted.id}: {has}{gone}{_users(wanted.used_by)}"


def _users(users: list[User]) -> str:
    if not users:
        return ""
    named = [f"{_flat(user.name)} ({user.id})" if user.name else user.id for user in users[:3]]
    from holdall.dependencies import USERS

    left = "many" if len(users) == USERS else len(users) - 3
    more = f" and {left} more" if len(users) > 3 else ""
    return f"; used by {', '.join(named)}{more}"


def _left(write: Callable[[str], None], total: int, limit: int | None, more: str) -> None:
    if limit is not None and total > limit:
        write(f"  … and {total - limit} more{f': {more}' if more else ''}")


def _flat(text: str) -> str:
    """On one line, whatever a server calls things."""
    return " ".join(text.splitlines())
