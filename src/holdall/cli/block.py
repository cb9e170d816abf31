"""The last lines of a command: verdict, counts, losses by reason, where to read more, and what to type next.

Short on purpose, so that the verdict is seen: at most a dozen lines where nothing is wrong. Every single item is in
the report and the ``--json`` document, and is printed above the block with ``--verbose``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from holdall.cli.console import Console
from holdall.cli.wrapping import shortened
from holdall.legible import flat
from holdall.verdict import Verdict

NAMED = 3
"""Items of a group that are named."""
SHOWN = 5
"""Findings that are shown."""
_GROUPS = 4
"""Groups that are shown; the most important come first."""
# Columns of a name, a reason and a line: what is longer is in the report.
_LONGEST_NAME, _LONGEST_WHY, _LONGEST_LINE = 40, 100, 150


class Group(msgspec.Struct, kw_only=True):
    """Items of one reason. ``title`` is how they are counted: "13 files missing"; ``items`` names the first."""

    title: str
    items: list[str] = []
    total: int = 0
    why: str = ""

    def __str__(self) -> str:
        names = [shortened(flat(name), _LONGEST_NAME) for name in self.items[:NAMED]]
        more = f" and {left} more" if (left := self.total - len(names)) > 0 and names else ""
        why = f" ({shortened(flat(self.why), _LONGEST_WHY)})" if self.why else ""
        return f"{shortened(flat(self.title), _LONGEST_LINE)}{': ' if names else ''}{', '.join(names)}{more}{why}"


class Block(msgspec.Struct, kw_only=True):
    """What ``show`` prints.

    ``verdict`` (empty where the block of a comparison follows) and ``exit_code``, for the colour; ``findings`` are
    lines that belong to the verdict, of which the first are shown; ``facts`` are lines of counts; ``details`` one line
    for each item, read only with ``--verbose``; ``places`` say where the rest is; ``commands`` are to type next, the
    best first.
    """

    verdict: Verdict | str
    exit_code: int
    findings: Iterable[str] = ()
    findings_total: int = 0
    facts: list[str] = []
    groups: list[Group] = []
    details: Iterable[str] = ()
    places: list[str] = []
    commands: list[str] = []

    def show(self, console: Console, *, on_stdout: bool = False) -> None:
        """Print it on stderr; verdict and findings on stdout where they are the command's result."""
        console.close_progress()
        if console.verbose:
            for line in self.details:
                console.detail(flat(line))
        write = console.result if on_stdout else console.say
        if verdict := str(self.verdict):
            console.verdict(verdict, self.exit_code, result=on_stdout)
        for line in islice(self.findings, None if console.verbose else SHOWN):
            write(f"  {flat(line) if console.verbose else shortened(flat(line), _LONGEST_LINE)}")
        if not console.verbose and (left := self.findings_total - SHOWN) > 0:
            write(f"  … and {left} more (-v lists them)")
        for line in (*map(flat, self.facts), *self._group_lines(), *map(flat, self.places)):
            console.say(line)
        for command in self.commands:
            console.type_next(command)

    def _group_lines(self) -> Iterator[str]:
        yield from (f"  {group}" for group in self.groups[:_GROUPS])
        if left := self.groups[_GROUPS:]:
            yield f"  {sum(group.total for group in left)} more, of {len(left)} other reasons (-v lists all)"
