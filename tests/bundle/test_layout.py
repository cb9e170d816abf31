"""The code and docs/format.md say the same; a bundle of each version of the format stays readable for ever."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec
import pytest

import holdall
from holdall.bundle import layout
from holdall.bundle.layout import HoldallInfo, IndexEntry, LedgerLine, Source, bag_name, specification
from holdall.bundle.reader import open_bundle
from holdall.bundle.totals import content_line, definition_line, digest_of, record_hash
from holdall.bundle.verification import verify
from holdall.importer.plan.bundle_summary import Content
from holdall.kinds import KINDS
from holdall.model import Fidelity, Kind
from tests.bundle.packing import pack

GOLDEN = Path(__file__).parent / "golden"
TEXT = specification().decode()


@pytest.mark.parametrize("struct", [HoldallInfo, IndexEntry, LedgerLine, layout.Source, layout.Digests])
def test_every_field_is_specified(struct: type[msgspec.Struct]) -> None:
    for field in msgspec.structs.fields(struct):
        assert f"`{field.encode_name}`" in TEXT, field.encode_name


@pytest.mark.parametrize("struct", [HoldallInfo, IndexEntry, LedgerLine, layout.Capture, Content])
def test_on_disk_the_fidelity_is_called_rung(struct: type[msgspec.Struct]) -> None:
    names = {field.name: field.encode_name for field in msgspec.structs.fields(struct)}
    assert {names[name] for name in names if "fidelit" in name} == {name for name in names.values() if "rung" in name}


def test_every_path_fidelity_and_version_is_specified() -> None:
    assert f"format {layout.FORMAT}" in TEXT
    for path in layout.TAG_FILES:
        assert f"`{path}`" in TEXT
    for fidelity in Fidelity:
        assert f"`{fidelity}`" in TEXT


def test_the_volatile_fields_are_those_of_the_specification() -> None:
    names = {kind: kind.replace("_", " ") for kind in Kind}
    section = TEXT[TEXT.index("| record | volatile fields |") :]
    for kind, name in names.items():
        row = re.search(rf"^\| {name} \| (.*) \|$", section, re.MULTILINE)
        assert row
        assert tuple(re.findall(r"`(\w+)`", row[1])) == KINDS[kind].volatile


def test_the_bag_is_called_as_the_project_is_at_any_time() -> None:
    project = Source(base_url="https://api.openai.com/v1", organization="org-1", project="proj_1")
    named = msgspec.structs.replace(project, label="acme")
    other = Source(base_url="http://127.0.0.1:8400/v1")
    assert [bag_name(one) for one in (named, project, other, Source(base_url=""))] == [
        "acme",
        "proj_1",
        "127.0.0.1",
        "project",
    ]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.tar.zst")), ids=lambda path: path.name)
def test_bundles_of_every_version_are_read(path: Path) -> None:
    version = path.name.removesuffix(".tar.zst")
    verdict = verify(path)
    assert verdict.findings == []
    with open_bundle(path) as bundle:
        assert bundle.info.format == version
        contents = {str(entry.id): bundle.read(entry) for entry in bundle.entries() if entry.fidelity}
        names = {str(entry.id): entry.filename for entry in bundle.entries() if entry.fidelity}
    zips = ZIPS if version == "1.2" else {}
    files = {"file-1": b"some words\n", "../../x": b"hostile\n", "file-3": b'{"pages":[],"truncated":false}'}
    assert contents == {**files, **zips}
    assert {id: name for id, name in names.items() if id not in zips} == {
        "file-1": "e\u0301te\u0301 100%.txt",
        "../../x": None,
        "file-3": "x" * 200 + ".pdf",
    }
    assert [(loss.code, loss.id) for loss in verdict.losses] == [
        ("unavailable", "file-4"),
        *(LOST if version == "1.2" else []),
    ]
    assert verdict.info
    assert verdict.info.digests == DIGESTS[version]


ZIPS = {"skillver_reports_1": b"PK\x05\x06" + bytes(18), "skillver_reports_2": b"no zip"}
LOST = [("unavailable", "skillver_reports_3"), ("templates", "envtmpl_1"), ("variables", "hosted")]
DIGESTS = {
    # What is new in 1.2 has digests of its own; its zips are contents.
    "1.2": layout.Digests(
        definitions="h1:0602308844ff63390403bf81a8fde0c24db1b4c4620da8fc09a8556100116c22",
        contents="h1:234650347d7d6e640964bd5ef45dcdb18f9a2b1b5109d2e0d6133beb954ca313",
        agents="h1:73b45e872e085415af23f0e7856eefb2d0b8944d3a90534db688ecbe9c851c8d",
        foundry_agents="h1:2ec6e11a7b44a0aef30126d94e28373bc9b65f09f9a382216359bc5f4982a969",
        agent_versions="h1:86160f106f6e9bf9539ee4e84fe82c80420ff79d4f9812078a969727a2f05e3d",
        skills="h1:28949a0547e988e15e67407757da00c67ba72d407d9b813f9aa1294c07efd805",
        skill_versions="h1:5086d08062bbf92c961f03018afe13a3af3b4b8070b01b21b0f7178ed4027225",
        environment_templates="h1:54edd52ea130f8cf5ec39668ed3944759d3ce1ea2860b86b2e6ff05477580d57",
    ),
    # All but the agents are the same: their digests don't depend on what a newer version adds.
    "1.1": layout.Digests(
        definitions="h1:0602308844ff63390403bf81a8fde0c24db1b4c4620da8fc09a8556100116c22",
        contents="h1:6a9783ecb5376546adac0b5a24c053cbf51a34475e18a3ff98f33b7af82ec839",
        agents="h1:73b45e872e085415af23f0e7856eefb2d0b8944d3a90534db688ecbe9c851c8d",
    ),
    "1.0": layout.Digests(
        definitions="h1:0602308844ff63390403bf81a8fde0c24db1b4c4620da8fc09a8556100116c22",
        contents="h1:6a9783ecb5376546adac0b5a24c053cbf51a34475e18a3ff98f33b7af82ec839",
    ),
}


class Digests10(msgspec.Struct, frozen=True, kw_only=True):
    definitions: str
    contents: str


class Info10(msgspec.Struct, frozen=True, kw_only=True):
    """holdall.json as far as a reader of format 1.0 knows it."""

    format: str
    counts: dict[str, int]
    digests: Digests10


KNOWN_10 = (KINDS[Kind.ASSISTANT].folder, layout.STORES, layout.CONTENTS, layout.TEXTS, layout.FILES, layout.LEDGER)


def test_a_reader_of_1_0_proves_all_that_it_knows_in_a_bundle_of_1_1() -> None:
    """By the rules of 1.0: every field of it is there and true, what it doesn't know is an entry like any other."""
    with open_bundle(GOLDEN / "1.1.tar.zst") as bundle:
        info = msgspec.json.decode(bundle.raw_info, type=Info10)
        entries = list(bundle.entries())
        records = [*bundle.assistants(), *bundle.stores(), *bundle.files()]
        members = [(store.id, member) for store in bundle.stores() for member in bundle.memberships(store.id)]
        for entry in entries:
            assert len(bundle.read(entry)) == entry.size
    lines = [definition_line(one.kind, one.id, record_hash(one.kind, one.raw)) for one in records]
    lines += [definition_line(one.kind, one.id, record_hash(one.kind, one.raw), store) for store, one in members]
    contents = [content_line(str(entry.id), entry.fidelity, entry.sha256) for entry in entries if entry.fidelity]
    assert info.format == "1.1"
    assert info.digests == Digests10(definitions=digest_of(sorted(lines)), contents=digest_of(sorted(contents)))
    found = {"entries": len(entries), "bytes": sum(entry.size for entry in entries)}
    found |= {"assistants": 1, "vector_stores": 1, "memberships": len(members), "files": 4}
    assert {name: info.counts[name] for name in found} == found
    assert [entry.path for entry in entries if not entry.path.startswith(KNOWN_10)] == [
        "data/agents/agent_1.json",
        "data/agents/agent_2.json",
    ]


class Loss11(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the losses as a reader of format 1.1 takes it: of no other kinds than it knows."""

    reason: str
    kind: Literal["assistant", "agent", "vector_store", "membership", "file"] | None = None
    id: str | None = None


def test_a_reader_of_1_1_proves_all_that_it_knows_in_a_bundle_of_1_2() -> None:
    """Zips of skills are contents with a line of the ledger; a loss of a new kind is one of an unknown reason."""
    with open_bundle(GOLDEN / "1.1.tar.zst") as old, open_bundle(GOLDEN / "1.2.tar.zst") as new:
        lines = [content_line(str(one.id), one.fidelity, one.sha256) for one in new.entries() if one.fidelity]
        ledger = {line.id: line for line in new.ledger()}
        told = [msgspec.json.decode(raw, type=Loss11) for raw, _ in new.lines(layout.LOSSES, bytes)]
        assert old.info.digests.definitions == new.info.digests.definitions
        assert old.info.digests.agents == new.info.digests.agents
        assert new.info.digests.contents == digest_of(sorted(lines))
        assert ledger.keys() - {line.id for line in old.ledger()} == {*ZIPS, "skillver_reports_3"}
        assert all(line.path and line.path.startswith(layout.CONTENTS) for id, line in ledger.items() if id in ZIPS)
        known = {"files", *(name for name in old.info.counts)}
        assert {name: new.info.counts[name] for name in known - {"entries", "bytes"}} == {
            name: old.info.counts[name] for name in known - {"entries", "bytes"}
        }
    assert [(loss.reason, loss.kind, loss.id) for loss in told] == [
        ("templates:environment_template", None, "envtmpl_1"),
        ("variables:foundry_agent", None, "hosted"),
    ]


def test_what_a_version_doesnt_have_is_not_there() -> None:
    with open_bundle(GOLDEN / "1.0.tar.zst") as old, open_bundle(GOLDEN / "1.1.tar.zst") as new:
        assert list(old.agents()) == []
        assert [str(agent.id) for agent in new.agents()] == ["agent_1", "agent_2"]


def test_a_bundle_without_agents_is_one_of_1_0(tmp_path: Path) -> None:
    pack(tmp_path / "without.tar.zst")
    pack(tmp_path / "with.tar.zst", agents={"agent_1": {"model": "gpt-5.5"}})
    pack(tmp_path / "updated.tar.zst", agents={"agent_1": {"model": "gpt-5.5", "updated_at": 9}})
    infos = []
    for name in ("without", "with", "updated"):
        with open_bundle(tmp_path / f"{name}.tar.zst") as bundle:
            infos.append(bundle.info)
    assert [info.format for info in infos] == ["1.0", "1.1", "1.1"]
    assert [info.counts.get("agents") for info in infos] == [None, 1, 1]
    assert "agents" not in msgspec.to_builtins(infos[0].digests)
    assert infos[1].digests == infos[2].digests  # when it was touched last is no change


def test_the_promised_door() -> None:
    with holdall.open_bundle(GOLDEN / "1.0.tar.zst") as bundle:
        assert [str(assistant.id) for assistant in bundle.assistants()] == ["asst_1"]
