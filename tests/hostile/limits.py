"""Bundles as large as their size allows: a megabyte or so that decodes to very many lines or references."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.hostile.forge import Member, canonical, content, forge, joined, ledger_line, record
from tests.hostile.lies import info as info_lie

__all__ = ["WORST"]

Lies = dict[str, Callable[[Any], Any]]

TIME = 1_700_000_000


def _packed(pieces: list[bytes]) -> list[bytes]:
    """Frames of a mebibyte or so, however small the members."""
    whole = b"".join(pieces)
    return [whole[at : at + (1 << 20)] for at in range(0, len(whole), 1 << 20)]


def _forged(**lies: Callable[[Any], Any]) -> bytes:
    return forge(tar=_packed, **lies)


def _assistant(number: int, **fields: Any) -> Member:
    about: dict[str, Any] = {"created_at": TIME, "object": "assistant", "name": f"A{number}", "model": "gpt-4o"}
    return record("assistants", f"asst_{number:06}", **about | {"tools": [], "metadata": {}} | fields)


def _uses(files: list[str] | None = None, stores: list[str] | None = None) -> dict[str, Any]:
    resources = {"file_search": {"vector_store_ids": stores or []}, "code_interpreter": {"file_ids": files or []}}
    tools = [{"type": "file_search"}, {"type": "code_interpreter"}]
    return {"tools": tools, "tool_resources": resources}


def _file(number: int) -> dict[str, Any]:
    return {"id": f"file-{number:06}", "filename": "gone.pdf", "bytes": 7, "purpose": "assistants", "created_at": TIME}


def _gone(number: int) -> dict[str, Any]:
    return ledger_line(f"file-{number:06}", None, status=404)


def _lines(count: int) -> Lies:
    return {
        "files": lambda lines: [_file(n) for n in range(count)] + lines,
        "ledger": lambda lines: [_gone(n) for n in range(count)] + lines,
    }


def many_assistants(count: int = 12_000) -> bytes:
    return _forged(definitions=lambda members: [*(_assistant(n) for n in range(count)), *members])


def many_files(count: int = 60_000) -> bytes:
    return _forged(**_lines(count))


def many_references(count: int = 10_000) -> bytes:
    tools = [{"type": "function", "function": {"name": f"f{n}"}} for n in range(count // 10)]
    fields = _uses([f"file-x{n:06}" for n in range(count)]) | {"tools": tools}
    return _forged(definitions=lambda members: [_assistant(0, **fields), *members])


def the_same_files(count: int = 5_000) -> bytes:
    files = [f"file-{n:06}" for n in range(count)]
    assistants = [_assistant(n, **_uses(files)) for n in range(8)]
    return _forged(definitions=lambda members: [*assistants, *members], **_lines(count))


def the_same_store() -> bytes:
    return _forged(definitions=lambda members: [_assistant(0, **_uses(stores=["vs_1"] * 10_000)), *members])


def many_memberships(count: int = 40_000) -> bytes:
    def members(lines: list[Any]) -> list[Any]:
        about = {"vector_store_id": "vs_1", "status": "completed", "attributes": {}}
        return [*lines, *({"id": f"file-{n:06}", **about} for n in range(count))]

    return _forged(memberships=members, **_lines(count))


def many_parts(count: int = 250_000) -> bytes:
    return _text(canonical({"pages": [{"data": [{"text": "x"}] * count}], "truncated": False}))


def a_large_text(size: int = 60 << 20) -> bytes:
    part = {"text": "some words and more of them " * 120}
    return _text(canonical({"pages": [{"data": [part] * (size // 3400)}], "truncated": False}))


def _text(stored: bytes) -> bytes:
    made = content("file-3", stored, name="a.pdf", rung="text", path="data/text/vs_1/file-3.json")
    line = ledger_line("file-3", made)
    return _forged(
        contents=lambda members: [*members[:2], made],
        ledger=lambda lines: [*lines[:2], line, *lines[3:]],
    )


def _padded(size: int = 900_000) -> Lies:
    """So much of noise, which makes room for other things."""
    noise = random.Random(1).randbytes(size)

    def contents(members: list[Any]) -> list[Any]:
        return [members[0], replace(members[1], data=noise), members[2]]

    def ledger(lines: list[Any]) -> list[Any]:
        return [lines[0], {**lines[1], "size": size, "expected": size}, *lines[2:]]

    return {"contents": contents, "ledger": ledger, **joined()}


def _assistants(count: int, *, noise: int = 900_000, **fields: Any) -> Lies:
    """The same assistant again and again: its index lines are nearly the same, too."""

    def definitions(members: list[Any]) -> list[Any]:
        first = record("assistants", "asst_9", **fields)
        return [*members, *(replace(first, path=f"data/assistants/{number:06}.json") for number in range(count))]

    return {"definitions": definitions, **_padded(noise)}


def _files(count: int) -> Lies:
    def lines(honest: list[Any]) -> list[Any]:
        return [*honest, *(f'{{"id":"file-9{number:06}"}}'.encode() for number in range(count))]

    def ledger(honest: list[Any]) -> list[Any]:
        more = [canonical(ledger_line(f"file-9{number:06}", None, status=404)) for number in range(count)]
        return [*_padded()["ledger"](honest), *more]

    return {**_padded(), "files": lines, "ledger": ledger, **info_lie(rungs={})}


def _losses(count: int) -> Lies:
    """Files that are not there, of the longest ids."""

    def definitions(members: list[Any]) -> list[Any]:
        ids = [["f" * 490 + f"{number}-{file}" for file in range(10_000)] for number in range(count)]
        more = [
            record("assistants", f"asst_9{number}", tool_resources={"code_interpreter": {"file_ids": one}})
            for number, one in enumerate(ids)
        ]
        return [*members, *more]

    return {"definitions": definitions, **_padded(800_000)}


def _named_by_all(count: int, *, noise: int = 900_000) -> Lies:
    ids = [f"f{number}" for number in range(10_000)]
    return _assistants(count, noise=noise, tool_resources={"code_interpreter": {"file_ids": ids}})


_PADDED: dict[str, Callable[[], Lies]] = {
    "an assistant with an id of 200 kB that names 20,000 files": lambda: {
        "definitions": lambda members: [
            replace(
                members[0],
                data=canonical(
                    {
                        "id": "a" * 200_000,
                        "tool_resources": {"code_interpreter": {"file_ids": [f"f{n}" for n in range(20_000)]}},
                    }
                ),
            ),
            *members[1:],
        ]
    },
    "millions of records in 100 kB": lambda: {
        "files": lambda lines: [*lines, b'{"id":"a"}'] + [b'{"id":"a"}'] * 2_000_000
    },
    "an index of line ends": lambda: {"index": lambda lines: [*lines, b"\n" * (60 << 20)], **_padded()},
    "as many lines as there may be": lambda: _files(55_000),
    "as many assistants as there may be": lambda: _assistants(50_000, noise=450_000),
    "as many references as there may be": lambda: _named_by_all(10),
    "a thousand assistants with 10,000 references": lambda: _named_by_all(1000, noise=300_000),
    "as many losses as there may be": lambda: _losses(11),
    "as many findings as there may be": lambda: {
        **_assistants(50_000, noise=500_000),
        "index": lambda lines: [{**line, "sha256": "0" * 64} for line in lines],
    },
    "as many values as there may be": lambda: _assistants(15, metadata={"x": [[]] * 60_000}),
    "many records of 8 MiB": lambda: _assistants(26, instructions="x" * ((8 << 20) - 100)),
    "many records of 8 MiB of brackets": lambda: _assistants(26, metadata={"x": [[]] * 2_790_000}),
}

WORST: dict[str, Callable[[], bytes]] = {
    made.__name__.replace("_", " "): made
    for made in (
        many_assistants,
        many_files,
        many_references,
        the_same_files,
        the_same_store,
        many_memberships,
        many_parts,
        a_large_text,
    )
} | {name: lambda name=name: forge(**_PADDED[name]()) for name in _PADDED}  # type: ignore[misc]
