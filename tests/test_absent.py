"""Servers that lack whole endpoints, whatever they say of a path that they don't know."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.clock import Clock
from tests.project import Hand
from tests.sweep import sweep

KEY = "sk-source-0001"
UNKNOWN = [None, Oddity.UNKNOWN_405, Oddity.UNKNOWN_500, Oddity.UNKNOWN_501, Oddity.UNKNOWN_PAGE]


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    Clock().rule(monkeypatch)
    both = {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url, "OPENAI_DST_API_KEY": "sk-copy-0001"}
    return Terminal(monkeypatch, {**both, "OPENAI_SRC_API_KEY": KEY})


@pytest.fixture
def hand(box: Running) -> Iterator[Hand]:
    box.behave(serve_assistants_files=True)
    with Hand(box.url, KEY) as hand:
        loose = hand.file("loose.txt", b"used by nothing")
        hand.store("Alone", [hand.file("one.txt", b"in a store")])
        hand.assistant("Plain", metadata={"loose": loose})
        yield hand


def odd(box: Running, oddity: Oddity | None, **switches: Any) -> None:
    box.behave(oddities=frozenset({oddity} if oddity else ()), **switches)
    box.forget_requests()


def asked(box: Running) -> Counter[str]:
    """How often each path was asked for that isn't there."""
    unknown = ("/agents", "/files", "/vector_stores")
    return Counter(path for one in box.requests() if (path := one.path.removeprefix("/v1")) in unknown)


@pytest.mark.parametrize("oddity", UNKNOWN)
@sweep(("lacking", "flag"), [("vector_stores", "--unused"), ("files", "--unused")])
def test_what_a_server_has_is_exported_and_what_it_lacks_is_said(
    box: Running, hand: Hand, holdall: Terminal, oddity: Oddity | None, lacking: str, flag: str
) -> None:
    odd(box, oddity, absent=(lacking,))
    done = holdall("--json", "export", "-o", "b.tar.zst", flag)
    assert f"the server has no /{lacking}" in done.err
    counts = json.loads(done.out)["result"]["counts"]
    assert counts["assistants"] == 1
    assert counts["vector_stores"] == (lacking != "vector_stores")
    # A server that fails at whatever it doesn't know may fail for another reason.
    expected = 4 if oddity is Oddity.UNKNOWN_500 or lacking == "files" else 0
    assert done.code == expected, done.err
    assert max(asked(box)[path] for path in (f"/{lacking}", "/agents")) <= 2


@sweep("oddity", UNKNOWN)
def test_stores_alone_and_files_alone(box: Running, hand: Hand, holdall: Terminal, oddity: Oddity | None) -> None:
    odd(box, oddity, absent=("vector_stores",), assistants_api=False)
    done = holdall("--json", "export", "-o", "files.tar.zst", "--no-assistants")
    assert done.code == (4 if oddity is Oddity.UNKNOWN_500 else 0), done.err
    assert json.loads(done.out)["result"]["counts"]["files"] == 2
    # And no flag is needed for it.
    assert holdall("export", "-o", "same.tar.zst").code == done.code


@sweep("oddity", UNKNOWN)
def test_a_server_that_has_nothing_is_no_empty_one(
    box: Running, hand: Hand, holdall: Terminal, oddity: Oddity | None
) -> None:
    odd(box, oddity)
    for flags in ((), ("--no-assistants",)):
        done = holdall("export", "-o", "b.tar.zst", *flags, "--src-base-url", box.url.replace("/v1", "/v7"))
        assert done.code == 24, done.err
        assert "the base URL usually ends in /v1" in done.err
    assert not Path("b.tar.zst").exists()


@sweep("oddity", UNKNOWN)
def test_an_import_names_the_endpoint_that_it_needs_or_needs_none(
    box: Running, hand: Hand, holdall: Terminal, oddity: Oddity | None
) -> None:
    assert holdall("export", "-o", "b.tar.zst", "--unused").code == 0
    odd(box, oddity, absent=("vector_stores",))
    done = holdall("import", "b.tar.zst")
    assert (done.code, box.writes()) == (31, 0), done.err
    assert "it has no /vector_stores" in done.err
    odd(box, oddity, absent=("vector_stores", "files"))
    assert holdall("import", "b.tar.zst", "--only", "asst:*").code == 0
    assert max(asked(box).values(), default=0) <= 2


@sweep("oddity", UNKNOWN)
def test_doctor_calls_it_absent(box: Running, hand: Hand, holdall: Terminal, oddity: Oddity | None) -> None:
    odd(box, oddity, absent=("vector_stores",))
    done = holdall("--json", "doctor")
    source = next(one for one in json.loads(done.out)["result"]["sides"] if one["side"] == "source")
    there = {one["name"]: one["answer"] for one in source["endpoints"]}
    assert (there["vector_stores"], there["files"]) == ("absent", "answers")
