"""Skills and environment templates from a bundle into a project, through the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.bundle.packing import File, pack
from tests.cli.terminal import Done, Terminal
from tests.project import Hand, skill_zip

KEY = "sk-destination-0001"
ONE, TWO, THREE = (skill_zip("tea", {"scripts/run.py": f"print({n})\n".encode()}) for n in (1, 2, 3))
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


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "box", behaviour=PROFILES["openai-today"], control=True) as running:
        yield running


class Desk:
    """A bundle, and a project to import it into."""

    def __init__(self, folder: Path, box: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        environ = {"OPENAI_DST_API_KEY": KEY, "OPENAI_DST_BASE_URL": box.url, "HOLDALL_TRACEBACK": "1"}
        self.folder, self.box = folder, box
        self.terminal = Terminal(monkeypatch, environ)
        self.bundle = folder / "b.tar.zst"

    def pack(self, *zips: bytes | None, **template: Any) -> None:
        self.bundle.unlink(missing_ok=True)
        pack(
            self.bundle,
            [File(id="file-1", filename="a.csv", data=b"a,b\n1,2\n")],
            assistants={},
            stores={},
            skills={"skill_tea": zips},
            templates={"envtmpl_1": {**TEMPLATE, **template}},
        )

    def __call__(self, *argv: str) -> Done:
        return self.terminal(*argv, "--env-file", "none", "--output-dir", str(self.folder / "out"))

    def contents(self) -> tuple[list[Any], list[Any], list[list[bytes]]]:
        """The project's skills, templates, and the zips of each skill's versions."""
        with Hand(self.box.url, KEY) as hand:
            sdk = hand.sdk
            skills = [one.to_dict() for one in sdk.skills.list(order="asc")]
            templates = [one.to_dict() for one in sdk.beta.agents.environments.templates.list(order="asc")]
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
