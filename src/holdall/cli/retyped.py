"""Commands to type next, made of the words of the one that was typed, so that they reach the same account."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from holdall.cli.console import Console
from holdall.errors import pasteable

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
