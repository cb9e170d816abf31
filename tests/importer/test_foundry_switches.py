"""What nobody knows of a Foundry project, both ways: in, again, with a change of others, updated, proven and undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.clock import Clock
from tests.importer.foundry_rig import FULL, Project, assistants, bundled, good, help_desks
from tests.sweep import sweep

STRICT = PROFILES["foundry-new"]
ODD = STRICT.oddities

# What the profile says of each is what the first row is about.
ROWS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "equal versions are one": {"keeps_equal_versions": False},
    "metadata makes none": {"keeps_equal_versions": False, "metadata_makes_versions": False},
    "unknown keys are dropped": {"drops_unknown_keys": True},
    "versions aren't checked": {"checks_versions": False},
    "one store for a search": {"one_store_per_search": True},
    "numbers come again": {"reuses_version_numbers": True},
    "the last version stays": {"deletes_last_version": False},
    "a pinned version stays": {"deletes_pinned_version": False},
    "oldest first": {"agents_order": "asc"},
    "no last id": {"last_page_has_last_id": False},
    "ids of their own": {"agent_ids": "own"},
    "no ids": {"agent_ids": "none"},
    "stores are searched": {"searches_stores": True},
    "files are pending": {"file_pending": 20.0},
    "a version in every query": {"bears_api_version": True},
    "files are served": {"serve_assistants_files": True},
    "parsed text is served": {"oddities": ODD - {Oddity.TEXT_404}},
    "files are file-": {"oddities": ODD - {Oddity.ID_ASSISTANT}},
    "late to be seen": {"visible_after": 4.0},
    "stores go with agents": {"deletes_stores_of_agents": True},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    with assistants(folder) as hand:
        help_desks(hand)
        hand.assistant("Notes", metadata={"team": "b"})
        hand.assistant("Full", metadata=FULL, description="All keys are the owner's.")
        hand.assistant("Thinker", model="o3", reasoning_effort="low")
        return bundled(hand, folder)


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("new"), behaviour=STRICT, clock=lambda: clock.now + 1_700_000_000) as running:
        yield running


@pytest.fixture
def project(box: Running, request: pytest.FixtureRequest) -> Iterator[Project]:
    made = Project(box, f"p{abs(hash(request.node.nodeid))}")
    yield made
    made.close()


@pytest.fixture
def holdall(project: Project, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    clock.rule(monkeypatch)
    return project.terminal(monkeypatch, tmp_path)


Run = Callable[..., str]


@pytest.fixture
def run(holdall: Terminal, clock: Clock, bundle: Path) -> Run:
    """A command, a minute after what was before it."""

    def running(*argv: str, code: int = 0) -> str:
        clock.now += 60
        done = good(holdall(*argv), code)
        clock.now += 60
        return done.err + done.out

    return running


@sweep("row", ROWS)
def test_whatever_is_unknown(row: str, bundle: Path, project: Project, run: Run, clock: Clock) -> None:
    update = ("import", str(bundle), "--as", "foundry", "--on-conflict", "update", "--yes")
    with project.behaving(**ROWS[row]):
        project.agent("Thinker", instructions="Somebody's own.")
        project.agent("Thinker", instructions="Somebody's own, later.")
        clock.now += 60
        before = project.state()
        run("import", str(bundle), "--as", "foundry", code=33)
        assert project.state() == before
        run(*update)
        first = project.state()
        assert {name: len(versions) for name, versions in first["versions"].items()} == {
            "Help-desk": 1, "help-desk-2": 1, "Full": 1, "Notes": 1, "Thinker": 3,
        }  # fmt: skip
        assert first["agents"]["Full"]["metadata"] == FULL
        assert project.served("Thinker") == first["agents"]["Thinker"]["version"] == "3"
        assert "Nothing" in run("import", str(bundle), "--as", "foundry")
        assert project.state() == first
        run("verify", str(bundle), "--against", "dst")
        # A version of others, on top of ours.
        project.agent("Help-desk", instructions="Ours.")
        project.pin("Help-desk", "2")
        run(*update, code=33)
        assert project.served("Help-desk") == "2"
        assert "not live: pinned to another version are Help-desk (version 2)" in run(
            *update, "--even-if-changed", "-v"
        )
        assert project.served("Help-desk") == "2"
        second = project.state()
        assert second["versions"]["Help-desk"] == ["1", "2", "3"]
        assert second["agents"]["Help-desk"]["definition"] == first["agents"]["Help-desk"]["definition"]
        assert "Nothing" in run("import", str(bundle), "--as", "foundry")
        assert project.state() == second
        run("undo", "latest", "--yes")
        assert project.versions("Help-desk") == ["1", "2"]
        assert project.served("Help-desk") == "2"
        # The first import, without what others have changed since, and with it.
        one = min(Path("out/runs").iterdir()).name
        run("undo", one, "--yes", code=3)
        assert project.versions("Help-desk") == ["1", "2"]
        assert project.versions("Thinker") == before["versions"]["Thinker"]
        run("undo", one, "--yes", "--even-if-changed")
        assert project.state() == before


def only(bundle: Path, name: str) -> tuple[str, ...]:
    return ("import", str(bundle), "--as", "foundry", "--only", name)


UPDATE = ("--on-conflict", "update", "--yes")


@pytest.mark.parametrize("keeps", [True, False])
def test_a_version_that_others_have_pinned_is_served_after_an_undo(
    keeps: bool, bundle: Path, project: Project, run: Run
) -> None:
    with project.behaving(deletes_pinned_version=keeps):
        project.agent("Notes", instructions="Theirs.")
        assert "live at once: the new version of Notes" in run(*only(bundle, "Notes"), *UPDATE, "-v")
        project.pin("Notes", "2")
        assert "PARTLY UNDONE" in run("undo", "latest", "--yes", code=3)
        assert project.served("Notes") == "2"
        run("undo", "latest", "--yes", "--even-if-changed", code=0 if keeps else 3)
        assert project.served("Notes") == ("1" if keeps else "2")


@pytest.mark.parametrize("changes", [{}, {"keeps_equal_versions": False, "metadata_makes_versions": False}])
def test_metadata_that_alone_makes_no_version_is_told_once(
    changes: dict[str, bool], bundle: Path, project: Project, run: Run
) -> None:
    project.agent("Notes", metadata={"team": "theirs"})
    with project.behaving(**changes):
        said = run(*only(bundle, "Notes"), *UPDATE, code=3 if changes else 0)
        assert ("changed by the destination: team" in said) == bool(changes)
        assert project.versions("Notes") == ["1"] if changes else ["1", "2"]
        again = run(*only(bundle, "Notes"), "-v", code=3 if changes else 0)
        assert "Nothing" in again
        run("verify", str(bundle), "--against", "dst", code=3 if changes else 0)
        run("undo", "latest", "--yes")
        assert project.agents()["Notes"]["metadata"] == {"team": "theirs"}
        assert project.versions("Notes") == ["1"]
