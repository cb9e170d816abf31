"""What an export may lack and still exit with 0. Pure.

An accepted loss is a loss: the verdict counts it all the same, only the exit code doesn't.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdall.exporter.report import Absent, ContentLoss, Doubtful, Finding, LeftOut, UnreadField
from holdall.model import Fidelity, Kind

__all__ = ["Policy"]

_FIDELITIES = list(Fidelity)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """``min_fidelity`` is the lowest that a content may have, UNAVAILABLE for any; ``allow_missing`` are the ids of
    files and stores that may be lost in any way.

    ``known`` tells the losses that are no news: those that an earlier bundle of the same project had already.
    """

    min_fidelity: Fidelity = Fidelity.TEXT
    allow_missing: frozenset[str] = frozenset()
    known: Callable[[Finding], bool] | None = None

    def accepts(self, finding: Finding) -> bool:
        """Did the user say that this loss changes no exit code?

        ``min_fidelity`` UNAVAILABLE accepts whatever is lost of a file; a store that is gone, a list that contradicts
        its count, a dump that lacks pages and a definition that changed are accepted by name or not at all.
        """
        match finding:
            case LeftOut():
                return True
            case ContentLoss() | Absent() | Doubtful() if finding.id in self.allow_missing:
                return True
            case ContentLoss() | Doubtful() | Absent(kind=Kind.FILE) if self.min_fidelity is Fidelity.UNAVAILABLE:
                return True
            case UnreadField(refers=refers) if self.allow_missing.issuperset(refers):
                return True
        return self.known is not None and self.known(finding)

    def no_stricter_than(self, other: Fidelity) -> bool:
        """Whether its ``min_fidelity`` is ``other`` or lower."""
        return _FIDELITIES.index(self.min_fidelity) >= _FIDELITIES.index(other)
