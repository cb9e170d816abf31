"""A look at an account: true on every server, whatever it does, and never a write."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec
import pytest

from holdall.doctor.diagnosis import Diagnosis, EndpointState, Holdings, Side
from holdall.doctor.examination import Examined, diagnose, examine
from holdall.endpoint import Endpoint, endpoint
from holdall.kinds import DEFINITIONS, KINDS
from holdall.remote.client import Account
from holdall.remote.limits import FEW, Limits
from holdall.remote.wire import Surface
from holdall.sandbox.behaviour import Behaviour, CutBody, Fail, RateLimit
from holdall.sandbox.entra import token
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.project import Hand
from tests.sweep import sweep

TODAY = date(2026, 11, 22)
NOW = 1_795_000_000.0
SOURCE, OTHER = "sk-source-0001", "sk-destination-0001"
HELD = {"assistants": 2, "agents": None, "vector_stores": 1, "memberships": 2, "files": 3, "bytes": 33}


def look(at: Endpoint, side: str = "source", today: date = TODAY) -> Examined:
    async def main() -> Examined:
        async def no_time(seconds: float) -> None:
            await asyncio.sleep(0)

        async with Account(at, side=side, limits=Limits(3, sleep=no_time, patience=0)) as account:
            return await examine(account, today=today)

    return asyncio.run(main())


def both(box: Running, source: str, destination: str) -> Diagnosis:
    return diagnose([look(endpoint(source, box.url)), look(endpoint(destination, box.url), "destination")])


def fill(url: str, key: str = SOURCE, *, assistants: bool = True) -> None:
    """Two assistants, the store of one with two files, a file of the other, and one of each that nobody uses."""
    with Hand(url, key) as hand:
        first, second = hand.file("first.txt", b"first text."), hand.file("second.txt", b"second text")
        table = hand.file("table.csv", b"a,b\n1,2\n3,4")
        hand.file("picture.png", b"picture", purpose="vision")
        store = hand.post("/vector_stores", name="Used", file_ids=[first, second])["id"]
        hand.post("/vector_stores", name="Unused")
        if assistants:
            hand.post(
                "/assistants",
                name="Reader",
                model="gpt-4o",
                tools=[{"type": "file_search"}],
                tool_resources={"file_search": {"vector_store_ids": [store]}},
            )
            hand.post(
                "/assistants",
                model="gpt-5.5",
                tools=[{"type": "code_interpreter"}],
                tool_resources={"code_interpreter": {"file_ids": [table, first]}},
            )


def counted(side: Side) -> dict[str, int | None]:
    found: dict[str, int | None] = msgspec.to_builtins(side.export)
    return {name: found[name] for name in HELD}


def codes(found: Diagnosis) -> set[str]:
    return {finding.code for finding in found.findings}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sandbox with the project, for looks that change nothing; each test puts the behaviour it wants."""
    folder = tmp_path_factory.mktemp("doctor")
    with Running(folder, randomness=random.Random(7)) as box:
        fill(box.url)
        yield box


@pytest.fixture
def server(filled: Running) -> Iterator[Running]:
    before = filled.behaviour
    filled.forget_requests()
    yield filled
    filled.clear_faults()
    filled.behave(**msgspec.structs.asdict(before))
    assert {request.method for request in filled.requests()} == {"GET"}


def test_a_whole_look(server: Running) -> None:
    found = look(endpoint(SOURCE, server.url), today=date(2026, 8, 26)).side
    assert (found.key_valid, found.failure, found.doubts) == (True, None, {})
    assert found.organization
    assert found.organization.startswith("org-")
    assert {each.name: each.answer for each in found.endpoints} == {
        "files": EndpointState.YES,
        "vector_stores": EndpointState.YES,
        "assistants": EndpointState.YES,
        "agents": EndpointState.ABSENT,
        "containers": EndpointState.YES,
        "responses": EndpointState.YES,
        "models": EndpointState.YES,
    }
    assert counted(found) == HELD
    assert [(each.purpose, each.files, each.bytes, each.answer) for each in found.downloads] == [
        ("assistants", 3, 33, EndpointState.DENIED),
        ("vision", 1, 7, EndpointState.YES),
    ]
    assert found.text is EndpointState.YES
    assert found.models
    used = {model.id: model.used_by for model in found.models.ending if model.used_by}
    assert used == {"gpt-4o": ["Reader"]}
    assert found.models.gone == []
    assert sum(found.requests.values()) == len(server.requests())


@sweep("oddity", Oddity)
def test_on_every_odd_server(server: Running, oddity: Oddity) -> None:
    server.behave(oddities=frozenset({oddity}))
    found = look(endpoint(SOURCE, server.url)).side
    assert found.failure is None
    assert found.key_valid
    assert found.answer("responses") in (EndpointState.YES, EndpointState.UNKNOWN)
    differs = {"bytes-wrong": {"bytes": 54}}
    assert counted(found) == {**HELD, **differs.get(oddity.value, {})} or found.doubts


def test_on_all_odd_servers_at_once(server: Running) -> None:
    server.behave(oddities=frozenset(Oddity))
    side = look(endpoint(SOURCE, server.url)).side
    assert diagnose([Examined(side=side, endpoint=endpoint(SOURCE, server.url))]).findings


def test_permissions_that_the_key_lacks(server: Running) -> None:
    server.behave(missing_scopes=("api.files.read", "api.responses.read", "api.model.read"))
    found = both(server, SOURCE, OTHER)
    side = found.sides[0]
    assert {each.name: each.scopes for each in side.endpoints if each.answer is EndpointState.DENIED} == {
        "files": ["api.files.read"],
        "responses": ["api.responses.read"],
        "models": ["api.model.read"],
    }
    assert side.key_valid
    assert side.models is None
    assert counted(side) == {**HELD, "files": None, "bytes": None}
    assert "the key can't read files (api.files.read)" in [finding.message for finding in found.findings]
    server.behave(
        missing_scopes=tuple(
            f"api.{name}.read" for name in ("files", "vector_stores", "assistants", "responses", "model")
        ),
        containers=False,
    )
    failure = look(endpoint(SOURCE, server.url)).side.failure
    assert failure
    assert failure.exit_code == 23


def test_a_key_that_is_not_valid(server: Running) -> None:
    found = both(server, "nonsense-key", SOURCE)
    assert found.failure
    assert found.failure.exit_code == 20
    assert "nonsense" not in found.failure.message
    assert (found.sides[0].key_valid, found.sides[1].key_valid) == (False, True)
    assert found.same_project is None


def test_servers_that_are_not_there() -> None:
    failure = look(endpoint(SOURCE, "http://127.0.0.1:9/v1")).side.failure
    assert failure
    assert failure.exit_code == 22


def test_an_address_where_no_endpoint_is(server: Running) -> None:
    failure = look(endpoint(SOURCE, server.url + "/v1")).side.failure
    assert failure
    assert failure.exit_code == 24
    assert "/v1" in failure.hint


def test_an_endpoint_that_fails(server: Running) -> None:

    server.fault(Fail(status=500), "GET", "/vector_stores", times=FEW)
    server.fault(RateLimit(retry_after=0.0), "GET", "/models", times=FEW)
    found = diagnose([look(endpoint(SOURCE, server.url))])
    assert (found.sides[0].answer("vector_stores"), found.sides[0].answer("models")) == (
        EndpointState.FAILS,
        EndpointState.FAILS,
    )
    assert "endpoint" in codes(found)
    export = found.sides[0].export
    assert export
    assert (export.vector_stores, export.files) == (None, None)


def test_no_more_of_a_file_than_its_beginning_is_downloaded(box: Running) -> None:
    with Hand(box.url, SOURCE) as hand:
        hand.file("large.bin", bytes(6 << 20), purpose="vision")
    # Whoever reads on gets an error.
    box.fault(CutBody(after=5 << 20), "GET", "/files/*/content")
    (found,) = look(endpoint(SOURCE, box.url)).side.downloads
    assert (found.answer, found.bytes) == (EndpointState.YES, 6 << 20)


def test_a_file_that_is_gone_does_not_tell(box: Running) -> None:
    with Hand(box.url, SOURCE) as hand:
        for number in range(2):
            hand.file(f"{number}.bin", b"x", purpose="vision")
    box.fault(Fail(status=404), "GET", "/files/*/content")
    (found,) = look(endpoint(SOURCE, box.url)).side.downloads
    assert found.answer is EndpointState.YES
    box.fault(Fail(status=404), "GET", "/files/*/content", times=2)
    (found,) = look(endpoint(SOURCE, box.url)).side.downloads
    assert found.answer is EndpointState.UNKNOWN


@pytest.mark.parametrize("names_project", [True, False])
def test_one_project_or_two(server: Running, names_project: bool) -> None:
    user = "sk-user-0001"
    one, other = endpoint(SOURCE, server.url), endpoint(OTHER, server.url)
    project = look(one).side.project
    asked = [look(one), look(endpoint(user, server.url, project=project)), look(other)]
    if not names_project:
        asked = [msgspec.structs.replace(each, side=msgspec.structs.replace(each.side, project=None)) for each in asked]
    same = diagnose(asked[:2])
    assert (same.same_project, "same_project" in codes(same)) == (True, True)
    assert diagnose([asked[0], asked[0]]).same_project is True
    assert diagnose([asked[0], asked[2]]).same_project is False


@pytest.mark.parametrize("name", PROFILES)
def test_on_every_profile(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    profile: Behaviour = PROFILES[name]
    with Running(tmp_path_factory.mktemp("profile"), behaviour=profile, clock=lambda: NOW) as box:
        key = token(NOW + 3600) if profile.foundry else SOURCE
        if not profile.foundry:
            fill(box.url, assistants=profile.assistants_api)
        box.forget_requests()
        found = diagnose([look(endpoint(key, box.url))])
        assert {request.method for request in box.requests()} == {"GET"}
        assert box.writes() == 0
    side = found.sides[0]
    assert side.failure is None
    answers = {each.name: each.answer is EndpointState.YES for each in side.endpoints}
    assert answers["assistants"] is profile.assistants_api
    assert answers["agents"] is profile.agents_api
    assert answers["responses"] is profile.responses_api
    assert answers.get("deployments", False) is profile.foundry
    assert side.models
    assert side.models.there > 0
    expected = {
        "openai-today": {**HELD, "assistants": None, "agents": 0, "vector_stores": 2, "files": 4, "bytes": 40},
        "foundry-classic": {**dict.fromkeys(HELD, 0), "agents": None},
        "foundry-new": {**dict.fromkeys(HELD, 0), "agents": None, "assistants": None},
        "foundry-both": {**dict.fromkeys(HELD, 0), "agents": None},
    }
    assert counted(side) == expected.get(name, HELD)
    assert codes(found) == {
        "openai-2025": {"download"},
        "openai-today": {"no_assistants", "download"},
        "foundry-classic": {"empty"},
        "foundry-new": {"empty"},
        "foundry-both": {"empty"},
    }.get(name, set())


def test_each_kind_is_counted() -> None:
    assert {KINDS[kind].count for kind in DEFINITIONS} <= set(Holdings.__struct_fields__)


@pytest.mark.parametrize("what", ["skill", "template"])
def test_a_project_with_a_skill_or_a_template_alone_is_not_empty(what: str, tmp_path: Path) -> None:
    with Running(tmp_path / "box", behaviour=PROFILES["openai-today"]) as box, Hand(box.url, SOURCE) as hand:
        made = hand.skill("tea") if what == "skill" else hand.template("desk")
        assert made
        found = diagnose([look(endpoint(SOURCE, box.url))])
    held = found.sides[0].export
    assert held
    assert (held.skills, held.environment_templates) == ((1, 0) if what == "skill" else (0, 1))
    assert "empty" not in codes(found)


def test_a_store_whose_files_cannot_be_listed(server: Running) -> None:
    """What an export takes isn't known then."""
    server.fault(Fail(status=500), "GET", "/vector_stores/*/files", times=FEW)
    side = diagnose([look(endpoint(SOURCE, server.url))]).sides[0]
    assert counted(side) == {**HELD, "files": None, "bytes": None}


def test_a_foundry_project(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What it is, and what is on both of its surfaces."""
    definition = {"kind": "prompt", "model": "support-production"}
    with Running(tmp_path_factory.mktemp("foundry"), behaviour=PROFILES["foundry-both"], clock=lambda: NOW) as box:
        at = endpoint(token(NOW + 3600), box.url)

        async def fill_both() -> None:
            for surface in Surface:
                async with Account(at, surfaces=(surface,)) as account:
                    raw = (await account.upload("a.md", io.BytesIO(b"some words"), purpose="assistants")).raw
                    file = msgspec.json.decode(raw)["id"]
                    raw = (await account.post("/vector_stores", {"name": surface, "file_ids": [file]})).raw
                    store = msgspec.json.decode(raw)["id"]
                    if surface is Surface.CLASSIC:
                        tools = {"tools": [{"type": "file_search"}]}
                        tools["tool_resources"] = {"file_search": {"vector_store_ids": [store]}}  # type: ignore[assignment]
                        await account.post("/assistants", {"model": "gpt-4o", "name": "Old", **tools})
                    else:
                        tool = {"type": "file_search", "vector_store_ids": [store]}
                        body = {"definition": {**definition, "tools": [tool]}}
                        await account.post("/agents/support/versions", body)

        asyncio.run(fill_both())
        found = diagnose([look(at), look(endpoint("other", box.url + "/openai/v1"), "destination")])
        gone = look(endpoint(token(NOW + 1800), box.url.replace("/api/projects/", "/x/api/projects/")))
        again = look(endpoint(token(NOW + 1800), box.url.replace("/sandbox", "/sandbox/openai/v1")), "destination")
    side = found.sides[0]
    assert counted(side) == {
        "assistants": 1, "agents": None, "vector_stores": 2, "memberships": 2, "files": 2, "bytes": 20
    }  # fmt: skip
    assert side.export
    assert side.export.foundry_agents == 1
    project = side.foundry
    assert project
    assert (project.classic, project.new) == (True, True)
    assert [each.name for each in project.connections or ()] == ["search", "bing"]
    assert "support-production" in {each.name for each in project.deployments or ()}
    assert codes(found) == {"download", "failure"}
    assert again.side.foundry == project
    assert gone.side.failure
    assert "check the names of the account and of the project" in gone.side.failure.hint
    assert diagnose([Examined(side=side, endpoint=at), again]).evidence == "same address"
