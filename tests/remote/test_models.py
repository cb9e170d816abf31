"""Lists of models, from OpenAI and from Azure, and days on which models end."""

from __future__ import annotations

from datetime import date

import pytest

from holdall.remote.client import day, read_models, shutdown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-10-23", date(2026, 10, 23)),
        ("2026-10-23T00:00:00Z", date(2026, 10, 23)),
        (1792713600, date(2026, 10, 23)),
        (None, None),
        ("soon", None),
        (1e300, None),
        (True, None),
    ],
)
def test_shutdown_dates_of_every_form(value: object, expected: date | None) -> None:
    assert shutdown(value) == expected


def test_lists_of_models() -> None:
    openai = b'{"object":"list","data":[{"id":"a","shutdown_date":"2026-10-23","x":1},{"id":"b"}]}'
    assert read_models(openai) == {"a": date(2026, 10, 23), "b": None}
    assert read_models(b'{"value":[{"name":"support","modelName":"gpt-4o"}]}') == {"support": None}


def test_a_day_is_that_of_utc() -> None:
    assert day(0) == date(1970, 1, 1)
