"""What servers hold and a bundle doesn't, of objects that are in it. Pure.

That are the values of a hosted agent's environment variables, which are never written, and what no server returns of an
environment template.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdall.credentials import variable_names
from holdall.exporter import report
from holdall.model import Kind, Record
from holdall.untrusted import read_json


def findings(record: Record) -> Iterator[report.Withheld]:
    """The loss of what a bundle can't have of an object, one for each object of which there is some."""
    if record.kind is Kind.TEMPLATE:
        yield report.Withheld(kind=record.kind, id=record.id, message=_of_template(read_json(record.raw)))
    elif record.kind is Kind.FOUNDRY_AGENT and (names := variable_names(record)):
        message = f"the values of its environment variables were left out: {', '.join(names)}"
        yield report.Withheld(kind=record.kind, id=record.id, message=message)


def _of_template(fields: Any) -> str:
    said = "its environment variables, set-up commands and blocked domains are never returned, if it has any"
    inline = [
        (
            f"file {one.get('path')}"
            + (f" ({one['size_bytes']} bytes)" if isinstance(one.get("size_bytes"), int) else "")
        )
        for one in _objects(fields, "files")
        if not one.get("file_id")
    ]
    inline += [f"skill {one.get('name')}" for one in _objects(fields, "skills") if not one.get("skill_id")]
    inline += [f"plugin {one.get('name')}" for one in _objects(fields, "plugins")]
    return f"{said}; nor is what is inline: {', '.join(inline)}" if inline else said


def _objects(fields: Any, name: str) -> list[dict[str, Any]]:
    found = fields.get(name) if isinstance(fields, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
