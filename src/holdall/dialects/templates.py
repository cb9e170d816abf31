"""Environment templates: what a create call accepts of a record, and what no record has. Pure.

``env``, the setup commands, blocked domains, and the bytes of inline files, skills and plugins are never
returned by the API, so no copy has them unless the owner supplies them. Source: the official SDK,
beta.agents.environments.templates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from holdall.agent_views import TemplateView
from holdall.dialects.loss import Why
from holdall.dialects.rules import Choice, Each, Flag, Members, Reading, Request, Rule, Table, Targets, Text, fields
from holdall.model import Record, SourceId, View

FILES = 50
"""Files of one template."""

_NAMES = Each(Text())
TEMPLATE: Mapping[str, Rule] = {
    "name": Text(most=256),
    "packages": Members(members=dict.fromkeys(("python", "system", "npm"), _NAMES)),
    "capability_directories": _NAMES,
    "network": Members(
        members={
            "access": Choice(words=("enabled", "disabled", "restricted")),
            **dict.fromkeys(("allowed_domains", "blocked_domains"), _NAMES),
        },
        needs=("access",),
    ),
    "desktop": Members(members={"enabled": Flag()}, needs=("enabled",)),
}
"""The fields without references."""

FIELDS = (*TEMPLATE, "files", "skills")
"""What a client can set, and an answer shows."""

_READ_ONLY = ("id", "object", "created_at", "updated_at")
_INLINE = ("files", "skills", "plugins")


def template(
    record: Record, *, prefix: str, operation: str, targets: Targets, model: str | None, table: Table
) -> Request:
    """POST /agents/environments/templates. It has no metadata, so no marks either; its limits are the same everywhere.

    Each of what the API never returns is a loss of its own; see ``unseen``.
    """
    reading = Reading(record, prefix=prefix)
    body = fields(reading, TEMPLATE)
    body["files"] = list(_files(reading, targets))
    body["skills"] = list(_skills(reading, targets))
    reading.lose_unknown(reading.fields, {*FIELDS, *_INLINE, *_READ_ONLY}, "")
    for field, doubt in unseen(reading.fields):
        reading.lose(Why.NEVER_SHOWN, field, None, f"never returned by the API{doubt} (--supply-template)")
    return Request(body=body, losses=reading.losses)


def _files(reading: Reading, targets: Targets) -> Iterator[dict[str, Any]]:
    for item in _items(reading.fields, "files"):
        file = item.get("file_id")
        if item.get("type") != "inline" and isinstance(file, str) and file in targets.files:
            # An answer may have more, such as its size, and a request may not.
            yield {"type": "file_id", "file_id": targets.files[SourceId(file)], "path": item.get("path")}


def _skills(reading: Reading, targets: Targets) -> Iterator[dict[str, Any]]:
    for item in _items(reading.fields, "skills"):
        skill, version = item.get("skill_id"), item.get("version")
        if item.get("type") == "inline" or not isinstance(skill, str):
            continue
        made = {"type": "skill_reference", "skill_id": skill}
        if not is_builtin(skill):
            if SourceId(skill) not in targets.skills:
                continue
            made["skill_id"] = targets.skills[SourceId(skill)]
            if is_pinned(version):
                if (SourceId(skill), str(version)) not in targets.versions:
                    continue
                version = targets.versions[SourceId(skill), str(version)]
        if version is not None:
            made["version"] = version
        yield made


def unseen(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What there may be of a template without anybody being able to tell, and the contents that are known by their
    names alone: the field of its loss (``env``, ``files./workspace/a``, ``skills.NAME``), and what may not be there."""
    yield "env", "; it may have variables"
    yield "setup_commands", "; it may have commands"
    network = record.get("network")
    # The two kinds of domains exclude each other, and go with restricted access only.
    domains = ("allowed_domains", "blocked_domains")
    if isinstance(network, dict) and network.get("access") == "restricted" and not any(map(network.get, domains)):
        yield "blocked_domains", "; access is restricted without an allowed domain, so some may be blocked"
    for field in _INLINE:
        for item in inline(record, field):
            yield f"{field}.{item.get('path' if field == 'files' else 'name')}", ""


def inline(record: Mapping[str, Any], field: str) -> Iterator[dict[str, Any]]:
    """The inline files, skills or plugins of a template."""
    return (item for item in _items(record, field) if field == "plugins" or item.get("type") == "inline")


def by_reference(field: str, value: Any) -> Any:
    """What of a template's ``field`` can be compared with a request: not what is inline, of which only names are
    shown, nor blocked domains, which should not be shown at all."""
    if field == "network" and isinstance(value, dict):
        return {key: item for key, item in value.items() if key != "blocked_domains"}
    if field not in _INLINE or not isinstance(value, list):
        return value
    kept = () if field == "plugins" else value
    return [item for item in kept if not (isinstance(item, dict) and item.get("type") == "inline")]


def is_builtin(skill: str) -> bool:
    """Whether a skill is one of OpenAI's own, which are there in every project.

    >>> is_builtin("openai-spreadsheets"), is_builtin("skill_1")
    (True, False)
    """
    return skill.startswith("openai-")


def is_pinned(version: object) -> bool:
    """Whether a reference names a version by its number; else it means the default or the latest."""
    return version not in (None, "", "latest")


def skill_references(view: View) -> list[tuple[SourceId, str | None]]:
    """The skills that a template refers to, without OpenAI's own, each with the number of its version where it is
    pinned; of anything but a template none."""
    found = []
    for item in (view.skills or ()) if isinstance(view, TemplateView) else ():
        if item.skill_id and not is_builtin(item.skill_id):
            found.append((SourceId(item.skill_id), item.version if is_pinned(item.version) else None))
    return list(dict.fromkeys(found))


def _items(values: Mapping[str, Any], field: str) -> Iterator[dict[str, Any]]:
    found = values.get(field)
    return (item for item in found if isinstance(item, dict)) if isinstance(found, list) else iter(())
