"""Less of what is much the same: the normal suite takes one in eight, ``pytest -m thorough`` all.

SWEEP_SEED, a number, picks which one: each value is in the normal suite for one seed of eight.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

__all__ = ["SEED", "examples", "sweep"]

SEED = int(os.environ.get("SWEEP_SEED", "0"))
_ONE_IN = 8
_FEWEST = 5

is_thorough = False
"""Whether this run leaves nothing out. Set by conftest.py before a test module is imported."""


def sweep(names: str | tuple[str, ...], values: Iterable[Any], **more: Any) -> pytest.MarkDecorator:
    """``pytest.mark.parametrize`` over a long list, marked ``thorough`` but for what the seed picks.

    A ``pytest.param`` with marks of its own stays as it is.
    """
    is_single = isinstance(names, str) and "," not in names
    marked = []
    for place, value in enumerate(values):
        if not hasattr(value, "marks") and (is_thorough or (place - SEED) % _ONE_IN):
            value = pytest.param(*((value,) if is_single else value), marks=pytest.mark.thorough)
        marked.append(value)
    return pytest.mark.parametrize(names, marked, **more)


def examples(most: int, **more: Any) -> settings:
    """Hypothesis settings for ``most`` examples, an eighth of them in the normal suite."""
    return settings(max_examples=most if is_thorough else max(most // _ONE_IN, _FEWEST), **more)
