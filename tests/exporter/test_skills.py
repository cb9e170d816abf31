"""Skills with their versions and environment templates, out of a project into a bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle.reader import BundleReader, open_bundle
from holdall.bundle.verification import verify
from holdall.bundle.writer import BundleWriter
from holdall.exporter.content_sinks import ContentSinks
from holdall.exporter.file_index import File
from holdall.model import Kind, SourceId
from holdall.remote.contents import ZipOf
from holdall.sandbox.behaviour import CutBody, Fail
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.bundle.packing import CAPTURE, STARTED
from tests.cli.terminal import Done, Terminal
from tests.project import Hand, skill_zip


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("today"), behaviour=PROFILES["openai-today"], control=True) as running:
        yield running


@pytest.fixture
def export(today: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Export:
    monkeypatch.chdir(tmp_path)
    return Export(today, Terminal(monkeypatch, {"HOLDALL_SETTLE": "2"}))


class Export:
    def __init__(self, box: Running, terminal: Terminal) -> None:
        self.box, self.terminal = box, terminal

    def __call__(self, key: str, name: str, *more: str) -> Done:
        environ = {"OPENAI_SRC_BASE_URL": self.box.url, "OPENAI_SRC_API_KEY": key}
        done = self.terminal("export", "-o", name, "--env-file", "none", "--json", *more, **environ)
        assert "Traceback" not in done.err
        return done


def result(done: Done) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.out)["result"]
    return found


def zips(bundle: BundleReader, skill: str) -> dict[str, bytes | None]:
    """The zip of each version by its number, in the bundle's order."""
    found = {}
    for version in bundle.versions(Kind.SKILL, skill):
        entry = bundle.content(version.id)
        found[json.loads(version.raw)["version"]] = bundle.read(entry) if entry else None
    return found


def test_all_versions_and_what_templates_name_are_in_the_bundle(export: Export) -> None:
    key = "sk-source-0001"
    with Hand(export.box.url, key) as hand:
        skill = hand.skill("tea-labels", {"a.txt": b"1"}, {"a.txt": b"2"}, {"a.txt": b"3"}, default=3)
        hand.without_versions(skill, 2)
        file = hand.file("rates.csv", b"a,b\n", "vision")
        template = hand.template("Desk", skills=[skill, "openai-spreadsheets"], files=[file], env={"TOKEN": "s3cret"})
    done = export(key, "one.tar.zst")
    assert done.code == 4, done.err  # nothing tells whether the template has more
    assert result(done)["verdict"]["missing"] == {"templates": 1}
    assert verify("one.tar.zst").findings == []
    with open_bundle("one.tar.zst") as bundle:
        assert bundle.info.format == "1.2"
        counts = {name: bundle.info.counts.get(name) for name in ("skills", "skill_versions", "environment_templates")}
        assert counts == {"skills": 1, "skill_versions": 2, "environment_templates": 1}
        expected = {number: skill_zip("tea-labels", {"a.txt": number.encode()}) for number in ("1", "3")}
        assert zips(bundle, skill) == expected
        (record,) = bundle.definitions(Kind.SKILL)
        assert json.loads(record.raw)["default_version"] == "3"
        lines = {line.id: line for line in bundle.ledger()}
        (first, _) = bundle.versions(Kind.SKILL, skill)
        assert lines[first.id].route == f"/skills/{skill}/versions/1/content"
        assert lines[first.id].path == f"data/files/{first.id}/tea-labels-1.zip"
        assert lines[file].fidelity == "original"
        assert [str(entry.id) for entry in bundle.entries("data/environment_templates/")] == [template]
        assert b"s3cret" not in b"".join(bundle.read(entry) for entry in bundle.entries())
    assert export(key, "known.tar.zst", "--allow-missing", template).code == 0
    done = export(key, "again.tar.zst", "--parent", "one.tar.zst", "--accept-known-losses")
    assert (done.code, result(done)["taken"]) == (0, 3)
    unchanged = result(export(key, "none.tar.zst", "--parent", "one.tar.zst", "--skip-if-unchanged"))
    assert unchanged["unchanged_since"]
    # The template alone brings along what it names.
    assert export(key, "chosen.tar.zst", "--only", f"template:{template}").code == 4
    with open_bundle("chosen.tar.zst") as bundle:
        assert [record.id for record in bundle.definitions(Kind.SKILL)] == [skill]
    assert export(key, "others.tar.zst", "--exclude", "template:*", "--exclude", "skill:*").code == 0
    with open_bundle("others.tar.zst") as bundle:
        assert bundle.info.format == "1.0"


def test_a_zip_that_breaks_off_is_resumed_and_one_that_cant_be_had_is_missing(export: Export) -> None:
    key = "sk-source-0002"
    with Hand(export.box.url, key) as hand:
        skill = hand.skill("big", {"a.bin": bytes(range(256)) * 40}, {"b.txt": b"2"})
    export.box.fault(Fail(status=404), "GET", "/skills/*/versions/2/content", times=9)
    done = export(key, "lacking.tar.zst")
    assert done.code == 4, done.err
    assert result(done)["verdict"]["missing"] == {"files": 1}
    with open_bundle("lacking.tar.zst") as bundle:
        assert zips(bundle, skill)["2"] is None
        (line,) = [line for line in bundle.ledger() if line.path is None]
        assert (line.filename, line.route, line.status) == ("big-2.zip", f"/skills/{skill}/versions/2/content", 404)
    assert verify("lacking.tar.zst").findings == []
    assert verify("lacking.tar.zst").findings == []
    export.box.clear_faults()
    export.box.fault(CutBody(after=2000), "GET", "/skills/*/versions/1/content", times=2)
    done = export(key, "whole.tar.zst", "--parent", "lacking.tar.zst")
    assert done.code == 0, done.err
    with open_bundle("whole.tar.zst") as bundle:
        assert zips(bundle, skill)["2"] == skill_zip("big", {"b.txt": b"2"})


def test_a_run_that_stops_between_two_zips_goes_on_with_the_second(export: Export) -> None:
    key = "sk-source-0003"
    with Hand(export.box.url, key) as hand:
        skill = hand.skill("tea", {"a.txt": b"1"}, {"a.txt": b"2"})
    export.box.fault(Fail(status=401), "GET", "/skills/*/versions/2/content")
    assert export(key, "one.tar.zst", "--concurrency", "1").code == 20
    export.box.clear_faults()
    export.box.forget_requests()
    done = export(key, "one.tar.zst")
    assert done.code == 0, done.err
    asked = [one.path for one in export.box.requests() if one.path.endswith("/content")]
    assert asked == [f"/v1/skills/{skill}/versions/2/content"]
    with open_bundle("one.tar.zst") as bundle:
        assert zips(bundle, skill) == {str(n): skill_zip("tea", {"a.txt": str(n).encode()}) for n in (1, 2)}


def test_what_is_no_zip_of_a_skill_is_kept_and_said(tmp_path: Path) -> None:
    file = File(id=SourceId("skillver_1"), view=None, zip=ZipOf(skill=SourceId("skill_1"), number="1"))
    with BundleWriter(tmp_path / "b.tar.zst", CAPTURE, started=STARTED, threads=1) as writer:
        for data, fault in ((skill_zip("tea"), ""), (b"PK no zip", "not a zip"), (skill_zip("tea")[:-9], "not a zip")):
            sinks = ContentSinks(writer, file, [])
            sink = sinks.zip()
            sink.write(data)
            sink.commit()
            assert fault in sinks.fault
            assert bool(sinks.fault) == bool(fault)
