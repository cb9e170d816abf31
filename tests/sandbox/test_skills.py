"""/skills, through the official SDK wherever it lets a request through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.project import Hand, skill_zip
from tests.sandbox.wire import KEY


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("skills"), behaviour=PROFILES["openai-today"], control=True) as running:
        yield running


@pytest.fixture(scope="module")
def hand(server: Running) -> Iterator[Hand]:
    with Hand(server.url, KEY) as made:
        yield made


def test_a_skill_and_its_versions(hand: Hand) -> None:
    skills = hand.sdk.skills
    sent = skill_zip("tea-labels", {"scripts/print.py": b"print(1)\n"}, description="Print labels.")
    made = skills.create(files=("labels.zip", sent))
    assert made.to_dict() == {
        "id": made.id,
        "object": "skill",
        "name": "tea-labels",
        "description": "Print labels.",
        "created_at": made.created_at,
        "default_version": "1",
        "latest_version": "1",
    }
    second = skill_zip("tea-labels", {"scripts/print.py": b"print(2)\n"}, description="Print better labels.")
    version = skills.versions.create(made.id, files=("labels.zip", second))
    assert version.to_dict() == {
        "id": version.id,
        "object": "skill.version",
        "skill_id": made.id,
        "version": "2",
        "name": "tea-labels",
        "description": "Print better labels.",
        "created_at": version.created_at,
    }
    assert skills.versions.retrieve("2", skill_id=made.id) == version
    shown = skills.retrieve(made.id)
    assert (shown.default_version, shown.latest_version, shown.description) == ("1", "2", "Print labels.")
    assert skills.versions.content.retrieve("1", skill_id=made.id).read() == sent
    assert skills.versions.content.retrieve("2", skill_id=made.id).read() == second
    assert skills.content.retrieve(made.id).read() == sent
    assert skills.update(made.id, default_version="2").description == "Print better labels."
    assert skills.content.retrieve(made.id).read() == second
    assert [each.version for each in skills.versions.list(made.id, order="asc")] == ["1", "2"]
    assert made.id in [each.id for each in skills.list()]
