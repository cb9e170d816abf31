"""The sample project, out of each source that there is, into a Foundry project: answered, compared, again, undone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.cli.fill import fill
from holdall.endpoint import endpoint
from holdall.remote.client import Account
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand
from tests.sandbox.foundry_project import TOKEN, FoundryProject
from tests.sandbox.foundry_sample import MODELS, SAMPLE

pytestmark = pytest.mark.thorough

KEY = "sk-source-0001"
QUESTION = "Which tea is made of gyokuro?"


class Sample(msgspec.Struct, frozen=True):
    """A server that has the sample project, and what an export of it is told besides."""

    box: Running
    key: str
    options: tuple[str, ...] = ()


def running(folder: Path, profile: str, **changes: Any) -> Running:
    # A second passes with each request, so that the assistants have an order.
    seconds = count(1_700_000_000)
    behaviour = msgspec.structs.replace(PROFILES[profile], **changes)
    return Running(folder, behaviour=behaviour, clock=lambda: float(next(seconds)))


def filled(box: Running, key: str) -> None:
    async def make() -> None:
        async with Account(endpoint(key, box.url), side="destination", concurrency=8) as account:
            await fill(account, SAMPLE)

    asyncio.run(make())


@pytest.fixture(params=["openai-2025", "foundry-classic", "july", "refused"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sample]:
    foundry = request.param == "foundry-classic"
    key = TOKEN if foundry else KEY
    changes: dict[str, Any] = {"deployments": MODELS} if foundry else {}
    profile = request.param if foundry else "openai-2025"
    with running(tmp_path / "source", profile, serve_assistants_files=request.param != "refused", **changes) as box:
        filled(box, key)
        options: tuple[str, ...] = ()
        if request.param == "july":
            with Hand(box.url, key) as hand:
                (tmp_path / "july.json").write_text(json.dumps({"data": hand.everything("/assistants")}))
            box.behave(**msgspec.structs.asdict(PROFILES["openai-today"]))
            options = ("--from-dump", "july.json")
        yield Sample(box, key, options)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[FoundryProject]:
    with running(tmp_path / "new", "foundry-new", deployments=MODELS) as box:
        made = FoundryProject(box=box, name="sandbox")
        # It isn't empty, and what is there is in use.
        made.version("theirs")
        made.openai("POST", "/vector_stores", {"name": "theirs", "file_ids": [made.upload("theirs.txt", b"Theirs.")]})
        yield made


def state(project: FoundryProject) -> dict[str, Any]:
    lists = [project.openai("GET", path, query="limit=100").json()["data"] for path in ("/files", "/vector_stores")]
    agents = project.own("GET", "/agents", query="limit=100").json()["data"]
    return {"agents": agents, "ids": [[one["id"] for one in found] for found in lists]}


def answer(project: FoundryProject, agent: str) -> list[str]:
    """The files that an answer of the agent cites."""
    asked = {"input": QUESTION, "agent_reference": {"type": "agent_reference", "name": agent}}
    said = project.openai("POST", "/responses", asked).json()["output"][-1]["content"][0]
    return [one["filename"] for one in said["annotations"]]


def test_out_and_in_and_answered_and_again_and_undone(
    source: Sample, project: FoundryProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"{project.box.url.partition('/api/projects/')[0]}/api/projects/{project.name}"
    holdall = Terminal(
        monkeypatch,
        {
            "OPENAI_SRC_API_KEY": source.key,
            "OPENAI_SRC_BASE_URL": source.box.url,
            "OPENAI_DST_API_KEY": TOKEN,
            "OPENAI_DST_BASE_URL": url,
            "HOLDALL_SETTLE": "0",
        },
    )
    before = state(project)
    whole = holdall("export", "-o", "b.tar.zst", *source.options, "--env-file", "none", "--json").document
    # What the source gave back of a file decides, and nothing that happens on the way.
    code = 0 if whole["result"]["complete"] else 4

    def run(*argv: str) -> Any:
        done = holdall(*argv, "--env-file", "none", "--json")
        assert done.code == code, done.err
        return done.document

    imported = run("import", "b.tar.zst", "--as", "foundry")
    assert imported["result"]["complete"] is (code == 0)
    mapping = json.loads(Path("out/mapping.json").read_bytes())
    agents = list(mapping["foundry_agents"].values())
    assert len(agents) == len(SAMPLE.assistants)
    assert [project.served(name) for name in agents] == ["1"] * len(agents)
    assert answer(project, "Corn-Street-front-desk")
    against = run("verify", "b.tar.zst", "--against", "dst")["result"]["against"]
    assert against["differences"] == []
    assert against["compared"]["foundry_agents"] == len(agents)
    made, writes = state(project), project.box.writes()
    again = run("import", "b.tar.zst", "--as", "foundry")
    assert again["result"]["verdict"] == imported["result"]["verdict"]
    assert project.box.writes() == writes
    assert state(project) == made
    undone = holdall("undo", "latest", "--yes", "--env-file", "none")
    assert undone.code == 0, undone.err
    assert state(project) == before


@pytest.mark.parametrize(("lends", "lists"), [(True, True), (True, False), (False, False)])
def test_in_place(lends: bool, lists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classic agents become new ones of their own project: no content is copied where stores are shared, else all."""
    monkeypatch.chdir(tmp_path)
    switches = {"lends_classic": lends, "lists_classic": lists, "serve_assistants_files": True}
    with running(tmp_path / "both", "foundry-both", deployments=MODELS, **switches) as box:
        filled(box, TOKEN)
        project = FoundryProject(box=box, name="sandbox")
        before, writes = state(project), box.writes()
        mine = {"OPENAI_SRC_API_KEY": TOKEN, "OPENAI_SRC_BASE_URL": box.url, "HOLDALL_SETTLE": "0"}
        holdall = Terminal(monkeypatch, mine)
        clone = ("clone", "--as", "foundry", "--same-project", "--env-file", "none", "--json")
        done = holdall(*clone)
        assert done.code == 0, done.err
        made = json.loads(Path("out/mapping.json").read_bytes())["foundry_agents"]
        assert [project.served(name) for name in made.values()] == ["1"] * len(SAMPLE.assistants)
        assert answer(project, "Corn-Street-front-desk")
        now = state(project)
        if lends:
            # But for one that an agent can't refer to: its purpose is vision.
            files, stores = ([id for id in now["ids"][place] if id not in before["ids"][place]] for place in (0, 1))
            assert (len(files), stores) == (1, [])
            # A request for each agent, that upload, and the responses that were asked for here.
            asked = len(made) + 1
            assert box.writes() - writes == len(made) + 1 + asked
        else:
            assert [len(ids) for ids in now["ids"]] == [len(SAMPLE.documents), len(SAMPLE.stores)]
        writes = box.writes()
        assert holdall(*clone).code == 0
        assert (state(project), box.writes()) == (now, writes)
        same = {"OPENAI_DST_API_KEY": TOKEN, "OPENAI_DST_BASE_URL": box.url}
        bundle = str(sorted(Path("archives").glob("*.zst"))[0])
        against = holdall("verify", bundle, "--against", "dst", "--env-file", "none", "--json", **same)
        assert (against.code, against.document["result"]["against"]["differences"]) == (0, []), against.err
        undone = holdall("undo", "latest", "--yes", "--env-file", "none", **same)
        assert undone.code == 0, undone.err
        assert state(project) == before
