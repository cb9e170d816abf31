"""A bundle is opened and proved by tools that know nothing of us, whatever names are in it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from holdall.bundle import layout
from holdall.bundle.reader import open_bundle
from tests.bundle.packing import File, pack

AWKWARD = [
    "plain.txt",
    "with spaces  two.txt",
    "e\u0301te\u0301 NFD.txt",
    "\u00e9t\u00e9 NFC.txt",
    "漢字とかな.pdf",
    "100% of %0A%25.csv",
    "x" * 200 + ".md",
    "漢" * 200,
    "same.txt",
    "same.txt",
    ".hidden",
    "-rf",
    "~root",
    "CON",
    "aux.tar.gz",
    "trailing dot.",
    "trailing blank ",
    "ideographic blank\u3000",
    "new\nline\r\ttab\x00nul\x1besc",
    "bidi\u202eexe.txt",
    "line\u2028separator\u0085",
    "emoji 👩\u200d🔬.png",
    "back\\slash/../../../etc/passwd",
    'quotes"<>|?*:',
    "",
    None,
]
HOSTILE_IDS = ["../../up", "file-ABC", "file-abc", "con", "a/b", "a_b", "漢%0A\n", "-", ".", "x" * 300, "x" * 301]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("standards") / "Acmé & co-20260101.tar.zst"
    files = [
        File(id=f"file-{number}", filename=name, data=f"content {number}\n".encode() * (number + 1))
        for number, name in enumerate(AWKWARD)
    ]
    files += [File(id=id, data=f"of {id!r}".encode()) for id in HOSTILE_IDS]
    noise = hashlib.shake_128(b"noise").digest(4_800_000)
    files.append(File(id="file-large", filename="large 5 MB.bin", data=noise))
    files.append(File(id="file-empty", filename="empty", data=b""))
    files.append(File(id="file-text", filename="asked.pdf", data=b'{"pages":[],"truncated":false}', text=True))
    files.append(File(id="file-gone", data=None))
    stores = {"vs_1": {"name": "a"}, "vs/1": {"name": "b"}, "VS_1": {"name": "c"}}
    pack(path, files, assistants={"asst_1": {}, "../asst": {}, "ASST_1": {}}, stores=stores)
    return path


@pytest.fixture(scope="module")
def bag(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as tar and zstd unpack it."""
    folder = tmp_path_factory.mktemp("unpacked")
    unpack = _run(["tar", "--version"]).stdout
    if b"GNU tar" in unpack and shutil.which("zstd"):
        _succeed(["tar", "--zstd", "-xf", bundle, "-C", folder])
    else:
        packed = _succeed([_tool("zstd"), "-dcq", bundle])
        _succeed(["tar", "-xf", "-", "-C", folder], input=packed)
    (found,) = folder.iterdir()
    return found


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} on this machine")
    return path


def _run(command: list[str | Path], **options: object) -> subprocess.CompletedProcess[bytes]:
    environ = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, capture_output=True, env=environ, check=False, **options)  # type: ignore[call-overload, no-any-return]


def _succeed(command: list[str | Path], **options: object) -> bytes:
    done = _run(command, **options)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def test_zstd_accepts_it(bundle: Path) -> None:
    _succeed([_tool("zstd"), "-tq", bundle])


def test_tar_unpacks_every_entry_under_its_path(bundle: Path, bag: Path) -> None:
    with open_bundle(bundle) as opened:
        expected = {entry.path: entry.sha256 for entry in opened.entries()}
        assert bag.name == opened.bag
    found = {
        unicodedata.normalize("NFC", path.relative_to(bag).as_posix()): path
        for path in bag.rglob("*")
        if path.is_file()
    }
    assert set(found) == set(expected) | layout.TAG_FILES
    for path, sha256 in expected.items():
        assert hashlib.sha256(found[path].read_bytes()).hexdigest() == sha256
    assert len([path for path in expected if path.startswith(layout.CONTENTS)]) == len(AWKWARD) + len(HOSTILE_IDS) + 2


def test_bsdtar_lists_the_same(bundle: Path, bag: Path) -> None:
    listed = _succeed([_tool("bsdtar"), "-tf", bundle]).decode().splitlines()
    assert len(listed) == len([path for path in bag.rglob("*") if path.is_file()])


@pytest.mark.parametrize("manifest", [layout.MANIFEST, layout.TAG_MANIFEST])
def test_sha256sum_proves_both_manifests(bag: Path, manifest: str) -> None:
    _succeed([_tool("sha256sum"), "-c", "--strict", "--quiet", manifest], cwd=bag)


def test_bagit_validates_the_bag(bag: Path) -> None:
    _succeed([sys.executable, "-m", "bagit", "--validate", "--quiet", bag])


def test_a_reader_of_seekable_zstd_that_is_not_ours_reads_any_place(bundle: Path) -> None:
    indexed_zstd = pytest.importorskip("indexed_zstd")
    with open_bundle(bundle) as opened:
        file = indexed_zstd.IndexedZstdFile(str(bundle))
        assert file.seek(0, 2) == opened.frames.frames.size
        for entry in opened.entries():
            file.seek(entry.offset)
            assert hashlib.sha256(file.read(entry.size)).hexdigest() == entry.sha256, entry.path
        file.close()


def test_python_without_us_opens_it_by_the_specification_alone(bundle: Path) -> None:
    """A second reader of a content, from docs/format.md, with nothing but a zstd decoder."""
    import json
    import struct

    import zstandard

    raw = bundle.read_bytes()
    count, descriptor, magic = struct.unpack("<IBI", raw[-9:])
    assert (descriptor, magic) == (0, 0x8F92EAB1)
    table = struct.unpack(f"<{2 * count}I", raw[-9 - 8 * count : -9])
    frames, at, position = [], 0, 0
    for length, size in zip(table[0::2], table[1::2], strict=True):
        frames.append((at, length, position, size))
        at, position = at + length, position + size
    seal_at, *_ = frames.pop()
    assert raw[seal_at : seal_at + 40] == bytes.fromhex("502a4d1820000000") + hashlib.sha256(raw[:seal_at]).digest()

    def read(offset: int, size: int) -> bytes:
        found = b""
        for at, length, position, there in frames:
            if position < offset + size and offset < position + there:
                data = zstandard.ZstdDecompressor().decompress(raw[at : at + length])
                found += data[max(offset - position, 0) : offset + size - position]
        return found

    last = zstandard.ZstdDecompressor().decompress(raw[frames[-1][0] :][: frames[-1][1]])
    info = json.loads(last[last.index(b"{") :].split(b"\n}\n")[0] + b"}")
    index = read(info["index"]["offset"], info["index"]["size"])
    assert hashlib.sha256(index).hexdigest() == info["index"]["sha256"]
    entries = [json.loads(line) for line in index.splitlines()]
    assert [entry["path"].encode() for entry in entries] == sorted(entry["path"].encode() for entry in entries)
    contents = {entry["id"]: entry for entry in entries if "rung" in entry}
    large = contents["file-large"]
    assert large["filename"] == "large 5 MB.bin"
    assert hashlib.sha256(read(large["offset"], large["size"])).hexdigest() == large["sha256"]
    assert contents["../../up"]["path"].startswith("data/files/_.")
    definitions = sum(1 for entry in entries if entry["path"].startswith("data/assistants/"))
    assert definitions == info["counts"]["assistants"] == 3
