"""How the cost of a work grows with what it is given, in processor seconds: neither the machine's load nor its speed
decides."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any

__all__ = ["assert_linear"]

# What is linear has 4; what is quadratic 16.
_GENEROUS = 9
# Less is noise.
_LEAST = 0.05


def assert_linear(work: Callable[[Any], object], made: Callable[[int], Any], n: int) -> None:
    """``work`` on what ``made`` gives for n, 2n and 4n costs in proportion to it."""
    costs = []
    for size in (n, 2 * n, 4 * n):
        given = made(size)
        costs.append(min(_cost(work, given) for _ in range(3)))
        # Nobody waits for the rest of what is quadratic.
        assert costs[-1] < _GENEROUS * max(costs[0], _LEAST), f"processor seconds for n, 2n, 4n: {costs}"


def _cost(work: Callable[[Any], object], given: Any) -> float:
    start = process_time()
    work(given)
    return process_time() - start
