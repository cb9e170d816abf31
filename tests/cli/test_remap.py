"""``holdall remap``: a diff and 3 where changes are pending, the changes and 0 with ``--write``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal

OLD, NEW, LOST = "asst_oldoldoldoldoldold01", "asst_newnewnewnewnewnew01", "asst_lostlostlostlostlo01"


@pytest.fixture
def holdall(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    Path("out/runs").mkdir(parents=True)
    rows = [{"srcId": OLD, "dstId": NEW}, {"srcId": LOST, "dstId": None}]
    Path("out/mapping.json").write_text(json.dumps({"mappings": rows}))
    Path("src").mkdir()
    Path("src/a.py").write_text(f'A = "{OLD}"\n')
    return Terminal(monkeypatch, {})


def test_a_diff_first_then_the_change_then_nothing_to_do(holdall: Terminal) -> None:
    done = holdall("remap", "out/mapping.json", "src")
    assert done.code == 3
    assert done.out == f'--- a/src/a.py\n+++ b/src/a.py\n@@ -1,1 +1,1 @@\n-A = "{OLD}"\n+A = "{NEW}"\n'
    assert "TO REWRITE: 1 id in 1 file\nNext: holdall remap " in done.err
    assert OLD in Path("src/a.py").read_text()
    done = holdall("remap", "out", "--write", "src")
    assert (done.code, done.out) == (0, f"{Path('src/a.py')}: 1 id\n")
    assert Path("src/a.py").read_text() == f'A = "{NEW}"\n'
    done = holdall("remap", "out", "src")
    assert (done.code, done.out, done.err) == (0, "", "NOTHING TO REWRITE\n")


def test_an_id_that_leads_to_nothing_is_listed_and_looked_at(holdall: Terminal) -> None:
    Path("src/a.py").write_text(f"\n# {LOST}\n")
    done = holdall("remap", "out", "src", "--write", "-v")
    assert done.code == 3
    assert f"  1 id left: {LOST} in {Path('src/a.py')} (no new id" in done.err
    assert f"{Path('src/a.py')}:2: {LOST} left: no new id" in done.err
    document = holdall("remap", "out", "src", "--json").document
    assert [(one["id"], one["line"]) for one in document["result"]["unmapped"]] == [(LOST, 2)]


def test_json_and_refusals(holdall: Terminal) -> None:
    document = holdall("remap", "out", "src", "--json").document
    assert (document["exit_code"], document["result"]["written"]) == (3, False)
    assert document["result"]["files"] == [{"path": str(Path("src/a.py")), "ids": 1}]
    assert holdall("remap", "out").code == 2
    assert holdall("remap", "src", "src").code == 15
    assert holdall("remap", "out", "absent").code == 2


def test_control_characters_of_a_file_do_not_reach_the_terminal(holdall: Terminal) -> None:
    Path("src/a.py").write_bytes(f"{OLD} \x1b[31m\r\n".encode())
    assert "\x1b" not in holdall("remap", "out", "src").out
