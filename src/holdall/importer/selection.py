"""Which roots of a bundle an import takes: ``--only`` and ``--exclude``. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import msgspec

from holdall.errors import UsageFault
from holdall.model import SourceId

__all__ = ["Root", "Selection", "choose"]


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """Something a user can ask for: an assistant, or a store that no assistant uses."""

    id: SourceId
    name: str | None = None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Patterns; each is an id or a GLOB on the name (``*``, ``?``, ``[…]``; upper and lower case differ)."""

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


def choose(roots: Iterable[Root], selection: Selection) -> list[Root]:
    """The chosen roots in their order. All that they need comes with them, whatever its own name.

    Raises UsageFault for an ``--only`` that matches nothing, and where nothing at all is left of something.
    """
    everything = list(roots)
    for pattern in selection.only:
        if not any(_matches(pattern, root) for root in everything):
            raise UsageFault(
                f"can't select --only {pattern}: no assistant of the bundle has that id or name",
                hint="`holdall inspect BUNDLE` lists what is inside; put a GLOB between quotes",
            )
    chosen = [
        root
        for root in everything
        if (not selection.only or any(_matches(pattern, root) for pattern in selection.only))
        and not any(_matches(pattern, root) for pattern in selection.exclude)
    ]
    if everything and not chosen:
        raise UsageFault(
            f"nothing is left to import: --exclude takes out all {len(everything)} that were selected",
            hint="`holdall inspect BUNDLE` lists what is inside",
        )
    return chosen


def _matches(pattern: str, root: Root) -> bool:
    return pattern == root.id or (root.name is not None and (pattern == root.name or fnmatchcase(root.name, pattern)))
