"""The listing before the run: whole or absent, and read as a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from holdall.errors import AuthenticationFailed, CannotWrite, NotFound, RequestRefused
from holdall.importer.runs.runfolder import Baseline, Stamp
from holdall.model import Kind, TargetId
from holdall.remote.client import Account

MARKED = {"holdall_op": "op", "cloned_from": "vs"}


class Lists:
    """An account that has these, and refuses pages that are larger than ``largest``."""

    def __init__(self, objects: dict[str, list[dict[str, Any]]], largest: int = 10_000) -> None:
        self.objects = objects
        self.largest = largest
        self.refusal: Exception | None = None

    async def items(self, where: str, params: object = None, *, limit: int = 100, **_: Any) -> AsyncIterator[bytes]:
        if limit > self.largest:
            raise RequestRefused("limit", status=400)
        if self.refusal and where == "/files":
            raise self.refusal
        for one in self.objects.get(where, []):
            yield json.dumps(one).encode()


def take(before: Baseline, lists: Lists) -> list[Stamp]:
    return asyncio.run(before.take(cast(Account, lists)))


def newer(before: Baseline, kind: Kind, *ids: str) -> set[str]:
    return set(before.newer(kind, [TargetId(id) for id in ids]))


@pytest.mark.parametrize("largest", [10_000, 100])
def test_what_was_there_is_not_new(tmp_path: Path, largest: int) -> None:
    before = Baseline(tmp_path / "before.jsonl")
    stamps = take(
        before,
        Lists(
            {
                "/files": [{"id": "x"}, {"id": "y", "filename": None}],
                "/vector_stores": [{"id": "x2", "name": None, "created_at": 5.0, "metadata": MARKED}, {"id": "v"}],
                "/assistants": [],
            },
            largest,
        ),
    )
    assert newer(before, Kind.FILE, "x", "y", "z", "x2") == {"z", "x2"}
    assert newer(before, Kind.STORE, "x", "x2") == {"x"}
    assert newer(before, Kind.ASSISTANT, "x") == {"x"}
    assert [(one.kind, one.id, one.source, one.op, one.created) for one in stamps] == [
        (Kind.STORE, "x2", "vs", "op", 5),
    ]


def test_of_a_list_that_can_not_be_had_nothing_is_new(tmp_path: Path) -> None:
    before = Baseline(tmp_path / "before.jsonl")
    lists = Lists({"/vector_stores": [{"id": "v"}]})
    lists.refusal = NotFound("no list")
    take(before, lists)
    assert newer(before, Kind.FILE, "z") == set()
    assert newer(before, Kind.STORE, "z") == {"z"}


def test_nothing_is_new_without_a_listing_or_with_half_of_one(tmp_path: Path) -> None:
    before = Baseline(tmp_path / "before.jsonl")
    assert newer(before, Kind.FILE, "z") == set()
    lists = Lists({})
    lists.refusal = AuthenticationFailed("no")
    with pytest.raises(AuthenticationFailed):
        take(before, lists)
    assert newer(before, Kind.FILE, "z") == set()
    assert not before.path.exists()


def test_a_listing_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"before\.jsonl"):
        take(Baseline(tmp_path / "none" / "before.jsonl"), Lists({}))
