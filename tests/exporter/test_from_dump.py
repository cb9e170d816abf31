"""Exports of dumps as people have them: nothing is lost without a word, and nothing invented is asked for."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdall.errors import EXIT_INCOMPLETE, EXIT_LOOK, RequestRefused
from holdall.exporter.roots import Roots, gather
from holdall.exporter.unread import unread_references
from holdall.graph import users_of
from holdall.model import Kind, Record, SourceId
from holdall.remote.client import path
from holdall.sandbox.entra import token
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.exporter.test_roots import DESTINATION, KEY, Held
from tests.project import Hand

A, B = "asst_Rk2mWq8LzT5vXc9Bn3Hd7Jf1", "asst_Zt6pLk3Nw9Qx2Vb8Yc5Md4Hs"
GONE = "file-Pq7Lm2Xn9Rt4Vb6Yc8Wd1K5z"
PLAIN: dict[str, Any] = {
    "object": "assistant", "created_at": 1718000000, "name": "Harbour desk", "description": None, "model": "gpt-4o",
    "instructions": "Answer briefly.", "tools": [], "metadata": {},
}  # fmt: skip


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    return Terminal(
        monkeypatch,
        {"OPENAI_SRC_API_KEY": KEY, "OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url},
    )


def export(holdall: Terminal, *records: Any, more: tuple[str, ...] = ()) -> Any:
    for number, record in enumerate(records):
        Path(f"d{number}.json").write_text(record if isinstance(record, str) else json.dumps(record))
    dumps = [part for number in range(len(records)) for part in ("--from-dump", f"d{number}.json")]
    return holdall("export", "-o", "b.tar.zst", "--force", *dumps, *more)


def losses(holdall: Terminal, *records: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(export(holdall, *records, more=("--json",)).out)["losses"]
    return found


def test_files_of_old_definitions_are_found_in_any_living_store(box: Running, hand: Hand, holdall: Terminal) -> None:
    box.behave(serve_assistants_files=False)
    file, other = hand.file("tides.md", b"# Tides\nHigh water is at noon.\n"), hand.file("b.md", b"# More\n")
    hand.store("nothing in it")
    store = hand.store("Harbour papers", [file])
    old = {**PLAIN, "id": A, "tools": [{"type": "retrieval"}], "file_ids": [file]}
    box.forget_requests()
    done = export(holdall, old)
    assert done.code == 0, done.err
    assert Held("b.tar.zst").fidelities == {"tides.md": "text"}
    assert not [request for request in box.requests() if "invented" in request.path]
    assert any(f"/vector_stores/{store}/files/{file}/content" in request.path for request in box.requests())
    assert holdall("verify", "b.tar.zst").code == 0
    done = holdall("import", "b.tar.zst", OPENAI_DST_API_KEY=DESTINATION)
    assert done.code in (0, 3), done.out + done.err
    with Hand(box.url, DESTINATION) as copy:
        assert copy.counts() == {"assistants": 1, "vector_stores": 1, "files": 1}
    # In no store at all, it is lost, and no reason speaks of what is invented.
    (loss,) = losses(holdall, {**old, "file_ids": [other]})
    assert (loss["loss"], loss["fidelity"], loss["id"]) == ("content", "unavailable", other)
    assert "invented" not in loss["message"]


def test_files_of_the_code_interpreter_are_found_there_too(box: Running, hand: Hand, holdall: Terminal) -> None:
    box.behave(serve_assistants_files=False)
    file = hand.file("tides.md", b"# Tides\nHigh water is at noon.\n")
    hand.store("Harbour papers", [file])
    hand.assistant("A", files=[file])
    done = holdall("export", "-o", "b.tar.zst")
    assert done.code == 0, done.err
    assert Held("b.tar.zst").fidelities == {"tides.md": "text"}
    assert Held("b.tar.zst").stores == set()
    assert holdall("verify", "b.tar.zst").code == 0


@pytest.mark.parametrize("key", ["files", "fileIds"])
def test_files_under_another_name_are_fetched(box: Running, hand: Hand, holdall: Terminal, key: str) -> None:
    box.behave(serve_assistants_files=True)
    file = hand.file("tides.md", b"# Tides\n")
    done = export(
        holdall, {"Harbour desk": {"id": A, "model": "m", "tools": [{"type": "retrieval"}], key: [file, GONE]}}
    )
    assert done.code == EXIT_INCOMPLETE
    held = Held("b.tar.zst")
    assert held.assistants == {"Harbour desk"}
    assert held.fidelities == {"tides.md": "original", GONE: "unavailable"}


def test_an_unread_field_with_an_id_is_a_loss_that_counts(holdall: Terminal) -> None:
    odd = {**PLAIN, "id": A, "kept_in": {"store": "vs_Pq7Lm2Xn9Rt4Vb6Yc8Wd1K5z"}, "icon": "file-manager", "self": A}
    done = export(holdall, odd)
    assert done.code == EXIT_INCOMPLETE
    assert f"unread  assistant {A}: kept_in refers to vs_Pq7Lm2Xn9Rt4Vb6Yc8Wd1K5z" in done.err
    (loss,) = losses(holdall, odd)
    assert (loss["loss"], loss["field"], loss["refers"]) == ("unread", "kept_in", ["vs_Pq7Lm2Xn9Rt4Vb6Yc8Wd1K5z"])
    # Its owner may know of it.
    assert export(holdall, odd, more=("--allow-missing", "vs_Pq7Lm2Xn9Rt4Vb6Yc8Wd1K5z")).code == 0


@pytest.mark.parametrize(
    ("kind", "fields", "unread"),
    [
        (Kind.ASSISTANT, {"metadata": {"from": GONE}, "instructions": f"Read {GONE}.", "description": B}, []),
        (Kind.ASSISTANT, {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"d": GONE}}}]}, []),
        (Kind.ASSISTANT, {"tools": [{"type": "connected_agent", "connected_agent": {"id": B}}]}, []),
        (Kind.ASSISTANT, {"tools": [{"type": "other", "other": {"file_ids": [GONE]}}]}, ["tools"]),
        (Kind.ASSISTANT, {"tool_resources": {"code_interpreter": {"file_ids": [GONE]}}}, []),
        (Kind.ASSISTANT, {"tool_resources": {"file_search": {"file_ids": [GONE]}}}, ["tool_resources.file_search"]),
        (Kind.ASSISTANT, {"tool_resources": {"other": [GONE]}}, ["tool_resources.other"]),
        (Kind.ASSISTANT, {"files": {GONE: {}}}, ["files"]),
        (Kind.ASSISTANT, {"page": f"https://a.example/{B}?x=1"}, ["page"]),
        (Kind.ASSISTANT, {"icon": "file-manager", "note": "vs_code", "picture": "file-12345678.png"}, []),
        (Kind.STORE, {"bytes": 3, "made_of": [GONE]}, ["made_of"]),
        (Kind.FILE, {"filename": f"{GONE}.txt", "copy_of": GONE}, ["copy_of"]),
        (Kind.MEMBERSHIP, {"attributes": {"was": GONE}, "vector_store_id": "vs_12345678"}, []),
    ],
)
def test_what_counts_as_a_reference_that_nobody_reads(kind: Kind, fields: dict[str, Any], unread: list[str]) -> None:
    raw = json.dumps({"id": A, **fields}).encode()
    assert list(unread_references(kind, A, raw, "vs_12345678")) == unread


def test_records_one_by_one_the_others_are_named(holdall: Terminal) -> None:
    cut = {**PLAIN, "id": A, "tools": "@{type=file_search; file_search=}", "tool_resources": "@{file_search=}"}
    done = export(holdall, {"object": "list", "data": [cut, {**PLAIN, "id": B}], "has_more": False})
    assert done.code == EXIT_INCOMPLETE
    assert f"unreadable  assistant {A} in d0.json: tools: cut by PowerShell" in done.err
    assert Held("b.tar.zst").assistants == {"Harbour desk"}


def test_an_odd_record_of_a_server_is_a_loss_too() -> None:
    async def listed(kind: Kind) -> list[Record]:
        if kind is not Kind.ASSISTANT:
            return []
        fields = [{"id": A, "model": 5}, {"id": B, "model": "m"}]
        return [Record(kind=Kind.ASSISTANT, id=SourceId(f["id"]), raw=json.dumps(f).encode()) for f in fields]  # type: ignore[arg-type]

    surveyor: Any = SimpleNamespace(definitions=listed, users=users_of)
    found = asyncio.run(gather(surveyor, Roots()))
    assert [record.id for record in found.all()] == [B]
    assert [one.id for one in found.unreadable] == [A]
    assert "has an unexpected format" in found.unreadable[0].message


def test_no_request_can_be_made_of_an_invented_id() -> None:
    with pytest.raises(RequestRefused, match="not a valid id"):
        path("/vector_stores/{}", "invented_vs_0")


def lead(*others: str) -> dict[str, Any]:
    links = [{"name": one.lower(), "name_from_id": one, "description": "Ask it."} for one in others]
    return {**PLAIN, "name": "Lead", "tools": [{"type": "connected_agent", "connected_agent": link} for link in links]}


def test_agents_that_are_linked_by_name_call_each_other_in_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Running(tmp_path / "foundry", behaviour=PROFILES["foundry-classic"]) as foundry:
        key = token(time.time() + 3600)
        base, _, query = foundry.url.partition("?")
        name, version = query.split("=")

        def there() -> list[Any]:
            with Hand(base, key) as copy:
                return copy.everything("/assistants", **{name: version})

        holdall = Terminal(
            monkeypatch, {"OPENAI_DST_BASE_URL": foundry.url, "OPENAI_DST_API_KEY": key, "OPENAI_SRC_API_KEY": ""}
        )
        others = [{**PLAIN, "name": name, "created_at": 1718000001} for name in ("Stock-Keeper", "Post-Room")]
        done = export(holdall, lead("Stock-Keeper", "Post-Room"), *others)
        assert done.code == 0, done.err
        assert "connected_agent" not in done.err
        done = holdall("import", "b.tar.zst", "--map-model", "gpt-4o=gpt-4.1")
        assert done.code == 0, done.out + done.err
        made = {one["name"]: one for one in there()}
        called = [tool["connected_agent"]["id"] for tool in made["Lead"]["tools"]]
        assert called == [made["Stock-Keeper"]["id"], made["Post-Room"]["id"]]
        done = holdall("verify", "b.tar.zst", "--against", "dst")
        assert done.code == 0, done.out + done.err
        done = holdall("plan", "b.tar.zst", "--map-model", "gpt-4o=gpt-4.1")
        assert done.code == 0, done.out + done.err
        # Chosen alone, it brings those that it calls.
        alone = ("--only", "Lead", "--on-conflict", "duplicate", "--force")
        done = holdall("import", "b.tar.zst", "--map-model", "gpt-4o=gpt-4.1", *alone)
        assert done.code == 0, done.out + done.err
        assert len(there()) == 6


def test_agents_that_call_each_other_are_made_and_what_is_left_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calling(own: str, other: str) -> dict[str, Any]:
        link = {"id": other, "name": "n", "description": "d"}
        return {**PLAIN, "id": own, "tools": [{"type": "connected_agent", "connected_agent": link}]}

    monkeypatch.chdir(tmp_path)
    with Running(tmp_path / "foundry", behaviour=PROFILES["foundry-classic"]) as foundry:
        key = token(time.time() + 3600)
        holdall = Terminal(
            monkeypatch, {"OPENAI_DST_BASE_URL": foundry.url, "OPENAI_DST_API_KEY": key, "OPENAI_SRC_API_KEY": ""}
        )
        assert export(holdall, calling(A, B), calling(B, A)).code == 0
        done = holdall("import", "b.tar.zst")
        assert done.code in (EXIT_LOOK, EXIT_INCOMPLETE), done.out + done.err
        assert "call each other" in done.out + done.err


def test_a_link_to_nobody_is_a_loss_that_counts(holdall: Terminal) -> None:
    done = export(holdall, lead("Stock-Keeper"))
    assert done.code == EXIT_INCOMPLETE
    assert "gone  assistant Stock-Keeper" in done.err
    gone = {"type": "connected_agent", "connected_agent": {"id": B, "name": "n"}}
    done = export(holdall, {**PLAIN, "id": A, "tools": [gone]})
    assert done.code == EXIT_INCOMPLETE
    assert f"gone  assistant {B}, used by {A}" in done.err
