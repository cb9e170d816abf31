"""That it is safe to ask somebody's account: nothing is changed unasked, nothing deleted but what was made."""

from __future__ import annotations

import pytest

from holdall.sandbox.server import Running
from tests.contract.endpoints import Endpoint
from tests.sandbox.wire import KEY, ask


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_without_writes_only_get_is_sent(box: Running, method: str) -> None:
    with pytest.raises(pytest.skip.Exception, match="--live-write"):
        Endpoint(box.url, KEY, writes=False).ask(method, "/vector_stores", {})
    assert box.requests() == []


def test_only_what_was_made_is_deleted(box: Running) -> None:
    owners = ask(box.url, "POST", "/vector_stores", {"name": "the owner's"}).json()["id"]
    one = Endpoint(box.url, KEY, writes=True)
    one.create("/vector_stores", {"name": "made"})
    one.upload("made.txt", b"made")
    with pytest.raises(AssertionError, match="was not made here"):
        one.ask("DELETE", f"/vector_stores/{owners}")
    one.clean()
    assert [store["id"] for store in one.get("/vector_stores")["data"]] == [owners]
    assert one.get("/files")["data"] == []
