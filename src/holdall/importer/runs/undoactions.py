"""What an undo does, call by call. Values only: ``undo.undoplan`` decides on them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from holdall.kinds import noun
from holdall.model import Kind, TargetId

__all__ = ["Act", "UndoAction"]


class Act(StrEnum):
    """What is done about one effect."""

    DELETE = "delete"
    RESTORE = "restore"
    DETACH = "take out"
    ATTACH = "put back"
    REMOVE = "remove"
    """A written request: a file on this machine."""
    REWRITE = "put back as it was before"
    """The same, where it replaced one of an earlier run."""
    REPLACE = "put back as it was"
    """Taken out and put in again: how a file is cut can't be changed while it is in the store."""


class UndoAction(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do. ``needless`` where it is as it was already; ``left``, the reason, where it must not be done.

    ``despite`` is the reason that would have left it, had the user not said otherwise. ``body`` is what is sent;
    ``store`` that of a membership; ``uses`` what must stay where this can't be done.
    """

    act: Act
    kind: Kind
    target: TargetId
    name: str | None
    store: TargetId | None = None
    body: dict[str, Any] = {}
    uses: list[TargetId] = []
    needless: bool = False
    left: str = ""
    despite: str = ""

    @property
    def due(self) -> bool:
        return not (self.needless or self.left)

    @property
    def local(self) -> bool:
        """Whether it is done on this machine."""
        return self.act in (Act.REMOVE, Act.REWRITE)

    def __str__(self) -> str:
        if self.local:
            return f"{self.act} file {self.target}"
        kind = "file" if self.kind is Kind.MEMBERSHIP else noun(self.kind)
        what = f"{self.act} {kind} {f'{self.name} ({self.target})' if self.name else self.target}"
        where = {Act.DETACH: " of store ", Act.ATTACH: " into store ", Act.REPLACE: " in store "}.get(self.act, " in ")
        inside = f"{where}{self.store}" if self.store else ""
        fields = f": {', '.join(self.body)}" if self.act is Act.RESTORE else ""
        return what + inside + fields
