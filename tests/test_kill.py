"""kill -9 at any moment of an export: the same command goes on, and fetches again only what was not safe yet."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from holdall.bundle.reader import open_bundle
from holdall.bundle.verification import verify
from holdall.sandbox.server import Running
from tests.project import Hand

KEY = "sk-source-0001"
SEED = 20261122


def export(url: str, folder: Path) -> subprocess.Popen[bytes]:
    """``holdall export`` as a process of its own, in ``folder``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "CLONE_", "HOLDALL_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "holdall", "export", "-o", "b.tar.zst", "--env-file", "none", "--parent", "none"],
        env={**kept, "OPENAI_SRC_API_KEY": KEY, "OPENAI_SRC_BASE_URL": url},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def fetched(box: Running) -> Counter[str]:
    """How often the content of each file was sent, as bytes or as text."""
    paths = (entry.path for entry in box.requests() if entry.status == 200 and entry.path.endswith("/content"))
    return Counter(path.split("/")[-2] for path in paths)


def safe(folder: Path) -> set[str]:
    """The contents that the journal called durable when the process was killed."""
    ids: set[str] = set()
    pending: set[str] = set()
    journal = folder / "b.tar.zst.partial" / "journal.jsonl"
    for line in journal.read_bytes().splitlines() if journal.exists() else ():
        try:
            said = json.loads(line)
        except ValueError:
            break
        if said["line"] == "content":
            pending.add(said["entry"]["id"])
        elif said["line"] == "cut":
            ids |= pending
    return ids


@pytest.fixture
def project(box: Running) -> int:
    """Some fifty files, as bytes and as text, small and large; returns how many."""
    chance = random.Random(SEED)
    with Hand(box.url, KEY) as hand:
        texts = [hand.file(f"{n}.txt", f"text number {n} ".encode() * chance.randint(1, 4000)) for n in range(30)]
        pictures = [hand.file(f"{n}.png", chance.randbytes(200_000), purpose="vision") for n in range(16)]
        large = [hand.file(f"large-{n}.png", chance.randbytes(3_000_000), purpose="vision") for n in range(2)]
        store = hand.store("s", texts)
        hand.assistant("A", stores=[store], files=[*pictures[:5], *large, *pictures[5:9]])
        hand.assistant("B", stores=[store], files=pictures[9:])
    return len(texts) + len(pictures) + len(large)


def kill_at_moments(box: Running, project: int, tmp_path: Path, moments: int, latency: float) -> None:
    box.behave(latency=latency)
    whole = tmp_path / "whole"
    whole.mkdir()
    box.forget_requests()
    process = export(box.url, whole)
    error = process.communicate()[1].decode()
    assert process.returncode == 0, error
    requests = len(box.requests())
    with open_bundle(whole / "b.tar.zst") as bundle:
        digests = bundle.info.digests
    chance = random.Random(SEED)
    twice = 0
    for number in range(moments):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        box.forget_requests()
        # Beyond the last request the bundle is sealed and named.
        moment = chance.randint(1, requests + requests // 8)
        process = export(box.url, folder)
        while len(box.requests()) < min(moment, requests) and process.poll() is None:
            time.sleep(0.001)
        time.sleep(max(0, moment - requests) * 0.004)
        process.kill()
        process.communicate()
        finished, durable = (folder / "b.tar.zst").exists(), safe(folder)
        again = export(box.url, folder)
        error = again.communicate()[1].decode()
        assert again.returncode == (13 if finished else 0), f"moment {moment} of {requests}: {error}"
        assert not (folder / "b.tar.zst.partial").exists()
        verdict = verify(folder / "b.tar.zst")
        assert verdict.whole, (moment, verdict.findings)
        assert verdict.info is not None
        assert verdict.info.digests == digests, moment
        counts = fetched(box)
        assert len(counts) == project
        assert max(counts.values()) <= 2
        again_fetched = {file for file, count in counts.items() if count == 2}
        assert not again_fetched & durable, f"moment {moment}: fetched again though durable"
        twice += len(again_fetched)
        print(f"killed at request {moment} of {requests}: {len(durable)} durable, {len(again_fetched)} fetched twice")
    print(f"{moments} kills, {twice} of {moments * project} contents fetched twice")


@pytest.mark.thorough
def test_one_moment(box: Running, project: int, tmp_path: Path) -> None:
    kill_at_moments(box, project, tmp_path, 1, 0.02)


@pytest.mark.slow
def test_thirty_moments(box: Running, project: int, tmp_path: Path) -> None:
    kill_at_moments(box, project, tmp_path, 30, 0.06)
