"""The runs of one folder: their order is that in which they began, whatever their tokens and the clock say."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from holdall.endpoint import same_account
from holdall.importer.runs.runfolder import RunFolder, new_id, past_runs, unfinished
from holdall.importer.runs.runjournal import Closed, Opened

NOW = 1_795_381_200.25
HERE: dict[str, str | None] = {"base_url": "https://a.invalid/v1", "organization": None, "project": None}
DIGESTS = {"definitions": "h1:d"}


def opened(run: str, **destination: str | None) -> Opened:
    return Opened(run=run, tool="t", started="", bundle=DIGESTS, destination={**HERE, **destination}, options={})


def earlier(output: Path, name: str, at: str | None = None, **destination: str | None) -> None:
    """A run of an earlier version, whose id tells the second only."""
    folder = output / "runs" / name
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_bytes(msgspec.json.encode(opened(name, **destination)) + b"\n")
    (folder / "audit.jsonl").write_text(f'{{"at":"{at}","operation":"POST /files"}}\n' if at else "")


def test_runs_of_earlier_versions_go_by_what_they_noted_and_before_those_of_the_same_second(tmp_path: Path) -> None:
    earlier(tmp_path, "20261122T210000Z-f00000", "2026-11-22T21:00:00.100Z")
    earlier(tmp_path, "20261122T210000Z-000000", "2026-11-22T21:00:00.900Z")
    earlier(tmp_path, "20261122T205959Z-ffffff", "2026-11-22T21:00:01.000Z")
    names = ["20261122T205959Z-ffffff", "20261122T210000Z-f00000", "20261122T210000Z-000000"]
    assert [run.name for run in past_runs(tmp_path)] == names
    newest = new_id(tmp_path, NOW, "000000")
    earlier(tmp_path, newest)
    assert [run.name for run in past_runs(tmp_path)] == [*names, newest]


@pytest.mark.parametrize("later", [0.0, 0.0004, -3600.0])
def test_a_new_run_is_the_newest_also_by_a_clock_that_stands_still_or_was_set_back(
    tmp_path: Path, later: float
) -> None:
    made = []
    for number, token in enumerate(("ff", "aa", "00")):
        made.append(new_id(tmp_path, NOW + number * later, token))
        earlier(tmp_path, made[-1])
    assert [run.name for run in past_runs(tmp_path)] == made


def test_of_two_runs_begun_in_one_second_the_one_that_was_cut_off_is_resumed(tmp_path: Path) -> None:
    async def run(token: str, *, whole: bool) -> str:
        folder = RunFolder(tmp_path, now=lambda: NOW, token=token)
        await folder.write(opened(folder.id))
        if whole:
            await folder.write(Closed(ended=""))
        await folder.close()
        return folder.id

    asyncio.run(run("ffffff", whole=True))
    cut = asyncio.run(run("000000", whole=False))
    assert unfinished(tmp_path, DIGESTS, HERE, {}) == cut
    asyncio.run(run("777777", whole=True))
    assert unfinished(tmp_path, DIGESTS, HERE, {}) is None


def test_a_run_at_another_destination_is_not_resumed(tmp_path: Path) -> None:
    earlier(tmp_path, "20261122T210000Z-1")
    earlier(tmp_path, "20261122T210001Z-2", base_url="https://b.invalid/v1")
    assert unfinished(tmp_path, DIGESTS, HERE, {}) == "20261122T210000Z-1"
    there = {**HERE, "base_url": "https://b.invalid/v1"}
    assert unfinished(tmp_path, DIGESTS, there, {}) == "20261122T210001Z-2"
    assert [run.name for run in past_runs(tmp_path, there)] == ["20261122T210001Z-2"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("u", None, None), ("u", None, None), True),
        (("u", None, None), ("v", None, None), False),
        (("u", "o", None), ("u", "p", None), False),
        (("u", "o", None), ("u", None, None), True),
        (("u", "o", "x"), ("v", "p", "x"), True),
        (("u", "o", "x"), ("u", "o", "y"), False),
        (("u", "o", "x"), ("u", "o", None), True),
        (("u", "o", "x"), ("v", "o", None), False),
        ((None, None, None), ("v", "o", "x"), True),
    ],
)
def test_the_same_destination(one: tuple[str | None, ...], other: tuple[str | None, ...], same: bool) -> None:
    names = ("base_url", "organization", "project")
    assert same_account(dict(zip(names, one, strict=True)), dict(zip(names, other, strict=True))) is same
