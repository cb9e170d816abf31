"""Out of one project, into another, and out again: equal but for ids and our own metadata, says the oracle."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdall.cli.fill import fill
from holdall.endpoint import endpoint
from holdall.remote.client import Account
from holdall.sandbox.sample.definition import sample as documents
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.oracle import Project, differences
from tests.project import Hand

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    return Terminal(monkeypatch, {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url})


def sample(box: Running) -> None:
    async def work() -> None:
        async with Account(endpoint(SOURCE, box.url), concurrency=8) as account:
            await fill(account, documents())

    asyncio.run(work())


def export(holdall: Terminal, key: str, name: str) -> Path:
    done = holdall("export", "-o", name, "--env-file", "none", OPENAI_SRC_API_KEY=key)
    assert done.code == 0, done.err
    return Path(name)


def test_a_project_comes_back_equal_up_to_ids(box: Running, holdall: Terminal) -> None:
    box.behave(serve_assistants_files=True)
    sample(box)
    one = export(holdall, SOURCE, "one.tar.zst")
    done = holdall("import", str(one), "--env-file", "none", OPENAI_DST_API_KEY=DESTINATION)
    assert done.code == 0, done.err
    two = export(holdall, DESTINATION, "two.tar.zst")
    assert differences(one, two) == []
    assert sum(Project(one).assistants.values()) >= 5
    assert sum(Project(one).files.values()) >= 30
    with Hand(box.url, SOURCE) as source, Hand(box.url, DESTINATION) as destination:
        assert source.counts() == destination.counts()


def test_the_oracle_sees_a_difference(box: Running, holdall: Terminal) -> None:
    box.behave(serve_assistants_files=True)
    with Hand(box.url, SOURCE) as hand:
        file = hand.file("a.txt", b"one")
        store = hand.store("s", [file], {file: {"attributes": {"a": 1}}})
        hand.assistant("A", stores=[store], metadata={"k": "v", "cloned_from": "x"})
        before = export(holdall, SOURCE, "before.tar.zst")
        shutil.copy(before, "same.tar.zst")
        assert differences(before, Path("same.tar.zst")) == []
        hand.post(f"/vector_stores/{store}/files/{file}", attributes={"a": 2})
        after = export(holdall, SOURCE, "after.tar.zst")
    assert len(differences(before, after)) == 4  # the store, and the assistant that uses it, on both sides


@pytest.fixture
def refused(box: Running) -> Iterator[Hand]:
    """A source that refuses the bytes, as OpenAI does."""
    with Hand(box.url, SOURCE) as hand:
        yield hand


def test_texts_come_back_as_texts(box: Running, refused: Hand, holdall: Terminal) -> None:
    text = "\n\n".join(f"Paragraph {n}: " + "word " * 120 for n in range(40)).encode()
    long, short = refused.file("long.md", text), refused.file("page.html", b"<p>Only <b>this</b></p>")
    store = refused.store("s", [long, short], {long: {"attributes": {"lang": "en"}}})
    refused.assistant("A", stores=[store])
    one = export(holdall, SOURCE, "one.tar.zst")
    done = holdall("import", str(one), OPENAI_DST_API_KEY=DESTINATION)
    assert done.code in (0, 3), done.err
    with Hand(box.url, DESTINATION) as copy:
        names = sorted(file["filename"] for file in copy.everything("/files"))
        assert names == ["long.md", "page.html.txt"], done.err
        box.behave(serve_assistants_files=True)
        got = {f["filename"]: copy.sdk.files.content(f["id"]).read() for f in copy.everything("/files")}
    assert got["long.md"].split() == text.split()
    assert got["page.html.txt"].decode().split() == ["Only", "this"]
