"""What of a bundle is at a destination: found by the surest sign there is, with few requests, and never guessed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from holdall.bundle.reader import BundleReader
from holdall.endpoint import endpoint
from holdall.importer.destination.destination import History, history
from holdall.importer.destination.match import find_existing
from holdall.importer.plan.bundle_summary import summarize
from holdall.importer.plan.choices import Choices
from holdall.importer.plan.difference import By, Existing
from holdall.importer.plan.planner import plan
from holdall.model import Fidelity, Kind, SourceId
from holdall.remote.client import Account, probe
from holdall.sandbox.server import Running
from holdall.selection import Selection
from tests.importer.rig import KEY, run
from tests.importer.shelf import Shelf
from tests.project import Hand


def look(shelf: Shelf, box: Running, out: Path | None = None, *, prefix: str = "") -> Existing:
    """``out`` is where earlier runs are known from; None knows of none."""
    reader = cast(BundleReader, shelf)
    box.forget_requests()

    async def go() -> Existing:
        holding = summarize(reader)
        async with Account(endpoint(KEY, box.url), side="destination", concurrency=8) as account:
            await probe(account)
            past = History()
            if out is not None:
                past = history(out, destination=account.party, prefix=prefix)
            planned = plan(holding, Selection(), prefix=prefix)
            return await find_existing(account, holding, reader, planned, past, choices=Choices())

    return asyncio.run(go())


def asked(box: Running) -> Counter[str]:
    """Requests by the kind of thing, the probe aside."""
    paths = (entry.path.removeprefix("/v1/").split("/") for entry in box.requests()[1:])
    return Counter("/".join(parts[::2]) + ("/*" if len(parts) % 2 == 0 else "") for parts in paths)


def by(found: Any) -> dict[str, By]:
    return {source: one.by for source, one in found.items()}


def differing(found: Existing) -> list[str]:
    there = [*found.whole(Kind.ASSISTANT).items(), *found.stores.items()]
    return [source for source, one in there if one.differences]  # type: ignore[attr-defined]


@pytest.fixture
def shelf() -> Shelf:
    made = Shelf()
    made.file("f1", "same.md", b"one one\n")
    made.file("f2", "same.md", b"two two\n")
    made.text("f3", "long.pdf", ["parsed"], size=1000)
    made.file("f4", "gone.md", fidelity=Fidelity.UNAVAILABLE)
    made.file("f5", "table.csv", b"a,b\n")
    made.store("vs", [{"id": "f1", "attributes": {"n": 1}}, {"id": "f2", "attributes": {"n": 2}}, "f3", "f4"])
    made.assistant("a1", stores=["vs"])
    made.assistant("a2", files=["f5", "f3"])
    return made


def anonymous(shelf: Shelf) -> Shelf:
    """The same, from a server that doesn't say which project it was."""
    shelf.info = replace(shelf.info, source=replace(shelf.info.source, project=None))
    return shelf


def test_a_fresh_destination_costs_a_request_a_kind(box: Running, shelf: Shelf) -> None:
    assert look(shelf, box) == Existing(usage=0)
    assert asked(box) == {"assistants": 1, "vector_stores": 1}
    # Where it can't be told that it is another project, the bundle's own files may be there.
    assert look(anonymous(shelf), box) == Existing(usage=0)
    assert asked(box) == {"assistants": 1, "vector_stores": 1, "files/*": 5}


def test_for_many_files_the_list_is_read(box: Running) -> None:
    shelf = anonymous(Shelf())
    for n in range(30):
        shelf.file(f"f{n}", f"{n}.md")
    shelf.store("vs", [f"f{n}" for n in range(30)])
    look(shelf, box)
    assert asked(box) == {"vector_stores": 1, "files": 1}


def test_a_copy_is_found_whole_by_its_journal(box: Running, shelf: Shelf, tmp_path: Path) -> None:
    run(shelf, box, tmp_path)
    found = look(shelf, box, tmp_path)
    assert by(found.whole(Kind.ASSISTANT)) == {"a1": By.EARLIER, "a2": By.EARLIER}
    assert by(found.stores) == {"vs": By.EARLIER}
    assert by(found.files) == {"f1": By.EARLIER, "f2": By.EARLIER, "f3": By.EARLIER, "f5": By.EARLIER}
    assert not differing(found)
    # One list a kind, one of the store's files, and the one file that is in no store.
    assert asked(box) == {"assistants": 1, "vector_stores": 1, "vector_stores/files": 1, "files/*": 1}


def test_a_tool_of_no_shape_at_an_assistant_there_stops_nothing(
    box: Running, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = run(shelf, box, tmp_path)
    listed = Account.items

    async def odd(self: Account, *args: Any, **fields: Any) -> AsyncIterator[bytes]:
        async for raw in listed(self, *args, **fields):
            yield raw.replace(b'"tools":[', b'"tools":["odd",')

    monkeypatch.setattr(Account, "items", odd)
    assert {source: one.target for source, one in look(shelf, box, tmp_path).files.items()} == report.files


def test_without_a_journal_marks_lead_to_stores_and_stores_to_their_files(
    box: Running, hand: Hand, shelf: Shelf, tmp_path: Path
) -> None:
    report = run(shelf, box, tmp_path)
    found = look(shelf, box)
    assert by(found.whole(Kind.ASSISTANT)) == {"a1": By.MARK, "a2": By.MARK}
    assert by(found.files) == {"f1": By.PLACE, "f2": By.PLACE, "f3": By.PLACE, "f5": By.PLACE}
    # Two files of one name and size: each is the one that has its attributes.
    assert {source: one.target for source, one in found.files.items()} == report.files
    assert not differing(found)


def test_a_name_that_was_changed_is_another_thing(box: Running, hand: Hand, shelf: Shelf, tmp_path: Path) -> None:
    report = run(shelf, box, tmp_path)
    hand.post(f"/assistants/{report.assistants[0].target}", name="Renamed")
    assert set(look(shelf, box).whole(Kind.ASSISTANT)) == {"a2"}
    # A journal knows better, and the name is a difference like any other.
    (difference,) = look(shelf, box, tmp_path).whole(Kind.ASSISTANT)[SourceId("a1")].differences
    assert (difference.field, difference.destination) == ("name", "Renamed")


def test_the_prefix_is_part_of_the_name(box: Running, shelf: Shelf, tmp_path: Path) -> None:
    run(shelf, box, tmp_path, prefix="p ")
    assert look(shelf, box, tmp_path).whole(Kind.ASSISTANT) == {}
    assert set(look(shelf, box, prefix="p ").whole(Kind.ASSISTANT)) == {"a1", "a2"}
    assert set(look(shelf, box, tmp_path, prefix="p ").whole(Kind.ASSISTANT)) == {"a1", "a2"}


def test_a_copy_of_a_copy_is_not_taken_for_it(box: Running, hand: Hand, shelf: Shelf, tmp_path: Path) -> None:
    report = run(shelf, box, tmp_path)
    hand.post(f"/assistants/{report.assistants[0].target}", metadata={"cloned_from": "someone"})
    assert SourceId("a1") not in look(shelf, box, tmp_path).whole(Kind.ASSISTANT)


def test_several_of_one_name_are_all_named(box: Running, hand: Hand, shelf: Shelf) -> None:
    twins = [hand.assistant("A1", metadata={"cloned_from": "a1"}) for _ in range(2)]
    (several,) = look(shelf, box).several
    assert (several.id, several.targets) == ("a1", twins)


def test_another_size_is_another_file(box: Running, hand: Hand, shelf: Shelf, tmp_path: Path) -> None:
    report = run(shelf, box, tmp_path)
    store = report.stores[SourceId("vs")]
    hand.delete(f"/vector_stores/{store}/files/{report.files[SourceId('f1')]}")
    stranger = hand.file("same.md", b"one one, and more\n")
    hand.post(f"/vector_stores/{store}/files", file_id=stranger, attributes={"n": 1})
    found = look(shelf, box)
    assert SourceId("f1") not in found.files
    there = found.stores[SourceId("vs")]
    assert there.missing == ["f1"]
    assert [extra.target for extra in there.extras] == [stranger]


def test_other_bytes_are_known_by_the_hash_that_a_run_wrote_down(box: Running, shelf: Shelf, tmp_path: Path) -> None:
    run(shelf, box, tmp_path)
    shelf.file("f1", "same.md", b"ONE ONE\n")  # as many bytes as before
    found = look(shelf, box, tmp_path)
    assert set(found.stores[SourceId("vs")].replaced) == {"f1"}
    assert SourceId("f1") not in found.files
    # Without that word, name and size are all there is to go by.
    assert look(shelf, box).stores[SourceId("vs")].replaced == {}


def test_every_kind_of_difference_in_a_store(box: Running, hand: Hand, shelf: Shelf, tmp_path: Path) -> None:
    report = run(shelf, box, tmp_path)
    store = report.stores[SourceId("vs")]
    targets = {source: report.files[SourceId(source)] for source in ("f1", "f2", "f3")}
    hand.post(f"/vector_stores/{store}", metadata={"new": "1", "cloned_from": "vs"})
    hand.post(f"/vector_stores/{store}/files/{targets['f1']}", attributes={"n": 7})
    hand.delete(f"/vector_stores/{store}/files/{targets['f2']}")
    extra = hand.file("extra.md", b"x\n")
    hand.post(f"/vector_stores/{store}/files", file_id=extra)
    found = look(shelf, box, tmp_path).stores[SourceId("vs")]
    assert found.fields == ["metadata"]
    assert found.relabelled == {"f1": (targets["f1"], {"n": 1})}
    assert found.missing == ["f2"]
    assert [(one.target, one.name) for one in found.extras] == [(extra, "extra.md")]
    assert {d.field for d in found.differences} == {"metadata.new", f"files.{extra}", "attributes", "membership"}
    assert found.changed == ["metadata", "attributes of same.md", "membership of same.md"]
    assert found.added == [f"files.{extra}"]
    # Nobody wrote down how it was: then nobody can say who changed it.
    assert look(shelf, box).stores[SourceId("vs")].changed == []


def test_what_is_not_indexed_there_is_to_be_put_in_again(box: Running, shelf: Shelf, tmp_path: Path) -> None:
    box.behave(index_failures=("same*",))
    run(shelf, box, tmp_path)
    found = look(shelf, box, tmp_path).stores[SourceId("vs")]
    assert list(found.recut) == ["f1", "f2"]
    assert {d.field for d in found.differences} == {"status"}


def test_in_the_project_that_it_came_from_all_goes_by_its_own_id(box: Running, hand: Hand) -> None:
    file, other = hand.file("a.md", b"aaa\n"), hand.file("b.md", b"bbb\n")
    store = hand.store("s", [file, other])
    made = hand.assistant("A", stores=[store], files=[file])
    shelf = Shelf()
    shelf.file(file, "a.md", fidelity=Fidelity.UNAVAILABLE)
    shelf.file(other, "b.md", fidelity=Fidelity.UNAVAILABLE)
    record = hand.get(f"/vector_stores/{store}")
    shelf.store(store, [file, other], name="s", created_at=record["created_at"])
    shelf.assistant(
        made, stores=[store], files=[file], name="A", created_at=hand.get(f"/assistants/{made}")["created_at"]
    )
    found = look(anonymous(shelf), box)
    assert found.origin
    assert by(found.whole(Kind.ASSISTANT)) | by(found.stores) | by(found.files) == dict.fromkeys(
        [made, store, file, other], By.ORIGIN
    )
    assert found.whole(Kind.ASSISTANT)[SourceId(made)].differences == []
    # The same id with another time of birth is another thing: some servers count their ids.
    hand.delete(f"/assistants/{made}")
    shelf.assistant(made, name="A", created_at=5)
    assert look(shelf, box).whole(Kind.ASSISTANT) == {}


def test_where_no_mark_fits_the_name_and_all_16_keys_are_the_sign(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.assistant("a1", metadata={f"k{n}": "v" for n in range(16)})
    shelf.store("vs", metadata={f"k{n}": "w" for n in range(16)})
    run(shelf, box, tmp_path)
    hand.assistant("A1", metadata={f"k{n}": "other" for n in range(16)})
    found = look(shelf, box)
    assert by(found.whole(Kind.ASSISTANT)) | by(found.stores) == {"a1": By.KEYS, "vs": By.KEYS}
    hand.assistant("A1", metadata={f"k{n}": "v" for n in range(16)})
    assert len(look(shelf, box).several[0].targets) == 2


def test_an_expired_store_is_gone_unless_it_was_so_in_the_bundle(tmp_path: Path) -> None:
    moment = 1_800_000_000.0
    with Running(tmp_path / "box", clock=lambda: moment) as box, Hand(box.url, KEY) as hand:
        file = hand.file("a.md", b"aaa\n")
        store = hand.store("s", [file], expires_after={"anchor": "last_active_at", "days": 1})
        record = hand.get(f"/vector_stores/{store}")
        moment += 200_000
        shelf = anonymous(Shelf())
        shelf.file(file, "a.md")
        del record["id"]
        shelf.store(store, [file], **record)
        assert look(shelf, box).stores == {}
        shelf = anonymous(Shelf())
        shelf.store(store, [], **{**record, "status": "expired"})
        found = look(shelf, box).stores[SourceId(store)]
        assert (found.by, found.differences) == (By.ORIGIN, [])


def test_a_file_that_stores_have_as_text_is_known_both_ways(box: Running, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.file("f1", "notes.xml", b"<a>text</a>\n")  # a type that search refuses and the code interpreter takes
    shelf.store("vs", ["f1"])
    shelf.assistant("a1", stores=["vs"], files=["f1"])
    report = run(shelf, box, tmp_path)
    assert report.copies
    found = look(shelf, box, tmp_path)
    assert found.files[SourceId("f1")].target == report.files[SourceId("f1")]
    assert found.files[SourceId("f1")].copy == report.copies[SourceId("f1")]
    assert not any([found.whole(Kind.ASSISTANT)[SourceId("a1")].differences, found.stores[SourceId("vs")].differences])
