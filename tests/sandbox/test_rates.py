"""The service's own limits on writing to stores, where they are switched on."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.server import Running
from holdall.sandbox.service.api_errors import ApiError
from holdall.sandbox.service.rates import Rates
from tests.sandbox.wire import ask, upload


def test_a_minute_slides() -> None:
    rates = Rates()
    rates.spend("a", 3, 5, 0.0)
    rates.spend("a", 2, 5, 30.0)
    rates.spend("b", 5, 5, 30.0)
    with pytest.raises(ApiError) as caught:
        rates.spend("a", 1, 5, 59.0)
    assert (caught.value.status, caught.value.headers["retry-after"]) == (429, "2")
    rates.spend("a", 3, 5, 60.0)
    with pytest.raises(ApiError):
        rates.spend("a", 3, 5, 90.0 - 0.001)


def test_more_at_once_than_a_minute_allows_goes_through_alone() -> None:
    Rates().spend("a", 6, 5, 0.0)


def test_attaching(tmp_path: Path) -> None:
    with Running(tmp_path, behaviour=Behaviour(rate_limits=True), clock=lambda: 1000.0) as box:
        file = upload(box.url, "a.txt", b"x").json()["id"]
        store = "/vector_stores/" + ask(box.url, "POST", "/vector_stores", {}).json()["id"]
        for _ in range(2):
            batch = ask(box.url, "POST", f"{store}/file_batches", {"file_ids": [file] * 1000})
            assert batch.status == 200
        refused = ask(box.url, "POST", f"{store}/files", {"file_id": file})
        assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
        assert 0 < float(refused.headers["retry-after-ms"]) <= 60_000
        assert ask(box.url, "GET", f"{store}/files").status == 200
