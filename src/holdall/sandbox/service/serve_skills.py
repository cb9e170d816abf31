"""/skills: folders of files with instructions, in versions that don't change; how they come is in ``skill_uploads``.

The numbers of a skill's versions only rise, so that gaps remain where versions were deleted.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from holdall.sandbox.service.api_errors import ApiError, invalid, not_found
from holdall.sandbox.service.body_shapes import json_body, record, text
from holdall.sandbox.service.paging import listing, select, window
from holdall.sandbox.service.service import Call
from holdall.sandbox.service.skill_archives import SkillText

_UPDATE = record({"default_version": text()}, required=("default_version",))

# A skill beside the version whose name it shows.
_SHOWN = """skills AS t JOIN skill_versions AS v ON v.skill = t.seq AND v.number = CASE ?
    WHEN 'default' THEN t.default_version ELSE (SELECT MAX(number) FROM skill_versions WHERE skill = t.seq) END"""
_COLUMNS = """t.*, v.name, v.description,
    (SELECT MAX(number) FROM skill_versions WHERE skill = t.seq) AS latest_version"""


def _shown(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "skill",
        "name": row["name"],
        "description": row["description"],
        "created_at": row["created_at"],
        "default_version": str(row["default_version"]),
        "latest_version": str(row["latest_version"]),
    }


def _shown_version(row: sqlite3.Row, skill_id: str) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "skill.version",
        "skill_id": skill_id,
        "version": str(row["number"]),
        "name": row["name"],
        "description": row["description"],
        "created_at": row["created_at"],
    }


def _find(connection: sqlite3.Connection, call: Call) -> sqlite3.Row:
    """The skill that the path names, of this project or OpenAI's own; raises 404."""
    wanted = call.path["skill"]
    row: sqlite3.Row | None = connection.execute(
        f"SELECT {_COLUMNS} FROM {_SHOWN} WHERE t.id = ? AND t.project IN (?, '')",
        (call.service.behaviour.skill_named_by, wanted, call.project),
    ).fetchone()
    if row is None:
        raise not_found(f"Skill with id '{wanted}' not found.")
    return row


def _find_own(connection: sqlite3.Connection, call: Call) -> sqlite3.Row:
    """The skill that is to be changed; raises 403 for one of OpenAI's."""
    row = _find(connection, call)
    if not row["project"]:
        raise ApiError(403, f"Skill '{row['id']}' is provided by OpenAI and can't be changed.", param="skill_id")
    return row


def _find_version(connection: sqlite3.Connection, skill: sqlite3.Row, number: str) -> sqlite3.Row:
    """A version by its number as the API writes it; raises 404."""
    row: sqlite3.Row | None = None
    if number.isascii() and number.isdigit() and len(number) < 18 and number[0] != "0":
        row = connection.execute(
            "SELECT * FROM skill_versions WHERE skill = ? AND number = ?", (skill["seq"], int(number))
        ).fetchone()
    if row is None:
        raise not_found(f"Version '{number}' of skill '{skill['id']}' not found.")
    return row


def _insert_version(
    connection: sqlite3.Connection, call: Call, skill: int, number: int, blob: str, said: SkillText
) -> None:
    connection.execute(
        "INSERT INTO skill_versions (skill, id, number, name, description, created_at, blob) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (skill, call.service.ids.skill_version(), number, said.name, said.description, int(call.now), blob),
    )


def _check_name(connection: sqlite3.Connection, call: Call, name: str, skill: int | None) -> None:
    """Refuse the name of another skill of the project, where names are unique."""
    behaviour = call.service.behaviour
    if not behaviour.unique_names:
        return
    others = connection.execute(
        f"SELECT 1 FROM {_SHOWN} WHERE t.project = ? AND v.name = ? AND t.seq IS NOT ?",
        (behaviour.skill_named_by, call.project, name, skill),
    ).fetchone()
    if others:
        raise invalid(f"A skill named '{name}' already exists in this project.", "files", "invalid_value")


def add(call: Call, blob: str, said: SkillText) -> dict[str, Any]:
    """Make a skill of its first version, whose blob is in place."""
    id_ = call.service.ids.skill()
    with call.service.database.write() as connection:
        _check_name(connection, call, said.name, None)
        made = connection.execute(
            "INSERT INTO skills (project, id, created_at, default_version, last_number) VALUES (?, ?, ?, 1, 1)",
            (call.project, id_, int(call.now)),
        )
        assert made.lastrowid is not None
        _insert_version(connection, call, made.lastrowid, 1, blob, said)
    return {
        "id": id_,
        "object": "skill",
        "name": said.name,
        "description": said.description,
        "created_at": int(call.now),
        "default_version": "1",
        "latest_version": "1",
    }


def add_version(call: Call, blob: str, said: SkillText, is_default: bool | None) -> dict[str, Any]:
    """Add a version, whose blob is in place."""
    if is_default is None:
        is_default = call.service.behaviour.new_skill_version_is_default
    with call.service.database.write() as connection:
        skill = _find_own(connection, call)
        _check_name(connection, call, said.name, skill["seq"])
        number = skill["last_number"] + 1
        _insert_version(connection, call, skill["seq"], number, blob, said)
        connection.execute(
            "UPDATE skills SET last_number = ?, default_version = ? WHERE seq = ?",
            (number, number if is_default else skill["default_version"], skill["seq"]),
        )
        return _shown_version(_find_version(connection, skill, str(number)), skill["id"])


def retrieve(call: Call) -> dict[str, Any]:
    with call.service.database.read() as connection:
        return _shown(_find(connection, call))


def update(call: Call) -> dict[str, Any]:
    asked = json_body(call.body, _UPDATE)
    with call.service.database.write() as connection:
        skill = _find_own(connection, call)
        version = _find_version(connection, skill, asked["default_version"])
        connection.execute("UPDATE skills SET default_version = ? WHERE seq = ?", (version["number"], skill["seq"]))
        return _shown(_find(connection, call))


def delete(call: Call) -> dict[str, Any]:
    with call.service.database.write() as connection:
        skill = _find_own(connection, call)
        blobs = _remove(connection, skill)
    for blob in blobs:
        call.service.blobs.remove(blob)
    return {"id": skill["id"], "object": "skill.deleted", "deleted": True}


def _remove(connection: sqlite3.Connection, skill: sqlite3.Row) -> list[str]:
    """Delete a skill with its versions; return the blobs that nothing names any more."""
    rows = connection.execute("SELECT blob FROM skill_versions WHERE skill = ?", (skill["seq"],)).fetchall()
    connection.execute("DELETE FROM skill_versions WHERE skill = ?", (skill["seq"],))
    connection.execute("DELETE FROM skills WHERE seq = ?", (skill["seq"],))
    return [row["blob"] for row in rows]


def list_all(call: Call) -> dict[str, Any]:
    asked = window(call.query, minimum=0, before=False)
    behaviour = call.service.behaviour
    with call.service.database.read() as connection:
        rows, has_more = select(
            connection,
            _COLUMNS,
            _SHOWN,
            "t.project IN (?, ?)",
            (behaviour.skill_named_by, call.project, "" if behaviour.openai_skills_listed else call.project),
            asked,
        )
    return listing([_shown(row) for row in rows], [row["id"] for row in rows], has_more)


def retrieve_version(call: Call) -> dict[str, Any]:
    with call.service.database.read() as connection:
        skill = _find(connection, call)
        return _shown_version(_find_version(connection, skill, call.path["version"]), skill["id"])


def delete_version(call: Call) -> dict[str, Any]:
    """Delete a version that isn't the default; the last one takes its skill along."""
    with call.service.database.write() as connection:
        skill = _find_own(connection, call)
        version = _find_version(connection, skill, call.path["version"])
        others = connection.execute(
            "SELECT 1 FROM skill_versions WHERE skill = ? AND number != ?", (skill["seq"], version["number"])
        ).fetchone()
        if not others:
            _remove(connection, skill)
        elif version["number"] == skill["default_version"]:
            raise invalid(
                f"Version '{version['number']}' is the default of skill '{skill['id']}' and can't be deleted. Set "
                "another default version first.",
                "version",
                "invalid_value",
            )
        connection.execute("DELETE FROM skill_versions WHERE seq = ?", (version["seq"],))
    call.service.blobs.remove(version["blob"])
    return {
        "id": version["id"],
        "object": "skill.version.deleted",
        "deleted": True,
        "version": str(version["number"]),
    }


def list_versions(call: Call) -> dict[str, Any]:
    asked = window(call.query, minimum=0, before=False)
    with call.service.database.read() as connection:
        skill = _find(connection, call)
        rows, has_more = select(connection, "t.*", "skill_versions AS t", "t.skill = ?", (skill["seq"],), asked)
    return listing([_shown_version(row, skill["id"]) for row in rows], [row["id"] for row in rows], has_more)


def downloadable(call: Call) -> sqlite3.Row:
    """The version whose zip is asked for: the default, where the path names none; raises the refusals."""
    with call.service.database.read() as connection:
        skill = _find_own(connection, call)
        return _find_version(connection, skill, call.path.get("version", str(skill["default_version"])))
