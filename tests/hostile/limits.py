"""Bundles as large as their size allows: a megabyte or so that decodes to very many lines or references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.hostile.forge import Member, canonical, content, forge, ledger_line, record

__all__ = ["LIMITS"]

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


def _lines(count: int) -> dict[str, Callable[[Any], Any]]:
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


def many_parts(count: int = 1_000_000) -> bytes:
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


LIMITS: dict[str, Callable[[], bytes]] = {
    made.__name__: made
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
}
