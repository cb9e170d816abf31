"""Agents of a Foundry project, with their versions, out into a bundle."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle.reader import open_bundle
from holdall.bundle.verification import verify
from holdall.credentials import CannotWithhold, without_values
from holdall.exporter.withheld import findings
from holdall.model import Kind, Record, SourceId
from holdall.sandbox.entra import token
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.sandbox.foundry_project import FoundryProject

TOKEN = token(time.time() + 36000)


class Source(FoundryProject):
    def ask(self, *args: Any, **more: Any) -> Any:
        return super().ask(*args, **{**more, "key": TOKEN})


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("new"), behaviour=PROFILES["foundry-new"]) as running:
        yield running


def test_agents_with_their_versions_and_what_they_use(
    box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    project = Source(box=box, name="desk")
    url = f"{box.url.partition('/api/projects/')[0]}/api/projects/desk"
    holdall = Terminal(monkeypatch, {"OPENAI_SRC_BASE_URL": url, "OPENAI_SRC_API_KEY": TOKEN})
    file = project.upload("manual.txt", b"Turn it off and on again.")
    store = project.openai("POST", "/vector_stores", {"name": "manuals", "file_ids": [file]}).json()["id"]
    search = {"type": "file_search", "vector_store_ids": [store]}
    for instructions in ("Be kind.", "Be brief."):
        made = project.version("Help-desk", definition={"instructions": instructions, "tools": [search]})
        assert made.status == 200, made.body
    hosted = {"kind": "hosted", "cpu": "1", "memory": "2Gi", "environment_variables": {"TOKEN": "s3cret"}}
    made = project.own("POST", "/agents/hosted/versions", {"definition": hosted})
    assert made.status == 200, made.body

    done = holdall("export", "-o", "one.tar.zst", "--env-file", "none", "--json")
    assert "Traceback" not in done.err
    result = json.loads(done.out)["result"]
    assert result["verdict"]["missing"] == {"files": 1, "variables": 1}, result["verdict"]
    assert done.code == 4
    assert verify("one.tar.zst").findings == []
    with open_bundle("one.tar.zst") as bundle:
        assert bundle.info.format == "1.2"
        agents = {record.id: json.loads(record.raw) for record in bundle.definitions(Kind.FOUNDRY_AGENT)}
        assert agents.keys() == {"Help-desk", "hosted"}
        assert agents["Help-desk"]["versions"]["latest"]["definition"]["instructions"] == "Be brief."
        assert agents["hosted"]["versions"]["latest"]["definition"]["environment_variables"] == {"TOKEN": None}
        assert list(bundle.versions(Kind.FOUNDRY_AGENT, "Help-desk")) == []
        assert [record.id for record in bundle.stores()] == [store]
        assert [line.id for line in bundle.ledger()] == [file]

    accepted = ["--allow-missing", "hosted", "--allow-missing", file]
    done = holdall("export", "-o", "all.tar.zst", "--env-file", "none", "--versions", "all", *accepted)
    assert done.code == 0, done.err
    assert verify("all.tar.zst").findings == []
    with open_bundle("all.tar.zst") as bundle:
        versions = [json.loads(one.raw) for one in bundle.versions(Kind.FOUNDRY_AGENT, "Help-desk")]
        assert [(one["version"], one["definition"]["instructions"]) for one in versions] == [
            ("1", "Be kind."),
            ("2", "Be brief."),
        ]
        assert b"s3cret" not in b"".join(bundle.read(entry) for entry in bundle.entries())
    assert b"s3cret" not in Path("one.tar.zst").read_bytes()


def agent(definition: str) -> Record:
    raw = f'{{"id": "a", "versions": {{"latest": {{"definition": {definition}}}}}, "x": 1.0}}'.encode()
    return Record(kind=Kind.FOUNDRY_AGENT, id=SourceId("a"), raw=raw)


@pytest.mark.parametrize(
    ("variables", "kept", "names"),
    [
        ('{"A": "1", "B": ""}', {"A": None, "B": None}, "A, B"),
        ('[{"name": "A", "value": "1"}]', [{"name": "A", "value": None}], "A"),
        ('"A=1"', None, None),
        ("{}", {}, None),
    ],
)
def test_no_value_of_a_variable_is_kept(variables: str, kept: object, names: str | None) -> None:
    # A key that is there twice could hide one from a look at the last.
    found = without_values(agent(f'{{"environment_variables": {{"C": "2"}}, "environment_variables": {variables}}}'))
    assert json.loads(found.raw)["versions"]["latest"]["definition"] == {"environment_variables": kept}
    assert b'"x":1.0' in found.raw
    assert b'"1"' not in found.raw
    assert b'"2"' not in found.raw
    assert [loss.message.rpartition(": ")[2] for loss in findings(found)] == ([names] if names else [])


def test_what_has_no_variables_stays_as_it_came() -> None:
    record = agent('{"kind": "prompt"}')
    assert without_values(record) is record


def test_variables_that_cant_be_told_from_the_rest_are_not_written() -> None:
    with pytest.raises(CannotWithhold):
        without_values(agent('{"environment_variables": {"A": "\xff1", "B": NaN}}'))
