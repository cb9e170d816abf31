"""Agents out of one project, into another, and out again, alone and beside assistants; all by the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle.reader import open_bundle
from holdall.sandbox.behaviour import Behaviour, Fail, Reset
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.oracle import differences, entries
from tests.project import Hand
from tests.sweep import sweep

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"
BETA = {"OpenAI-Beta": "agents=v1"}
OWN = ("cloned_from", "holdall_op")

EVERYTHING: dict[str, Any] = {
    "name": "Everything",
    "instructions": "Be brief.\u2028 e\u0301",
    "metadata": {"team": "a"},
    "tools": [
        {
            "type": "function",
            "name": "quote",
            "description": "d",
            "parameters": {"type": "object", "properties": {"n": {"default": None, "maximum": 3.0}}},
            "defer_loading": True,
            "async": True,
        },
        {"type": "tool_search"},
        {"type": "programmatic_tool_calling", "enabled": False},
        {
            "type": "mcp",
            "server_label": "docs",
            "transport": {
                "type": "http",
                "server_url": "https://k:secret@mcp.example/a?key=1",
                "headers": {"X-Team": "a"},
            },
            "allowed_tools": ["read"],
            "connection_origin": "environment",
            "credential_id": "vcred_1",
            "request_metadata": {"a": None},
            "required": True,
        },
        {
            "type": "mcp",
            "server_label": "local",
            "transport": {"type": "stdio", "command": "serve", "cwd": "/workspace", "args": ["-v"], "env_vars": ["A"]},
        },
        {"type": "web_search", "context_size": "high", "location": {"country": "CH"}, "mode": "cached"},
        {"type": "computer_use", "include_screenshots": True},
        {"type": "automations"},
    ],
    "reasoning": {"effort": "high", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "schema": {"type": "object", "x": None}}, "verbosity": "low"},
    "multi_agent": {"enabled": True, "max_concurrent_subagents": 3},
    "compaction": {"async": True},
    "experimental": {"time_awareness": True},
    "service_tier": "flex",
}
DEFAULTS: dict[str, Any] = {}
FULL: dict[str, Any] = {"name": "Full", "metadata": {f"k{n}": "v" for n in range(16)}}
ALL = (EVERYTHING, DEFAULTS, FULL)


class Agents:
    """The agents of one project, over the wire."""

    def __init__(self, hand: Hand) -> None:
        self._hand = hand

    def all(self) -> list[dict[str, Any]]:
        page: Any = self._hand.sdk.get("/agents", cast_to=object, options={"headers": BETA, "params": {"order": "asc"}})
        found: list[dict[str, Any]] = page["data"]
        return found

    def make(self, **fields: Any) -> str:
        body = {"model": "gpt-5.1", **fields}
        made: Any = self._hand.sdk.post("/agents", cast_to=object, body=body, options={"headers": BETA})
        return str(made["id"])

    def change(self, id: str, **fields: Any) -> None:
        self._hand.sdk.post(f"/agents/{id}", cast_to=object, body=fields, options={"headers": BETA})


@pytest.fixture
def today(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "today", behaviour=PROFILES["openai-today"]) as running:
        yield running


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "both", behaviour=Behaviour(agents_api=True, serve_assistants_files=True)) as running:
        yield running


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    return Terminal(monkeypatch, {"HOLDALL_SETTLE": "2"})


def export(terminal: Terminal, box: Running, key: str, name: str, *more: str) -> Done:
    environ = {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_SRC_API_KEY": key}
    return terminal("export", "-o", name, "--env-file", "none", *more, **environ)


def to(terminal: Terminal, box: Running, *argv: str) -> Done:
    environ = {"OPENAI_DST_BASE_URL": box.url, "OPENAI_DST_API_KEY": DESTINATION}
    return terminal(*argv, "--env-file", "none", **environ)


def plain(record: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in record.items() if key not in ("id", "created_at", "updated_at")}
    return {**kept, "metadata": {key: value for key, value in kept["metadata"].items() if key not in OWN}}


def records(bundle: str) -> list[dict[str, Any]]:
    """The agents of a bundle without ids, times and our metadata, read by nothing of holdall."""
    found = [json.loads(data) for path, data in entries(Path(bundle)).items() if path.startswith("data/agents/")]
    return sorted((plain(record) for record in found), key=json.dumps)


def test_out_in_and_out_again(today: Running, terminal: Terminal) -> None:
    with Hand(today.url, SOURCE) as hand:
        made = [Agents(hand).make(**fields) for fields in ALL]
    done = export(terminal, today, SOURCE, "one.tar.zst")
    assert done.code == 0, done.err
    assert "3 agents" in done.err
    assert "MCP server docs, https://mcp.example/a" in done.err
    assert "vault credential vcred_1" in done.err
    assert "secret" not in done.err
    assert "web_search" not in done.err
    done = to(terminal, today, "import", "one.tar.zst", "--verify")
    assert done.code == 0, done.err + done.out
    assert done.out.splitlines()[-1] == "COMPLETE"
    assert ": 0 assistants, 3 agents, 0 vector stores" in done.err
    assert export(terminal, today, DESTINATION, "two.tar.zst").code == 0
    assert len(records("one.tar.zst")) == 3
    assert records("one.tar.zst") == records("two.tar.zst")
    mapping = json.loads(Path("out/mapping.json").read_text(encoding="utf-8"))
    with Hand(today.url, DESTINATION) as hand:
        names = {one["id"]: one["name"] for one in Agents(hand).all()}
    assert [names[mapping["agents"][id]] for id in made] == ["Everything", None, "Full"]
    assert "- Success: 3\n" in Path("out/report.md").read_text(encoding="utf-8")
    with open_bundle("one.tar.zst") as bundle:
        assert bundle.info.format == "1.1"
        assert terminal("verify", "one.tar.zst").code == 0
        assert terminal("extract", "one.tar.zst", made[0], "--to", "x").code == 0
    assert plain(json.loads(Path(f"x/data/agents/{made[0]}.json").read_text(encoding="utf-8")))["name"] == "Everything"
    shown = terminal("inspect", "one.tar.zst")
    assert f"  Everything  {made[0]}  gpt-5.1" in shown.out
    assert terminal("verify", "one.tar.zst", "--rehearse").code == 0


@pytest.mark.parametrize("forgotten", [False, True])
def test_what_is_there_is_adopted_and_undone_only_once(today: Running, terminal: Terminal, forgotten: bool) -> None:
    with Hand(today.url, SOURCE) as hand:
        for fields in ALL:
            Agents(hand).make(**fields)
    assert export(terminal, today, SOURCE, "one.tar.zst").code == 0
    assert to(terminal, today, "import", "one.tar.zst").code == 0
    first = {path.name for path in Path("out/runs").iterdir()}
    output = ["--output-dir", "elsewhere"] if forgotten else []
    again = to(terminal, today, "import", "one.tar.zst", "--force", *output)
    assert again.code == 0, again.err
    assert "Nothing created: 3 agents already there" in again.err
    assert again.err.count("Nothing to do") == 1
    with Hand(today.url, DESTINATION) as hand:
        assert len(Agents(hand).all()) == 3
        against = to(terminal, today, "verify", "one.tar.zst", "--against", "dst", "--output-dir", "none")
        assert against.code == 4  # the one whose metadata has no room for marks can't be found by them
        assert "agent Full" in against.out
        second = {path.name for path in Path("elsewhere" if forgotten else "out", "runs").iterdir()} - first
        assert to(terminal, today, "undo", *second, "--yes", *output).code == 0
        assert len(Agents(hand).all()) == 3
        assert to(terminal, today, "undo", *first, "--yes").code == 0
        assert Agents(hand).all() == []


def test_what_differs_is_updated_and_restored(today: Running, terminal: Terminal) -> None:
    with Hand(today.url, SOURCE) as source, Hand(today.url, DESTINATION) as copy:
        changed = Agents(source).make(**EVERYTHING)
        assert export(terminal, today, SOURCE, "one.tar.zst").code == 0
        assert to(terminal, today, "import", "one.tar.zst").code == 0
        (first,) = [path.name for path in Path("out/runs").iterdir()]
        before = plain(Agents(copy).all()[0])
        Agents(source).change(changed, instructions=None, multi_agent={"enabled": False}, reasoning=None)
        assert export(terminal, today, SOURCE, "two.tar.zst").code == 0
        assert to(terminal, today, "import", "two.tar.zst").code == 33
        assert plain(Agents(copy).all()[0]) == before
        done = to(terminal, today, "import", "two.tar.zst", "--on-conflict", "update", "--yes")
        assert done.code == 0, done.err
        assert [plain(one) for one in Agents(copy).all()] == [plain(one) for one in Agents(source).all()]
        assert to(terminal, today, "undo", "latest", "--yes").code == 0
        assert plain(Agents(copy).all()[0]) == before
        Agents(copy).change(Agents(copy).all()[0]["id"], name="Somebody else's")
        left = to(terminal, today, "undo", first, "--yes")
        assert left.code == 3
        assert "others have changed it since: name" in left.err
        assert len(Agents(copy).all()) == 1


@sweep("fault", [Fail(status=502, executed=True), Fail(status=502), Reset(executed=True)], ids=repr)
def test_an_answer_that_is_lost_is_looked_for(today: Running, terminal: Terminal, fault: Fail | Reset) -> None:
    with Hand(today.url, SOURCE) as hand:
        for fields in ALL:
            Agents(hand).make(**fields)
    assert export(terminal, today, SOURCE, "one.tar.zst").code == 0
    today.fault(fault, "POST", "/agents")
    done = to(terminal, today, "import", "one.tar.zst", "--verify")
    assert done.code == 0, done.err
    with Hand(today.url, DESTINATION) as copy:
        assert len(Agents(copy).all()) == 3


def test_a_run_that_is_cut_off_goes_on(today: Running, terminal: Terminal) -> None:
    with Hand(today.url, SOURCE) as hand:
        for fields in ALL:
            Agents(hand).make(**fields)
    assert export(terminal, today, SOURCE, "one.tar.zst").code == 0
    today.fault(Fail(status=401), "POST", "/agents", skip=1)
    assert to(terminal, today, "import", "one.tar.zst").code not in (0, 3)
    done = to(terminal, today, "import", "one.tar.zst", "--verify")
    assert done.code == 0, done.err
    assert "created so far: 1 agent" in done.err
    with Hand(today.url, DESTINATION) as copy:
        assert len(Agents(copy).all()) == 3


def test_assistants_and_agents_share_a_bundle(both: Running, terminal: Terminal) -> None:
    with Hand(both.url, SOURCE) as hand:
        store = hand.store("s", [hand.file("a.txt", b"words")])
        hand.assistant("A", stores=[store], files=[hand.file("b.csv", b"1,2")])
        agent = Agents(hand).make(**EVERYTHING)
    assert export(terminal, both, SOURCE, "one.tar.zst").code == 0
    done = to(terminal, both, "import", "one.tar.zst", "--prefix", "Copy of ")
    assert done.code == 0, done.err
    with Hand(both.url, DESTINATION) as copy:
        assert [one["name"] for one in Agents(copy).all()] == ["Copy of Everything"]
        assert to(terminal, both, "undo", "latest", "--yes").code == 0
    assert to(terminal, both, "import", "one.tar.zst", "--verify").code == 0
    assert export(terminal, both, DESTINATION, "two.tar.zst").code == 0
    assert differences(Path("one.tar.zst"), Path("two.tar.zst")) == []
    assert records("one.tar.zst") == records("two.tar.zst")
    for pattern, counts in (("agent:Every*", (0, 1)), (f"agent:{agent}", (0, 1)), ("asst:*", (1, 0)), ("*", (1, 1))):
        name = f"{len(pattern)}-{counts[0]}.tar.zst"
        assert export(terminal, both, SOURCE, name, "--only", pattern).code == 0
        with open_bundle(name) as bundle:
            assert (len(list(bundle.assistants())), len(list(bundle.agents()))) == counts
    assert export(terminal, both, SOURCE, "none.tar.zst", "--only", "agent:Nobody").code == 2


def test_as_responses_leaves_agents_agents(both: Running, terminal: Terminal) -> None:
    with Hand(both.url, SOURCE) as hand:
        hand.assistant("A")
        Agents(hand).make(**EVERYTHING)
    assert export(terminal, both, SOURCE, "one.tar.zst").code == 0
    done = to(terminal, both, "import", "one.tar.zst", "--as", "responses", "--verify")
    assert done.code == 0, done.err + done.out
    with Hand(both.url, DESTINATION) as copy:
        assert copy.everything("/assistants") == []
        assert len(Agents(copy).all()) == 1
        assert len(list(Path("out/responses").glob("*.about.json"))) == 1
        assert to(terminal, both, "undo", "latest", "--yes").code == 0
        assert Agents(copy).all() == []


def test_a_destination_without_agents_refuses_before_the_first_write(
    both: Running, box: Running, terminal: Terminal
) -> None:
    with Hand(both.url, SOURCE) as hand:
        hand.assistant("A")
        Agents(hand).make(**EVERYTHING)
    assert export(terminal, both, SOURCE, "one.tar.zst").code == 0
    done = to(terminal, box, "import", "one.tar.zst")
    assert done.code == 31, done.err
    assert "/agents" in done.err
    with Hand(box.url, DESTINATION) as copy:
        assert copy.everything("/assistants") == []
    assert to(terminal, box, "import", "one.tar.zst", "--exclude", "agent:*").code == 0


def test_a_model_that_is_gone_is_mapped(today: Running, both: Running, terminal: Terminal) -> None:
    with Hand(both.url, SOURCE) as hand:
        Agents(hand).make(**{**DEFAULTS, "model": "gpt-4-turbo"})
    assert export(terminal, both, SOURCE, "one.tar.zst").code == 0
    done = to(terminal, today, "import", "one.tar.zst")
    assert done.code == 31
    assert "--map-model gpt-4-turbo=NEW" in done.err
    assert to(terminal, today, "import", "one.tar.zst", "--skip-unmapped").code == 4
    done = to(terminal, today, "import", "one.tar.zst", "--map-model", "gpt-4-turbo=gpt-5.1", "--verify")
    assert done.code == 0, done.err
