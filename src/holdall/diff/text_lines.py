"""The line diff of two texts, at a bounded cost. Pure.

The shortest diff (Myers, "An O(ND) Difference Algorithm", 1986) costs lines times differences. Texts come from outside,
so all diffs of a comparison share a budget; without enough of it, the lines between the common beginning and the common
end are shown as replaced: longer than need be, and as true.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

_CONTEXT = 3
# Differences that are followed in one text: the way back takes the square of them in memory.
_MOST = 600


class LineBudget:
    """Steps that are left for the line diffs of one comparison; a second is worth about five million."""

    def __init__(self, steps: int) -> None:
        self.left = steps


class LineDiff(msgspec.Struct, frozen=True, kw_only=True):
    """``lines`` in unified form, each with its sign, hunks headed by ``@@``; how many lines were added and removed."""

    lines: list[str]
    added: int
    removed: int


# Lines i to j of the one text stand where k to l of the other do.
_Block = tuple[int, int, int, int]


def line_diff(before: str, after: str, budget: LineBudget) -> LineDiff:
    """The difference of two texts by lines; only a line feed ends a line.

    >>> line_diff("a\\nb\\nc", "a\\nx\\nc", LineBudget(100)).lines
    ['@@ -1,3 +1,3 @@', ' a', '-b', '+x', ' c']
    """
    a, b = before.split("\n"), after.split("\n")
    start = _common(a, b)
    end = _common(a[start:][::-1], b[start:][::-1])
    middle = (a[start : len(a) - end], b[start : len(b) - end])
    blocks = [(i + start, j + start, k + start, n + start) for i, j, k, n in _blocks(*middle, budget)]
    return LineDiff(
        lines=[line for hunk in _hunks(blocks) for line in _shown(hunk, a, b)],
        added=sum(n - k for _, _, k, n in blocks),
        removed=sum(j - i for i, j, _, _ in blocks),
    )


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """How many lines both begin with."""
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _blocks(a: Sequence[str], b: Sequence[str], budget: LineBudget) -> list[_Block]:
    """What differs, in order."""
    if not a and not b:
        return []
    if not a or not b or (trace := _trace(a, b, budget)) is None:
        return [(0, len(a), 0, len(b))]
    # Back from the end, one difference at a time; neighbours are one block.
    found: list[_Block] = []
    x, y = len(a), len(b)
    for depth in range(len(trace) - 1, 0, -1):
        reach, diagonal = trace[depth - 1], x - y
        down = diagonal == -depth or (diagonal != depth and reach[diagonal - 1] < reach[diagonal + 1])
        last = diagonal + 1 if down else diagonal - 1
        x = reach[last]
        y = x - last
        block = (x, x, y, y + 1) if down else (x, x + 1, y, y)
        if found and (block[1], block[3]) == (found[-1][0], found[-1][2]):
            block = _joined(block, found.pop())
        found.append(block)
    return found[::-1]


def _joined(first: _Block, second: _Block) -> _Block:
    return first[0], second[1], first[2], second[3]


def _trace(a: Sequence[str], b: Sequence[str], budget: LineBudget) -> list[dict[int, int]] | None:
    """By number of differences, how far into ``a`` each diagonal (place in ``a`` less place in ``b``) can come; None
    where that costs too much."""
    reach = {1: 0}
    trace: list[dict[int, int]] = []
    for depth in range(min(len(a) + len(b), _MOST) + 1):
        now: dict[int, int] = {}
        for diagonal in range(-depth, depth + 1, 2):
            if diagonal == -depth or (diagonal != depth and reach[diagonal - 1] < reach[diagonal + 1]):
                x = reach[diagonal + 1]
            else:
                x = reach[diagonal - 1] + 1
            begin, y = x, x - diagonal
            while x < len(a) and y < len(b) and a[x] == b[y]:
                x, y = x + 1, y + 1
            budget.left -= 1 + x - begin
            now[diagonal] = x
            if x >= len(a) and y >= len(b):
                return [*trace, now]
        if budget.left <= 0:
            return None
        trace.append(now)
        reach = now
    return None


def _hunks(blocks: Sequence[_Block]) -> Iterator[list[_Block]]:
    """Blocks that are shown together, because their contexts touch."""
    hunk: list[_Block] = []
    for block in blocks:
        if hunk and block[0] - hunk[-1][1] > 2 * _CONTEXT:
            yield hunk
            hunk = []
        hunk.append(block)
    if hunk:
        yield hunk


def _shown(hunk: Sequence[_Block], a: Sequence[str], b: Sequence[str]) -> Iterator[str]:
    (i, _, k, _), (_, j, _, n) = hunk[0], hunk[-1]
    before = min(_CONTEXT, i)
    after = min(_CONTEXT, len(a) - j)
    yield f"@@ -{i - before + 1},{j - i + before + after} +{k - before + 1},{n - k + before + after} @@"
    at = i - before
    for block in hunk:
        yield from (f" {line}" for line in a[at : block[0]])
        yield from (f"-{line}" for line in a[block[0] : block[1]])
        yield from (f"+{line}" for line in b[block[2] : block[3]])
        at = block[1]
    yield from (f" {line}" for line in a[at : at + after])
