"""What holds for all lies told in this process."""

from __future__ import annotations

import pytest

from holdall import untrusted


@pytest.fixture(autouse=True)
def no_allowance(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bundle has anything for free, so that a small one can be over the limits that grow with its size."""
    for name in ("FREE_BYTES", "FREE_LINES", "FREE_VALUES", "FREE_TEXT", "FREE_RECORDS"):
        monkeypatch.setattr(untrusted, name, 0)
