"""Others are at work on the same agents: nothing of theirs gets a version of ours on top, and nothing is made twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.remote.client import Account
from holdall.remote.wire import Answer
from holdall.sandbox.behaviour import Reset
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.clock import Clock
from tests.importer.foundry_rig import FULL, Project, assistants, bundled, good, mapped

Act = Callable[[], object]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    with assistants(folder) as hand:
        hand.assistant("Desk", instructions="The bundle's.")
        hand.assistant("Full", metadata=FULL)
        return bundled(hand, folder)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("new"), behaviour=PROFILES["foundry-new"]) as running:
        yield running


@pytest.fixture
def project(box: Running, request: pytest.FixtureRequest) -> Iterator[Project]:
    with Project(box, f"p{abs(hash(request.node.nodeid))}") as made:
        yield made


@pytest.fixture
def holdall(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    Clock().rule(monkeypatch)
    return project.terminal(monkeypatch, tmp_path)


class Moment:
    """What others do around the first version that is sent of an agent."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.agent, self.before, self.after = "", list[Act](), list[Act]()
        send = Account.post

        async def post(account: Account, where: str, *arguments: Any, **more: Any) -> Answer:
            is_it = where == f"/agents/{self.agent}/versions"
            while is_it and self.before:
                self.before.pop()()
            try:
                return await send(account, where, *arguments, **more)
            finally:
                while is_it and self.after:
                    self.after.pop()()

        patch.setattr(Account, "post", post)


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Moment:
    return Moment(monkeypatch)


def once_planned(patch: pytest.MonkeyPatch, act: Act) -> None:
    """Others act when the plan is made, and nothing is written yet."""
    from holdall.importer.verbs import import_bundle

    begin = import_bundle.begin

    async def begun(*arguments: Any, **more: Any) -> None:
        await begin(*arguments, **more)
        act()

    patch.setattr(import_bundle, "begin", begun)


def why(output: str = "out") -> str:
    """The reasons of what failed, by the report of the latest run."""
    return Path(output, "report.md").read_text(encoding="utf-8")


NEW = ("--as", "foundry")
UPDATE = (*NEW, "--on-conflict", "update", "--yes")


@pytest.mark.parametrize("name", ["Desk", "Full"])
def test_an_agent_that_others_create_meanwhile_is_left_alone(
    name: str, project: Project, holdall: Terminal, bundle: Path, monkeypatch: pytest.MonkeyPatch, moment: Moment
) -> None:
    def theirs() -> None:
        project.agent(name, instructions="Theirs.")

    with monkeypatch.context() as patch:
        once_planned(patch, theirs)
        good(holdall("import", str(bundle), *NEW), 4)
    assert f"meanwhile there is an agent {name}" in why()
    assert (project.versions(name), project.served(name)) == (["1"], "1")
    good(holdall("undo", "latest", "--yes"))
    assert list(project.agents()) == [name]
    project.call("DELETE", f"/agents/{name}")
    # In the same moment: after we have looked whether it is free.
    moment.agent, moment.before = name, [theirs]
    good(holdall("import", str(bundle), *NEW, "--output-dir", "second"), 4)
    assert f"others created an agent {name} at the same time" in why("second")
    assert (project.versions(name), project.served(name)) == (["1"], "1")
    good(holdall("undo", "latest", "--yes", "--output-dir", "second"))
    assert list(project.agents()) == [name]


def test_a_version_that_others_make_meanwhile_is_served_on(
    project: Project, holdall: Terminal, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.agent("Desk", instructions="Theirs.")
    once_planned(monkeypatch, lambda: project.agent("Desk", instructions="Theirs, later."))
    good(holdall("import", str(bundle), *UPDATE), 4)
    assert "others have made version 2 of Desk meanwhile" in why()
    assert project.served("Desk") == "2"
    good(holdall("undo", "latest", "--yes"))
    assert (project.versions("Desk"), list(project.agents())) == (["1", "2"], ["Desk"])


@pytest.mark.parametrize("name", ["Desk", "Full"])
def test_a_lost_answer_is_found_below_what_others_have_made_since(
    name: str, box: Running, project: Project, holdall: Terminal, bundle: Path, moment: Moment
) -> None:
    moment.agent, moment.after = name, [lambda: project.agent(name, instructions="Theirs.")]
    box.fault(Reset(executed=True), "POST", f"/agents/{name}/versions")
    good(holdall("import", str(bundle), *NEW), 3)
    box.clear_faults()
    assert (project.versions(name), project.served(name)) == (["1", "2"], "2")
    good(holdall("undo", "latest", "--yes"), 3)
    assert (project.versions(name), project.served(name)) == (["1", "2"], "2")


def test_an_equal_version_of_others_keeps_the_agent(project: Project, holdall: Terminal, bundle: Path) -> None:
    good(holdall("import", str(bundle), *NEW))
    there = project.agents()
    for name in there:
        project.agent(name, **{**there[name]["definition"], "metadata": there[name]["metadata"]})
    project.call("DELETE", "/agents/Full")
    done = good(holdall("undo", "latest", "--yes"), 3)
    assert "others have added versions to it since" in done.err + done.out
    assert project.versions("Desk") == ["1", "2"]
    good(holdall("undo", "latest", "--yes", "--even-if-changed"))
    assert project.agents() == {}


@pytest.mark.parametrize("count", [3, pytest.param(300, marks=pytest.mark.thorough)])
def test_names_that_are_one_name_are_told_apart(
    count: int, project: Project, holdall: Terminal, tmp_path: Path
) -> None:
    long = "x" * 70
    names = [*["Desk"] * count, "DESK", "desk", "Desk-2", "désk!", long, f"{long[:63]}", f"{long[:62]}-", "受付", ""]
    with assistants(tmp_path) as hand:
        for name in names:
            hand.assistant(name)
        own = bundled(hand, tmp_path)
    project.agent("somebody", instructions="Theirs.")
    theirs = project.agents()
    good(holdall("import", str(own), *NEW))
    made = mapped(tmp_path / "out")
    assert len({name.casefold() for name in (*made.values(), "somebody")}) == len(names) + 1
    assert max(map(len, made.values())) == 63
    assert {name: project.versions(name) for name in made.values()} == {name: ["1"] for name in made.values()}
    state = project.state()
    assert "Nothing" in good(holdall("import", str(own), *NEW)).err
    assert project.state() == state
    good(holdall("undo", "latest", "--yes"))
    assert project.agents() == theirs
