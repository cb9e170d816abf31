"""`holdall backup`: twelve projects, of which some have bad days."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdall.backups.source_state import SourceFolder
from holdall.sandbox.behaviour import Slow
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.clock import Clock
from tests.project import Hand

NAMES = [f"p{number:02}" for number in range(1, 13)]


def key(name: str) -> str:
    return f"sk-{name}-key-0001"


def variable(name: str) -> str:
    return f"KEY_{name.upper()}"


class Backups:
    """A sandbox with a project for each name, a config for them, and a folder for their bundles."""

    def __init__(self, box: Running, folder: Path, holdall: Terminal) -> None:
        self.box, self.folder, self._holdall = box, folder / "bundles", holdall
        self.now = 1_800_000_000.0
        self.folder.mkdir()
        self.path, self.metrics = folder / "backup.toml", folder / "holdall.prom"
        self.alerts = folder / "alerts"
        self.environ = {variable(name): key(name) for name in NAMES}
        self.configure()

    def configure(self, top: str = "", names: list[str] = NAMES, **more: str) -> None:
        sources = "\n".join(
            f'[[source]]\nname = "{name}"\nkey_env = "{variable(name)}"\n{more.get(name, "")}' for name in names
        )
        base = "" if "base_url" in top else f'base_url = "{self.box.url}"\n'
        self.path.write_text(f'folder = "bundles"\nmetrics = "holdall.prom"\n{base}{top}\n{sources}\n')

    def __call__(self, *argv: str, **environ: str) -> Done:
        """Each run is a minute after the one before."""
        self.now += 60
        return self._holdall("backup", "--config", str(self.path), *argv, **{**self.environ, **environ})

    def screen(self) -> Done:
        self.now += 60
        return self._holdall.screen("backup", "--config", str(self.path), **self.environ)

    def process(self, *program: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, *program, "backup", "--config", str(self.path)]
        return subprocess.Popen(words, env={**os.environ, **self.environ}, stderr=subprocess.DEVNULL)

    def lines(self, done: Done) -> dict[str, Any]:
        found = [json.loads(line) for line in done.out.splitlines()]
        return {one["source"]: one for one in found}

    def bundles(self, name: str = "*") -> list[str]:
        return sorted(path.name for path in self.folder.glob(f"{name}-*.tar.zst"))

    def metric(self, name: str) -> dict[str, float]:
        """By the labels."""
        text = self.metrics.read_text()
        lines = [line for line in text.splitlines() if line.startswith(f"holdall_{name}{{")]
        return {line.split("{")[1].split("}")[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


@pytest.fixture
def backups(box: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backups:
    box.behave(serve_assistants_files=True)
    made = Backups(box, tmp_path, Terminal(monkeypatch, {}))
    monkeypatch.setattr("holdall.cli.backup.time", SimpleNamespace(time=lambda: made.now))
    return made


def fill(hand: Hand, files: int = 4, size: int = 8) -> list[str]:
    made = [hand.file(f"{number}.txt", random.Random(number).randbytes(size)) for number in range(files)]
    store = hand.store("store", made)
    hand.assistant("one", stores=[store])
    return made


def test_a_project_is_backed_up_and_its_line_says_so(backups: Backups) -> None:
    with Hand(backups.box.url, key("p01")) as hand:
        fill(hand)
    backups.configure(names=["p01"])
    done = backups()
    assert done.code == 0, done.err
    line = backups.lines(done)["p01"]
    assert (line["verdict"], line["exit_code"], line["losses"], line["new_losses"]) == ("COMPLETE", 0, 0, 0)
    assert [Path(line["bundle"]).name] == backups.bundles("p01")
    assert line["files"]["original"] == 4
    assert backups.metric("files")['source="p01",fidelity="original"'] == 4


@pytest.fixture
def twelve(backups: Backups, monkeypatch: pytest.MonkeyPatch) -> Backups:
    """Twelve good backups, and then three bad days: a wrong key, a server that is down, a file that is gone."""
    Clock().rule(monkeypatch)
    box = backups.box
    for name in NAMES:
        with Hand(box.url, key(name)) as hand:
            made = fill(hand, 6)
            hand.assistant("two", files=made[:1])
    done = backups()
    assert done.code == 0, done.err
    box.revoke(key("p03"))
    with Hand(box.url, key("p09")) as hand:
        hand.delete(f"/files/{hand.everything('/files')[0]['id']}")
    script = f"import os; open({str(backups.alerts)!r}, 'a').write(os.environ['HOLDALL_SOURCE'] + '|' + " + (
        "os.environ['HOLDALL_EXIT_CODE'] + '|' + os.environ['HOLDALL_VERDICT'] + '|' + "
        "os.environ['HOLDALL_BUNDLE'] + '|' + os.environ['HOLDALL_FOLDER'] + '|' + "
        "str(sorted(set(os.environ) & {'KEY_P01', 'KEY_P03'})) + chr(10))"
    )
    words = " ".join(map(shlex.quote, (sys.executable, "-c", script)))
    backups.configure(
        f"on_failure = {json.dumps(words)}", p06='base_url = "http://127.0.0.1:9/v1"', p09='form = "both"'
    )
    return backups


def test_twelve_projects_of_which_three_have_a_bad_day(twelve: Backups) -> None:
    before = twelve.metric("last_success_timestamp_seconds")
    done = twelve()
    lines = twelve.lines(done)
    assert list(lines) == NAMES
    bad = {name: line["exit_code"] for name, line in lines.items() if line["exit_code"]}
    assert bad == {"p03": 20, "p06": 22, "p09": 4}, done.out
    assert done.code == 22
    assert (lines["p09"]["losses"], lines["p09"]["new_losses"]) == (1, 1)
    assert lines["p09"]["verdict"].startswith("INCOMPLETE: 1 file missing")
    assert [len(twelve.bundles(name)) for name in NAMES] == [1 if name in ("p03", "p06") else 2 for name in NAMES]
    assert lines["p01"]["reused"] == 6
    alerts = [line.split("|") for line in twelve.alerts.read_text().splitlines()]
    assert [(name, code) for name, code, *_ in alerts] == [("p03", "20"), ("p06", "22"), ("p09", "4")]
    assert alerts[0][3:] == ["", "", "[]"], "nothing was written"
    said = [lines["p09"][name] for name in ("verdict", "bundle", "folder")]
    assert alerts[2][2:] == [*said, "[]"], "the result, and no key"
    assert said[2] == str(twelve.folder / "p09")
    assert twelve.metric("last_run_exit_code")['source="p03"'] == 20
    assert twelve.metric("new_losses")['source="p09"'] == 1
    after = twelve.metric("last_success_timestamp_seconds")
    assert all((after[one] > before[one]) == (one not in ('source="p03"', 'source="p06"')) for one in before)
    assert key("p03") not in done.out + done.err

    assert "\n10 of 12 sources backed up, 1 with new losses\n" in done.err

    again = twelve("--only", "p09")
    assert (again.code, twelve.lines(again)["p09"]["new_losses"]) == (0, 0), "a loss is new once"
    assert twelve.lines(again)["p09"]["losses"] == 1
    assert "1 of 1 source backed up, 1 with known losses" in again.err


def test_only_and_shards_choose_sources(backups: Backups) -> None:
    from holdall.backups.backup_config import read_config
    from holdall.backups.run_backup import BackupOptions, chosen_sources

    config = read_config(backups.path.read_bytes(), backups.path)

    def chosen(**options: Any) -> list[str]:
        return [one.name for one in chosen_sources(config, BackupOptions(**options))]

    shards = [chosen(shard=(number, 5)) for number in range(1, 6)]
    assert sorted(name for shard in shards for name in shard) == NAMES
    assert chosen(only=("p07", "p02")) == ["p02", "p07"]
    done = backups("--only", "p77")
    assert (done.code, "no source named p77" in done.err) == (2, True)
    assert backups("--shard", "0/5").code == backups("--shard", "6/5").code == backups("--shard", "1").code == 2


def test_a_shrunken_project_is_not_backed_up_until_that_is_accepted(backups: Backups) -> None:
    backups.configure("keep = {last = 1}", names=["p01"])
    with Hand(backups.box.url, key("p01")) as hand:
        made = fill(hand, 6)
        hand.assistant("two", files=made[2:3])
        assert backups().code == 0
        there = snapshot(backups.folder)
        for file in made[:3]:
            hand.delete(f"/files/{file}")
        done = backups()
        line = backups.lines(done)["p01"]
        assert (done.code, line["bundle"], line["pruned"]) == (3, None, [])
        assert line["verdict"] == "SHRUNK: 2 of 6 files gone, 1 less complete"
        assert snapshot(backups.folder) == there
        assert backups("--accept-shrink").code == 4, "one is new: an assistant still uses it"
        accepted = snapshot(backups.folder)
        assert backups.lines(backups())["p01"]["shrunk"] == []

        for scope in ("assistants", "vector_stores", "files"):
            backups.box.behave(missing_scopes=(f"api.{scope}.read",))
            before = snapshot(backups.folder)
            done = backups()
            line = backups.lines(done)["p01"]
            assert (done.code, line["error"]["type"]) == (3, "PermissionDenied"), scope
            assert line["verdict"] == f"SHRUNK: the key lacks api.{scope}.read"
            assert snapshot(backups.folder) == before, scope
        backups.box.behave(missing_scopes=())

        for assistant in hand.everything("/assistants"):
            hand.delete(f"/assistants/{assistant['id']}")
        before = snapshot(backups.folder)
        done = backups()
        assert (done.code, backups.lines(done)["p01"]["bundle"]) == (3, None), "an emptied project"
        assert snapshot(backups.folder) == before
    assert accepted


def test_a_key_of_another_project_overwrites_nothing(backups: Backups) -> None:
    backups.configure(names=["p01"])
    for name in ("p01", "p02"):
        with Hand(backups.box.url, key(name)) as hand:
            fill(hand)
    assert backups().code == 0
    done = backups(KEY_P01=key("p02"))
    assert (done.code, backups.lines(done)["p01"]["verdict"]) == (
        3,
        "SHRUNK: 1 of 1 assistant gone; 1 of 1 vector store gone; 4 of 4 files gone",
    )


def test_a_proof_is_due_again_after_its_time_and_damage_is_found(backups: Backups) -> None:
    with Hand(backups.box.url, key("p01")) as hand:
        fill(hand)
    backups.configure('verify = "1h"\nrehearse = "30d"', names=["p01"])
    first = backups.lines(backups())["p01"]
    assert first["verified"] == first["rehearsed"] == first["bundle"]
    assert backups.metric("last_proof_age_seconds")['source="p01"'] < 3600
    second = backups.lines(backups())["p01"]
    assert (second["verified"], second["rehearsed"]) == (None, None), "neither is due"

    backups.configure('verify = "0h"', names=["p01"])
    third = backups.lines(backups())["p01"]
    assert third["verified"] == second["bundle"], "that which was never verified comes first"
    data = bytearray(Path(third["bundle"]).read_bytes())
    data[len(data) // 3] ^= 255
    Path(third["bundle"]).write_bytes(data)
    done = backups()
    assert (done.code, backups.lines(done)["p01"]["verified"]) == (10, third["bundle"])


def test_what_the_policy_does_not_keep_is_deleted_of_this_source_alone(backups: Backups) -> None:
    for name in ("p01", "p02"):
        with Hand(backups.box.url, key(name)) as hand:
            fill(hand, 1)
    pruned = []
    for verify in ("", "", "0h", "0h"):
        backups.configure(names=["p01", "p02"], p01=f'keep = {{last = 2}}\nverify = "{verify}"')
        lines = backups.lines(backups())
        pruned.append([len(line["pruned"]) for line in lines.values()])
        assert (lines["p01"]["verified"] is not None) == bool(verify)
        assert lines["p01"]["verified"] not in lines["p01"]["pruned"], "no proof is wasted"
    assert pruned == [[0, 0], [0, 0], [1, 0], [1, 0]]
    assert (len(backups.bundles("p01")), len(backups.bundles("p02"))) == (2, 4)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("form", ["folder", "both"])
def test_a_folder_is_kept_up_to_date_but_not_with_what_shrank(backups: Backups, form: str) -> None:
    folder = backups.folder / "p01"
    backups.configure(f'form = "{form}"\nskip_if_unchanged = true', names=["p01"])
    with Hand(backups.box.url, key("p01")) as hand:
        made = fill(hand, 6)
        line = backups.lines(backups())["p01"]
        assert (line["exit_code"], line["folder"], line["new_losses"]) == (0, str(folder), 0)
        assert Path(line["bundle"]).parent == backups.folder / ("" if form == "both" else ".holdall-backup/p01/newest")
        first = tree(folder)
        assert sum(name.startswith("data/files/") for name in first) == 6
        assert backups.metric("last_unpack_timestamp_seconds") == {'source="p01"': backups.now}

        # A run with nothing new still repairs the folder.
        (folder / "manifest-sha256.txt").unlink()
        line = backups.lines(backups())["p01"]
        assert (line["unchanged"], line["exit_code"], tree(folder) == first) == (True, 0, True)

        hand.delete(f"/files/{made[0]}")
        hand.assistant("two", instructions="Be kind.")
        line = backups.lines(backups())["p01"]
        second = tree(folder)
        assert line["folder"]
        assert sum(name.startswith("data/files/") for name in second) == 5
        there = 1 if form == "folder" else 2
        assert len(list(Path(line["bundle"]).parent.glob("*.tar.zst"))) == there

        for file in made[1:4]:
            hand.delete(f"/files/{file}")
        done = backups()
        assert (done.code, backups.lines(done)["p01"]["folder"], tree(folder) == second) == (3, None, True)

        one = next(folder.glob("data/assistants/*.md"))
        one.write_text("Mine.")
        done = backups("--accept-shrink")
        line = backups.lines(done)["p01"]
        assert (done.code, line["error"]["type"], line["folder"], line["pruned"]) == (13, "AlreadyExists", None, [])
        assert one.read_text() == "Mine."


def test_a_change_of_form_compares_with_what_the_other_form_kept(backups: Backups) -> None:
    with Hand(backups.box.url, key("p01")) as hand:
        made = fill(hand, 6)
        for form in ("bundle", "folder", "bundle"):
            backups.configure(f'form = "{form}"\nskip_if_unchanged = true', names=["p01"])
            line = backups.lines(backups())["p01"]
            assert (line["exit_code"], line["unchanged"], line["folder"] is not None) == (0, False, form == "folder")
        backups.configure('form = "folder"', names=["p01"])
        for file in made:
            hand.delete(f"/files/{file}")
        assert backups.lines(backups())["p01"]["verdict"] == "SHRUNK: 6 of 6 files gone"


def test_its_screen_is_short_with_and_without_a_bad_day(backups: Backups) -> None:
    names = NAMES[:3]
    for name in names:
        with Hand(backups.box.url, key(name)) as hand:
            fill(hand, 1)
    backups.configure('form = "both"', names=names)
    for most, code in ((12, 0), (20, 20)):
        done = backups.screen()
        lines = [line for line in done.out.splitlines() if not line.startswith("{")]
        assert done.code == code, done.out
        assert len(lines) <= most, done.out
        # A path is not broken.
        wide = [line for line in lines if len(line) > 80 and not re.fullmatch(r"Next: .*|\s*\S+", line)]
        assert wide == [], done.out
        backups.box.revoke(key("p01"))
        backups.environ[variable("p02")] = ""
        assert ("COMPLETE: 3 sources" if most == 12 else "0 of 3 sources backed up") in lines
        next((backups.folder / "p03" / "data").glob("assistants/*.json")).write_text("{}")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tar.zst")}


UNTIL_PROVED = """
import os, signal, sys
from holdall.backups.back_up_source import BackUpSource
BackUpSource._prove = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from holdall.cli.main import main
main()
"""


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills")
# The sandbox was sending when its client was killed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_killed_while_contents_come_it_resumes(backups: Backups) -> None:
    backups.configure(names=["p01"])
    with Hand(backups.box.url, key("p01")) as hand:
        made = fill(hand, 4, 2 << 20)
    backups.box.fault(Slow(seconds=600), "GET", f"/files/{made[-1]}/content")
    with backups.process("-m", "holdall") as child:
        journals: list[Path] = []
        while not any(re.search('"line":"content".*"line":"cut"', path.read_text(), re.S) for path in journals):
            assert child.poll() is None
            time.sleep(0.01)
            journals = list(backups.folder.rglob("*.partial/journal.jsonl"))
        child.kill()
        child.wait()
    assert backups.bundles() == []
    backups.box.clear_faults()
    backups.box.forget_requests()
    done = backups()
    assert done.code == 0, done.err
    fetched = [one.path for one in backups.box.requests() if one.path.endswith("/content")]
    assert len(fetched) < 4, "what was there is not fetched again"
    assert len(backups.bundles()) == 1
    assert not list(backups.folder.rglob("*.partial"))


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills")
def test_killed_before_anybody_was_told_it_tells_of_the_new_loss_once_more(backups: Backups) -> None:
    backups.configure(names=["p01"])
    with Hand(backups.box.url, key("p01")) as hand:
        made = fill(hand, 6)
        hand.assistant("two", files=made[:1])
        assert backups().code == 0
        hand.delete(f"/files/{made[0]}")
    with backups.process("-c", UNTIL_PROVED) as child:
        assert child.wait() == -signal.SIGKILL
    assert len(backups.bundles()) == 2
    done = backups()
    assert (done.code, backups.lines(done)["p01"]["new_losses"]) == (4, 1)
    assert backups().code == 0


def test_a_source_that_another_process_backs_up_is_left_to_it(backups: Backups) -> None:
    backups.configure(names=["p01", "p02"])
    for name in ("p01", "p02"):
        with Hand(backups.box.url, key(name)) as hand:
            fill(hand, 1)
    with SourceFolder(backups.folder, "p01"):
        done = backups()
    lines = backups.lines(done)
    assert (done.code, lines["p01"]["error"]["type"], lines["p02"]["exit_code"]) == (16, "BundleInUse", 0)
