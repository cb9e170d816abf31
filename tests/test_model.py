"""Times of creation, in every form in which servers give them."""

from __future__ import annotations

import pytest

from holdall.model import Moment, epoch_seconds


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (1_700_000_000, 1_700_000_000),
        (1_700_000_000.75, 1_700_000_000),
        (1_700_000_000_123, 1_700_000_000),
        ("1700000000", 1_700_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        ("2023-11-14T23:13:20.5+01:00", 1_700_000_000),
        ("2023-11-14 22:13:20", 1_700_000_000),
        ("yesterday", 0),
        ("nan", 0),
        ("inf", 0),
        (None, 0),
    ],
)
def test_a_time_of_creation_is_read_in_every_form(given: Moment, seconds: int) -> None:
    assert epoch_seconds(given) == seconds
