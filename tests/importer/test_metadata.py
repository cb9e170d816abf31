"""Metadata keys that a server puts in by itself, and keys that look like them and are their owner's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdall.importer.plan.bundle_summary import without_record_keys
from holdall.model import Kind, Record, SourceId
from holdall.sandbox.behaviour import NoQuota
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"
OWN = {"provider_id", "embedding_model"}


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    """Two stores and two assistants, each with ``env``; the server adds keys to the stores."""
    monkeypatch.chdir(tmp_path)
    box.behave(serve_assistants_files=True, oddities=frozenset({Oddity.METADATA_RESERVED}))
    with Hand(box.url, SOURCE) as hand:
        for name in "AB":
            store = hand.store(name, [hand.file(f"{name}.txt", b"words")], metadata={"env": "prod", name: "1"})
            hand.assistant(name, stores=[store], metadata={"env": "prod"})
    both = {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url}
    terminal = Terminal(monkeypatch, {**both, "OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": DESTINATION})
    assert terminal("export", "-o", "b.tar.zst").code == 0
    return terminal


def there(box: Running) -> list[tuple[str, dict[str, Any]]]:
    """Names and metadata at the destination, without our marks."""
    with Hand(box.url, DESTINATION) as hand:
        found = [*hand.everything("/vector_stores"), *hand.everything("/assistants")]
    marks = ("cloned_from", "holdall_op")
    shown = [(one["name"], {k: v for k, v in one["metadata"].items() if k not in marks}) for one in found]
    return sorted(shown[:2]) + sorted(shown[2:])


ENVIRONMENT = [("A", {"env": "prod", "A": "1"}), ("B", {"env": "prod", "B": "1"})]
ASSISTANTS = [("A", {"env": "prod"}), ("B", {"env": "prod"})]


def test_what_the_destination_puts_in_by_itself_is_left_out_and_the_owners_keys_come_through(
    box: Running, holdall: Terminal
) -> None:
    plan = holdall("plan", "b.tar.zst")
    assert "metadata of every vector store in the bundle: embedding_model, env, provider_id" in plan.err
    done = holdall("import", "b.tar.zst", "--verify")
    assert done.code == 0, done.err + done.out
    assert "adds to every vector store itself: embedding_model, provider_id" in done.err
    assert "no differences" in done.out
    copies = [(name, {k: v for k, v in metadata.items() if k not in OWN}) for name, metadata in there(box)]
    assert copies == ENVIRONMENT + ASSISTANTS
    # The next time they are known, and named before anything is done.
    box.forget_requests()
    again = holdall("import", "b.tar.zst")
    assert (again.code, box.writes()) == (0, 0), again.err
    assert "metadata left out: embedding_model, provider_id" in again.err


@pytest.mark.parametrize("kinds", ["stores", "all"])
def test_into_a_server_without_such_keys_all_of_them_come_through(box: Running, holdall: Terminal, kinds: str) -> None:
    box.behave(oddities=frozenset())
    done = holdall("import", "b.tar.zst", "--verify", *(("--only", "store:*") if kinds == "stores" else ()))
    assert done.code == 0, done.err + done.out
    for name, metadata in there(box)[:2]:
        assert set(metadata) == {"env", name, *OWN}


def test_keys_that_are_dropped_or_kept_by_name(box: Running, holdall: Terminal) -> None:
    box.behave(oddities=frozenset())
    flags = ("--drop-metadata", "e*", "--keep-metadata", "env", "--keep-metadata", "provider_id")
    planned = holdall("plan", "b.tar.zst", *flags)
    assert "metadata left out: embedding_model (--keep-metadata KEY imports it)" in planned.err
    assert "of the bundle has" not in planned.err
    done = holdall("import", "b.tar.zst", "--verify", *flags)
    assert done.code == 0, done.err + done.out
    for name, metadata in there(box)[:2]:
        assert set(metadata) == {"env", name, "provider_id"}
    assert holdall("plan", "b.tar.zst", *flags).code == 0


def test_a_first_object_survives_every_stop(box: Running, holdall: Terminal) -> None:
    """Its owner's keys are set by a second call, which may be the one that is lost."""
    holdall("import", "b.tar.zst", "--settle", "0.1")
    before = there(box)
    for n in range(1, 4):
        key = f"sk-stopped-{n:04}"
        box.fault(NoQuota(), "POST", "/vector_stores*", skip=n, times=1)
        stopped = holdall("import", "b.tar.zst", OPENAI_DST_API_KEY=key)
        assert stopped.code in (0, 21), stopped.err
        done = holdall("import", "b.tar.zst", OPENAI_DST_API_KEY=key)
        assert done.code == 0, done.err
        with Hand(box.url, key) as hand:
            names = sorted((one["name"], one["metadata"].get("env")) for one in hand.everything("/vector_stores"))
        assert names == [(name, metadata["env"]) for name, metadata in before[:2]], (n, stopped.err, done.err)


def test_a_record_without_a_key_is_otherwise_as_it_was() -> None:
    raw = b'{"id": "v", "usage": 1.50, "metadata": {"a": "\\u00e9", "b": "2"}, "name": null}'
    record = Record(kind=Kind.STORE, id=SourceId("v"), raw=raw)
    assert without_record_keys(record, {"b"}).raw == b'{"id":"v","usage":1.50,"metadata":{"a":"\\u00e9"},"name":null}'
    assert without_record_keys(record, {"c"}) is record
    assert json.loads(without_record_keys(record, {"a", "b"}).raw)["metadata"] == {}
