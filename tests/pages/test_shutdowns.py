"""When OpenAI shuts a model down: the day by its name, and none where nothing is known."""

from __future__ import annotations

import pytest

from holdall.pages import announced_shutdown


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("gpt-4", "2026-10-23"),
        ("gpt-4o-2024-05-13", "2026-10-23"),
        ("gpt-5-mini", "2026-12-11"),
        ("gpt-4o", "2027-01-14"),
        ("gpt-4.1-mini-2025-04-14", "2027-01-14"),
        ("ft:gpt-4o-mini-2024-07-18:acme:tone:abc", "2027-01-14"),
        ("ft:gpt-4o-mini-2024-07-18", "None"),
        ("gpt-4o-of-ours", "None"),
        ("GPT-4o", "None"),
        ("", "None"),
    ],
)
def test_a_model_has_its_day(model: str, day: str) -> None:
    assert str(announced_shutdown(model)) == day
