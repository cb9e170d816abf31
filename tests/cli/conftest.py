"""Bundles that several tests of the command line import."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from holdall.cli.fill import fill
from holdall.endpoint import endpoint
from holdall.remote.client import Account
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.sample.definition import sample
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal

SOURCE = "sk-source-0001"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample project with every file of it, as OpenAI never gave them back."""
    folder = tmp_path_factory.mktemp("sample")

    async def make(url: str) -> None:
        async with Account(endpoint(SOURCE, url), concurrency=8) as account:
            await fill(account, sample())

    with (
        Running(folder / "sandbox", behaviour=PROFILES["openai-2025"]) as box,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        box.behave(serve_assistants_files=True)
        asyncio.run(make(box.url))
        holdall = Terminal(monkeypatch, {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_SRC_API_KEY": SOURCE})
        done = holdall("export", "-o", str(folder / "b.tar.zst"), "--env-file", "none")
        assert done.code == 0, done.err
    return folder / "b.tar.zst"
