"""Prompt agents of one Foundry project in another: what they refer to, and what is bound to the first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.importer.foundry_rig import TOKEN, Project, good


@pytest.fixture
def projects(tmp_path: Path) -> Iterator[tuple[Project, Project]]:
    with Running(tmp_path / "box", behaviour=PROFILES["foundry-new"]) as box:
        made = Project(box, "here"), Project(box, "there")
        yield made
        for one in made:
            one.close()


def between(patch: pytest.MonkeyPatch, here: Project, there: Project) -> Terminal:
    """Commands from one project to the other."""
    sides = {"SRC": here.url, "DST": there.url}
    keys = {f"OPENAI_{side}_API_KEY": TOKEN for side in sides}
    return Terminal(patch, keys | {f"OPENAI_{side}_BASE_URL": url for side, url in sides.items()})


def tools_of(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = project.agents()["desk"]["definition"]["tools"]
    return found


def test_stores_are_mapped_and_connections_are_if_they_are_named(
    projects: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    here, there = projects
    stores = [here.call("POST", "/openai/v1/vector_stores", {"name": name})["id"] for name in ("a", "b")]
    container = {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}
    server = {"type": "mcp", "server_label": "l", "server_url": "https://m", "headers": {"X-Key": "{{key}}"}}
    search = {"type": "file_search", "vector_store_ids": [*stores, "{{store}}"]}
    peer = {"type": "a2a", "project_connection_id": "/subscriptions/s/projects/p/connections/peer"}
    here.agent("desk", instructions="For {{name}}.", temperature=1, tools=[search, container, peer, server])
    run = between(monkeypatch, here, there)
    good(run("export", "-o", "b.tar.zst"))
    into = ("import", "b.tar.zst", "--as", "foundry", "--verify")
    # Without a connection for it, the tool is said to be lost, is not sent, and isn't missed afterwards.
    assert "--map-connection peer=NEW" in good(run("plan", "b.tar.zst", "--as", "foundry", "-v"), 3).out
    first = run(*into)
    assert "1 setting missing" in first.out + first.err
    assert "difference" not in first.out + first.err
    copies = there.ids("/openai/v1/vector_stores")
    mapped = {"type": "file_search", "vector_store_ids": [*tools_of(there)[0]["vector_store_ids"][:2], "{{store}}"]}
    assert sorted(mapped["vector_store_ids"][:2]) == sorted(copies)
    assert tools_of(there) == [mapped, container, server]
    assert "Nothing" in run(*into).err + run(*into).out
    # With one, the existing agent gets a version that has it.
    named = ("--map-connection", "peer=other", "--on-conflict", "update", "--yes")
    good(run(*into, *named))  # which verifies, too
    assert tools_of(there) == [mapped, container, {**peer, "project_connection_id": "other"}, server]


def test_a_copy_of_an_agent_does_not_differ_from_it(
    projects: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    here, there = projects
    store = here.call("POST", "/openai/v1/vector_stores", {"name": "a"})["id"]
    tools = [{"type": "file_search", "vector_store_ids": [store]}]
    here.agent("desk", instructions="Be brief.", tools=tools)
    run = between(monkeypatch, here, there)
    good(run("export", "-o", "b.tar.zst"))
    good(run("import", "b.tar.zst", "--as", "foundry"))
    assert "NO DIFFERENCES" in good(run("diff", "src:", "dst:")).out
    here.agent("desk", instructions="Be long.", tools=tools)
    assert "desk (desk): instructions +1 -1\n" in good(run("diff", "src:", "dst:"), 3).out
