"""An environment template's definition: the shape that a request must have, and what of it reads back.

The sources are the SDK (``types/beta/agents/environments/``) and the limits of OpenAI's reference. Names and numbers of
what is confidential are not shown: see ``shown``.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

from holdall.sandbox.service.api_errors import invalid
from holdall.sandbox.service.body_shapes import (
    Shape,
    array,
    boolean,
    choice,
    json_body,
    mapping,
    nullable,
    record,
    tagged,
    text,
)

# Bytes of a file and of a zip that stand in the request themselves.
_INLINE_FILE = 5 * 1024 * 1024
_INLINE_ZIP = 50 * 1024 * 1024

_PATH = 4096


def _base64(maximum: int) -> Shape:
    """Standard base64 of at most so many bytes."""

    def check(value: Any, name: str) -> str:
        encoded: str = text()(value, name)
        try:
            size = len(binascii.a2b_base64(encoded, strict_mode=True))
        except ValueError:
            raise invalid(f"Invalid '{name}': expected standard base64.", name, "invalid_value") from None
        if size > maximum:
            raise invalid(
                f"Invalid '{name}': too large. Expected at most {maximum} bytes, but got {size} instead.",
                name,
                "invalid_value",
            )
        return encoded

    return check


def _workspace_path(value: Any, name: str) -> str:
    path: str = text(_PATH, minimum=1)(value, name)
    root, *parts = path.split("/")
    if root or parts[:1] != ["workspace"] or len(parts) < 2 or {"", ".", ".."} & set(parts):
        raise invalid(f"Invalid '{name}': expected an absolute path inside /workspace.", name, "invalid_value")
    return path


_TYPE: Shape = text()
_TEXTS = array(text(minimum=1))
_SOURCE = record(
    {"type": choice("base64"), "media_type": choice("application/zip"), "data": _base64(_INLINE_ZIP)},
    required=("type", "media_type", "data"),
)
_INLINE = record(
    {"type": _TYPE, "name": text(64, minimum=1), "description": text(1024), "source": _SOURCE},
    required=("name", "description", "source"),
)
_FILE = tagged(
    "type",
    {
        "file_id": record(
            {"type": _TYPE, "file_id": text(256, minimum=1), "path": _workspace_path}, required=("file_id", "path")
        ),
        "inline": record(
            {"type": _TYPE, "data": _base64(_INLINE_FILE), "path": _workspace_path}, required=("data", "path")
        ),
    },
)
_SKILL = tagged(
    "type",
    {
        "skill_reference": record(
            {
                "type": _TYPE,
                "skill_id": text(64, minimum=1),
                "version": nullable(text(pattern="latest|[1-9][0-9]*")),
            },
            required=("skill_id",),
        ),
        "inline": _INLINE,
    },
)
_NETWORK = record(
    {
        "access": choice("enabled", "disabled", "restricted"),
        "allowed_domains": nullable(_TEXTS),
        "blocked_domains": nullable(_TEXTS),
    },
    required=("access",),
)


def _network(value: Any, name: str) -> dict[str, Any]:
    network: dict[str, Any] = _NETWORK(value, name)
    blocked, where = network.get("blocked_domains") or [], f"{name}.blocked_domains"
    if blocked and network["access"] != "restricted":
        raise invalid(f"Invalid '{where}': only with access 'restricted'.", where, "invalid_value")
    if blocked and network.get("allowed_domains"):
        raise invalid(f"Invalid '{where}': not together with allowed_domains.", where, "invalid_value")
    if any("*" in domain for domain in blocked):
        raise invalid(f"Invalid '{where}': wildcards are not supported.", where, "invalid_value")
    return network


_BODY = record(
    {
        "name": nullable(text(256, minimum=1)),
        "packages": nullable(record({kind: nullable(_TEXTS) for kind in ("python", "system", "npm")})),
        "capability_directories": nullable(array(text(_PATH, minimum=1))),
        "network": nullable(_network),
        "files": nullable(array(_FILE, 50)),
        "skills": nullable(array(_SKILL, 200)),
        "plugins": nullable(array(tagged("type", {"inline": _INLINE}), 32)),
        "env": nullable(mapping(text(1024 * 1024), keys=1024, key_length=256)),
        "setup_commands": nullable(
            array(record({"command": text(65_536, minimum=1), "cwd": nullable(text(_PATH))}, required=("command",)), 16)
        ),
        "desktop": nullable(record({"enabled": boolean}, required=("enabled",))),
    }
)


def to_set(body: bytes) -> dict[str, Any]:
    """What a request makes of a template or changes in it; raises the refusals."""
    return json_body(body, _BODY)


def shown(id_: str, created_at: int, updated_at: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """The template object, without what is never returned: env, setup commands, blocked domains, and the bytes of
    files, skills and plugins. ``given`` has a network."""
    packages, network = given.get("packages") or {}, given["network"]
    return {
        "id": id_,
        "object": "agent.environment.template",
        "created_at": created_at,
        "updated_at": updated_at,
        "name": given.get("name"),
        "packages": {kind: packages.get(kind) or [] for kind in ("python", "system", "npm")},
        "capability_directories": given.get("capability_directories") or [],
        "network": {"access": network["access"], "allowed_domains": network.get("allowed_domains") or []},
        "files": [_shown_file(file) for file in given.get("files") or []],
        "skills": [_shown_skill(skill) for skill in given.get("skills") or []],
        "plugins": [_shown_inline(plugin) for plugin in given.get("plugins") or []],
        # It came later than the rest: templates that never had one may show none.
        **({"desktop": given["desktop"]} if "desktop" in given else {}),
    }


def _shown_file(file: Mapping[str, Any]) -> dict[str, Any]:
    if file["type"] == "file_id":
        return dict(file)
    return {"type": "inline", "path": file["path"], "size_bytes": len(binascii.a2b_base64(file["data"]))}


def _shown_skill(skill: Mapping[str, Any]) -> dict[str, Any]:
    return dict(skill) if skill["type"] == "skill_reference" else _shown_inline(skill)


def _shown_inline(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in ("type", "name", "description")}
