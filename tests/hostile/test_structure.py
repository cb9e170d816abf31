"""Lies that nobody thought of: drawn over the structure of a bundle, with all that lies above them right."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.check import broken
from tests.hostile.forge import Frame, Member, canonical, content, file_object, forge, jsonl, ledger_line, seek_table
from tests.hostile.lies import CONTRADICTIONS, ODD
from tests.hostile.trial import Trial
from tests.sweep import examples

Lies = dict[str, Callable[[Any], Any]]
FEW = examples(25, derandomize=True, database=None)
MANY = settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))

# Everything that some tool, shell, terminal or file system takes for more than a letter.
letters = st.sampled_from(
    [*'ab.-~/\\: %*?"<>|\0\n\r\t\x1b\x7f\x9b\u202e\u200b\ufeff\u2028\u00e9\u0301', "..", "con", "NUL", "\U000e0041"]
)
names = st.lists(letters, min_size=1, max_size=8).map("".join)
numbers = st.one_of(
    st.integers(-2, 3),
    st.integers(0, 20_000),
    st.sampled_from([2**31, 2**32 - 1, 2**62, 2**63, 2**64, 10**40, -(2**63)]),
)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)


def tried(lies: Lies, *, commands: bool = True) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return Trial(Path(folder, "trial"), forge(**lies)).run(everything=commands)


# -- frames, seal, seek table --------------------------------------------------------------------------------


@st.composite
def frames(draw: st.DrawFn) -> Lies:
    """Frames in any order, some of them cut, some changed; a table that may list something else."""

    def lie(honest: list[Frame]) -> list[Frame]:
        order = draw(st.lists(st.integers(0, len(honest) - 1), min_size=1, max_size=len(honest) + 2))
        chosen = [honest[number] for number in order] if draw(st.booleans()) else honest
        for _ in range(draw(st.integers(0, 2))):
            number = draw(st.integers(0, len(chosen) - 1))
            chosen = [*chosen[:number], changed(chosen[number]), *chosen[number + 1 :]]
        return chosen

    def changed(one: Frame) -> Frame:
        at = draw(st.integers(0, len(one.raw) - 1))
        raw = bytes([*one.raw[:at], draw(st.integers(0, 255)), *one.raw[at + 1 :]])
        raw = draw(st.sampled_from([raw, one.raw[:at] or b"\0", one.raw + b"\0", one.raw]))
        return replace(one, raw=raw, length=len(raw), size=draw(st.just(one.size) | st.integers(0, 2**32 - 1)))

    def table(honest: bytes) -> bytes:
        if draw(st.booleans()):
            return honest
        pairs = st.tuples(
            st.integers(0, 2**32 - 1) | st.integers(0, 900), st.integers(0, 2**32 - 1) | st.integers(0, 2048)
        )
        return seek_table(draw(st.lists(pairs, max_size=5)))

    return {"frames": lie, "table": table}


cuts = st.tuples(st.integers(0, 6000), st.integers(0, 6000), st.binary(max_size=60))


def spliced(cut: tuple[int, int, bytes]) -> Lies:
    """The file, with a stretch of it replaced."""
    start, end, other = cut
    return {"file": lambda raw: raw[:start] + other + raw[max(start, end) :]}


@FEW
@given(frames(), cuts | st.none())
def test_frames_of_any_kind(lies: Lies, cut: tuple[int, int, bytes] | None) -> None:
    tried({**lies, **(spliced(cut) if cut else {})}, commands=False)


# -- names ---------------------------------------------------------------------------------------------------


@st.composite
def named(draw: st.DrawFn) -> Lies:
    """A name in each place that may have one: a member, a line of the index, an id, a file's true name."""
    path = draw(st.sampled_from(["data/", "data/files/", "", "/", "../"])) + draw(names)
    id, filename = draw(names), draw(names)
    stored = content(id, b"named\n", name=filename, path=draw(st.sampled_from([path, "data/files/named/named"])))
    lies: Lies = {
        "contents": lambda contents: [stored, *contents],
        "ledger": lambda lines: sorted([*lines, ledger_line(id, stored)], key=lambda line: line["id"].encode()),
        "files": lambda lines: [*lines, file_object(ledger_line(id, stored))],
    }
    if draw(st.booleans()):
        lies["index"] = lambda lines: [
            {**line, "path": path} if line["path"].startswith("data/assist") else line for line in lines
        ]
    if draw(st.booleans()):
        lies["payload"] = lambda payload: [Member(path + draw(letters), b"x"), *payload]
    return lies


@FEW
@given(named())
def test_names_of_any_kind(lies: Lies) -> None:
    tried(lies, commands=False)


# -- JSON ----------------------------------------------------------------------------------------------------


@st.composite
def told(draw: st.DrawFn) -> Lies:
    """Any value in any field of holdall.json, of the index, the ledger or a record."""
    stage = draw(st.sampled_from(["info", "index", "ledger", "memberships", "files", "definitions", "contents"]))

    def changed(value: dict[str, Any]) -> dict[str, Any]:
        key = draw(st.sampled_from(sorted(value)) | names)
        inner = value.get(key)
        if isinstance(inner, dict) and inner and draw(st.booleans()):
            return {**value, key: changed(inner)}
        if draw(st.booleans()):
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: draw(values)}

    def lie(honest: Any) -> Any:
        if stage == "info":
            return changed(honest)
        number = draw(st.integers(0, len(honest) - 1))
        one = honest[number]
        if stage == "contents":
            other: Any = replace(one, data=canonical(draw(values)))
        elif stage == "definitions":
            other = replace(one, data=canonical(changed(json.loads(one.data))))
        else:
            other = changed(one) if draw(st.integers(0, 3)) else canonical(draw(values))
        return [*honest[:number], other, *honest[number + 1 :]]

    return {stage: lie}


@FEW
@given(told())
def test_values_of_any_kind(lies: Lies) -> None:
    tried(lies, commands=False)


# -- statements ----------------------------------------------------------------------------------------------

_LOSSES = [
    {"reason": "lists", "id": "/files", "message": "m"},
    {"reason": "records", "kind": "file", "id": "file-9", "message": "m"},
    {"reason": "stores", "kind": "vector_store", "id": "vs_9", "message": "m"},
]
_FILES = {"index": "index.jsonl", "ledger": "data/ledger.jsonl", "losses": "data/losses.jsonl"}
# What stands somewhere in an honest bundle, and what stands nowhere.
said = st.sampled_from(
    [
        *("file-1", "file-2", "file-3", "file-4", "file-9", "asst_1", "vs_1", "notes.txt", "a.pdf", "gone.pdf"),
        *("original", "supplied", "container", "text", "unavailable", "stolen", "files", "lists", "doubtful"),
        *("data/files/file-1/notes.txt", "data/text/vs_1/file-3.json", "data/ledger.jsonl", "1.0", "1.1", "", "h1:"),
        *(True, False, None, 0, 1, 2, 4, 11, 99, 404, 1000, -1, 11.0, 1.5, [], {}, ["x"], {"files": 1}, 1 << 63),
    ]
)


def _pairs(pairs: list[tuple[str, Any]]) -> bytes:
    """An object with these members, also where two have one key."""
    return b"{" + b",".join(canonical(key) + b":" + _raw(value) for key, value in pairs) + b"}"


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else canonical(value)


@st.composite
def stated(draw: st.DrawFn) -> Lies:
    """One field, at whatever depth, of holdall.json or of a line of index, ledger or losses: of another value or shape,
    left out, there twice, or new."""
    where = draw(st.sampled_from(["index", "ledger", "losses", "info"]))

    def mutated(value: dict[str, Any], depth: int = 0) -> tuple[bytes, dict[str, Any] | None]:
        """The object as bytes, and as a value where that says the same."""
        key = draw(st.sampled_from([*sorted(value), "x", "agents", "doubt", "records", "filename", "min_rung"]))
        inner, rest = value.get(key), {name: item for name, item in value.items() if name != key}
        if isinstance(inner, dict) and inner and depth < 3 and draw(st.booleans()):
            raw, one = mutated(inner, depth + 1)
            return _pairs([*rest.items(), (key, raw)]), None if one is None else {**rest, key: one}
        way = draw(st.sampled_from(["other", "other", "other", "near", "gone", "twice"]))
        if way == "gone":
            return canonical(rest), rest
        other = draw(said | values)
        if way == "near" and isinstance(inner, int):
            other = inner + draw(st.sampled_from([-1, 1]))
        if way == "twice":
            pairs = [*value.items(), (key, draw(st.just(inner) | st.just(other)))]
            return _pairs(pairs), None if key in value else dict(pairs)
        return canonical({**rest, key: other}), {**rest, key: other}

    def one_of(lines: list[Any]) -> tuple[int, bytes, dict[str, Any] | None]:
        number = draw(st.integers(0, len(lines) - 1))
        return number, *mutated(lines[number])

    lies: Lies = {}
    if where == "losses":
        number, raw, _ = one_of(_LOSSES)
        lines = [raw if place == number else canonical(line) for place, line in enumerate(_LOSSES)]
        about = {"records": len(lines)}
        lies["payload"] = lambda payload: [*payload, Member(_FILES["losses"], jsonl(lines), about)]
    elif where == "info":
        lies["info"] = lambda honest: mutated({**honest, "losses": {"files": 1}, "min_rung": "text"})[0]
    else:

        def lie(honest: list[Any]) -> list[Any]:
            number, raw, value = one_of(honest)
            if value is not None:  # all that follows from the lines follows from this one, too
                return [*honest[:number], value, *honest[number + 1 :]]
            changes.append((canonical(honest[number]), raw))
            return honest

        def written(data: bytes) -> bytes:
            for old, new in changes:
                data = data.replace(old, new)
            return data

        changes: list[tuple[bytes, bytes]] = []
        lies[where] = lie
        if where == "index":
            lies["tail"] = lambda tail: [*tail[:2], replace(tail[2], data=written(tail[2].data))]
        else:
            lies["payload"] = lambda payload: [
                replace(member, data=written(member.data)) if member.path == _FILES[where] else member
                for member in payload
            ]
    return lies


def stated_and_read(lies: Lies, *, commands: bool = True) -> None:
    """What a reader made from docs/format.md alone finds wrong, a proof finds, too."""
    raw = forge(**lies)
    wrong = broken(raw)
    with tempfile.TemporaryDirectory() as folder:
        damaged = Trial(Path(folder, "trial"), raw).run(everything=commands)
    assert damaged or not wrong, wrong


@examples(60, derandomize=True, database=None)
@given(stated())
def test_nothing_is_whole_that_contradicts_the_format(lies: Lies) -> None:
    stated_and_read(lies, commands=False)


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_the_second_reader_knows_contradictions(name: str) -> None:
    if broken(forge(**CONTRADICTIONS[name][1])) is None:
        assert name in _BEYOND, "docs/format.md says so, and the second reader doesn't know it"


_BEYOND = {
    "a text with pages twice",
    "a text of more than can be",
    "a bag-info of another label",
    "a bag-info of another tool",
    "a bag-info with a folded line",
    "a bag-info with a line that says nothing",
}
"""Of these the second reader, which is small, knows nothing."""


def test_the_second_reader_takes_what_is_whole() -> None:
    assert {name: broken(forge(**lies)) for name, lies in ODD.items()} == dict.fromkeys(ODD)


@pytest.mark.slow
def test_much_that_is_stated() -> None:
    @MANY
    @given(stated())
    def check(lies: Lies) -> None:
        stated_and_read(lies)

    check()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [frames, named, told])
def test_much_of_any_kind(kind: Callable[[], st.SearchStrategy[Lies]]) -> None:
    @MANY
    @given(kind(), cuts | st.none())
    def check(lies: Lies, cut: tuple[int, int, bytes] | None) -> None:
        tried({**lies, **(spliced(cut) if cut and kind is frames else {})})

    check()
