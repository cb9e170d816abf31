"""Effects: what a journal says was done, whatever came in between."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from holdall.errors import ImportFailed
from holdall.importer.plan.difference import fingerprint
from holdall.importer.runs.effects import Chain, Made, chains, merged
from holdall.importer.runs.runjournal import Attach, Closed, Detach, Done, Failed, Intent, Line, Opened, Update
from holdall.importer.runs.runstate import RunState, read_state
from holdall.model import Kind, SourceId, TargetId
from tests.importer.runs.test_runstate import intent as one_intent

OPENED = Opened(run="r", tool="t", started="s", bundle={}, destination={}, options={})


def intent(op: str, action: str, kind: Kind = Kind.FILE, target: str | None = None, **more: object) -> Intent:
    return one_intent(op, action, kind, SourceId("s"), target=target, **more)


def done(op: str, target: str = "t", **more: object) -> Done:
    return Done(op=op, target=TargetId(target), **more)  # type: ignore[arg-type]


def effects(tmp_path: Path, *lines: Line, tail: bytes = b"") -> RunState:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in (OPENED, *lines)) + tail)
    return read_state(path)


def test_what_was_answered_was_done_and_what_was_refused_was_not(tmp_path: Path) -> None:
    found = effects(
        tmp_path,
        intent("1", "create", name="a.md"),
        done("1", "file_1"),
        intent("2", "create", Kind.STORE),
        Failed(op="2", error="no"),
        intent("3", "create", Kind.ASSISTANT),
        done("3", "asst_1", image={"name": "x"}),
        Closed(ended="e"),
    )
    assert [(effect.kind, effect.target) for effect in found.effects() if isinstance(effect, Made)] == [
        (Kind.FILE, "file_1"),
        (Kind.ASSISTANT, "asst_1"),
    ]
    assert (found.closed, found.uncertain) == (True, [])


def test_a_lost_answer_leaves_the_create_uncertain_until_it_is_found(tmp_path: Path) -> None:
    lost = (intent("1", "create", Kind.STORE), Failed(op="1", error="reset", ambiguous=True))
    assert [one.op for one in effects(tmp_path, *lost).uncertain] == ["1"]
    looked = Failed(op="1", error="reset", looked=True)
    assert [one.op for one in effects(tmp_path, *lost, looked).uncertain] == ["1"]
    found = effects(tmp_path, *lost, done("1", "vs_1"))
    assert found.uncertain == []
    assert [effect.target for effect in found.effects() if isinstance(effect, Made)] == ["vs_1"]


def test_a_file_that_was_taken_by_its_looks_is_no_deed(tmp_path: Path) -> None:
    found = effects(tmp_path, intent("1", "create", name="a"), done("1", "file_1", inferred=True))
    assert found.effects() == []
    assert [one.target for one in found.inferred] == ["file_1"]


def test_what_the_run_took_away_itself_is_no_deed(tmp_path: Path) -> None:
    found = effects(
        tmp_path,
        intent("1", "create"), done("1", "file_1"), intent("2", "copy"), done("2", "file_2"),
        intent("3", "delete", target="file_1"), done("3", "file_1"),
    )  # fmt: skip
    assert [effect.target for effect in found.effects() if isinstance(effect, Made)] == ["file_2"]


def test_an_update_of_what_the_run_made_says_how_it_was_left(tmp_path: Path) -> None:
    lines = (
        intent("1", "create", Kind.STORE),
        done("1", "vs_1", image={"metadata": "marks"}),
        intent("2", "update", Kind.STORE, "vs_1", after={"metadata": "true"}),
    )
    (made,) = effects(tmp_path, *lines, done("2", "vs_1", image={"metadata": "true"})).effects()
    assert isinstance(made, Made)
    assert (made.image, made.perhaps) == ({"metadata": "true"}, {})
    # The answer is lost: it is left one way or the other.
    (made,) = effects(tmp_path, *lines).effects()
    assert isinstance(made, Made)
    assert (made.image, made.perhaps) == ({"metadata": "marks"}, {"metadata": "true"})


def test_changes_of_what_was_there_count_also_where_their_answer_is_lost(tmp_path: Path) -> None:
    found = effects(
        tmp_path,
        intent("1", "update", Kind.ASSISTANT, "asst_1", before={"name": "A"}, after={"name": "b"}),
        intent("2", "detach", Kind.MEMBERSHIP, "file_1", store=TargetId("vs_1"), before={"attributes": {"k": 1}}),
        intent("3", "attach", Kind.STORE, "vs_1", files={TargetId("file_2"): "x"}),
        intent("4", "update", Kind.ASSISTANT, "asst_2", before={"name": "A"}),
        Failed(op="4", error="refused"),
    )
    update, detach, attach = found.effects()
    assert isinstance(update, Update)
    assert (update.target, update.before, update.after) == ("asst_1", {"name": "A"}, {"name": "b"})
    assert isinstance(detach, Detach)
    assert (detach.store, detach.target, detach.before) == ("vs_1", "file_1", {"attributes": {"k": 1}})
    assert isinstance(attach, Attach)
    assert (attach.target, attach.files) == ("vs_1", {"file_2": "x"})
    assert found.sure == set()


STORE, FILE, SOURCE = TargetId("vs"), TargetId("f"), SourceId("s")
TAKEN = Detach(op="1", source=SOURCE, store=STORE, target=FILE, before={"attributes": {"k": 1}})
PUT = Attach(op="2", source=SOURCE, target=STORE, files={FILE: "x"})


def test_of_many_changes_the_first_before_and_the_last_after_count() -> None:
    def update(before: dict[str, object], after: dict[str, str]) -> Update:
        return Update(op="3", source=SOURCE, kind=Kind.STORE, target=STORE, before=before, after=after)

    found = merged([update({"name": "1"}, {"name": "a"}), update({"name": "2", "metadata": {}}, {"name": "b"})])
    assert found[STORE] == update({"name": "1", "metadata": {}}, {"name": "b"})
    mine = msgspec.structs.replace(PUT, target=TargetId("mine"))
    chain = chains([TAKEN, PUT, mine], {TargetId("mine")}, {"1", "2"})
    assert chain == {(STORE, FILE): Chain(before={"attributes": {"k": 1}}, ends=frozenset({"x"}))}


def test_what_is_not_sure_to_be_done_may_have_ended_either_way() -> None:
    assert chains([TAKEN, PUT], set(), {"1"})[STORE, FILE].ends == {None, "x"}
    assert chains([TAKEN], set(), set())[STORE, FILE].ends == {None, fingerprint({"k": 1})}
    assert chains([PUT], set(), set())[STORE, FILE].ends == {None, "x"}


def test_a_journal_that_was_cut_off_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    whole = effects(tmp_path, intent("1", "create"), done("1"))
    torn = effects(tmp_path, intent("1", "create"), done("1"), tail=b'{"line":"inte')
    assert torn.effects() == whole.effects()
    assert not torn.closed
    (tmp_path / "empty").write_bytes(b"")
    assert read_state(tmp_path / "empty").opened is None
    (tmp_path / "other").write_bytes(b'{"line":"else"}\n' * 2)
    with pytest.raises(ImportFailed, match="its first line"):
        read_state(tmp_path / "other")
