"""The dates on which OpenAI shuts models down, as announced on its deprecations page up to November 2026.

Only for a bundle, which no destination can be asked about: ``GET /models`` of a destination is newer. What has replaced
a model is left out, because published replacements contradict each other.
"""

from __future__ import annotations

import re
from datetime import date

_SHUTDOWNS = {
    date(2026, 10, 23): (
        "gpt-3.5-turbo gpt-3.5-turbo-0125 gpt-4 gpt-4-0613 gpt-4-turbo gpt-4-turbo-2024-04-09 gpt-4o-2024-05-13 "
        "gpt-4.1-nano gpt-4.1-nano-2025-04-14 o1 o1-2024-12-17 o3-mini o3-mini-2025-01-31 o4-mini o4-mini-2025-04-16"
    ),
    date(2026, 12, 11): (
        "gpt-5 gpt-5-2025-08-07 gpt-5-mini gpt-5-mini-2025-08-07 gpt-5-nano gpt-5-nano-2025-08-07 o3 o3-2025-04-16"
    ),
    date(2027, 1, 14): (
        "gpt-4o gpt-4o-2024-08-06 gpt-4o-2024-11-20 gpt-4o-mini gpt-4o-mini-2024-07-18 gpt-4.1 gpt-4.1-2025-04-14 "
        "gpt-4.1-mini gpt-4.1-mini-2025-04-14"
    ),
}
_BY_MODEL = {model: day for day, models in _SHUTDOWNS.items() for model in models.split()}
_TUNED = re.compile(r"ft:([^:]+):")


def announced_shutdown(model: str) -> date | None:
    """The day on which OpenAI shuts ``model`` down; None if none was known when this version was made.

    A fine-tuned model ends with the one that it was made of.

    >>> announced_shutdown("ft:gpt-4o-mini-2024-07-18:acme::abc")
    datetime.date(2027, 1, 14)
    """
    tuned = _TUNED.match(model)
    return _BY_MODEL.get(tuned[1] if tuned else model)
