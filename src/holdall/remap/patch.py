"""A change of a file as a unified diff, as ``patch -p1`` and ``git apply`` take it. Pure.

Rewriting ids adds no line and takes none away, so the lines of both texts stand side by side.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdall.credentials import looks_like
from holdall.remap.files import Change

__all__ = ["unified"]

_CONTEXT = 3


def unified(change: Change) -> Iterator[bytes]:
    """The change as lines of a unified diff, each with its end, as ``patch -p1`` and ``git apply`` take it.

    Bytes as they are in the file, so that it fits whatever the encoding; of UTF-16 in UTF-8, only to be read.
    """
    old, new = change.before.split("\n"), change.after.split("\n")
    ends_open = bool(old[-1])
    if not ends_open:
        old, new = old[:-1], new[:-1]
    name = change.path.as_posix().lstrip("/")
    shown = name if name.isprintable() else name.encode("unicode_escape").decode()
    tab = "\t" if " " in shown else ""
    for sign, side in (("---", "a"), ("+++", "b")):
        yield f"{sign} {side}/{shown}{tab}\n".encode("utf-8", "surrogateescape")

    encoding = "latin-1" if change.encoding == "latin-1" else "utf-8"

    def line(sign: str, text: str, place: int) -> bytes:
        end = "\n\\ No newline at end of file\n" if ends_open and place == len(old) - 1 else "\n"
        return f"{sign}{text}{end}".encode(encoding)

    changed = [place for place, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    for first, last in _hunks(changed, old):
        span = f"{first + 1},{last - first}"
        yield f"@@ -{span} +{span} @@\n".encode()
        place = first
        while place < last:
            end = place
            while end < last and old[end] != new[end]:
                end += 1
            for sign, lines in (("-", old), ("+", new)):
                yield from (line(sign, lines[n], n) for n in range(place, end))
            if end == place:
                yield line(" ", old[place], place)
                end += 1
            place = end


def _hunks(changed: list[int], lines: list[str]) -> Iterator[tuple[int, int]]:
    """Runs of changed lines with their context: first line, and the one behind the last. A key is no context: ids
    stand beside keys in many a file, and a diff is seen by others."""
    begun: tuple[int, int] | None = None
    for place in changed:
        first = last = place
        while first > max(0, place - _CONTEXT) and not looks_like(lines[first - 1]):
            first -= 1
        while last + 1 < min(len(lines), place + _CONTEXT + 1) and not looks_like(lines[last + 1]):
            last += 1
        if begun and begun[1] < first:
            yield begun
            begun = None
        begun = (min(begun[0], first) if begun else first), last + 1
    if begun:
        yield begun
