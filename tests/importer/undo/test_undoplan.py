"""What is undone and what is left, decided on values alone: memberships, updates, and their order."""

from __future__ import annotations

from typing import Any

import pytest

from holdall.importer.plan.difference import fingerprint, fingerprints
from holdall.importer.runs.effects import Act, Effect, Made, UndoAction
from holdall.importer.runs.runjournal import Attach, Detach, Opened, Update
from holdall.importer.runs.runstate import RunState
from holdall.importer.undo.observed import Observed, ObservedMember, ObservedUser
from holdall.importer.undo.undoplan import UndoPlan, undo_plan
from holdall.model import Kind, SourceId, TargetId

SOURCE = SourceId("s")
STORE, FILE, ASSISTANT = TargetId("vs_1"), TargetId("file_1"), TargetId("asst_1")
CUT = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 20}}
OTHER_CUT = {"type": "static", "static": {"max_chunk_size_tokens": 400, "chunk_overlap_tokens": 40}}
OURS, THEIRS, BEFORE = {"k": "ours"}, {"k": "theirs"}, {"k": "before"}


def decide(*done: Effect, begun: bool = False, force: bool = False, **there: Any) -> UndoPlan:
    state = RunState()
    state.take(Opened(run="r", tool="t", started="s", bundle={}, destination={}, options={}))
    state.sure = {"1", "2", "3"}
    state.effects = lambda: list(done)  # type: ignore[method-assign]
    facts: dict[str, Any] = {
        "found": {}, "users": [], "stores": {STORE: "Store"}, "members": {}, "late": [], "orphans": [], **there,
    }  # fmt: skip
    hands = frozenset({(STORE, FILE)}) if begun else frozenset()
    return undo_plan(state, Observed(**facts), even_if_changed=force, begun=hands)


def one(planned: UndoPlan) -> UndoAction:
    (action,) = planned.actions
    return action


PUT_IN = [Attach(op="1", source=SOURCE, target=STORE, files={FILE: fingerprint(OURS)})]
TAKEN_OUT = [
    Detach(op="2", source=SOURCE, store=STORE, target=FILE, before={"attributes": BEFORE, "chunking_strategy": CUT}),
]
CUT_ANEW = [*TAKEN_OUT, *PUT_IN]
RELABELLED = [
    Update(op="3", source=SOURCE, kind=Kind.MEMBERSHIP, target=FILE, store=STORE,
        before={"attributes": BEFORE}, after={"attributes": fingerprint(OURS)},
    )
]  # fmt: skip


@pytest.mark.parametrize(
    ("done", "now", "act", "state"),
    [
        (PUT_IN, (OURS, CUT), Act.DETACH, "due"),
        (PUT_IN, None, Act.DETACH, "needless"),
        (PUT_IN, (THEIRS, CUT), Act.DETACH, "left"),
        (TAKEN_OUT, None, Act.ATTACH, "due"),
        (TAKEN_OUT, (BEFORE, CUT), Act.RESTORE, "needless"),
        (TAKEN_OUT, (THEIRS, CUT), Act.RESTORE, "left"),
        (CUT_ANEW, (OURS, OTHER_CUT), Act.REPLACE, "due"),
        (CUT_ANEW, (BEFORE, CUT), Act.RESTORE, "needless"),
        (CUT_ANEW, (THEIRS, OTHER_CUT), Act.REPLACE, "left"),
        (CUT_ANEW, None, Act.ATTACH, "left"),
        (RELABELLED, (OURS, CUT), Act.RESTORE, "due"),
        (RELABELLED, (BEFORE, CUT), Act.RESTORE, "needless"),
        (RELABELLED, (THEIRS, CUT), Act.RESTORE, "left"),
    ],
)
def test_a_file_in_a_store_that_stays(done: list[Effect], now: Any, act: Act, state: str) -> None:
    inside = {FILE: ObservedMember(id=FILE, attributes=now[0], chunking_strategy=now[1])} if now else {}
    found = one(decide(*done, members={STORE: inside}))
    assert (found.act, found.kind, found.store) == (act, Kind.MEMBERSHIP, STORE)
    assert {"due": found.due, "needless": found.needless, "left": bool(found.left)}[state]
    if act in (Act.ATTACH, Act.REPLACE):
        assert found.body == {"attributes": BEFORE, "chunking_strategy": CUT}
    if state == "left":
        forced = one(decide(*done, members={STORE: inside}, force=True))
        assert forced.due
        assert forced.despite == found.left


def test_an_undo_that_was_cut_off_between_taking_out_and_putting_back_goes_on() -> None:
    assert one(decide(*CUT_ANEW, members={STORE: {}}, begun=True)).due


def test_a_strategy_that_says_nothing_is_not_sent_back() -> None:
    effect = Detach(
        op="2",
        source=SOURCE,
        store=STORE,
        target=FILE,
        before={"attributes": {}, "chunking_strategy": {"type": "other"}},
    )
    assert one(decide(effect, members={STORE: {}})).body == {}


def test_a_store_that_is_gone_needs_nothing() -> None:
    assert one(decide(*PUT_IN, stores={})).needless


BEFORE_IT = {"name": "Old", "tools": [], "tool_resources": {}}


def updated(found: dict[str, Any]) -> Update:
    return Update(
        op="3",
        source=SOURCE,
        kind=Kind.ASSISTANT,
        target=ASSISTANT,
        before=BEFORE_IT,
        after=fingerprints(Kind.ASSISTANT, found),
    )


def test_fields_that_were_set_get_back_what_they_had_and_no_other_is_touched() -> None:
    now = {"id": ASSISTANT, "name": "New", "tools": [], "temperature": 0.5,
           "tool_resources": {"file_search": {"vector_store_ids": [STORE]}}}  # fmt: skip
    found = one(decide(updated(now), found={ASSISTANT: {**now, "temperature": 0.7}}))
    assert found.due
    assert found.body == {"name": "Old", "tool_resources": {"file_search": {"vector_store_ids": []}}}
    changed = one(decide(updated(now), found={ASSISTANT: {**now, "name": "Mine"}}))
    assert changed.left == "others have changed it since: name"
    assert one(decide(updated(now), found={ASSISTANT: {**now, **BEFORE_IT}})).needless
    assert one(decide(updated(now), found={})).needless


def test_what_a_restored_assistant_no_longer_uses_can_go() -> None:
    now = {"id": ASSISTANT, "name": "New", "tool_resources": {"file_search": {"vector_store_ids": [STORE]}}}
    made = Made(kind=Kind.STORE, target=STORE, source=SourceId("s"), name="Store", op="op", image={})
    users = [ObservedUser(kind=Kind.ASSISTANT, id=ASSISTANT, name="New", uses=[STORE])]
    planned = decide(made, updated(now), found={ASSISTANT: now, STORE: {"id": STORE}}, users=users)
    assert [(one.act, one.kind, one.due) for one in planned.actions] == [
        (Act.RESTORE, Kind.ASSISTANT, True),
        (Act.DELETE, Kind.STORE, True),
    ]
    left = decide(made, updated(now), found={ASSISTANT: {**now, "name": "Mine"}, STORE: {"id": STORE}}, users=users)
    assert [bool(one.left) for one in left.actions] == [True, True]
    assert left.actions[1].left == f"used by assistant New ({ASSISTANT})"


def test_what_a_restored_assistant_uses_again_stays() -> None:
    now = {"id": ASSISTANT, "name": "A"}
    used = {"tool_resources": {"file_search": {"vector_store_ids": [STORE]}}}
    update = Update(
        op="3",
        source=SOURCE,
        kind=Kind.ASSISTANT,
        target=ASSISTANT,
        before=used,
        after=fingerprints(Kind.ASSISTANT, now),
    )
    made = Made(kind=Kind.STORE, target=STORE, source=SOURCE, name="Store", op="op", image={})
    users = [ObservedUser(kind=Kind.ASSISTANT, id=ASSISTANT, name="A", uses=[])]
    restored, left = decide(made, update, found={ASSISTANT: now, STORE: {"id": STORE}}, users=users).actions
    assert (restored.body, left.left) == (used, f"used by assistant A ({ASSISTANT})")


def test_the_latest_effect_is_undone_first() -> None:
    made = [
        Made(kind=kind, target=TargetId(f"{kind}{n}"), source=SourceId("s"), name=None, op=f"{kind}{n}", image={})
        for n in (1, 2)
        for kind in (Kind.FILE, Kind.STORE, Kind.ASSISTANT)
    ]
    found = {effect.target: {"id": effect.target} for effect in made}
    assert [one.target for one in decide(*made, found=found).actions] == [effect.target for effect in reversed(made)]
