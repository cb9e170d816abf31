"""Commands to type next, made of the words of the one that was typed, so that they reach the same account."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from holdall.cli.console import Console
from holdall.errors import pasteable

# Where a command looks and writes: what the next one needs, too. Those without a value, and those with one.
_SWITCHES = frozenset({"--dst-insecure-http"})
_PLACES = frozenset({"--env-file", "--dst-base-url", "--dst-org-id", "--dst-project-id", "--output-dir"})
# What says how the result is shown, or where a plan is written.
_SHOWN = frozenset({"--json", "--quiet", "-q", "--verbose", "-v"})


def again(console: Console, *, command: str = "", without: Collection[str] = ()) -> str:
    """The command that was typed, as another ``command`` or without some of its switches."""
    _, *words = console.typed or [""]
    kept = [word for word in words if word not in _SHOWN and word not in without]
    return _line([command or console.command or "", *kept])


def onward(console: Console, *words: object, without: Collection[str] = ()) -> str:
    """Another command with these ``words``, and with the options of the one that was typed that say where."""
    return _line([*words, *_places(console.typed, without)])


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
