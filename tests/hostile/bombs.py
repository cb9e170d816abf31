"""Bundles that are as the format says, and made to be expensive: amplification, depth, contradiction.

Each is a function of a size ``n``, so that growth can be measured as well as the worst case. All but a few prove whole;
those that break a limit of docs/format.md are refused. None is over 1 MiB at its worst.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.hostile.forge import Member, canonical, changed, content, forge, ledger_line, record
from tests.hostile.later_lies import many_agent_versions, many_skill_versions

__all__ = ["BOMBS", "Bomb"]

ASSISTANT = "data/assistants/asst_1.json"
_NOISE = 900_000
Lies = dict[str, Callable[[Any], Any]]


@dataclass(frozen=True)
class Bomb:
    """``most`` is the size that makes a bundle of just under 1 MiB, or as much as this kind can use. ``broken`` says
    that docs/format.md forbids it; ``objects``, that an import of it is as many requests as there are objects."""

    make: Callable[[int], Lies]
    most: int
    broken: bool = False
    objects: bool = False
    grows: bool = True

    def raw(self, n: int | None = None) -> bytes:
        return forge(**{"tar": _frames, **self.make(n or self.most)})


def _frames(pieces: list[bytes]) -> list[bytes]:
    """A frame for each half MiB, as a writer that wants to be small would cut."""
    whole = b"".join(pieces)
    return [whole[at : at + (1 << 19)] for at in range(0, len(whole), 1 << 19)]


# -- many ----------------------------------------------------------------------------------------------------


def _assistants(n: int, **fields: Any) -> Lies:
    """``n`` more assistants."""
    more = [record("assistants", f"asst_x{number}", model="gpt-4o", **fields) for number in range(n)]
    return {"definitions": lambda members: [*members, *more]}


def _stores(n: int) -> Lies:
    more = [record("vector_stores", f"vs_x{number}", name="x") for number in range(n)]
    lists = [
        Member(f"data/vector_stores/vs_x{number}.files.jsonl", b"", {"id": f"vs_x{number}", "records": 0})
        for number in range(n)
    ]
    return {"definitions": lambda members: [*members, *more], "payload": lambda payload: [*payload, *lists]}


def _files(n: int, *, members: bool = False, name: str = "x.txt") -> Lies:
    """``n`` files that could not be had, listed everywhere."""
    ids = [f"file-x{number:07}" for number in range(n)]
    listed = [{"id": id, "filename": name, "bytes": 7} for id in ids]
    gone = [ledger_line(id, None, filename=name, expected=7) for id in ids]
    lies: Lies = {
        "files": lambda lines: [*lines, *listed],
        "ledger": lambda lines: sorted([*lines, *gone], key=lambda line: line["id"]),
    }
    if members:
        lies["memberships"] = lambda lines: [*lines, *({"id": id, "vector_store_id": "vs_1"} for id in ids)]
    return lies


def _same_name(n: int) -> Lies:
    """Contents of ``n`` files, all of one name and one content."""
    made = [content(f"file-x{number:07}", b"some words\n") for number in range(n)]
    return {
        "contents": lambda contents: [*contents, *made],
        "files": lambda lines: [
            *lines,
            *({"id": one.about["id"], "filename": "notes.txt", "bytes": 11} for one in made),
        ],
        "memberships": lambda lines: [*lines, *({"id": one.about["id"]} for one in made)],
        "ledger": lambda lines: [*lines, *(ledger_line(one.about["id"], one) for one in made)],
    }


def _losses(n: int) -> Lies:
    lines = sorted(canonical({"reason": "records", "id": f"x{number:07}", "message": "odd"}) for number in range(n))
    data = b"".join(line + b"\n" for line in lines)
    return {
        "payload": lambda payload: [*payload, Member("data/losses.jsonl", data, {"records": n})],
        "info": lambda honest: {**honest, "losses": {"records": n, "files": 1}},
    }


# -- one record ----------------------------------------------------------------------------------------------


def _assistant(**fields: Any) -> Lies:
    return {
        "definitions": lambda members: changed(members, ASSISTANT, data=canonical(json.loads(members[0].data) | fields))
    }


def _raw(raw: bytes) -> Lies:
    return {"definitions": lambda members: changed(members, ASSISTANT, data=raw)}


def _references(n: int, *, of: int = 1) -> Lies:
    """``of`` assistants, each of which names the same ``n`` files, that aren't there."""
    resources = {"code_interpreter": {"file_ids": [f"file-y{number}" for number in range(n)]}}
    return _assistants(of, tools=[{"type": "code_interpreter"}], tool_resources=resources)


def _long_id(n: int) -> Lies:
    id = "asst_" + "x" * n
    resources = {"code_interpreter": {"file_ids": [f"file-{number}" for number in range(n // 10)]}}
    data = canonical({"id": id, "tool_resources": resources})
    return {"definitions": lambda members: [*members, Member("data/assistants/long.json", data, {"id": id})]}


def _one_store(n: int) -> Lies:
    """One store, named again and again."""
    return _assistant(tool_resources={"file_search": {"vector_store_ids": ["vs_1"] * n}})


def _tools(n: int, kind: str = "file_search") -> Lies:
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    return _assistant(tools=[{"type": kind, **({"function": function} if kind == "function" else {})}] * n)


def _schema(n: int) -> Lies:
    """A function whose parameters are wide, and as deep as they may be."""
    inner: Any = {"type": "string"}
    for _ in range(60):
        inner = {"type": "object", "properties": {"x": inner}}
    wide = {f"p{number}": {"type": "string", "enum": ["a", "b"]} for number in range(n)}
    parameters = {"type": "object", "properties": {**wide, "deep": inner}}
    return _assistant(tools=[{"type": "function", "function": {"name": "f", "strict": True, "parameters": parameters}}])


def _chain(n: int) -> Lies:
    """Agents of which each calls the next, and the last the first."""
    more = [
        record(
            "agents",
            f"agent_x{number}",
            name=f"x{number}",
            tools=[{"type": "connected_agent", "connected_agent": {"id": f"agent_x{(number + 1) % n}", "name": "x"}}],
        )
        for number in range(n)
    ]
    chain = [
        record(
            "assistants",
            f"asst_x{number}",
            model="gpt-4o",
            tools=[{"type": "connected_agent", "connected_agent": {"id": f"asst_x{(number + 1) % n}", "name": "x"}}],
        )
        for number in range(n)
    ]
    return {"definitions": lambda members: [*members, *more, *chain]}


# -- texts ---------------------------------------------------------------------------------------------------


def _text(raw: bytes, noise: int = 0) -> Lies:
    """The parsed text of the one file that has no more; beside it so many bytes that make room for it."""
    loud = random.Random(1).randbytes(noise)
    known = {"file-3": {"size": len(raw), "expected": None}}
    if noise:
        known["file-2"] = {"size": noise, "expected": noise}

    def contents(members: list[Member]) -> list[Member]:
        return [members[0], replace(members[1], data=loud) if noise else members[1], replace(members[2], data=raw)]

    return {
        "contents": contents,
        "ledger": lambda lines: [line | known.get(line["id"], {}) for line in lines],
        "files": lambda lines: [
            line | ({"bytes": noise} if noise and line["id"] == "file-2" else {}) for line in lines
        ],
    }


def _parts(texts: list[str], noise: int = 0) -> Lies:
    """In pages of 16 MiB or so."""
    step = max((16 << 20) // (len(texts[0]) * 4 + 30), 1) if len(texts[0]) > 1000 else max(40_000, len(texts) // 4)
    parts = [{"type": "text", "text": text} for text in texts]
    pages = [{"data": parts[at : at + step]} for at in range(0, len(parts), step)]
    return _text(canonical({"pages": pages, "truncated": False}), noise)


def _long(letters: int, parts: int, noise: int = 0) -> Lies:
    """Pages of so many parts of so many letters, of which one takes four bytes; in the largest frames."""
    part = b'{"text":"' + b"some word " * (letters // 10) + "\U0001f600".encode() + b'"}'
    pages = [b'{"data":[' + b",".join([part] * min(parts - at, 8)) + b"]}" for at in range(0, parts, 8)]
    return _text(b'{"pages":[' + b",".join(pages) + b'],"truncated":false}', noise) | {"tar": _largest}


def _largest(pieces: list[bytes]) -> list[bytes]:
    whole = b"".join(pieces)
    return [whole[at : at + (64 << 20)] for at in range(0, len(whole), 64 << 20)]


def _texts(n: int) -> Lies:
    """So many texts of very many parts, each."""
    raw = canonical({"pages": [{"data": [{"type": "text", "text": "a"}] * 240_000}], "truncated": False})
    made = [
        content(f"file-t{number}", raw, name="a.pdf", rung="text", path=f"data/text/vs_1/file-t{number}.json")
        for number in range(n)
    ]
    return {
        "contents": lambda contents: [*contents, *made],
        "files": lambda lines: [*lines, *({"id": one.about["id"], "filename": "a.pdf"} for one in made)],
        "ledger": lambda lines: sorted(
            [*lines, *(ledger_line(one.about["id"], one, expected=None) for one in made)], key=lambda line: line["id"]
        ),
    }


def _deep(n: int) -> bytes:
    return b"[" * n + b"]" * n


# -- every kind ----------------------------------------------------------------------------------------------

SURROGATE = '{"id":"asst_1","name":"\\ud800","metadata":{"\\udfff":"\\ud800"},"model":"gpt-4o"}'

BOMBS: dict[str, Bomb] = {
    "many assistants": Bomb(_assistants, 6_000, objects=True),
    "many assistants of one name": Bomb(lambda n: _assistants(n, name="x" * 200), 6_000, objects=True),
    "many stores": Bomb(_stores, 3_000, objects=True),
    "many files that could not be had": Bomb(_files, 30_000),
    "many members that could not be had": Bomb(lambda n: _files(n, members=True), 20_000),
    "many files of one name": Bomb(_same_name, 5_000, objects=True),
    "many losses": Bomb(_losses, 60_000),
    "many versions of an agent": Bomb(many_agent_versions, 60_000, objects=True),
    "many versions of a skill that could not be had": Bomb(many_skill_versions, 30_000, objects=True),
    "file objects without end": Bomb(
        lambda n: {"files": lambda lines: [*lines, *([b'{"id":"f"}'] * n)]}, 1_000_000, broken=True
    ),
    "memberships without end": Bomb(
        lambda n: {"memberships": lambda lines: [*lines, *([b'{"id":"file-1"}'] * n)]}, 1_000_000, broken=True
    ),
    "ledger lines without end": Bomb(
        lambda n: {"ledger": lambda lines: [*lines, *[ledger_line("file-9", None)] * n]}, 100_000, broken=True
    ),
    "an index of one line": Bomb(lambda n: {"index": lambda lines: [b"x" * n]}, 60 << 20, broken=True, grows=False),
    "a content of zeros": Bomb(
        lambda n: {
            "contents": lambda contents: [*contents, content("file-9", bytes(n))],
            "ledger": lambda lines: [*lines, ledger_line("file-9", content("file-9", bytes(n)))],
            "files": lambda lines: [*lines, {"id": "file-9"}],
        },
        200 << 20,
        broken=True,
    ),
    "an id of 200 kB": Bomb(_long_id, 200_000, broken=True),
    "references of one record": Bomb(_references, 9_000),
    "references of many records": Bomb(lambda n: _references(1_000, of=n), 2_000, objects=True),
    "references without end": Bomb(_references, 400_000, broken=True),
    "one store named again and again": Bomb(_one_store, 9_000),
    "one store named without end": Bomb(_one_store, 1_000_000, broken=True),
    "tools": Bomb(lambda n: _tools(n, "function"), 990),
    "tools without end": Bomb(_tools, 120_000, broken=True),
    "a schema": Bomb(_schema, 60_000),
    "metadata": Bomb(lambda n: _assistant(metadata={f"k{number}": "v" for number in range(n)}), 100_000),
    "agents in a ring": Bomb(_chain, 3_000, objects=True),
    "what looks like a token": Bomb(lambda n: _assistant(instructions="-eyJ" * n), 1_000_000),
    "what looks like a key": Bomb(lambda n: _assistant(instructions="sk-" * n + "A" * n), 1_000_000),
    "what looks like an address": Bomb(lambda n: _assistant(instructions="https://a:" * n), 500_000),
    "what looks like a variable": Bomb(lambda n: _assistant(instructions="{{" * n + "${" * n), 1_000_000),
    "what looks like an id": Bomb(lambda n: _assistant(instructions="file-" * n, metadata={"x": "asst_" * n}), 500_000),
    "what looks like Markdown": Bomb(lambda n: _assistant(name="[" * n + "](" * n, description="`" * n), 500_000),
    "a text of one part": Bomb(lambda n: _parts(["words " * n]), 690_000),
    "a text of many parts": Bomb(lambda n: _parts(["x"] * n, _NOISE), 140_000),
    "texts of many parts": Bomb(_texts, 8, broken=True),
    "a text of long parts": Bomb(lambda n: _long(4_000_000, n, _NOISE), 26),
    "a text of too long parts": Bomb(lambda n: _long(33_000_000, n), 2, broken=True, grows=False),
    "a text of too much": Bomb(lambda n: _long(4_000_000, n), 120, broken=True),
    "a text of lists": Bomb(
        lambda n: _text(
            b'{"pages":[' + b",".join([b'{"x":[' + b"[]," * (n // 4) + b"[]]}"] * 4) + b'],"truncated":false}', _NOISE
        ),
        2_900_000,
    ),
    "a text of words": Bomb(
        lambda n: _text(
            b'{"pages":[' + b",".join([b'{"x":[' + b'"",' * (n // 2) + b"[]]}"] * 2) + b'],"truncated":false}', _NOISE
        ),
        2_900_000,
    ),
    "a text of empty pages": Bomb(
        lambda n: _text(b'{"pages":[' + b",".join([b"{}"] * n) + b'],"truncated":false}', _NOISE), 190_000
    ),
    "a text of parts that all but overlap": Bomb(lambda n: _parts(["a" * 300 + "b"] * n, _NOISE), 108_000),
    "a text of long parts that all but overlap": Bomb(lambda n: _parts(["a" * 30_000 + "b"] * n, _NOISE), 3_500),
    "a text of parts that overlap in part, at its most": Bomb(
        lambda n: _parts(["ab" * 1500 + "a", "ba" * 1500 + "b"] * n, _NOISE), 15_000
    ),
    "a text of parts that are cut": Bomb(
        lambda n: _parts(["a" * 40 + "b" + "a" * 39 + "\ufffd", "\ufffd" + "a" * 40 + "b" + "a" * 40] * n, _NOISE),
        67_000,
    ),
    "a text of marks": Bomb(lambda n: _parts(["a" + "\u0301\u0323" * n] * 10, _NOISE), 900_000),
    "a text of parts without end": Bomb(lambda n: _parts(["x"] * n), 400_000, broken=True),
    "a text of parts that overlap": Bomb(lambda n: _parts(["a" * 3000] * n), 3_000),
    "a text of parts that overlap in part": Bomb(lambda n: _parts(["ab" * 1500 + "a", "ba" * 1500 + "b"] * n), 1_500),
    "a text of cut characters": Bomb(lambda n: _parts(["\ufffd" * 1000] * n), 3_000),
    "a text of pages": Bomb(
        lambda n: _text(
            canonical({"pages": [{"data": [{"type": "text", "text": "x"}]}] * n, "truncated": False}), _NOISE
        ),
        100_000,
    ),
    "a text that is deep": Bomb(
        lambda n: _text(b'{"pages":[{"data":[{"type":"text","text":"x","y":' + _deep(n) + b'}]}],"truncated":false}'),
        100_000,
        broken=True,
    ),
    "a text that is no JSON": Bomb(lambda n: _text(b'{"pages":[' + b"[]," * n), 1_000_000, broken=True, grows=False),
    "a text of another shape": Bomb(
        lambda n: _text(canonical({"pages": [[7]] * n})), 500_000, broken=True, grows=False
    ),
    "a text of surrogates": Bomb(
        lambda n: _text(b'{"pages":[{"data":[{"type":"text","text":"' + b"\\ud800" * n + b'"}]}],"truncated":false}'),
        500_000,
    ),
    "a record that is deep": Bomb(
        lambda n: _raw(b'{"id":"asst_1","metadata":' + _deep(n) + b"}"), 100_000, broken=True, grows=False
    ),
    "a record as deep as may be": Bomb(
        lambda n: _raw(b'{"id":"asst_1","model":"m","metadata":{"x":[' + b",".join([_deep(190)] * n) + b"]}}"), 10_000
    ),
    "a record of surrogates": Bomb(lambda n: _raw(SURROGATE.encode()), 1, grows=False),
    "a record of long numbers": Bomb(
        lambda n: _raw(
            b'{"id":"asst_1","model":"gpt-4o","temperature":%b,"created_at":%b,"top_p":1e999,"metadata":{"x":%b}}'
            % ((b"9" * n,) * 3)
        ),
        1_000_000,
    ),
    "a record of empty lists": Bomb(
        lambda n: _raw(b'{"id":"asst_1","model":"m","metadata":{"x":[' + b"[]," * n + b"1]}}"), 2_500_000
    ),
    "names that can't be decoded": Bomb(
        lambda n: {
            "ledger": lambda lines: [
                canonical(line | {"filename": "SURROGATE"}).replace(b"SURROGATE", b"\\ud800")
                if line["id"] == "file-4"
                else line
                for line in lines
            ],
            "files": lambda lines: [
                canonical(line | {"filename": "SURROGATE"}).replace(b"SURROGATE", b"\\ud800")
                if line["id"] == "file-4"
                else line
                for line in lines
            ],
        },
        1,
        grows=False,
        broken=True,
    ),
    "a name of marks": Bomb(
        lambda n: {
            "files": lambda lines: [
                line | ({"filename": "a" + "\u0301\u0323" * n} if line["id"] == "file-4" else {}) for line in lines
            ],
            "ledger": lambda lines: [
                line | ({"filename": "a" + "\u0301\u0323" * n} if line["id"] == "file-4" else {}) for line in lines
            ],
        },
        500_000,
    ),
}
