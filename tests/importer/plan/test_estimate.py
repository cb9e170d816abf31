"""The cost of a plan: each write counted, and the slowest of the limits."""

from __future__ import annotations

from holdall.importer.plan.bundle_summary import BundleSummary, Content
from holdall.importer.plan.planner import plan
from holdall.importer.plan.steps import FREE_BYTES, Estimate, estimate
from holdall.model import Fidelity, Kind, Record, SourceId
from holdall.selection import Selection


def cost(files: int, *, size: int = 10, usage: int | None = 0, concurrency: int = 4) -> Estimate:
    contents = {
        SourceId(f"f{n}"): Content(id=SourceId(f"f{n}"), fidelity=Fidelity.ORIGINAL, stored=size) for n in range(files)
    }
    raw = b'{"id":"vs","name":"s"}'
    holding = BundleSummary(
        whole={},
        stores={SourceId("vs"): Record(kind=Kind.STORE, id=SourceId("vs"), raw=raw)},
        members={SourceId("vs"): list(contents)},
        files=contents,
    )
    return estimate(plan(holding, Selection()), holding, concurrency=concurrency, usage=usage, batch_files=2000)


def test_requests_are_counted_write_by_write() -> None:
    assert cost(4).requests == 4 + 1 + 1
    assert cost(5000).requests == 5000 + 1 + 3


def test_time_is_the_slowest_of_the_limits() -> None:
    assert cost(40).seconds == 40 / 4 + 2
    assert cost(5000).seconds == 5000 / 4 + 4
    # 2,000 attached files a minute, however many requests run at once.
    assert cost(10_000, concurrency=100).seconds == 300


def test_storage_is_that_of_the_files_above_the_free_gigabyte() -> None:
    assert (cost(4, size=100).storage, cost(4, size=100).chargeable) == (400, 0)
    assert cost(4, size=100, usage=FREE_BYTES - 100).chargeable == 300
    assert cost(4, size=100, usage=2 * FREE_BYTES).chargeable == FREE_BYTES + 400
    assert cost(4, usage=None).chargeable is None
