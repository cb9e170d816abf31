"""Exports from Foundry projects with Agents (classic), new agents, or both, each with files and stores of its own."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path

import pytest

from holdall.bundle.reader import open_bundle
from holdall.endpoint import Endpoint, endpoint
from holdall.model import Kind
from holdall.remote.client import Account
from holdall.remote.wire import Surface
from holdall.sandbox.entra import token
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal

TOKEN = token(time.time() + 36000)


async def fill(at: Endpoint, surface: Surface) -> dict[str, str]:
    """A definition with a store and a file in it, and a store that nothing uses; their ids."""
    async with Account(at, surfaces=(surface,)) as account:

        async def made(where: str, body: dict[str, object]) -> str:
            return str(json.loads((await account.post(where, body)).raw)["id"])

        raw = (await account.upload(f"{surface}.md", io.BytesIO(b"some words"), purpose="assistants")).raw
        file = json.loads(raw)["id"]
        store = await made("/vector_stores", {"name": surface, "file_ids": [file]})
        unused = await made("/vector_stores", {"name": f"unused {surface}"})
        if surface is Surface.CLASSIC:
            resources = {"file_search": {"vector_store_ids": [store]}}
            body = {"model": "gpt-4o", "name": "Old", "tools": [{"type": "file_search"}], "tool_resources": resources}
            user = await made("/assistants", body)
        else:
            tool = {"type": "file_search", "vector_store_ids": [store]}
            body = {"definition": {"kind": "prompt", "model": "gpt-4o", "instructions": "x", "tools": [tool]}}
            user = (await made("/agents/support/versions", body)).partition(":")[0]
        return {"file": file, "store": store, "unused": unused, "user": user}


@pytest.mark.parametrize(
    ("profile", "surfaces"),
    [
        ("foundry-classic", [Surface.CLASSIC]),
        ("foundry-new", [Surface.CURRENT]),
        ("foundry-both", [Surface.CURRENT, Surface.CLASSIC]),
    ],
)
def test_an_export_has_what_is_on_each_surface(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str, surfaces: list[Surface]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Running(tmp_path / "box", behaviour=PROFILES[profile]) as box:
        at = endpoint(TOKEN, box.url)
        made = {surface: asyncio.run(fill(at, surface)) for surface in surfaces}
        holdall = Terminal(
            monkeypatch, {"OPENAI_SRC_BASE_URL": f"{at.base_url}/openai/v1", "OPENAI_SRC_API_KEY": TOKEN}
        )
        done = [holdall("export", "-o", f"{name}.tar.zst", "--env-file", "none", *flags)
                for name, flags in (("used", ()), ("all", ("--unused",)))]  # fmt: skip
        same = holdall("diff", "all.tar.zst", "src:", "--env-file", "none")
        assert box.writes() == sum(4 for _ in surfaces)
    assert [one.code for one in done] == [4, 4], done[0].err
    assert "no Assistants API" not in done[0].err
    assert "the server has no" not in done[0].err
    assert same.code == 0, same.out + same.err
    with open_bundle("used.tar.zst") as bundle:
        users = [*bundle.definitions(Kind.ASSISTANT), *bundle.definitions(Kind.FOUNDRY_AGENT)]
        assert {record.id for record in users} == {one["user"] for one in made.values()}
        assert {record.id for record in bundle.stores()} == {one["store"] for one in made.values()}
        assert {line.id for line in bundle.ledger()} == {one["file"] for one in made.values()}
    with open_bundle("all.tar.zst") as bundle:
        stores = {one[what] for one in made.values() for what in ("store", "unused")}
        assert {record.id for record in bundle.stores()} == stores


def test_an_address_without_a_project_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Running(tmp_path / "box", behaviour=PROFILES["foundry-both"]) as box:
        url = box.url.replace("/api/projects/", "/elsewhere/api/projects/")
        holdall = Terminal(monkeypatch, {"OPENAI_SRC_BASE_URL": url, "OPENAI_SRC_API_KEY": TOKEN})
        done = holdall("export", "-o", "x.tar.zst", "--env-file", "none")
    assert done.code == 24, done.err
    assert "check the names of the account and of the project in the address" in done.err
    assert not Path("x.tar.zst").exists()
