"""The lies that a bundle may tell, each in one place, each with what verify must say about it.

``CERTAIN`` lies break a "must" of docs/format.md, so a proof has to find them. ``ODD`` bundles are strange, yet may be
whole: of those only is asked that nothing crashes, escapes or is taken in.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.hostile.forge import (
    BAG,
    BLOCK,
    Frame,
    Member,
    canonical,
    changed,
    content,
    file_object,
    header,
    joined,
    jsonl,
    ledger_line,
    pax,
    pax_header,
    record,
    seek_table,
    sha256,
)
from tests.hostile.later_lies import LATER_CONTRADICTIONS, later

__all__ = ["CERTAIN", "CONTRADICTIONS", "LIMITS", "NAMED", "NAMES", "ODD", "add", "bomb", "info", "name_lies"]

Lies = dict[str, Callable[[Any], Any]]

FIRST = "data/files/file-1/notes.txt"
ASSISTANT = "data/assistants/asst_1.json"
STORE = "data/vector_stores/vs_1.json"

NAMES = [
    "data/../../escape",
    "data/files/../../../escape",
    "data/./x",
    "data//x",
    "data/x/",
    "/data/escape",
    "../escape",
    "data/..",
    "data/a\0b",
    "data/a\nb",
    "data/a\u202eb",
    "data/\u200bx",
    "data/\x1b[2Jx",
    "data/\x9b2Jx",
    "data/con.json",
    "data/NUL",
    "data/com1.txt",
    "data/LPT\u00b9",
    "data/CONIN$",
    "data/a:b",
    "data/a\\..\\..\\b",
    "data/a*b",
    "data/C:",
    "data/-rf",
    "data/.hidden",
    "data/~root",
    "data/name.",
    "data/name ",
    "data/e\u0301",
    "data/a%2e",
    "data/" + "x" * 121,
    "data/" + "/".join(["d" * 100] * 12),
]
"""Paths that no bundle may have. Every component breaks a rule, or all of it does."""


# -- small steps ---------------------------------------------------------------------------------------------


def add(*members: Member) -> Callable[[list[Member]], list[Member]]:
    """More members in front of the others."""
    return lambda payload: [*members, *payload]


def info(**fields: Any) -> Lies:
    """Fields of holdall.json; a dictionary is laid over the one that is there."""

    def lie(honest: dict[str, Any]) -> dict[str, Any]:
        for name, value in fields.items():
            honest[name] = {**honest.get(name, {}), **value} if isinstance(value, dict) and value else value
        return honest

    return {"info": lie}


def line_of(path: str, /, **fields: Any) -> Lies:
    """One line of the index, changed."""

    def lie(lines: list[Any]) -> list[Any]:
        assert any(line["path"] == path for line in lines)
        return [{**line, **fields} if line["path"] == path else line for line in lines]

    return {"index": lie}


def shifted(path: str, /, **steps: int) -> Lies:
    def lie(lines: list[Any]) -> list[Any]:
        return [
            {**line, **{name: line[name] + step for name, step in steps.items()}} if line["path"] == path else line
            for line in lines
        ]

    return {"index": lie}


def raw_header(raw: bytes, path: str = FIRST) -> Lies:
    """One member's header, the index none the wiser."""
    return {"payload": lambda payload: changed(payload, path, raw=raw)}


def ledger(id: str, /, **fields: Any) -> Lies:
    return {"ledger": lambda lines: [{**line, **fields} if line["id"] == id else line for line in lines]}


def frame(number: int, change: Callable[[Frame], Frame]) -> Lies:
    def lie(frames: list[Frame]) -> list[Frame]:
        frames[number] = change(frames[number])
        return frames

    return {"frames": lie}


def _bytes_changed(one: Frame, position: int, mask: int) -> Frame:
    raw = bytearray(one.raw)
    raw[position] ^= mask
    return replace(one, raw=bytes(raw))


def bomb(blocks: int, *, declared: int, window: int | None = None, block: int = (1 << 17)) -> bytes:
    """A frame of ``blocks`` blocks of one byte repeated, whatever size it declares. No honest writer makes it."""
    single = window is None
    descriptor = 0b11000100 | (0b00100000 if single else 0)
    head = (
        b"\x28\xb5\x2f\xfd"
        + bytes([descriptor])
        + (b"" if window is None else bytes([window]))
        + struct.pack("<Q", declared)
    )
    body = b"".join(
        struct.pack("<I", block << 3 | 0b10 | (number == blocks - 1))[:3] + b"\0" for number in range(blocks)
    )
    return head + body + b"\0\0\0\0"


def _instead(raw: bytes, size: int, number: int = 4) -> Lies:
    return frame(number, lambda _: Frame(raw=raw, size=size, length=len(raw)))


def table(change: Callable[[list[tuple[int, int]]], list[tuple[int, int]]]) -> Lies:
    """Another seek table, well formed."""

    def lie(honest: bytes) -> bytes:
        pairs = list(struct.iter_unpack("<II", honest[8:-9]))[:-1]
        return seek_table(change(pairs))

    return {"table": lie}


def _swapped_pairs(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Two frames' sizes exchanged: the sums stay as they are."""
    other = next(number for number, pair in enumerate(pairs) if pair[1] != pairs[0][1])
    sizes = [size for _, size in pairs]
    sizes[0], sizes[other] = sizes[other], sizes[0]
    return [(length, size) for (length, _), size in zip(pairs, sizes, strict=True)]


def _moved(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    (a, b), (c, d) = pairs[3:5]
    return [*pairs[:3], (a + 1, b), (c - 1, d), *pairs[5:]]


def _group(change: Callable[[list[list[Member]]], list[list[Member]]]) -> Lies:
    return {"members": change}


def _swapped(groups: list[list[Member]], number: int, one: int, other: int) -> list[list[Member]]:
    group = groups[number]
    group[one], group[other] = group[other], group[one]
    return groups


def name_lies(name: str) -> Iterator[tuple[str, Lies]]:
    """The same name as a member that is there and listed, and as a line of the index alone."""
    member = Member(name, b"escaped\n")
    yield f"member {name!a:.60}", {"payload": add(member)}
    yield f"index says {name!a:.60}", line_of(STORE, path=name)
    stored = content("file-1", b"some words\n", path=name)
    yield (
        f"content {name!a:.60}",
        {
            "contents": lambda contents: [stored, *contents[1:]],
            **ledger("file-1", path=name),
        },
    )


def _two_indexes() -> Lies:
    """A content is an index of its own, and holdall.json speaks of that one."""
    other = jsonl([{"path": "data/other.json", "offset": 512, "size": 3, "sha256": sha256(b"Bag")}])
    spare = content("file-1", other)
    place: dict[str, Any] = {}

    def index(lines: list[Any]) -> list[Any]:
        place.update(next(line for line in lines if line["path"] == spare.path))
        return lines

    return {
        "contents": lambda contents: [spare, *contents[1:]],
        "index": index,
        "info": lambda honest: {**honest, "index": {key: place[key] for key in ("offset", "size", "sha256")}},
    }


def _hidden_index() -> Lies:
    """The index stands in bag-info.txt, and holdall.json says so; what is called index.jsonl is another."""
    hidden: dict[str, Any] = {}

    def tail(honest: list[Member]) -> list[Member]:
        about, manifest, index = honest
        hidden.update(before=len(about.data), size=len(index.data), sha256=sha256(index.data))
        about = replace(about, data=about.data + index.data)
        hidden["after"] = len(about.encoded()) - BLOCK
        return [about, manifest, replace(index, data=b"{}\n")]

    def lie(honest: dict[str, Any]) -> dict[str, Any]:
        offset = honest["manifest"]["offset"] - BLOCK - hidden["after"] + hidden["before"]
        return {**honest, "index": {"offset": offset, "size": hidden["size"], "sha256": hidden["sha256"]}}

    return {"tail": tail, "info": lie}


def _overlapping(lines: list[Any]) -> list[Any]:
    """Many names for the same bytes: what a small file would be unpacked to has no end."""
    first = next(line for line in lines if line["path"] == FIRST)
    more = [
        {**first, "path": f"data/files/copy-{number:03}/notes.txt", "id": f"copy-{number}"} for number in range(200)
    ]
    return sorted([*lines, *more], key=lambda line: line["path"])


DEEP = b"[" * 50_000 + b"]" * 50_000
HUGE = b"9" * 5_000


# -- what a proof has to find --------------------------------------------------------------------------------

_LINKS = {
    f"member of type {kind!r}": raw_header(header(f"{BAG}/{FIRST}", size, kind=kind, link=b"/etc/passwd"))
    for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"L", b"K", b"g", b"Z", b"\0")
    for size in ([11] if kind not in b"123456" else [0])
}


def _in_the_place_of_a_file(kind: bytes) -> Lies:
    """An empty content, listed everywhere, whose member is a link or a device."""
    stored = replace(content("file-1", b""), raw=header(f"{BAG}/{FIRST}", 0, kind=kind, link=b"bag/data/files.jsonl"))
    return {"contents": lambda contents: [stored, *contents[1:]], **ledger("file-1", size=0)}


_LINKS |= {f"nothing but a member of type {kind!r}": _in_the_place_of_a_file(kind) for kind in (b"1", b"2", b"3", b"6")}

_HEADERS = {
    "mode of another": raw_header(header(f"{BAG}/{FIRST}", 11, mode=b"0006777")),
    "checksum of a header": raw_header(
        header(f"{BAG}/{FIRST}", 11)[:148] + b"000000\0 " + header(f"{BAG}/{FIRST}", 11)[156:]
    ),
    "a size too large": raw_header(header(f"{BAG}/{FIRST}", 12_000)),
    "a size too small": raw_header(header(f"{BAG}/{FIRST}", 3)),
    "a size of 8 GiB": raw_header(header(f"{BAG}/{FIRST}", 8**11)),
    "a size of 2 ** 70": raw_header(header(f"{BAG}/{FIRST}", 2**70)),
    "a size of 1,000 digits": raw_header(header(f"{BAG}/{FIRST}", 10**999)),
    "a size in base 256": raw_header(
        header(f"{BAG}/{FIRST}", 11).replace(b"00000000013\0", b"\x80" + bytes(10) + b"\x0b")
    ),
    "a size that is no number": raw_header(header(f"{BAG}/{FIRST}", 11).replace(b"00000000013\0", b"-0000000013\0")),
    "a path that is another": raw_header(header(f"{BAG}/{FIRST}x", 11)),
    "a pax header of megabytes": raw_header(
        pax_header(pax(b"comment", b"x" * 3_000_000)) + header(f"{BAG}/{FIRST}", 11)
    ),
    "a path of megabytes": raw_header(pax_header(pax(b"path", b"a/" * 1_500_000)) + header("a", 11)),
    "a pax header that says sparse": raw_header(
        pax_header(pax(b"GNU.sparse.major", b"1") + pax(b"GNU.sparse.realsize", b"99999999999"))
        + header(f"{BAG}/{FIRST}", 11)
    ),
    "a pax header of another size": raw_header(pax_header(pax(b"size", b"11")) + header(f"{BAG}/{FIRST}", 0)),
    "a pax header of no sense": raw_header(pax_header(b"not a record\n") + header(f"{BAG}/{FIRST}", 11)),
    "a pax header that is cut": raw_header(pax_header(pax(b"path", b"x" * 700))[: 2 * BLOCK]),
    "two pax headers": raw_header(pax_header(pax(b"path", b"x")) * 2 + header(f"{BAG}/{FIRST}", 11)),
    "a pax path that is no UTF-8": raw_header(pax_header(pax(b"path", b"bag/data/\xff")) + header("bag/data/_", 11)),
    "a name that is no UTF-8": raw_header(header(f"{BAG}/{FIRST}", 11).replace(b"notes", b"n\xfftes")),
    "filling that isn't zeros": {"payload": lambda payload: changed(payload, FIRST, filling=b"x" * 501)},
    "filling that is too long": {"payload": lambda payload: changed(payload, FIRST, filling=bytes(501 + BLOCK))},
}

_TAR = {
    "a member twice": {"payload": add(content("file-1", b"some words\n"))},
    "a member twice, listed once": {
        "payload": add(content("file-1", b"other words\n")),
        "index": lambda lines: [line for line in lines if line["sha256"] != sha256(b"other words\n")],
    },
    "names that differ in case": {"payload": add(Member("data/files/FILE-1/Notes.TXT", b"x"))},
    "names that differ in normalisation": {
        "payload": add(Member("data/\u00e9", b"1"), Member("data/\u00c9", b"2")),
    },
    "a file that is a folder too": {"payload": add(Member("data/files/file-1", b"x"))},
    "a member that isn't listed": {
        "payload": add(Member("data/extra", b"x")),
        "index": lambda lines: [line for line in lines if line["path"] != "data/extra"],
    },
    "a tag file of another name": _group(lambda groups: [[*groups[0], Member("evil.sh", b"x")], *groups[1:]]),
    "a tag file twice": _group(lambda groups: [[*groups[0], *groups[0]], *groups[1:]]),
    "a tag file that is missing": _group(lambda groups: [groups[0][:2], *groups[1:]]),
    "holdall.json twice": _group(lambda groups: [[*groups[0], groups[3][0]], *groups[1:]]),
    "tag files in another order": _group(lambda groups: _swapped(groups, 0, 0, 1)),
    "the index before the manifest": _group(lambda groups: _swapped(groups, 2, 1, 2)),
    "payload behind the index": _group(
        lambda groups: [groups[0], groups[1][:-1], [*groups[2], groups[1][-1]], groups[3]]
    ),
    "payload in the last frame": _group(lambda groups: [*groups[:3], [*groups[3], Member("data/late", b"late")]]),
    "payload before bagit.txt": _group(lambda groups: [[], [*groups[1], *groups[0]], *groups[2:]]),
    "another bag's folder": raw_header(header(f"other/{FIRST}", 11)),
    "no folder": raw_header(header("data", 11)),
    "another bagit.txt": _group(
        lambda groups: [[replace(groups[0][0], data=b"BagIt-Version: 0.97\n"), *groups[0][1:]], *groups[1:]]
    ),
    "another oxum": _group(
        lambda groups: [*groups[:2], [replace(groups[2][0], data=b"Payload-Oxum: 1.1\n"), *groups[2][1:]], groups[3]]
    ),
    "bag-info that is no UTF-8": _group(
        lambda groups: [*groups[:2], [replace(groups[2][0], data=b"\xff\xfe\n"), *groups[2][1:]], groups[3]]
    ),
    "another tag manifest": _group(
        lambda groups: [*groups[:3], [groups[3][0], replace(groups[3][1], data=b"00  x\n")]]
    ),
    "a tar without end": {"last": lambda data: data[: -2 * BLOCK]},
    "a tar with half an end": {"last": lambda data: data[:-BLOCK]},
    "a tar that ends twice": {"last": lambda data: data + bytes(2 * BLOCK)},
    "bytes behind the tar's end": {"last": lambda data: data + b"x" * BLOCK},
    "a tar that ends early": {"tar": lambda pieces: [pieces[0], bytes(2 * BLOCK), *pieces[1:]]},
    "a tar cut in the middle": {"tar": lambda pieces: [*pieces[:5], pieces[5][:700]]},
    "the last frame is half a header": {"last": lambda data: data[:300]},
    "the last frame is half a pax header": {"last": lambda data: pax_header(pax(b"path", b"bag/" + b"x" * 90))},
    "the last frame is cut": {"last": lambda data: data[:1100]},
    "a tar that ends within a header": {"tar": lambda pieces: [*pieces[:5], pieces[5][:200]]},
    "the last frame begins elsewhere": {"last": lambda data: bytes(BLOCK) + data},
    "the last frame begins earlier": {
        "frames": lambda frames: [*frames[:-2], Frame.of(_joined(frames[-2:]))],
    },
}


_CUT_SMALL: Lies = {
    "tar": lambda pieces: [b"".join(pieces)[at : at + 300] for at in range(0, len(b"".join(pieces)), 300)]
}

_TAR |= {
    f"frames of 300 bytes, number {number} of them lost": {
        **_CUT_SMALL,
        **frame(number, lambda one: _bytes_changed(one, -1, 1)),
    }
    for number in (0, 5, 6, 13, 14, 20)
}


def _joined(frames: list[Frame]) -> bytes:
    import zstandard

    return b"".join(zstandard.ZstdDecompressor().decompress(one.raw) for one in frames)


_FRAMES = {
    "a frame that ends within a block": frame(2, lambda one: replace(one, raw=one.raw[:-9], length=one.length - 9)),
    "a frame that ends within a block's header": _instead(Frame.of(b"x").raw[:8], 1, number=1),
    "a frame that is its header alone": _instead(Frame.of(b"x").raw[:5], 1, number=1),
    "a frame of blocks without end": _instead(bomb(3, declared=3 << 17)[:-8], 3 << 17, number=0),
    "two frames in another order": {"frames": lambda frames: [frames[0], frames[2], frames[1], *frames[3:]]},
    "a frame twice": {"frames": lambda frames: [*frames[:2], frames[1], *frames[2:]]},
    "a frame that is missing": {"frames": lambda frames: [frames[0], *frames[2:]]},
    "an empty frame": {"frames": lambda frames: [frames[0], Frame.of(b""), *frames[1:]]},
    "a frame without checksum": {
        "frames": lambda frames: [_plain(frames[0], write_checksum=False, write_content_size=True), *frames[1:]],
    },
    "a frame without content size": {
        "frames": lambda frames: [_plain(frames[0], write_checksum=True, write_content_size=False), *frames[1:]],
    },
    "a frame with a dictionary": frame(
        0, lambda one: replace(one, raw=_with_dictionary(one.raw), length=one.length + 1)
    ),
    "a frame in two pieces": {
        "frames": lambda frames: [_pair(frames[0]), *frames[1:]],
    },
    "a skippable frame between": {
        "frames": lambda frames: [frames[0], Frame(b"\x50\x2a\x4d\x18\x04\0\0\0spam", 4, 12), *frames[1:]],
    },
    "a skippable frame that is not listed": {
        "frames": lambda frames: [
            replace(frames[0], raw=frames[0].raw + b"\x51\x2a\x4d\x18\x04\0\0\0spam"),
            *frames[1:],
        ],
    },
    "a frame that isn't one": _instead(b"MZ" + bytes(100), 4, number=0),
    "a frame of the reserved block type": _instead(b"\x28\xb5\x2f\xfd\x24\x04\x07\0\0" + bytes(8), 4, number=0),
    "a checksum that is another": frame(0, lambda one: _bytes_changed(one, -1, 0x40)),
    "a bit in a frame": frame(0, lambda one: _bytes_changed(one, len(one.raw) // 2, 0x10)),
    "a frame that declares more": frame(0, lambda one: replace(one, size=one.size + 512)),
    "a frame that holds more than it declares": _instead(bomb(8, declared=1000), 1000, number=0),
    "a frame that holds less than it declares": _instead(bomb(1, declared=1 << 20), 1 << 20, number=0),
    "a frame that expands ten thousand times": _instead(bomb(20_000, declared=4), 4, number=0),
    "a frame that is over the limit": _instead(bomb(520, declared=520 << 17), 520 << 17, number=0),
    "a frame whose window is over the limit": _instead(bomb(1, declared=1 << 17, window=0xF8), 1 << 17, number=0),
    "a frame whose size is 2 ** 63": _instead(bomb(1, declared=1 << 63), 1 << 17, number=0),
}


def _plain(one: Frame, **parameters: bool) -> Frame:
    import zstandard

    data = zstandard.ZstdDecompressor().decompress(one.raw)
    raw = zstandard.ZstdCompressor(**parameters).compress(data)
    return Frame(raw=raw, size=one.size, length=len(raw))


def _with_dictionary(raw: bytes) -> bytes:
    """The frame's header with a dictionary's number in it."""
    after = 5 if raw[4] & 0x20 else 6
    return raw[:4] + bytes([raw[4] | 1]) + raw[5:after] + b"\x07" + raw[after:]


def _pair(one: Frame) -> Frame:
    """Two frames listed as one."""
    data = _joined([one])
    parts = [Frame.of(data[:700]), Frame.of(data[700:])]
    return Frame(raw=parts[0].raw + parts[1].raw, size=one.size, length=sum(part.length for part in parts))


_TABLES = {
    "a table that lists other sizes": table(_swapped_pairs),
    "a table that lists other lengths": table(_moved),
    "a table that lists one frame less": table(lambda pairs: pairs[1:]),
    "a table that lists one frame more": table(lambda pairs: [*pairs, (10, 10)]),
    "a table that lists a frame of nothing": table(lambda pairs: [(0, 0), *pairs]),
    "a table that lists too large a frame": table(lambda pairs: [(pairs[0][0], 2**32 - 1), *pairs[1:]]),
    "a table that lists nothing": table(lambda pairs: []),
    "a table without seal": {"table": lambda raw: raw[:-17] + raw[-9:]},
    "a table that lists another seal": {"table": lambda raw: raw[:-17] + struct.pack("<II", 41, 0) + raw[-9:]},
    "a table whose frames are others": {
        "frames": lambda frames: [_pair(frames[0]), *frames[1:]],
        "seal": lambda raw: raw[:8] + bytes(32),
        **table(lambda pairs: [(pairs[0][0] - 30, 700), (30, pairs[0][1] - 700), *pairs[1:]]),
    },
    "a table with checksums": {"table": lambda raw: raw[:-5] + b"\x80" + raw[-4:]},
    "a table of four billion entries": {"table": lambda raw: raw[:-9] + b"\xff\xff\xff\xff" + raw[-5:]},
    "a table of another length": {"table": lambda raw: raw[:4] + b"\xff\xff\xff\x7f" + raw[8:]},
    "a table of another magic": {"table": lambda raw: b"\x5f" + raw[1:]},
    "a seek table of another magic": {"table": lambda raw: raw[:-1] + b"\0"},
    "no table": {"table": lambda raw: b""},
    "a seal of another digest": {"seal": lambda raw: raw[:8] + bytes(32)},
    "a seal of another length": {"seal": lambda raw: raw[:4] + b"\x1f" + raw[5:-1]},
    "a seal of another magic": {"seal": lambda raw: b"\x51" + raw[1:]},
    "no seal": {"seal": lambda raw: b""},
    "two seals": {"seal": lambda raw: raw * 2},
    "bytes behind the end": {"file": lambda raw: raw + b"x"},
    "zeros behind the end": {"file": lambda raw: raw + bytes(600)},
    "bytes before the start": {"file": lambda raw: b"x" + raw},
    "two bundles in one": {"file": lambda raw: raw * 2},
    "a bundle and a half": {"file": lambda raw: raw + raw[: len(raw) // 2]},
    "half a bundle": {"file": lambda raw: raw[: len(raw) // 2]},
    "ten bytes": {"file": lambda raw: raw[:10]},
    "four bytes": {"file": lambda raw: raw[:4]},
    "nothing": {"file": lambda raw: b""},
    "a bundle without its last byte": {"file": lambda raw: raw[:-1]},
    "only the first frames": {"file": lambda raw: raw[:600]},
}

_INDEX = {
    "an index with another offset": shifted(FIRST, offset=BLOCK),
    "an index with another size": shifted(FIRST, size=1),
    "an index with the header inside": shifted(FIRST, offset=-BLOCK, size=BLOCK),
    "an index with another hash": line_of(FIRST, sha256="0" * 64),
    "an index that points past the end": line_of(FIRST, offset=1 << 61),
    "an index that points before the start": line_of(FIRST, offset=-1),
    "an index of a size without end": line_of(FIRST, size=(1 << 62)),
    "an index of a size of 30 digits": line_of(FIRST, size=10**30),
    "an index with a line twice": {"index": lambda lines: [lines[0], *lines]},
    "an index in another order": {"index": lambda lines: lines[::-1]},
    "an index that lacks a line": {"index": lambda lines: lines[1:]},
    "an index of things that aren't there": {
        "index": lambda lines: [*lines, {"path": "data/zzz", "offset": 512, "size": 3, "sha256": "0" * 64}]
    },
    "an assistant that is no .json": {"payload": add(Member("data/assistants/a.txt", b"{}", {"id": "t"}))},
    "an index of things laid over each other": {"index": _overlapping},
    "an index of no JSON": {"index": lambda lines: [*lines, b"{"]},
    "an index with an empty line": {"index": lambda lines: [*lines, b""]},
    "an index of lists": {"index": lambda lines: [*lines, b"[]"]},
    "an index nested without end": {"index": lambda lines: [*lines, b'{"path":"data/zzz","x":' + DEEP + b"}"]},
    "an index with a number of 5,000 digits": {
        "index": lambda lines: [*lines, b'{"path":"data/zzz","offset":0,"size":' + HUGE + b',"sha256":""}']
    },
    "an index that is no UTF-8": {
        "index": lambda lines: [*lines, b'{"path":"data/\xff","offset":0,"size":0,"sha256":""}']
    },
    "an index with a line of megabytes": {
        "index": lambda lines: [
            *lines,
            b'{"path":"data/zzz","offset":0,"size":0,"sha256":"","x":"' + b"x" * 9_000_000 + b'"}',
        ]
    },
    "an index whose last line has no end": {
        "members": lambda groups: [
            *groups[:2],
            [*groups[2][:2], replace(groups[2][2], data=groups[2][2].data[:-1])],
            groups[3],
        ]
    },
    "an index of a fidelity that there isn't": line_of(FIRST, rung="stolen"),
    "another manifest": {"manifest": lambda raw: raw.replace(b"0", b"1")},
    "a manifest in another order": {"manifest": lambda raw: b"".join(sorted(raw.splitlines(keepends=True)))},
    "a manifest that lacks a line": {"manifest": lambda raw: raw.split(b"\n", 1)[1]},
    "a manifest with a line more": {"manifest": lambda raw: raw + b"0" * 64 + b"  data/zzz\n"},
    "a manifest of no sense": {"manifest": lambda raw: b"\xff" * 1000 + b"\n"},
    "a manifest of one line": {"manifest": lambda raw: b"x" * 100_000},
    "no manifest": {"manifest": lambda raw: b""},
}

_INFO = {
    "two indexes": _two_indexes(),
    "an index that hides": _hidden_index(),
    "an index elsewhere": info(index={"offset": 1024}),
    "an index past the end": info(index={"offset": 1 << 61}),
    "an index without end": info(index={"size": 1 << 62}),
    "an index before the start": info(index={"offset": -512}),
    "an index of another hash": info(index={"sha256": "0" * 64}),
    "a manifest past the end": info(manifest={"offset": 1 << 62}),
    "a manifest of another hash": info(manifest={"sha256": "x"}),
    "counts that are others": info(counts={"files": 5}),
    "counts of memberships": info(counts={"memberships": 0}),
    "counts of entries": info(counts={"entries": 0}),
    "counts of bytes": info(counts={"bytes": 1}),
    "counts below zero": info(counts={"assistants": -1}),
    "counts of 30 digits": info(counts={"assistants": 10**30}),
    "agents that aren't there": info(counts={"agents": 3}),
    "agents that aren't counted": {
        "definitions": lambda members: [*members, record("agents", "agent_1", name="x")],
        "info": lambda honest: {**honest, "counts": {k: v for k, v in honest["counts"].items() if k != "agents"}},
    },
    "fidelities that are others": info(rungs={"original": {"files": 3, "bytes": 0}}),
    "fidelities that are missing": info(rungs={}),
    "a digest that is another": info(digests={"definitions": "h1:" + "0" * 64}),
    "a digest of contents": info(digests={"contents": "x"}),
    "a digest of agents": info(digests={"agents": "h1:"}),
    "a newer format": info(format="2.0"),
    "a format of 5,000 digits": info(format="9" * 5_000 + ".0"),
    "an older format": info(format="0.9"),
    "a format that is none": info(format="one"),
    "a format of another type": info(format=1.0),
    "holdall.json that is empty": {"info_raw": lambda raw: b""},
    "holdall.json that is no JSON": {"info_raw": lambda raw: raw[:-20]},
    "holdall.json that is a list": {"info_raw": lambda raw: b"[" + raw + b"]"},
    "holdall.json that is no UTF-8": {"info_raw": lambda raw: raw.replace(b"forge", b"\xff\xff")},
    "holdall.json nested without end": {"info_raw": lambda raw: raw[:-2] + b',"x":' + DEEP + b"}"},
    "holdall.json with options nested": {
        "info_raw": lambda raw: raw.replace(b'"options": {}', b'"options": {"x":' + DEEP + b"}")
    },
    "holdall.json of megabytes": {"info_raw": lambda raw: raw[:-2] + b',"x":[' + b"[]," * 3_000_000 + b"1]}"},
    "times of 300 digits": info(started=10**300),
    "times below zero": info(started=-(10**15)),
    "times after the year 9999": info(ended=253_402_300_800),
}


def _without(path: str) -> Lies:
    return {"payload": lambda payload: [member for member in payload if member.path != path]}


_REFERENCES = {
    "a ledger in another order": {"ledger": lambda lines: lines[::-1]},
    "a ledger with a line twice": {"ledger": lambda lines: [lines[0], *lines]},
    "a ledger that lacks a line": {"ledger": lambda lines: lines[1:]},
    "a ledger that names another content": ledger("file-1", path="data/files/file-2/bytes.bin"),
    "a ledger that names nothing": ledger("file-1", path="data/files/none"),
    "a ledger with another size": ledger("file-1", size=5),
    "a ledger with another fidelity": ledger("file-1", rung="supplied"),
    "a ledger that calls it unavailable": ledger("file-1", rung="unavailable", path=None),
    "a ledger with a fidelity that there isn't": ledger("file-1", rung="stolen"),
    "a ledger of no JSON": {"ledger": lambda lines: [*lines, b"x"]},
    "a ledger of 5,000 digits": {"ledger": lambda lines: [*lines, b'{"id":"z","expected":' + HUGE + b"}"]},
    "a ledger nested without end": {"ledger": lambda lines: [*lines, b'{"id":"z","x":' + DEEP + b"}"]},
    "one store for two": {
        "definitions": lambda members: [
            *members,
            Member("data/vector_stores/again.json", members[1].data, {"id": "vs_1"}),
        ],
    },
    "no ledger": _without("data/ledger.jsonl"),
    "no file objects": _without("data/files.jsonl"),
    "no memberships": _without("data/vector_stores/vs_1.files.jsonl"),
    "no store": _without(STORE),
    "memberships of a store that isn't there": line_of("data/vector_stores/vs_1.files.jsonl", id="vs_2"),
    "a content that no ledger knows": {"contents": lambda contents: [*contents, content("file-9", b"x")]},
    "a member that no ledger knows": {"memberships": lambda lines: [*lines, {"id": "file-9"}]},
    "a file that no ledger knows": {"files": lambda lines: [*lines, {"id": "file-9"}]},
    "memberships of no JSON": {"memberships": lambda lines: [*lines, b"{"]},
    "a membership without id": {"memberships": lambda lines: [*lines, {}]},
    "a file that is no object": {"files": lambda lines: [*lines, b"7"]},
    "a file nested without end": {"files": lambda lines: [*lines, b'{"id":"file-1","x":' + DEEP + b"}"]},
}


def _record(raw: bytes, path: str = ASSISTANT) -> Lies:
    return {"definitions": lambda members: changed(members, path, data=raw)}


_RECORDS = {
    "a record that is empty": _record(b""),
    "a record that is no JSON": _record(b'{"id": "asst_1"'),
    "a record that is a list": _record(b'["asst_1"]'),
    "a record without id": _record(b"{}"),
    "a record whose id is a number": _record(b'{"id": 7}'),
    "a record that is no UTF-8": _record(b'{"id": "asst_1", "name": "\xff"}'),
    "a record nested without end": _record(b'{"id": "asst_1", "metadata": {"x": ' + DEEP + b"}}"),
    "a record nested too deeply": _record(b'{"id": "asst_1", "metadata": {"x": ' + b"[" * 600 + b"]" * 600 + b"}}"),
    "a record of megabytes": _record(b'{"id": "asst_1", "instructions": "' + b"x" * 9_000_000 + b'"}'),
    "a line of megabytes": {
        "files": lambda lines: [b'{"id": "file-1", "x": "' + b"x" * 9_000_000 + b'"}', *lines[1:]],
    },
}

LONG = "a" * 513


def _assistant(**fields: Any) -> Lies:
    def lie(members: list[Member]) -> list[Member]:
        whole = json.loads(members[0].data) | fields
        return changed(members, ASSISTANT, data=canonical(whole))

    return {"definitions": lie}


def _many(count: int) -> Lies:
    """A file object so often, all else right but for how small the bundle is."""
    return {"files": lambda lines: lines * (count // len(lines))}


LIMITS: dict[str, tuple[Lies, str]] = {
    "an assistant with a long id": (
        {
            "definitions": lambda members: [
                *members,
                Member("data/assistants/long.json", canonical({"id": LONG}), {"id": LONG}),
            ]
        },
        "an id longer than 512 bytes",
    ),
    "an agent with a long id": (
        {"definitions": lambda members: [*members, Member("data/agents/x.json", canonical({"id": LONG}), {"id": "x"})]},
        "an id longer than 512 bytes",
    ),
    "an assistant that names a file of a long id": (
        _assistant(tool_resources={"code_interpreter": {"file_ids": [LONG]}}),
        "an id longer than 512 bytes",
    ),
    "an assistant that names a store of a long id": (
        _assistant(tool_resources={"file_search": {"vector_store_ids": [LONG]}}),
        "an id longer than 512 bytes",
    ),
    "a tool that names a store of a long id": (
        _assistant(tools=[{"type": "file_search", "vector_store_ids": [LONG]}]),
        "an id longer than 512 bytes",
    ),
    "a membership with a long id": (
        {"memberships": lambda lines: [*lines, {"id": LONG}]},
        "an id longer than 512 bytes",
    ),
    "a file with a long id": ({"files": lambda lines: [*lines, {"id": LONG}]}, "an id longer than 512 bytes"),
    "a ledger with a long id": (
        {"ledger": lambda lines: [ledger_line(LONG, None), *lines]},
        "an id longer than 512 bytes",
    ),
    "an index with a long id": (line_of(FIRST, id=LONG), "an id longer than 512 bytes"),
    "an index with a long name": (line_of(FIRST, filename=LONG * 130), "a file name longer than 4096 bytes"),
    "a file object with a long name": (
        {"files": lambda lines: [{**lines[0], "filename": LONG * 130}, *lines[1:]]},
        "a file name longer than 4096 bytes",
    ),
    "a ledger nested 201 deep": (
        {"ledger": lambda lines: [{**lines[0], "x": json.loads("[" * 201 + "]" * 201)}, *lines[1:]]},
        "nested more than 200",
    ),
    "an assistant with 1,001 tools": (_assistant(tools=[{}] * 1001), "1001 tools, more than 1000"),
    "an assistant with 10,001 references": (
        _assistant(tool_resources={"code_interpreter": {"file_ids": ["file-1"] * 10_001}}),
        "refers to more than 10000",
    ),
    "an assistant with 600,000 values": (_assistant(metadata={"x": [0] * 600_000}), "more than 500000 values"),
    "an assistant nested 201 deep": (_assistant(metadata=json.loads("[" * 200 + "]" * 200)), "nested more than 200"),
    "a record of more than 8 MiB": (
        _assistant(instructions=random.Random(1).randbytes(4 << 20).hex()),
        "which is too large",
    ),
    "a content of zeros": (
        {"contents": lambda members: [replace(members[0], data=bytes(40 << 20)), *members[1:]]},
        "too many for a file of this size",
    ),
    "more lines than the file is long": (_many(4000), "the limit for a bundle of this size"),
    "more lines than are counted": (
        {**_many(4000), **info(counts={"files": 4})},
        "the limit for a bundle of this size",
    ),
    "more lines than the index tells": (
        {**_many(4000), **line_of("data/files.jsonl", records=4), **info(counts={"files": 4})},
        "more lines than",
    ),
    "more members than the file is long": (
        {
            "payload": add(*(Member(f"data/{number}") for number in range(4000))),
            "index": lambda lines: lines[-8:],
            **joined(),
        },
        "too many members for a bundle of this size",
    ),
    "entries that are larger than the bundle": (
        {"index": lambda lines: [{**line, "offset": 0, "size": 10_000} for line in lines]},
        "its entries are larger than the bundle",
    ),
    "more references than the file is long": (
        {
            "definitions": lambda members: [
                *members,
                *(
                    record("assistants", f"asst_{number + 2}", tools=[{}] * 900, metadata={"x": "x" * 2000})
                    for number in range(20)
                ),
            ]
        },
        "tools and references, the limit",
    ),
    "more values than the file is long": (
        {
            "definitions": lambda members: [
                *members,
                *(record("assistants", f"asst_{number + 2}", metadata={"x": [0] * 20_000}) for number in range(5)),
            ]
        },
        "too many values for a bundle",
    ),
}
"""What is over one of the limits of docs/format.md, and what is said of it."""


def text(raw: bytes, *, cut: bool = False) -> Lies:
    """A parsed text of other bytes; ``cut``: the ledger says that it stops short."""
    return {
        "contents": lambda contents: [*contents[:2], replace(contents[2], data=raw)],
        **ledger("file-3", size=len(raw), truncated=cut),
    }


def losses(*lines: Any, declared: dict[str, int] | None = None) -> Lies:
    """A list of losses; ``declared`` is what holdall.json says of all."""
    member = Member("data/losses.jsonl", jsonl(list(lines)), {"records": len(lines)})
    return {"payload": lambda payload: [*payload, member], **(info(losses=declared) if declared else {})}


def lost(reason: str, kind: str | None = None, id: str | None = None) -> Lies:
    """One loss, with all that it says of itself."""
    fields = {"reason": reason, "kind": kind, "id": id}
    return losses({name: value for name, value in fields.items() if value is not None})


def stored_text(store: str, **fields: Any) -> Lies:
    """The text of file-3 under another store's name; ``fields`` are what the ledger says then."""
    path = f"data/text/{store}/file-3.json"
    return {
        "contents": lambda contents: [*contents[:2], replace(contents[2], path=path)],
        **ledger("file-3", path=path, **fields),
    }


def declared(id: str, size: Any, *, expected: int | None) -> Lies:
    """What the file object says of the size, and what the ledger says of that."""
    return {
        "files": lambda lines: [{**line, "bytes": size} if line["id"] == id else line for line in lines],
        **ledger(id, expected=expected),
    }


def counted(total: int | None, **others: int) -> Lies:
    """What the store says of the number of its files."""
    data = canonical({"id": "vs_1", "file_counts": {"total": total, **others}})
    return {"definitions": lambda members: changed(members, STORE, data=data)}


def text_route(store: str, file: str = "file-3") -> str:
    return f"/vector_stores/{store}/files/{file}/content"


def _told(lies: Lies, told: Lies, **all_losses: int) -> Lies:
    """``lies`` in a bundle that counts its losses, ``told`` among them."""
    return {**lies, **told, **info(losses={"files": 1, **all_losses})}


def bag_info(template: str) -> Lies:
    def lie(tail: list[Member]) -> list[Member]:
        oxum = tail[0].data.decode().split(": ")[1].strip()
        return [replace(tail[0], data=template.replace("{oxum}", oxum).encode()), *tail[1:]]

    return {"tail": lie}


def raw_index(old: bytes, new: bytes) -> Lies:
    """The index with other bytes in it, of which nothing else knows."""

    def lie(tail: list[Member]) -> list[Member]:
        assert old in tail[2].data
        return [*tail[:2], replace(tail[2], data=tail[2].data.replace(old, new, 1))]

    return {"tail": lie}


def raw_payload(path: str, old: bytes, new: bytes) -> Lies:
    def lie(payload: list[Member]) -> list[Member]:
        data = next(member.data for member in payload if member.path == path)
        assert old in data
        return changed(payload, path, data=data.replace(old, new, 1))

    return {"payload": lie}


def raw_info(old: bytes, new: bytes) -> Lies:
    def lie(raw: bytes) -> bytes:
        assert old in raw
        return raw.replace(old, new, 1)

    return {"info_raw": lie}


_MEMBERS = "data/vector_stores/vs_1.files.jsonl"
_AGENT = record("agents", "agent_1", name="x")
_SECOND = content("file-1", b"other words\n", path="data/files/file-1-2/notes.txt")


def _another_file(id: str) -> Lies:
    """One more file, before the others, and all that is said of it."""
    stored = content(id, b"other words\n")
    return {
        "contents": lambda contents: [stored, *contents],
        "ledger": lambda lines: [ledger_line(id, stored, route=f"/files/{id}/content"), *lines],
        "files": lambda lines: [{**lines[0], "id": id, "bytes": len(stored.data)}, *lines],
    }


CONTRADICTIONS: dict[str, tuple[str, Lies]] = {
    # -- the index
    "an index with another id for a record": ("index", line_of(ASSISTANT, id="asst_2")),
    "an index with another filename": ("reference", line_of(FIRST, filename="words.txt")),
    "an index with more records": ("count", line_of("data/ledger.jsonl", records=5)),
    "an index with fewer records": ("count", line_of(_MEMBERS, records=0)),
    "an index without records": ("index", raw_index(b'"records":4,', b"")),
    "an index with records of what is no .jsonl": ("index", line_of(STORE, records=1)),
    "an index with a filename of a record": ("index", line_of(STORE, filename="a store")),
    "an index with an id of the ledger": ("index", line_of("data/ledger.jsonl", id="ledger")),
    "an index with a field of null": ("index", line_of(STORE, filename=None)),
    "an index with an unknown field of null": ("index", line_of(STORE, x=None)),
    "an index with a text as the original": (
        "index",
        {**line_of("data/text/vs_1/file-3.json", rung="original"), **ledger("file-3", rung="original")},
    ),
    "an index with an original as a text": ("index", {**line_of(FIRST, rung="text"), **ledger("file-1", rung="text")}),
    "an index with a key twice": ("index", raw_index(b'{"id":"asst_1",', b'{"id":"asst_1","id":"asst_1",')),
    "an index with an unknown key twice": ("index", raw_index(b'{"id":"asst_1",', b'{"x":1,"x":1,"id":"asst_1",')),
    "an index with a key twice inside": (
        "index",
        raw_index(b'{"id":"asst_1",', b'{"x":{"y":1,"\\u0079":2},"id":"asst_1",'),
    ),
    "an index with a line of many values": (
        "index",
        raw_index(b'{"id":"asst_1",', b'{"x":[' + b"1," * 200 + b'1],"id":"asst_1",'),
    ),
    "an entry in no place": ("index", {"payload": add(Member("data/threads/t.json", b"{}", {"id": "t"}))}),
    "an entry below an assistant": (
        "index",
        {
            "definitions": lambda members: [
                *members,
                replace(record("assistants", "t"), path="data/assistants/t/t.json"),
            ]
        },
    ),
    "a content in no folder": ("index", {"payload": add(Member("data/files/readme", b"{}"))}),
    "a file without fidelity": ("index", {"payload": add(Member("data/files/file-9/a", b"x", {"id": "file-9"}))}),
    # -- the ledger
    "a ledger with another filename": ("reference", {**ledger("file-4", filename="other.pdf")}),
    "a ledger without the filename": ("reference", ledger("file-4", filename=None)),
    "a ledger without the expected size": ("reference", ledger("file-4", expected=None)),
    "a ledger with an expected size of nothing": ("reference", declared("file-4", None, expected=0)),
    "a ledger with a filename of nothing": (
        "reference",
        {"files": lambda lines: [*lines[:3], {**lines[3], "filename": None}]},
    ),
    "a ledger with an expected size below zero": ("damaged", ledger("file-4", expected=-7)),
    "a ledger with an expected size over the limit": ("damaged", declared("file-4", 2**62 + 1, expected=2**62 + 1)),
    "a ledger with an expected size that can be and is null": ("reference", declared("file-4", 2**62, expected=None)),
    "a ledger with another size than was declared": (
        "count",
        _told(declared("file-1", 12, expected=12), {}),
    ),
    "a ledger with an original that was refused": ("record", ledger("file-1", status=403)),
    "a ledger with an original that was refused in a word": ("record", ledger("file-1", code="not_found")),
    "a ledger with a route to a key": (
        "record",
        ledger("file-1", route="/files/file-1/content -> https://u:p@example.com/x?key"),
    ),
    "a ledger with a route to nothing": ("record", ledger("file-1", route="/files/file-1/content -> ")),
    "a ledger with an original outside of the folder": (
        "record",
        {
            "contents": lambda contents: [
                replace(contents[0], about=contents[0].about | {"rung": "supplied"}),
                *contents[1:],
            ],
            **ledger("file-1", rung="supplied", route="../../notes.txt"),
        },
    ),
    "a ledger with a message without end": ("damaged", ledger("file-4", message="x" * 70_000)),
    "a loss without a reason": ("record", losses({"reason": ""})),
    "a loss of a kind that is null": ("record", losses({"reason": "lists", "kind": None, "id": "/files"})),
    "a loss with a message without end": ("damaged", losses({"reason": "lists", "message": "x" * 70_000})),
    "a ledger with the route of another file": ("record", ledger("file-1", route="/files/file-2/content")),
    "a ledger with the route of another file's text": (
        "record",
        ledger("file-3", route=text_route("vs_1", "file-2")),
    ),
    "a ledger with the route of another file to nothing": ("record", ledger("file-4", route="/files/file-2/content")),
    "a ledger with an original by the route of a text": (
        "record",
        ledger("file-1", route=text_route("vs_1", "file-1")),
    ),
    "a ledger with a text by the route of an original": ("record", ledger("file-3", route="/files/file-3/content")),
    # -- what belongs to a store
    "a membership of another store": (
        "reference",
        {"memberships": lambda lines: [{**lines[0], "vector_store_id": "vs_2"}, *lines[1:]]},
    ),
    "a text of a store that isn't there": ("reference", stored_text("vs_2")),
    "a text of a store that doesn't hold the file": (
        "reference",
        {"memberships": lambda lines: [line for line in lines if line["id"] != "file-3"]},
    ),
    "a text that was read from another store": ("reference", ledger("file-3", route=text_route("vs_2"))),
    "a text that was read from a store and lies elsewhere": (
        "reference",
        stored_text("vs_2", route=text_route("vs_1")),
    ),
    "a text that was read from a store that isn't there and lies elsewhere": (
        "reference",
        stored_text("vs_2", route=text_route("vs_3")),
    ),
    "a store that counts more than it has": ("count", _told(counted(5), {})),
    "a store that counts more than it has, and no total": ("count", _told(counted(None, completed=3, failed=2), {})),
    "a ledger with another expected size": ("reference", ledger("file-4", expected=8)),
    "a ledger with a size of what isn't there": ("record", {**ledger("file-4", size=0)}),
    "a ledger with a status of no server": ("record", ledger("file-4", status=0)),
    "a ledger with a negative status": ("record", ledger("file-4", status=-404)),
    "a ledger with a status of 30 digits": ("record", ledger("file-4", status=10**30)),
    "a ledger with an original that stops short": ("record", ledger("file-1", truncated=True)),
    "a ledger with a doubt of an original": (
        "record",
        {**ledger("file-1", doubt="joined")},
    ),
    "a ledger with a doubt that says nothing": ("record", ledger("file-3", doubt="")),
    "a ledger with a text that stops short, and it doesn't": ("reference", ledger("file-3", truncated=True)),
    "a ledger with a key twice": (
        "record",
        raw_payload("data/ledger.jsonl", b'"status":404,', b'"status":403,"status":404,'),
    ),
    "a ledger with a line of many values": (
        "record",
        raw_payload("data/ledger.jsonl", b'"status":404,', b'"status":404,"x":[' + b"[]," * 200 + b"1],"),
    ),
    # -- names that are one on some systems
    "two files whose ids differ in case alone": ("name", _another_file("FILE-1")),
    # -- ids that are there twice
    "one file object for two": ("reference", {"files": lambda lines: [lines[0], *lines]}),
    "one membership for two": ("reference", {"memberships": lambda lines: [lines[0], *lines]}),
    "two contents of one file": ("reference", {"contents": lambda contents: [*contents, _SECOND]}),
    "one assistant for two": (
        "index",
        {"definitions": lambda members: [*members, replace(members[0], path="data/assistants/again.json")]},
    ),
    "one agent for two": (
        "index",
        {"definitions": lambda members: [*members, _AGENT, replace(_AGENT, path="data/agents/again.json")]},
    ),
    "memberships beside another store": (
        "reference",
        {
            "definitions": lambda members: [
                members[0],
                replace(members[1], path="data/vector_stores/vs_2.json"),
            ]
        },
    ),
    # -- parsed texts
    "a text that is no JSON": ("record", text(b"parsed words")),
    "a text that is empty": ("record", text(b"")),
    "a text that is a list": ("record", text(b'[{"data":[]}]')),
    "a text without its end": ("record", text(b'{"pages":[{"data":[]}]}')),
    "a text with more in it": ("record", text(b'{"pages":[],"truncated":false,"x":1}')),
    "a text with pages twice": ("record", text(b'{"pages":[],"pages":[],"truncated":false}')),
    "a text of no pages": ("record", text(b'{"pages":{},"truncated":false}')),
    "a text with a page that is a string": ("record", text(b'{"pages":["words"],"truncated":false}')),
    "a text with a page that is a list": ("record", text(b'{"pages":[[]],"truncated":false}')),
    "a text with pages that are no list": ("record", text(b'{"pages":[{} {}],"truncated":false}')),
    "a text with a part that is a number": ("record", text(b'{"pages":[{"data":[{"text":5}]}],"truncated":false}')),
    "a text with a part that is no object": ("record", text(b'{"pages":[{"data":["x"]}],"truncated":false}')),
    "a text that may be truncated": ("record", text(b'{"pages":[],"truncated":"x"}')),
    "a text that is no UTF-8": ("record", text(b'{"pages":[{"data":[{"text":"\xff"}]}],"truncated":false}')),
    "a text nested without end": ("record", text(b'{"pages":[{"x":' + DEEP + b'}],"truncated":false}')),
    "a text of more than can be": (
        "record",
        text(b'{"pages":[{"x":[' + b'"",' * 300_000 + b'1]}],"truncated":false}'),
    ),
    "a text that stops short, and the ledger doesn't say so": ("reference", text(b'{"pages":[],"truncated":true}')),
    # -- holdall.json
    "counts that are missing": (
        "index",
        {"info": lambda honest: {**honest, "counts": {k: v for k, v in honest["counts"].items() if k != "files"}}},
    ),
    "counts of what nobody counts": ("index", info(counts={"threads": 0})),
    "an end before the start": ("index", info(started=1_700_000_061)),
    "no agents, counted": ("index", info(counts={"agents": 0})),
    "a version for agents that aren't there": ("index", info(format="1.1")),
    "a version without agents that are there": (
        "index",
        {"definitions": lambda members: [*members, _AGENT], **info(format="1.0")},
    ),
    "a minimum that can't be asked for": ("index", info(min_rung="supplied")),
    "a minimum that there isn't": ("index", info(min_rung="stolen")),
    "a minimum of null": ("index", info(min_rung=None)),
    "a digest of null": ("index", info(digests={"agents": None})),
    "losses of null": ("index", info(losses=None)),
    "losses of none": ("count", info(losses={"files": 1, "records": 0})),
    "losses that are others": ("count", info(losses={"files": 2})),
    "a fidelity that there isn't": ("index", info(rungs={"stolen": {"files": 0, "bytes": 0}})),
    "a fidelity of no file": ("count", info(rungs={"container": {"files": 0, "bytes": 0}})),
    "holdall.json with a key twice": ("index", raw_info(b'"tool": ', b'"tool": "another", "tool": ')),
    "holdall.json with a count twice": ("index", raw_info(b'"entries": ', b'"entries": 1, "entries": ')),
    "holdall.json with an option twice": ("index", raw_info(b'"options": {}', b'"options": {"a": 1, "a": 2}')),
    "holdall.json of many values": (
        "index",
        raw_info(b'"options": {}', b'"options": {"x": [' + b"[]," * 200_000 + b"1]}"),
    ),
    # -- the losses
    "a loss that the ledger would say": ("record", losses({"reason": "texts_cut", "id": "file-9", "message": ""})),
    "losses in another order": ("record", losses({"reason": "records"}, {"reason": "lists"})),
    "a loss with a key twice": ("record", losses(b'{"reason":"lists","reason":"lists"}')),
    "an empty list of losses": ("index", losses()),
    "a loss of a store that is there": ("reference", lost("stores", "vector_store", "vs_1")),
    "a loss of an assistant that is there": ("reference", lost("records", "assistant", "asst_1")),
    "a loss of an agent that is there": (
        "reference",
        {"definitions": lambda members: [*members, _AGENT], **lost("records", "agent", "agent_1")},
    ),
    "a loss of a store's record that is there": ("reference", lost("records", "vector_store", "vs_1")),
    "a loss of a file object that is there": ("reference", lost("records", "file", "file-4")),
    "a loss of a membership that is there": ("reference", lost("records", "membership", "file-4")),
    "a loss of a content that the ledger has": ("reference", lost("files", "file", "file-1")),
    "a loss of a content that the ledger calls unavailable": ("reference", lost("files", "file", "file-4")),
    "a key in an assistant that isn't there": ("reference", lost("keys", "assistant", "asst_2")),
    "a key in a file object that isn't there": ("reference", lost("keys", "file", "file-9")),
    "a key in a membership that isn't there": ("reference", lost("keys", "membership", "file-9")),
    "a reference in a store that isn't there": ("reference", lost("references", "vector_store", "vs_2")),
    "a change of an agent that isn't there": ("reference", lost("changed", "agent", "agent_2")),
    "a loss of a store that is an assistant": ("record", lost("stores", "assistant", "asst_2")),
    "a loss of a content that is a store": ("record", lost("files", "vector_store", "vs_2")),
    "a change of a file": ("record", lost("changed", "file", "file-1")),
    "a loss of a record of no kind": ("record", lost("records", None, "asst_2")),
    "a loss of a record of no id": ("record", lost("records", "assistant")),
    # -- tag files
    "a bag-info of another day": ("count", bag_info("Payload-Oxum: {oxum}\nBagging-Date: 2001-01-01\n")),
    "a bag-info with two oxums": ("count", bag_info("Payload-Oxum: {oxum}\npayload-oxum: 1.1\n")),
    "a bag-info without oxum": ("count", bag_info("Bagging-Date: 2026-01-01\n")),
    "a bag-info of another label": ("count", bag_info("Payload-Oxum: {oxum}\nHoldall-Source-Label: mine\n")),
    "a bag-info of another tool": ("count", bag_info("Payload-Oxum: {oxum}\nBag-Software-Agent: other 1\n")),
    "a bag-info with a folded line": ("tar", bag_info("Payload-Oxum: {oxum}\nLabel: a\n  b\n")),
    "a bag-info with a line that says nothing": ("tar", bag_info("Payload-Oxum: {oxum}\nhello\n")),
    "a bag-info without its end": ("tar", bag_info("Payload-Oxum: {oxum}")),
    **LATER_CONTRADICTIONS,
}
"""Statements that contradict another one or the format, each by itself; the code is that of all findings there are."""

CERTAIN: dict[str, Lies] = {
    **{name: lies for name, (lies, _) in LIMITS.items()},
    **{name: lies for name, (_, lies) in CONTRADICTIONS.items()},
    **_LINKS,
    **_HEADERS,
    **_TAR,
    **_FRAMES,
    **_TABLES,
    **_INDEX,
    **_INFO,
    **_REFERENCES,
    **_RECORDS,
}

NAMED = {path: list(name_lies(path)) for path in NAMES}


# -- strange, but not for a proof to refuse ------------------------------------------------------------------

_RUDE = "\x1b[2J\u202e\x07\r\nError: forged\x9b31m\0"


def _rude_ids() -> Lies:
    """An id of control characters, where it is whole and listed everywhere."""
    stored = content(_RUDE, b"x", name=_RUDE, path="data/files/rude/rude")
    line = ledger_line(_RUDE, stored, message=_RUDE)
    return {
        "contents": lambda contents: [stored, *contents],
        "ledger": lambda lines: [line, *lines],
        "memberships": lambda lines: [{"id": _RUDE}, *lines],
        "files": lambda lines: [file_object(line), *lines],
    }


def named(id: str, name: str, *, said: str | None = None) -> Lies:
    """A file of another name, wherever it is said; ``said`` is what the index says of it."""
    return {
        "contents": lambda contents: [
            replace(one, about={**one.about, "filename": said or name}) if one.about["id"] == id else one
            for one in contents
        ],
        **ledger(id, filename=name),
        "files": lambda lines: [{**line, "filename": name} if line["id"] == id else line for line in lines],
    }


def _odd_files(**fields: Any) -> Lies:
    """File objects with such fields, of which the ledger then says nothing."""
    unknown: dict[str, Any] = {"filename": None} if "filename" in fields else {}
    return {
        "files": lambda lines: [{**line, **fields} for line in lines],
        "ledger": lambda lines: [{**line, "expected": None, **unknown} for line in lines],
        "contents": lambda contents: [
            replace(one, about={key: value for key, value in one.about.items() if key not in unknown})
            for one in contents
        ],
    }


ODD: dict[str, Lies] = {
    "an honest bundle": {},
    "an honest bundle of all kinds": later(),
    "frames of 300 bytes": _CUT_SMALL,
    "a frame for everything but the last": {"tar": lambda pieces: [b"".join(pieces)]},
    "names with control characters": {
        **_assistant(name=_RUDE, model=_RUDE, instructions=_RUDE, metadata={_RUDE: _RUDE}),
        **ledger("file-4", filename=_RUDE, message=_RUDE, code=_RUDE),
        "files": lambda lines: [*lines[:3], {**lines[3], "filename": _RUDE}],
    },
    "ids with control characters": _rude_ids(),
    "holdall.json with control characters": info(
        tool=_RUDE, source={"base_url": _RUDE, "label": _RUDE}, selection={_RUDE: _RUDE}
    ),
    "references to nowhere": _assistant(
        tool_resources={
            "file_search": {"vector_store_ids": [_RUDE, "", "../vs"]},
            "code_interpreter": {"file_ids": [_RUDE, "file-none"]},
        }
    ),
    "a name that is a number": _assistant(name=5),
    "a model that is a list": _assistant(model=[1]),
    "tools that are a string": _assistant(tools="all"),
    "tools of null": _assistant(tools=[None, 1, "x"]),
    "resources that are a list": _assistant(tool_resources=[]),
    "metadata that is a list": _assistant(metadata=[]),
    "times that are words": _assistant(created_at="yesterday"),
    "times of 20 digits": _assistant(created_at=10**20),
    "numbers out of range": _record(b'{"id": "asst_1", "temperature": 1e999, "top_p": ' + HUGE + b"}"),
    "numbers of 30 digits": _assistant(created_at=10**30, metadata={"x": 10**30}),
    "half a character": _record(b'{"id": "asst_1", "name": "\\ud800"}'),
    "half a character in a text": text(b'{"pages":[{"data":[{"text":"\\ud800"}]}],"truncated":false}'),
    "keys twice": _record(b'{"id": "asst_1", "name": "a", "name": "b"}'),
    "a record nested somewhat": _record(b'{"id": "asst_1", "metadata": {"x": ' + b"[" * 150 + b"]" * 150 + b"}}"),
    "a store that is odd": _record(b'{"id": "vs_1", "name": [], "metadata": 5, "file_counts": 1}', STORE),
    "memberships that are odd": {
        "memberships": lambda lines: [
            {**line, "attributes": [], "chunking_strategy": "x", "status": 1, "last_error": 2, "created_at": "x"}
            for line in lines
        ]
    },
    "overlaps that are odd": {
        "memberships": lambda lines: [
            {**line, "chunking_strategy": {"type": "static", "static": {"chunk_overlap_tokens": 10**30}}}
            for line in lines
        ]
    },
    "files that are odd": _odd_files(bytes="x", filename=7, purpose=[]),
    "sizes of 30 digits": _odd_files(bytes=10**30),
    "sizes below zero": _odd_files(bytes=-5),
    "sizes that are true": _odd_files(bytes=True),
    "sizes that are half": {
        "files": lambda lines: [*lines[:3], {**lines[3], "bytes": 7.9}],
    },
    "file objects that are gone": {
        "files": lambda lines: [],
        "contents": lambda contents: [
            replace(one, about={key: value for key, value in one.about.items() if key != "filename"})
            for one in contents
        ],
        "ledger": lambda lines: [{**line, "filename": None, "expected": None} for line in lines],
    },
    "fields that nobody knows": {
        "info": lambda honest: {**honest, "x": {"y": [1]}, "format": "1.9"},
        "index": lambda lines: [{**line, "x": 1} for line in lines],
        "ledger": lambda lines: [{**line, "x": 1} for line in lines],
    },
    "names with marks without end": named("file-1", "a" + "\u0301\u0323" * 1_000),
    "reserved names": named("file-1", "COM1"),
    "names that escape": named("file-1", "../../../escape"),
    "names from the root": named("file-1", "/etc/passwd"),
    "a text of two pages that stops short": {
        **text(
            b' { "pages" : [ {"data": [{"text": null}], "x": [[]]} , {"content": []} ], "truncated": true } ', cut=True
        ),
    },
    "a size that may not be known": declared("file-4", 0, expected=None),
    "a size of nothing": declared("file-4", 0, expected=0),
    "the largest size": declared("file-4", 2**62, expected=2**62),
    "a size over the largest": declared("file-4", 2**62 + 1, expected=None),
    "a size of 2 ** 61, as some write it": declared("file-4", 2.0**61, expected=2**61),
    "another size than was declared, which is told": _told(
        declared("file-1", 12, expected=12), losses({"reason": "counts", "id": "file-1"}), counts=1
    ),
    "a store that counts more than it has, which is told": _told(
        counted(5), losses({"reason": "lists", "id": "vs_1"}), lists=1
    ),
    "a store that counts a membership that was left out": _told(
        counted(5), lost("records", "membership", "file-9"), records=1
    ),
    "a store that counts less than it has": _told(counted(1), {}),
    "a store that counts in its own way": {
        "definitions": lambda members: changed(
            members, STORE, data=canonical({"id": "vs_1", "file_counts": {"total": "many"}})
        )
    },
    "memberships that name no store": {
        "memberships": lambda lines: [
            {key: value for key, value in lines[0].items() if key != "vector_store_id"},
            {**lines[1], "vector_store_id": None},
            {**lines[2], "vector_store_id": ""},
            {**lines[3], "vector_store_id": 5},
        ]
    },
    "a text that a store elsewhere lent": stored_text("vs_9", route=text_route("vs_9")),
    "a text that a store of an odd name lent": stored_text("v_9-2", route=text_route("v%2F9")),
    "a text of a file that has left its store": {
        "memberships": lambda lines: [line for line in lines if line["id"] != "file-3"],
        **ledger("file-3", route=text_route("vs_1")),
    },
    "a text that was redirected": ledger("file-3", route=text_route("vs_1") + " -> https://a.example"),
    "routes of another server": {"ledger": lambda lines: [{**line, "route": "/v2/blobs/files/x"} for line in lines]},
    "an original of the owner's that is called as a route": {
        "contents": lambda contents: [
            replace(contents[0], about=contents[0].about | {"rung": "supplied"}),
            *contents[1:],
        ],
        **ledger("file-1", rung="supplied", route="files/file-2/content", status=403, code="no"),
    },
    "a loss of what isn't there": losses(
        {"reason": "records", "kind": "assistant", "id": "asst_9"},
        {"reason": "files", "kind": "file", "id": "file-9"},
        {"reason": "records", "kind": "membership", "id": "file-9"},
        {"reason": "stores", "kind": "vector_store", "id": "vs_9"},
    ),
    "losses of what is there": losses(
        {"reason": "keys", "kind": "assistant", "id": "asst_1"},
        {"reason": "references", "kind": "file", "id": "file-1"},
        {"reason": "keys", "kind": "membership", "id": "file-1"},
        {"reason": "changed", "kind": "vector_store", "id": "vs_1"},
    ),
    "an export of no second": info(started=1_700_000_060),
    "file objects that are gone, and their names are known": {"files": lambda lines: lines[:1]},
    "a text without pages": text(b'{"pages":[],"truncated":false}'),
    "a newer reason for a loss": losses({"reason": "eaten", "message": "by the dog"}),
    "a file that was left out": losses({"reason": "files", "kind": "file", "id": "file-9", "message": "as asked"}),
    "a bag-info that says less": bag_info("Payload-Oxum: {oxum}\n"),
    "entries of a newer format": {
        "payload": add(Member("data/threads/t.json", b"{}", {"id": "t"})),
        **info(format="1.9"),
    },
}
