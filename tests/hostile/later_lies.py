"""Lies about what came with format 1.2: Foundry agents, skills and templates, their versions and zips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.hostile.forge import Member, content, jsonl, ledger_line, record

__all__ = ["LATER_CONTRADICTIONS", "later", "many_agent_versions", "many_skill_versions"]

Lies = dict[str, Callable[[Any], Any]]

_SKILL = "data/skills/skill_1.versions.jsonl"
_AGENT = "data/foundry_agents/desk.versions.jsonl"
_FIRST, _SECOND = (
    {
        "id": f"skillver_{number}",
        "object": "skill.version",
        "skill_id": "skill_1",
        "version": str(number),
        "name": "tea",
    }
    for number in (1, 2)
)


def versions(path: str, id: str, *lines: Any) -> Member:
    return Member(path, jsonl(list(lines)), {"id": id, "records": len(lines)})


def zip_line(number: int, stored: Member | None, **fields: Any) -> dict[str, Any]:
    said = {"filename": f"tea-{number}.zip", "expected": None, "route": f"/skills/skill_1/versions/{number}/content"}
    return ledger_line(f"skillver_{number}", stored, **(said | fields))


def later(
    *,
    records: Callable[[list[Member]], list[Member]] = lambda members: members,
    files: Callable[[list[Member]], list[Member]] = lambda members: members,
    zips: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda lines: lines,
    losses: tuple[Any, ...] = (),
    **more: Any,
) -> Lies:
    """A bundle of all kinds of 1.2, with a lie in its ``records``, its ``files`` of versions or its ledger's lines of
    ``zips``; ``losses`` are all that are told."""
    stored = content("skillver_1", b"no zip at all", name="tea-1.zip")
    own = [
        record("skills", "skill_1", name="tea", default_version="1", latest_version="2"),
        record("foundry_agents", "desk", name="desk", versions={"latest": {"id": "desk:2", "version": "2"}}),
        record(
            "environment_templates", "envtmpl_1", name="Build", files=[{"file_id": "file-1", "path": "/workspace/a"}]
        ),
    ]
    beside = [
        versions(_SKILL, "skill_1", _FIRST, _SECOND),
        versions(_AGENT, "desk", *({"id": f"desk:{number}", "version": number} for number in ("1", "2"))),
    ]
    lines = zips([zip_line(1, stored), zip_line(2, None, status=404)])
    told = [Member("data/losses.jsonl", jsonl(list(losses)), {"records": len(losses)})] if losses else []
    return {
        "definitions": lambda members: [*members, *records(own)],
        "contents": lambda contents: [*contents, stored],
        "versions": lambda _: files(beside),
        "ledger": lambda ledger: sorted([*ledger, *lines], key=lambda line: line["id"]),
        **({"payload": lambda payload: [*payload, *told]} if told else {}),
        **more,
    }


def many_agent_versions(n: int) -> Lies:
    return lines_of(_AGENT, *({"id": f"desk:{number}", "version": str(number)} for number in range(n)))


def many_skill_versions(n: int) -> Lies:
    """None of them has its zip."""
    numbers = [f"{number:06}" for number in range(n)]
    lines = [{**_FIRST, "id": f"skillver_{number}", "version": number} for number in numbers]
    lacking = zip_line(1, None)
    told = [
        {**lacking, "id": f"skillver_{number}", "route": f"/skills/skill_1/versions/{number}/content"}
        for number in numbers
    ]
    return later(
        files=lambda members: [versions(_SKILL, "skill_1", *lines), *members[1:]],
        zips=lambda _: told,
        contents=lambda contents: contents,
    )


def lines_of(path: str, *lines: Any) -> Lies:
    """Other lines in one of the files of versions."""
    return later(
        files=lambda members: [versions(path, one.about["id"], *lines) if one.path == path else one for one in members]
    )


def zip_says(number: int, **fields: Any) -> Lies:
    id = f"skillver_{number}"
    return later(zips=lambda lines: [{**line, **fields} if line["id"] == id else line for line in lines])


def loss(reason: str, kind: str | None = None, id: str | None = "skill_1") -> Lies:
    said = {"reason": reason, "kind": kind, "id": id}
    return later(losses=({name: value for name, value in said.items() if value is not None},))


def _digest_gone(honest: dict[str, Any]) -> dict[str, Any]:
    digests = {name: value for name, value in honest["digests"].items() if name != "skill_versions"}
    return {**honest, "digests": digests}


LATER_CONTRADICTIONS: dict[str, tuple[str, Lies]] = {
    "a version of skills that aren't there": ("index", {"info": lambda honest: {**honest, "format": "1.2"}}),
    "a version without skills that are there": ("index", later(info=lambda honest: {**honest, "format": "1.1"})),
    "versions that nobody counts": (
        "count",
        later(
            info=lambda honest: {
                **honest,
                "counts": {k: v for k, v in honest["counts"].items() if k != "skill_versions"},
            }
        ),
    ),
    "versions without a digest": ("digest", later(info=_digest_gone)),
    "one skill for two": ("index", later(records=lambda own: [*own, replace(own[0], path="data/skills/again.json")])),
    "a skill without its versions": (
        "reference",
        later(records=lambda own: [*own, record("skills", "skill_2", name="coffee")]),
    ),
    "versions of a skill that isn't there": (
        "reference",
        later(files=lambda members: [*members, versions("data/skills/skill_2.versions.jsonl", "skill_2")]),
    ),
    "versions of an agent that isn't there": (
        "reference",
        later(files=lambda members: [*members, versions("data/foundry_agents/x.versions.jsonl", "x")]),
    ),
    "versions beside another skill": (
        "reference",
        later(records=lambda own: [replace(own[0], path="data/skills/skill_2.json"), *own[1:]]),
    ),
    "a version of another skill": ("reference", lines_of(_SKILL, _FIRST, {**_SECOND, "skill_id": "skill_2"})),
    "two versions of one number": (
        "index",
        {
            **lines_of(_SKILL, _FIRST, {**_SECOND, "version": "1"}),
            "ledger": zip_says(2, route=None)["ledger"],
        },
    ),
    "two versions of one agent with one number": (
        "index",
        lines_of(_AGENT, {"id": "desk:1", "version": "1"}, {"id": "desk:2", "version": "1"}),
    ),
    "one version of two skills": (
        "index",
        later(
            records=lambda own: [*own, record("skills", "skill_2", name="coffee")],
            files=lambda members: [
                *members,
                versions("data/skills/skill_2.versions.jsonl", "skill_2", {**_SECOND, "skill_id": "skill_2"}),
            ],
        ),
    ),
    "a version that the ledger lacks": ("reference", later(zips=lambda lines: lines[:1])),
    "a zip of the route of another version": ("reference", zip_says(1, route="/skills/skill_1/versions/2/content")),
    "a zip of the route of another skill": ("reference", zip_says(1, route="/skills/skill_2/versions/1/content")),
    "a file of the route of a version": (
        "reference",
        {"ledger": lambda lines: [{**lines[0], "route": "/skills/skill_1/versions/1/content"}, *lines[1:]]},
    ),
    "a zip through a container": (
        "reference",
        later(
            zips=lambda lines: [{**lines[0], "rung": "container", "route": None}, *lines[1:]],
            contents=lambda contents: [
                *contents,
                replace(content("skillver_1", b"no zip at all", name="tea-1.zip", rung="container")),
            ],
        ),
    ),
    "a loss of a skill that is there": ("reference", loss("records:skill")),
    "a loss of a version that is there": ("reference", loss("records:skill_version", id="skillver_1")),
    "a template that isn't there": ("reference", loss("templates:environment_template", id="envtmpl_2")),
    "variables of an agent that isn't there": ("reference", loss("variables:foundry_agent", id="x")),
    "variables of what is no agent": ("record", loss("variables:skill")),
    "a template of no kind": ("record", loss("templates", id="envtmpl_1")),
    "a later kind beside the reason": ("record", loss("keys", "skill")),
    "a loss of the ledger's with a kind": ("record", loss("texts_cut:skill")),
}
"""As those of what was there before: each contradicts another statement or the format, with the code for it."""
