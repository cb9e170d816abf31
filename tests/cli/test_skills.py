"""Skills and environment templates from a bundle into a project, through the command line."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from holdall.sandbox.behaviour import Reset
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.bundle.packing import File, pack
from tests.cli.terminal import Done, Terminal
from tests.project import Hand, skill_zip

NUMBERS = itertools.count(1)
ONE, TWO, THREE = (skill_zip("tea", {"scripts/run.py": f"print({n})\n".encode()}) for n in (1, 2, 3))


def skill_text(name: str) -> bytes:
    return f"---\nname: {name}\ndescription: d\n---\n".encode()


def zipped(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


TEMPLATE: dict[str, Any] = {
    "created_at": 1,
    "updated_at": 2,
    "name": "python",
    "packages": {"python": ["numpy"], "system": [], "npm": []},
    "capability_directories": [],
    "network": {"access": "restricted", "allowed_domains": ["example.com"]},
    "files": [{"type": "file_id", "file_id": "file-1", "path": "/workspace/a.csv"}],
    "skills": [
        {"type": "skill_reference", "skill_id": "skill_tea", "version": "3"},
        {"type": "skill_reference", "skill_id": "skill_tea", "version": "latest"},
        {"type": "skill_reference", "skill_id": "skill_tea", "version": None},
        {"type": "skill_reference", "skill_id": "openai-spreadsheets", "version": None},
    ],
    "plugins": [],
    "desktop": None,
}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("box"), behaviour=PROFILES["openai-today"], control=True) as running:
        yield running


class Desk:
    """A bundle, and a project to import it into."""

    def __init__(self, folder: Path, box: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        # A project of its own in the one server.
        self.key = f"sk-destination-{next(NUMBERS):04}"
        environ = {"OPENAI_DST_API_KEY": self.key, "OPENAI_DST_BASE_URL": box.url, "HOLDALL_TRACEBACK": "1"}
        self.folder, self.box = folder, box
        self.terminal = Terminal(monkeypatch, environ)
        self.bundle = folder / "b.tar.zst"

    def pack(self, *zips: bytes | None, default: int = 1, **template: Any) -> None:
        self.bundle.unlink(missing_ok=True)
        pack(
            self.bundle,
            [File(id="file-1", filename="a.csv", data=b"a,b\n1,2\n")],
            assistants={},
            stores={},
            skills={"skill_tea": zips},
            default_version=str(default),
            templates={"envtmpl_1": {**TEMPLATE, **template}},
        )

    def __call__(self, *argv: str) -> Done:
        return self.terminal(*argv, "--env-file", "none", "--output-dir", str(self.folder / "out"))

    def run(self, *argv: str) -> Any:
        """The result of a command on the bundle."""
        yes = ["--yes"] if argv[0] == "import" else []
        document = self(argv[0], str(self.bundle), "--json", *yes, *argv[1:]).document
        assert document["exit_code"] in (0, 3, 4, 33), document["error"]
        return document

    def contents(self) -> tuple[list[Any], list[Any], list[list[bytes]]]:
        """The project's skills, templates, and the zips of each skill's versions."""
        with Hand(self.box.url, self.key) as hand:
            sdk = hand.sdk
            listed = [one.to_dict() for one in sdk.skills.list(order="asc")]
            skills = [one for one in listed if not str(one["id"]).startswith("openai-")]
            templates = [one.to_dict() for one in sdk.beta.agents.environments.templates.list(order="asc")]
            for one in templates:
                del one["updated_at"]
            zips = [
                [
                    sdk.skills.versions.content.retrieve(version.version, skill_id=one["id"]).read()
                    for version in sdk.skills.versions.list(one["id"], order="asc")
                ]
                for one in skills
            ]
        return skills, templates, zips


@pytest.fixture
def desk(tmp_path: Path, box: Running, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, box, monkeypatch)


def test_skills_and_templates_arrive_with_the_numbers_of_the_copy_once(desk: Desk) -> None:
    desk.pack(ONE, None, THREE)
    done = desk("import", str(desk.bundle), "--yes", "-v")
    (skill,), (template,), zips = desk.contents()
    assert zips == [[ONE, THREE]]
    assert (skill["name"], skill["default_version"], skill["latest_version"]) == ("tea", "1", "2")
    reference = {"type": "skill_reference", "skill_id": skill["id"]}
    assert template["skills"] == [
        {**reference, "version": "2"},
        {**reference, "version": "latest"},
        reference,
        {"type": "skill_reference", "skill_id": "openai-spreadsheets"},
    ]
    same = ("name", "packages", "capability_directories", "network", "plugins")
    assert {field: template[field] for field in same} == {field: TEMPLATE[field] for field in same}
    before = desk.contents()
    again = desk("import", str(desk.bundle), "--yes", "-v")
    assert desk.contents() == before
    assert again.code == done.code == 4
    proof = desk("verify", str(desk.bundle), "--against", "dst", "-v", "--json")
    assert proof.document["result"]["against"]["differences"] == []
    assert desk("undo", "latest", "--yes").code == 0
    assert desk.contents() == ([], [], [])


def skills(done: Any) -> list[str]:
    return sorted(done["result"]["skills"].values())


def test_versions_that_are_missing_are_added_when_asked_for_and_taken_out_again(desk: Desk) -> None:
    desk.pack(ONE, TWO)
    # A template brings what it needs.
    desk.run("import", "--only", "template:*")
    assert desk.run("verify", "--against", "dst")["result"]["against"]["differences"] == []
    before = desk.contents()
    desk.pack(ONE, TWO, THREE, name="pinned", default=3)
    stopped = desk.run("import")
    assert stopped["error"]["type"] == "DestinationDiffers"
    skipped = desk.run("import", "--on-conflict", "skip", "--only", "skill:*")
    assert skipped["result"]["complete"] is False
    assert desk.contents() == before
    desk.run("import", "--on-conflict", "update")
    (skill,), templates, zips = desk.contents()
    assert zips == [[ONE, TWO, THREE]]
    assert skill["default_version"] == "3"
    assert [one["skills"][0]["version"] for one in templates if one["name"] == "pinned"] == ["3"]
    assert desk("undo", "latest", "--yes").code == 0
    assert desk.contents() == before


def test_a_skill_of_the_name_with_equal_contents_is_used_and_one_without_is_somebody_elses(desk: Desk) -> None:
    desk.pack(ONE, TWO)
    with Hand(desk.box.url, desk.key) as hand:
        other = hand.sdk.skills.create(files=("x.zip", skill_zip("tea", {"other": b""})))
        same = hand.sdk.skills.create(files=("x.zip", ONE))
        hand.sdk.skills.versions.create(same.id, files=("x.zip", TWO))
        hand.sdk.skills.update(same.id, default_version="2")
    desk.box.behave(skill_zips_repacked=True)
    try:
        stopped = desk.run("plan")
        assert [one["field"] for one in stopped["error"]["differences"][0]["differences"]] == ["default_version"]
        done = desk.run("import", "--on-conflict", "update")
    finally:
        desk.box.behave(skill_zips_repacked=False)
    assert skills(done) == [same.id]
    assert desk("undo", "latest", "--yes").code == 0
    found, _, _ = desk.contents()
    assert {one["id"]: one["default_version"] for one in found} == {other.id: "1", same.id: "2"}


def test_a_skill_to_which_others_added_a_version_stays_with_all_that_it_has(desk: Desk) -> None:
    desk.pack(ONE, TWO)
    done = desk.run("import")
    (skill,) = skills(done)
    with Hand(desk.box.url, desk.key) as hand:
        hand.sdk.skills.versions.create(skill, files=("x.zip", THREE))
    undone = desk("undo", "latest", "--yes", "--json")
    assert undone.code == 3
    assert "latest_version" in undone.out
    found, templates, zips = desk.contents()
    assert ([one["id"] for one in found], templates, zips) == ([skill], [], [[ONE, TWO, THREE]])


UNKNOWN: list[dict[str, Any]] = [
    {"new_skill_version_is_default": True},
    {"skill_named_by": "latest"},
    {"openai_skills_listed": True, "unique_names": True},
    {"template_network": "disabled"},
]
TOGETHER = {name: value for one in UNKNOWN for name, value in one.items()}


@pytest.mark.parametrize("unknown", [TOGETHER, *(pytest.param(one, marks=pytest.mark.thorough) for one in UNKNOWN)])
def test_whatever_the_service_does_of_what_nobody_knows_it_arrives_and_goes_again(
    desk: Desk, unknown: dict[str, Any]
) -> None:
    renamed = skill_zip("coffee", {"scripts/run.py": b"print(9)"})
    desk.pack(ONE, renamed, TWO)
    as_it_was = dict.fromkeys(unknown, False) | {"skill_named_by": "default", "template_network": "enabled"}
    desk.box.behave(**unknown)
    try:
        desk.run("import")
        before = desk.contents()
        assert [one["default_version"] for one in before[0]] == ["1"]
        again = desk.run("import")
        assert not again["error"]
        assert desk.contents() == before
        proof = desk.run("verify", "--against", "dst")
        assert proof["result"]["against"]["differences"] == []
        assert desk("undo", "latest", "--yes").code == 0
    finally:
        desk.box.behave(**{name: as_it_was[name] for name in unknown})
    assert desk.contents() == ([], [], [])


def test_a_zip_that_is_no_safe_one_stays_out_and_one_without_a_folder_is_wrapped(desk: Desk) -> None:
    bare = zipped({"SKILL.md": b"---\nname: tea\ndescription: d\n---\n", "a": b"1"})
    desk.pack(zipped({"tea/../../x": b"1"}), bare)
    done = desk.run("import")
    (one,), _, ((sent,),) = desk.contents()
    assert zipfile.ZipFile(io.BytesIO(sent)).namelist() == ["tea/SKILL.md", "tea/a"]
    assert one["default_version"] == "1"
    assert "unsafe path" in str(done["losses"])
    desk.pack(b"no zip", b"")
    assert desk.run("import", "--only", "skill:*")["result"]["complete"] is False


SECRET = "hunter2-4711-hunter2"
DATA = base64.b64encode(f"name,{SECRET}".encode()).decode()
SUPPLY = {"env": {"TOKEN": SECRET}, "setup_commands": [{"command": f"login {SECRET}"}]}


def given(desk: Desk) -> dict[str, Any]:
    """All that the project's one template was made with, what no answer shows among it."""
    _, (template,), _ = desk.contents()
    with desk.box._service.database.read() as database:
        row = database.execute("SELECT given FROM templates WHERE id = ?", (template["id"],)).fetchone()
    found: dict[str, Any] = json.loads(row["given"])
    return found


def test_what_its_owner_supplies_makes_a_template_whole_and_is_nowhere_else(desk: Desk) -> None:
    inline = [{"type": "inline", "path": "/workspace/c.csv", "size_bytes": 3}]
    desk.pack(ONE, files=[*TEMPLATE["files"], *inline], skills=[])
    path = desk.folder / "supply.json"
    flag = ["--supply-template", str(path)]
    path.write_text(json.dumps({"python": {**SUPPLY, "files": [{"path": "/workspace/c.csv", "data": DATA}]}}))
    plan = desk("plan", str(desk.bundle), "-o", str(desk.folder / "plan.json"), *flag)
    refused = desk("import", str(desk.bundle), "--plan", str(desk.folder / "plan.json"))
    assert refused.code == 2
    done = desk("import", str(desk.bundle), "--plan", str(desk.folder / "plan.json"), *flag, "-v")
    assert done.code == 0, done.err
    template = given(desk)
    assert {field: template[field] for field in SUPPLY} == SUPPLY
    assert {"type": "inline", "path": "/workspace/c.csv", "data": DATA} in template["files"]
    before = desk.contents()
    again = desk.run("import", *flag)
    assert (again["exit_code"], desk.contents()) == (0, before)
    assert desk.run("verify", "--against", "dst")["exit_code"] == 0
    # Without the file nobody can say that it is whole.
    assert desk.run("import")["exit_code"] == 4
    path.write_text(json.dumps({"python": {**SUPPLY, "setup_commands": []}}))
    assert desk("import", str(desk.bundle), "--yes", "--supply-template", str(desk.folder / "none.json")).code == 15
    seen = [plan.out, plan.err, done.out, done.err, refused.err, str(again)]
    seen += [one.read_bytes().decode("latin-1") for one in desk.folder.rglob("*") if one.is_file() and one != path]
    for text in seen:
        assert SECRET not in text
        assert DATA not in text


def test_what_is_supplied_later_is_sent_when_asked_for_and_no_refusal_of_it_is_repeated(desk: Desk) -> None:
    desk.pack(ONE, skills=[])
    path, flag = desk.folder / "supply.json", ["--supply-template", str(desk.folder / "supply.json")]
    path.write_text(json.dumps({"envtmpl_1": SUPPLY}))
    desk.run("import")
    stopped = desk.run("import", *flag)
    assert [one["field"] for one in stopped["error"]["differences"][0]["differences"]] == ["env", "setup_commands"]
    assert desk.run("import", *flag, "--on-conflict", "update")["exit_code"] == 0
    assert given(desk)["env"] == SUPPLY["env"]
    assert desk.run("import", *flag)["exit_code"] == 0
    # The server names what it refuses.
    path.write_text(json.dumps({"envtmpl_1": {**SUPPLY, "blocked_domains": [f"*.{SECRET}"]}}))
    desk.pack(ONE, skills=[], name="blocked", network={"access": "restricted", "allowed_domains": []})
    refused = desk.run("import", *flag, "--on-conflict", "duplicate")
    assert "not accepted (status 400)" in (desk.folder / "out" / "report.md").read_text()
    desk.box.fault(Reset(), "POST", "/agents/environments/templates*", times=9)
    lost = desk("import", str(desk.bundle), "--json", *flag, "--on-conflict", "duplicate", "--settle", "0")
    desk.box.clear_faults()
    for text in (str(stopped), str(refused), lost.out, lost.err):
        assert SECRET not in text
    seen = [one.read_bytes().decode("latin-1") for one in desk.folder.rglob("*") if one.is_file() and one != path]
    assert not any(SECRET in text for text in seen)


def test_out_in_and_out_again_is_the_same_but_for_ids_and_numbers(desk: Desk) -> None:
    source = f"sk-source-{next(NUMBERS):04}"
    with Hand(desk.box.url, source) as hand:
        skill = hand.sdk.skills.create(files=("x.zip", ONE)).id
        for data in (TWO, ONE, THREE):
            hand.sdk.skills.versions.create(skill, files=("x.zip", data))
        hand.sdk.skills.update(skill, default_version="3")
        hand.sdk.skills.versions.delete("2", skill_id=skill)
        pinned = [{"type": "skill_reference", "skill_id": skill, "version": number} for number in ("4", "latest")]
        hand.sdk.beta.agents.environments.templates.create(name="t", skills=pinned)  # type: ignore[arg-type]
    box = {"OPENAI_SRC_BASE_URL": desk.box.url, "OPENAI_DST_BASE_URL": desk.box.url}
    out = desk.terminal("export", "-o", str(desk.bundle), "--env-file", "none", OPENAI_SRC_API_KEY=source, **box)
    assert out.code == 4, out.err
    desk.run("import")
    (copy,), (template,), zips = desk.contents()
    assert (zips, copy["default_version"]) == ([[ONE, ONE, THREE]], "2")
    assert [one["version"] for one in template["skills"]] == ["3", "latest"]
    for place in ("out", "elsewhere"):
        proof = desk.run("verify", "--against", "dst", "--output-dir", str(desk.folder / place))
        assert proof["result"]["against"]["differences"] == []
    again = desk.folder / "again.tar.zst"
    desk.terminal("export", "-o", str(again), "--env-file", "none", OPENAI_SRC_API_KEY=desk.key, **box)
    rehearsed = desk.terminal("verify", str(again), "--rehearse", "--json", "--env-file", "none").document
    assert rehearsed["result"]["rehearsal"]["differences"] == []


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_hundred_versions_and_one_of_50_mb_in_flat_memory(desk: Desk) -> None:
    small = [skill_zip("tea", {"n": str(number).encode()}) for number in range(200)]
    noise = random.Random(1)
    large = zipped({f"tea/{name}": noise.randbytes(24_000_000) for name in "ab"} | {"tea/SKILL.md": skill_text("tea")})
    desk.pack(*small, large, skills=[])
    environ = {**os.environ, "OPENAI_DST_API_KEY": desk.key, "OPENAI_DST_BASE_URL": desk.box.url}
    # Not getrusage: it counts what this process had when it forked.
    peak = "[one for one in open('/proc/self/status') if one.startswith('VmHWM')][0].split()[1]"
    command = f"import atexit; atexit.register(lambda: print({peak})); import holdall.__main__ as m; m.main()"
    argv = ["import", str(desk.bundle), "--env-file", "none", "--output-dir", str(desk.folder / "out")]
    done = subprocess.run([sys.executable, "-c", command, *argv], env=environ, capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    kilobytes = int(done.stdout.split()[-1])
    assert kilobytes < 150_000
    with Hand(desk.box.url, desk.key) as hand:
        (skill,) = hand.sdk.skills.list()
        assert len(list(hand.sdk.skills.versions.list(skill.id))) == 201
        assert hand.sdk.skills.versions.content.retrieve("201", skill_id=skill.id).read() == large
