"""What an export may lack and still end in 0. Pure.

Below the policy the bundle is complete and valid all the same; the exit code says that somebody has to look.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdall.exporter.report import Absent, Doubtful, Finding, Loss
from holdall.model import Kind, Rung

__all__ = ["Policy"]

_RUNGS = list(Rung)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """``min_rung`` is the lowest rung that a content may have, UNAVAILABLE for any; ``allow_missing`` are the ids of
    files and stores that may be lost in any way.

    ``known`` tells the losses that are no news: those that an earlier bundle of the same project had already.
    """

    min_rung: Rung = Rung.TEXT
    allow_missing: frozenset[str] = frozenset()
    known: Callable[[Finding], bool] | None = None

    def counts(self, finding: Finding) -> bool:
        """Does this finding make the export less than the policy asks for?

        A text that stops short is less than a text. A file object that is gone, and a text whose parts may be joined
        wrongly, are as bad as a content that is not there; a store that is gone, a list that contradicts its count, a
        dump that lacks pages and a definition that changed while the export ran count under every policy.
        """
        match finding:
            case Loss() | Absent() | Doubtful() if finding.id in self.allow_missing:
                return False
            case Loss(rung=rung, truncated=truncated):
                found = _RUNGS.index(Rung.UNAVAILABLE if truncated else rung)
                less = found > _RUNGS.index(self.min_rung)
            case Absent(kind=Kind.FILE) | Doubtful():
                less = self.min_rung is not Rung.UNAVAILABLE
            case _:
                less = True
        return less and not (self.known is not None and self.known(finding))
