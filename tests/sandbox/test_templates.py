"""/agents/environments/templates, through the official SDK wherever it lets a request through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.project import Hand
from tests.sandbox.wire import KEY


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("templates"), behaviour=PROFILES["openai-today"], control=True) as running:
        yield running


@pytest.fixture(scope="module")
def hand(server: Running) -> Iterator[Hand]:
    with Hand(server.url, KEY) as made:
        yield made


def test_a_template_that_refers_to_a_skill_and_a_file(server: Running, hand: Hand) -> None:
    templates = hand.sdk.beta.agents.environments.templates
    file, skill = hand.file("rates.csv", b"a,b\n", "user_data"), hand.skill("rates", {}, {"more.txt": b"more"})
    made = templates.retrieve(hand.template("Desk", skills=[skill], files=[file], env={"TOKEN": "secret"}))
    assert made.to_dict() == {
        "id": made.id,
        "object": "agent.environment.template",
        "created_at": made.created_at,
        "updated_at": made.created_at,
        "name": "Desk",
        "packages": {"python": [], "system": [], "npm": []},
        "capability_directories": [],
        "network": {"access": "enabled", "allowed_domains": []},
        "files": [{"type": "file_id", "file_id": file, "path": f"/workspace/{file}"}],
        "skills": [{"type": "skill_reference", "skill_id": skill, "version": None}],
        "plugins": [],
        "desktop": None,
    }
    assert server.stored_template(made.id)["env"] == {"TOKEN": "secret"}
    assert [each.id for each in templates.list()] == [made.id]
