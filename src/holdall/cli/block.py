"""The last lines of a command: verdict, counts, losses by reason, where to read more, and what to type next.

Short on purpose, so that the verdict is seen: at most a dozen lines where nothing is wrong. Every single item is in
the report and the ``--json`` document, and is printed above the block with ``--verbose``. What to type next is made of
the words of the command that was typed, so that it reaches the same account.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from holdall.cli.console import Console
from holdall.errors import pasteable
from holdall.legible import counted, flat, shortened
from holdall.verdict import Verdict

NAMED = 3
"""Items of a group that are named."""
SHOWN = 3
"""Findings that are shown."""
_GROUPS = 3
"""Groups that are shown; the most important come first."""
# Columns of a name and of an item: two lines of a terminal. What is longer is in the report.
_LONGEST_NAME, _LONGEST = 60, 140

# Where a command looks and writes: what the next one needs, too. Those without a value, and those with one.
_SWITCHES = frozenset({"--dst-insecure-http"})
_PLACES = frozenset(
    {
        "--env-file",
        "--dst-base-url",
        "--dst-org-id",
        "--dst-project-id",
        "--dst-token-command",
        "--token-command",
        "--output-dir",
    }
)
# Its value may hold a secret, which no line repeats.
_UNSHOWN = "token-command"
# What says how the result is shown, or where a plan is written.
_SHOWN = frozenset({"--json", "--quiet", "-q", "--verbose", "-v"})


class Group(msgspec.Struct, kw_only=True):
    """Items of one reason. ``title`` is how they are counted: "13 files missing"; ``items`` names the first."""

    title: str
    items: list[str] = []
    total: int = 0
    why: str = ""

    def __str__(self) -> str:
        names = [shortened(flat(name), _LONGEST_NAME) for name in self.items[:NAMED]]
        more = f" and {left} more" if (left := self.total - len(names)) > 0 and names else ""
        why = f" ({flat(self.why)})" if self.why else ""
        said = f"{flat(self.title)}{': ' if names else ''}{', '.join(names)}{more}"
        text = shortened(f"{said}{why}", _LONGEST)
        # A reason that was cut keeps its brackets; one that is gone leaves none.
        kept = text[len(said) :] if text.endswith("…") else ""
        return text + ")" * (kept.count("(") - kept.count(")"))


class Block(msgspec.Struct, kw_only=True):
    """What ``show`` prints.

    ``verdict`` and ``exit_code`` (for the colour); ``findings`` are lines that belong to the verdict, of which the
    first are shown, each cut at ``longest`` columns; ``facts`` are lines of counts; ``details`` one line for each item,
    read only with ``--verbose``; ``places`` say where the rest is; ``commands`` are to type next, the best first.
    """

    verdict: Verdict | str
    exit_code: int
    findings: Iterable[str] = ()
    findings_total: int = 0
    longest: int = _LONGEST
    facts: list[str] = []
    groups: list[Group] = []
    details: Iterable[str] = ()
    places: list[str] = []
    commands: list[str] = []

    def show(self, console: Console, *, on_stdout: bool = False) -> None:
        """Print it on stderr; verdict and findings on stdout where they are the command's result."""
        console.close_progress()
        self._show_details(console)
        console.verdict(str(self.verdict), self.exit_code, result=on_stdout)
        self._show_findings(console, console.result if on_stdout else console.say)
        if on_stdout and console.json:
            return  # the document has all of it
        for line in (*map(flat, self.facts), *self._group_lines(), *map(flat, self.places)):
            console.say(line)
        for command in self.commands:
            console.type_next(command)

    def show_line(self, console: Console, line: str) -> None:
        """Print ``line``, with the verdict in it, as all that is on stdout; on stderr what is wrong, and no counts."""
        console.close_progress()
        self._show_details(console)
        console.verdict(line, self.exit_code, result=True)
        self._show_findings(console, console.say)
        for line in self._group_lines():
            console.say(line)

    def _show_details(self, console: Console) -> None:
        if console.verbose:
            for line in self.details:
                console.detail(flat(line))

    def _show_findings(self, console: Console, write: Callable[[str], None]) -> None:
        if console.quiet:
            return
        for line in islice(self.findings, None if console.verbose else SHOWN):
            write(f"  {flat(line) if console.verbose else shortened(flat(line), self.longest)}")
        if not console.verbose and (left := self.findings_total - SHOWN) > 0:
            write(f"  … and {left} more (-v lists them)")

    def _group_lines(self) -> Iterator[str]:
        most = _GROUPS - 1 if self.findings_total else _GROUPS
        yield from (f"  {group}" for group in self.groups[:most])
        if left := self.groups[most:]:
            yield f"  {counted(sum(group.total for group in left), 'other item')} (-v lists all)"


def again(console: Console, *, command: str = "", without: Collection[str] = ()) -> str:
    """The command that was typed, as another ``command`` or without some of its switches."""
    _, *words = _shown(console.typed) or [""]
    kept = [word for word in words if word not in _SHOWN and word not in without]
    return _line([command or console.command or "", *kept])


def onward(console: Console, *words: object, without: Collection[str] = ()) -> str:
    """Another command with these ``words``, and with the options of the one that was typed that say where."""
    return _line([*words, *_places(_shown(console.typed), without)])


def _shown(typed: Sequence[str]) -> list[str]:
    """The words, without the values of token commands."""
    words, found = iter(typed), []
    for word in words:
        flag, given, _ = word.partition("=")
        if not flag.endswith(_UNSHOWN):
            found.append(word)
        elif given:
            found.append(f"{flag}=…")
        else:
            next(words, "")
            found += [word, "…"]
    return found


def _places(typed: Sequence[str], without: Collection[str]) -> Iterator[str]:
    words = iter(typed)
    for word in words:
        flag, given, _ = word.partition("=")
        if word in _SWITCHES:
            yield word
        elif flag in _PLACES:
            found = [word] if given else [word, next(words, "")]
            if flag not in without:
                yield from found


def _line(words: Sequence[object]) -> str:
    return " ".join(["holdall", *map(pasteable, words)])
