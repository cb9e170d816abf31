"""A change of a file as a unified diff, as ``patch -p1`` and ``git apply`` take it. Pure.

Rewriting ids adds no line and takes none away, so the lines of both texts stand side by side.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    for first, last in _hunks(changed, len(old)):
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


def _hunks(changed: list[int], count: int) -> Iterator[tuple[int, int]]:
    """Runs of changed lines with their context: first line, and the one behind the last."""
    place = 0
    while place < len(changed):
        end = place
        while end + 1 < len(changed) and changed[end + 1] - changed[end] <= 2 * _CONTEXT:
            end += 1
        yield max(0, changed[place] - _CONTEXT), min(count, changed[end] + _CONTEXT + 1)
        place = end + 1
