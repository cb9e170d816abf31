"""kill -9 at any moment of an import of skills and templates, and lost answers: no version, skill or template twice."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.sandbox.behaviour import Fault, Late, NoQuota, Reset
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.bundle.packing import pack
from tests.cli.terminal import Terminal
from tests.project import Hand, skill_zip
from tests.test_kill_import import SEED, Server, holdall

VERSIONS = 3
NAMES = ("tea", "coffee")
NUMBERS = itertools.count(1)


def packed(path: Path) -> Path:
    """Skills with several versions, two of them equal, and templates that pin them; two have one name."""
    zips = {f"skill_{name}": [skill_zip(name, {"n": f"{n % 2}".encode()}) for n in range(VERSIONS)] for name in NAMES}
    reference = {"type": "skill_reference", "skill_id": "skill_tea"}
    network = {"access": "enabled", "allowed_domains": []}
    templates: dict[str, dict[str, Any]] = {
        f"envtmpl_{n}": {
            "name": "same" if n else None,
            "skills": [{**reference, "version": f"{n + 1}"}],
            "network": network,
        }
        for n in range(VERSIONS)
    }
    pack(path, assistants={}, stores={}, skills=zips, templates=templates, default_version="2")
    return path


def standing(url: str, key: str) -> dict[str, Any]:
    """How often each thing stands in the project."""
    with Hand(url, key) as hand:
        skills = [one for one in hand.sdk.skills.list(order="asc") if not one.id.startswith("openai-")]
        templates = list(hand.sdk.beta.agents.environments.templates.list(order="asc"))
        return {
            "skills": sorted((one.name, one.default_version) for one in skills),
            "versions": [len(list(hand.sdk.skills.versions.list(one.id))) for one in skills],
            "templates": sorted((str(one.name), str(one.to_dict()["skills"][0]["version"])) for one in templates),  # type: ignore[index]
        }


EVERYTHING = {
    "skills": [("coffee", "2"), ("tea", "2")],
    "versions": [VERSIONS, VERSIONS],
    "templates": [("None", "1"), ("same", "2"), ("same", "3")],
}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("box"), behaviour=PROFILES["openai-today"], control=True) as running:
        yield running


PLACES = ("/skills", "/skills/*/versions", "/skills/*", "/agents/environments/templates")
EXECUTED = pytest.param(Reset(executed=True), PLACES, id="executed")
OTHERS = [
    pytest.param(fault, (where,), id=f"{type(fault).__name__} {where}", marks=pytest.mark.thorough)
    for fault in (Reset(), Late(seconds=0.4))
    for where in PLACES
]


@pytest.mark.parametrize(("fault", "places"), [EXECUTED, *OTHERS])
def test_an_answer_that_is_lost_is_looked_for(
    tmp_path: Path, box: Running, monkeypatch: pytest.MonkeyPatch, fault: Fault, places: tuple[str, ...]
) -> None:
    key = f"sk-lost-{next(NUMBERS):04}"
    holdall = Terminal(monkeypatch, {"OPENAI_DST_API_KEY": key, "OPENAI_DST_BASE_URL": box.url})
    bundle = packed(tmp_path / "b.tar.zst")
    flags = ("--env-file", "none", "--output-dir", str(tmp_path / "out"))
    for where in places:
        box.fault(fault, "POST", where, times=2, skip=1)
    done = holdall("import", str(bundle), "--settle", "3", *flags)
    box.clear_faults()
    assert done.code == 4, done.err  # of a template nobody knows whether it is whole
    assert standing(box.url, key) == EVERYTHING
    assert holdall("undo", "latest", "--yes", "--settle", "1", *flags).code == 0
    assert standing(box.url, key) == {"skills": [], "versions": [], "templates": []}


@pytest.mark.parametrize("auto_default", [False, True])
def test_a_run_that_stopped_halfway_is_undone_whole(
    tmp_path: Path, box: Running, monkeypatch: pytest.MonkeyPatch, auto_default: bool
) -> None:
    key = f"sk-half-{next(NUMBERS):04}"
    holdall = Terminal(monkeypatch, {"OPENAI_DST_API_KEY": key, "OPENAI_DST_BASE_URL": box.url})
    flags = ("--env-file", "none", "--output-dir", str(tmp_path / "out"))
    box.behave(new_skill_version_is_default=auto_default)
    box.fault(NoQuota(), "POST", "/skills/*/versions", skip=1)
    done = holdall("import", str(packed(tmp_path / "b.tar.zst")), *flags)
    box.behave(new_skill_version_is_default=False)
    assert done.code == 21
    assert standing(box.url, key)["versions"] == [2]
    assert holdall("undo", "latest", "--yes", *flags).code == 0
    assert standing(box.url, key) == {"skills": [], "versions": [], "templates": []}


@pytest.mark.slow
def test_thirty_kills(tmp_path: Path) -> None:
    bundle, chance = packed(tmp_path / "b.tar.zst"), random.Random(SEED)
    server = Server(tmp_path, "--profile", "openai-today")
    try:
        kills = sum(_killed(server, bundle, tmp_path / f"{number}", chance, number) for number in range(30))
    finally:
        server.kill()
    print(f"{kills} kills of the import")


def _killed(server: Server, bundle: Path, folder: Path, chance: random.Random, number: int) -> bool:
    folder.mkdir()
    key = f"sk-kill-{number:04}"
    environ = {"OPENAI_DST_API_KEY": key, "OPENAI_DST_BASE_URL": server.url}
    command = ("import", str(bundle), "--env-file", "none", "--settle", "1")
    process = holdall(*command, cwd=folder, **environ)
    while process.poll() is None and not any(one.stat().st_size for one in folder.glob("out/runs/*/journal.jsonl")):
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 1.5))
    was_killed = process.poll() is None
    process.kill()
    process.communicate()
    again = holdall(*command, cwd=folder, **environ)
    error = again.communicate()[1].decode()
    assert again.returncode == 4, error
    assert standing(server.url, key) == EVERYTHING
    return was_killed
