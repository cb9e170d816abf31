"""The code and docs/format.md say the same; a bundle of each version of the format stays readable for ever."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import holdall
from holdall.bundle import layout
from holdall.bundle.digest import VOLATILE
from holdall.bundle.layout import HoldallInfo, IndexEntry, LedgerLine, bag_name, specification
from holdall.bundle.reader import open_bundle
from holdall.model import Kind, Rung
from holdall.verify import verify

GOLDEN = Path(__file__).parent / "golden"
TEXT = specification().decode()


@pytest.mark.parametrize("struct", [HoldallInfo, IndexEntry, LedgerLine, layout.Source, layout.Digests])
def test_every_field_is_specified(struct: type[msgspec.Struct]) -> None:
    for field in msgspec.structs.fields(struct):
        assert f"`{field.encode_name}`" in TEXT, field.encode_name


def test_every_path_rung_and_version_is_specified() -> None:
    assert f"format {layout.FORMAT}" in TEXT
    for path in layout.TAG_FILES:
        assert f"`{path}`" in TEXT
    for rung in Rung:
        assert f"`{rung}`" in TEXT


def test_the_volatile_fields_are_those_of_the_specification() -> None:
    names = {kind: kind.replace("_", " ") for kind in Kind}
    section = TEXT[TEXT.index("| record | volatile fields |") :]
    for kind, name in names.items():
        row = re.search(rf"^\| {name} \| (.*) \|$", section, re.MULTILINE)
        assert row
        assert tuple(re.findall(r"`(\w+)`", row[1])) == VOLATILE[kind]


def test_the_bag_is_called_as_the_file_is() -> None:
    assert [bag_name(name) for name in ("acme.tar.zst", "acme.zst", "acme", "a.b.tar.zst")] == [
        "acme",
        "acme",
        "acme",
        "a.b",
    ]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.tar.zst")), ids=lambda path: path.name)
def test_bundles_of_every_version_are_read(path: Path) -> None:
    version = path.name.removesuffix(".tar.zst")
    verdict = verify(path)
    assert verdict.findings == []
    with open_bundle(path) as bundle:
        assert bundle.info.format == version
        contents = {str(entry.id): bundle.read(entry) for entry in bundle.entries() if entry.rung}
        names = {str(entry.id): entry.filename for entry in bundle.entries() if entry.rung}
    assert contents == {"file-1": b"some words\n", "../../x": b"hostile\n", "file-3": b'{"pages":[],"truncated":false}'}
    assert names == {"file-1": "e\u0301te\u0301 100%.txt", "../../x": None, "file-3": "x" * 200 + ".pdf"}
    assert [(loss.code, loss.id) for loss in verdict.losses] == [("unavailable", "file-4")]
    assert verdict.info
    assert verdict.info.digests == DIGESTS[version]


DIGESTS = {
    "1.0": layout.Digests(
        definitions="h1:0602308844ff63390403bf81a8fde0c24db1b4c4620da8fc09a8556100116c22",
        contents="h1:6a9783ecb5376546adac0b5a24c053cbf51a34475e18a3ff98f33b7af82ec839",
    ),
}


def test_the_promised_door() -> None:
    with holdall.open_bundle(GOLDEN / "1.0.tar.zst") as bundle:
        assert [str(assistant.id) for assistant in bundle.assistants()] == ["asst_1"]
