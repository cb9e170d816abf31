"""Findings as they come, all of them counted, and so many kept as a person can read.

What is not kept is not lost: the bundle's ledger has a line for every file. A hundred thousand files of which only the
text could be had would otherwise be a hundred thousand values in memory, and as many lines in a report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from holdall.exporter.report import Finding

__all__ = ["Losses"]

_KEPT = 1000


class Losses:
    """``counts`` says whether a finding counts against the export; such findings are never pushed out by others."""

    def __init__(self, counts: Callable[[Finding], bool], *, kept: int = _KEPT) -> None:
        self._counts, self._room = counts, kept
        self._grave: list[Finding] = []
        self._light: list[Finding] = []
        self.total = 0
        """All findings."""
        self.counting = 0
        """Those that count against the export."""

    def add(self, finding: Finding) -> None:
        self.total += 1
        grave = self._counts(finding)
        self.counting += grave
        kept = self._grave if grave else self._light
        if len(kept) < self._room:
            kept.append(finding)

    def __iter__(self) -> Iterator[Finding]:
        """The kept ones, those that count first."""
        return iter([*self._grave, *self._light])
