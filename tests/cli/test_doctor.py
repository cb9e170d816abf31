"""``holdall doctor``: what it says, and how it ends."""

from __future__ import annotations

import json
import sys
import time

import pytest

from holdall.sandbox.entra import token
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand

SOURCE, OTHER = "sk-source-0001", "sk-destination-0001"


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, box: Running) -> Terminal:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID"):
        monkeypatch.delenv(name, raising=False)
    return Terminal(monkeypatch, {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url})


def test_two_accounts(doctor: Terminal, box: Running) -> None:
    box.behave(serve_assistants_files=True)
    with Hand(box.url, SOURCE) as hand:
        hand.post("/assistants", model="gpt-5.5", name="A\x1b[31m")
    box.forget_requests()
    keys = {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": OTHER, "OPENAI_ORG_ID": "org-ambient"}
    done = doctor("doctor", "--env-file", "none", **keys)
    assert done.code == 0, done.out
    for line in (
        f"Source       {box.url}",
        "  endpoints  6 answer; absent: agents",
        "  holds      1 assistant, 0 vector stores, 0 memberships, 0 files (0 B)",
        "READY",
    ):
        assert line in done.out.splitlines()
    assert "ignored: OPENAI_ORG_ID from the environment (holdall reads OPENAI_SRC_… and OPENAI_DST_… only)" in done.err
    assert done.err.endswith("Next: holdall export\n")
    more = doctor("doctor", "--env-file", "none", "-v", **keys)
    assert "  key           valid" in more.out.splitlines()
    assert "same project: no" in more.err
    assert box.writes() == 0
    assert SOURCE not in done.out + done.err
    document = doctor("doctor", "--json", "--env-file", "none", **keys).document
    assert (document["ok"], document["command"], document["exit_code"]) == (True, "doctor", 0)
    assert document["result"]["ignored"] == [{"name": "OPENAI_ORG_ID", "origin": "environment"}]
    assert [side["side"] for side in document["result"]["sides"]] == ["source", "destination"]
    assert document["result"]["same_project"] is False
    assert SOURCE not in json.dumps(document)


def test_something_to_look_at(doctor: Terminal, box: Running) -> None:
    keys = {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": SOURCE}
    done = doctor("doctor", "--env-file", "none", **keys)
    assert done.code == 3
    assert "2 WARNINGS" in done.out.splitlines()
    assert "  source: nothing to export" in done.out
    assert "  source and destination are the same project: " in done.out
    more = doctor("doctor", "--env-file", "none", "-v", **keys)
    assert "same project: yes (same key and address)" in more.err


def test_one_side_that_cannot_be_looked_at(doctor: Terminal, box: Running) -> None:
    keys = {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": "sk-of-another-server!"}
    done = doctor("doctor", "--env-file", "none", **keys)
    assert done.code == 20
    assert "FAILED: can't examine the destination" in done.out.splitlines()
    assert "  key        valid, project proj_" in done.out
    assert "hint: check OPENAI_DST_API_KEY" in done.err
    assert "  key           not accepted" in doctor("doctor", "--env-file", "none", "-v", **keys).out
    assert "sk-of-another" not in done.out + done.err


def test_only_sides_with_a_key_are_looked_at(doctor: Terminal, box: Running) -> None:
    document = doctor("doctor", "--json", "--env-file", "none", OPENAI_DST_API_KEY=OTHER).document
    assert [side["side"] for side in document["result"]["sides"]] == ["destination"]
    none = doctor("doctor", "--env-file", "none")
    assert none.code == 20
    assert "neither OPENAI_SRC_API_KEY nor OPENAI_DST_API_KEY" in none.err


def test_a_foundry_project_says_what_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Running(tmp_path_factory.mktemp("foundry"), behaviour=PROFILES["foundry-new"]) as box:
        run = Terminal(monkeypatch, {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_SRC_API_KEY": token(time.time() + 3600)})
        done, more = (run("doctor", "--env-file", "none", *flags) for flags in ((), ("-v",)))
        url = box.url.replace("/sandbox", "/sandbox/openai/v1")
        command = f"{sys.executable} -m holdall.sandbox.entra"
        keyless = Terminal(monkeypatch, {"OPENAI_DST_BASE_URL": url})
        there = keyless("doctor", "--env-file", "none", "--dst-token-command", command).out
    assert "  Foundry    project with new agents, 5 deployments, 2 connections" in there.splitlines()
    assert "  Foundry    project with new agents, 5 deployments, 2 connections" in done.out.splitlines()
    assert "0 Foundry agents" in done.out
    lines = [line.strip() for line in more.out.splitlines()]
    assert "deployment support-production: gpt-4.1 1" in lines
    assert "connection search: CognitiveSearch" in lines
    assert "foundry       project with new agents, 5 deployments, 2 connections" in lines
