"""An environment template as a create call takes it: nothing that an answer adds, and no guess at what it hides."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdall.agent_views import TemplateView
from holdall.dialects.assistants import OPENAI
from holdall.dialects.loss import Why
from holdall.dialects.rules import Targets
from holdall.dialects.templates import skill_references, template
from holdall.model import Kind, Record, SourceId, TargetId

READ = {
    "id": "envtmpl_1",
    "object": "agent.environment.template",
    "created_at": 1,
    "updated_at": 2,
    "name": "python",
    "packages": {"python": ["numpy"], "system": [], "npm": []},
    "capability_directories": ["/workspace/x"],
    "network": {"access": "restricted", "allowed_domains": ["example.com"]},
    "files": [
        {"type": "file_id", "file_id": "file-1", "path": "/workspace/a"},
        {"type": "file_id", "file_id": "file-gone", "path": "/workspace/b"},
        {"type": "inline", "path": "/workspace/c", "size_bytes": 3},
    ],
    "skills": [
        {"type": "skill_reference", "skill_id": "skill_1", "version": "3"},
        {"type": "skill_reference", "skill_id": "skill_1", "version": "latest"},
        {"type": "skill_reference", "skill_id": "skill_1", "version": None},
        {"type": "skill_reference", "skill_id": "skill_1", "version": "9"},
        {"type": "skill_reference", "skill_id": "openai-spreadsheets", "version": "7"},
        {"type": "skill_reference", "skill_id": "skill_gone"},
        {"type": "inline", "name": "inner", "description": "d"},
    ],
    "plugins": [{"type": "inline", "name": "plug", "description": "d"}],
    "desktop": {"enabled": True},
}
TARGETS = Targets(
    files={SourceId("file-1"): TargetId("file-A")},
    skills={SourceId("skill_1"): TargetId("skill_A")},
    versions={(SourceId("skill_1"), "3"): "2"},
)


def made(**changed: Any) -> tuple[dict[str, Any], dict[str, Why]]:
    raw = msgspec.json.encode({**READ, **changed})
    record = Record(kind=Kind.TEMPLATE, id=SourceId("envtmpl_1"), raw=raw)
    request = template(record, prefix="", operation="op", targets=TARGETS, model=None, table=OPENAI)
    return request.create, {str(loss.field): loss.why for loss in request.losses}


def test_a_template_is_sent_with_the_ids_and_numbers_of_the_copy_and_nothing_that_only_answers_have() -> None:
    body, losses = made()
    assert body == {
        **{field: READ[field] for field in ("name", "packages", "capability_directories", "network", "desktop")},
        "files": [{"type": "file_id", "file_id": "file-A", "path": "/workspace/a"}],
        "skills": [
            {"type": "skill_reference", "skill_id": "skill_A", "version": "2"},
            {"type": "skill_reference", "skill_id": "skill_A", "version": "latest"},
            {"type": "skill_reference", "skill_id": "skill_A"},
            {"type": "skill_reference", "skill_id": "openai-spreadsheets", "version": "7"},
        ],
    }
    unseen = ["env", "setup_commands", "files./workspace/c", "skills.inner", "plugins.plug"]
    assert losses == dict.fromkeys(unseen, Why.NEVER_SHOWN)


@pytest.mark.parametrize(
    ("network", "suspected"),
    [
        ({"access": "restricted", "allowed_domains": []}, True),
        ({"access": "restricted", "allowed_domains": ["a.com"]}, False),
        ({"access": "enabled", "allowed_domains": []}, False),
        ({"access": "disabled"}, False),
        ({"access": "restricted", "allowed_domains": [], "blocked_domains": ["a.com"]}, False),
    ],
)
def test_domains_are_taken_to_be_blocked_only_where_they_can_be(network: dict[str, Any], suspected: bool) -> None:
    body, losses = made(network=network)
    assert body["network"] == network
    assert ("blocked_domains" in losses) is suspected


def test_a_field_that_the_api_has_since_is_a_loss_and_not_sent() -> None:
    body, losses = made(container_size="large", name=None, desktop=None)
    assert {"container_size", "name", "desktop"}.isdisjoint(body)
    assert losses["container_size"] is Why.UNKNOWN_FIELD


def test_the_skills_that_a_template_needs_are_those_that_its_owner_made() -> None:
    def needed(**fields: Any) -> list[tuple[str, str | None]]:
        found = skill_references(TemplateView.of_values({"id": "envtmpl_1", **fields}))
        return [(str(skill), number) for skill, number in found]

    assert needed(skills=READ["skills"]) == [
        ("skill_1", "3"),
        ("skill_1", None),
        ("skill_1", "9"),
        ("skill_gone", None),
    ]
    assert needed(skills=["x"]) == needed(skills={"a": 1}) == needed() == []
