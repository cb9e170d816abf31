"""Command lines taken apart into words, without a shell. Pure."""

from __future__ import annotations

import re
import shlex
import sys


def command_words(line: str) -> list[str]:
    """The words of a command line, as this system takes it apart; ``[]`` for an empty one. Raises ValueError where a
    quote is not closed."""
    return windows_words(line) if sys.platform == "win32" else shlex.split(line)


def windows_words(line: str) -> list[str]:
    """The words of a Windows command line, where a backslash is a character of paths and escapes only a quote.

    Raises ValueError where a quote is not closed.
    """
    words: list[str] = []
    word: str | None = None
    is_quoted = False
    for slashes, char in re.findall(r"(\\*)([^\\]|$)", line):
        if char == '"':
            word = (word or "") + "\\" * (len(slashes) // 2)
            if len(slashes) % 2:
                word += char
            else:
                is_quoted = not is_quoted
            continue
        if slashes:
            word = (word or "") + slashes
        if char.isspace() and not is_quoted:
            words += [] if word is None else [word]
            word = None
        elif char:
            word = (word or "") + char
    if is_quoted:
        raise ValueError("No closing quotation")
    return words if word is None else [*words, word]
