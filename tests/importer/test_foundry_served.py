"""An agent that is in use keeps serving its version, whatever becomes of a plan, an import or an undo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdall.sandbox.behaviour import Fail, Fault, RateLimit, Reset
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests import sweep
from tests.cli.terminal import Terminal
from tests.clock import Clock
from tests.importer.foundry_rig import FULL, Project, assistants, bundled, good

FAULTS: dict[str, Fault] = {
    "reset after": Reset(executed=True),
    "reset before": Reset(),
    "500": Fail(),
    "500 after": Fail(executed=True),
    "429": RateLimit(),
    "401": Fail(status=401),
}
EVER = 10**6


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    with assistants(folder) as hand:
        store = hand.store("manuals", [hand.file("manual.txt", b"Turn it off and on again.")])
        hand.assistant("In use", stores=[store], instructions="The bundle's.")
        hand.assistant("Full", metadata=FULL, instructions="The bundle's.")
        hand.assistant("New")
        hand.assistant("New and full", metadata=FULL)
        return bundled(hand, folder)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("new"), behaviour=PROFILES["foundry-new"]) as running:
        yield running


Make = Callable[[], Project]


@pytest.fixture
def projects(box: Running, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes projects that have two agents in use."""
    made: list[Project] = []

    def make() -> Project:
        project = Project(box, f"p{abs(hash(request.node.nodeid))}-{len(made)}")
        made.append(project)
        project.agent("In-use", instructions="Theirs.")
        project.agent("Full", instructions="Theirs.", metadata=FULL)
        return project

    yield make
    for one in made:
        one.close()


IN_USE = {"In-use": ["1"], "Full": ["1"]}
MADE = {"In-use": ["1", "2"], "Full": ["1", "2"], "New": ["1"], "New-and-full": ["1"]}


def served(project: Project) -> set[str]:
    return {project.served(name) for name in IN_USE}


def test_a_plan_and_a_refused_import_change_nothing(
    projects: Make, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = projects()
    holdall, before = project.terminal(monkeypatch, tmp_path), project.state()
    for argv, code in (
        (("plan", "--on-conflict", "update"), 3),
        (("plan",), 33),
        (("import",), 33),
        (("import", "--on-conflict", "update"), 2),
        (("import", "--on-conflict", "update", "--yes", "--max-loss", "none", "--prefix", "x"), 36),
        (("import", "--on-conflict", "skip", "--dry-run"), 3),
    ):
        good(holdall(argv[0], str(bundle), "--as", "foundry", *argv[1:]), code)
        assert (project.state(), served(project)) == (before, {"1"}), argv


def undone(holdall: Terminal) -> dict[str, list[str]]:
    """Undo all runs, the latest first. The agents of which something stays, with their versions: what has no room for
    a mark, and whose answer was lost, is nobody's for certain; and it is named."""
    orphans: set[str] = set()
    for run in sorted(Path("out/runs").iterdir(), reverse=True):
        done = holdall("undo", run.name, "--yes", "--settle", "0", "--json")
        assert done.code in (0, 3), done.err
        orphans.update(one["id"] for one in done.document["result"]["orphans"])
    found = {"Full:2": ("Full", ["1", "2"]), "New-and-full": ("New-and-full", ["1"])}
    return dict(found[id] for id in sorted(orphans & found.keys()))


@sweep.sweep("fault", FAULTS)
def test_each_request_of_an_update_fails_in_turn(
    fault: str, box: Running, projects: Make, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Clock().rule(monkeypatch)
    argv = ("import", str(bundle), "--as", "foundry", "--on-conflict", "update", "--yes", "--concurrency", "1")
    skip, ended, step = sweep.SEED, False, 1 if sweep.is_thorough else 16
    while not ended:
        folder = tmp_path / str(skip)
        folder.mkdir()
        project = projects()
        holdall = project.terminal(monkeypatch, folder)
        box.fault(FAULTS[fault], skip=skip, times=EVER)
        code = holdall(*argv).code
        # The requests are over before the fault.
        ended = code == 0
        box.clear_faults()
        assert code not in (1, 70)
        now = {name: project.versions(name) for name in project.agents()}
        assert all(now.get(name, []) in ([], MADE[name][:1], MADE[name]) for name in MADE), (skip, now)
        audits = "".join(audit.read_text() for audit in folder.glob("out/runs/*/audit.jsonl"))
        for name in IN_USE:
            if f"POST /agents/{name}/versions" not in audits:
                assert project.served(name) == "1"
        if skip % 2:
            good(holdall(*argv))
            assert {name: project.versions(name) for name in project.agents()} == MADE, skip
            assert served(project) == {"2"}
        left = undone(holdall) if list(folder.glob("out/runs/*")) else {}
        assert {name: project.versions(name) for name in project.agents()} == {**IN_USE, **left}, skip
        assert project.served("In-use") == "1", skip
        skip += step
    print(f"{fault}: {skip} requests")
