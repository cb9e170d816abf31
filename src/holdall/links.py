"""The assistants that an assistant calls: tools of type ``connected_agent``. Pure.

Source: Azure's agents (2025-05-01), whose tool has the other's ``id``. Tools that write definitions to files have its
name in ``name_from_id`` instead, since an id means nothing in another project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["NAME", "linked", "relinked", "with_ids"]

_TYPE = "connected_agent"
NAME = "name_from_id"


def linked(tools: object) -> list[str]:
    """The ids of the assistants that ``tools`` call, each once.

    >>> linked([{"type": "connected_agent", "connected_agent": {"id": "asst_1", "name": "n"}}])
    ['asst_1']
    """
    ids = (link.get("id") for link in _links(tools))
    return list(dict.fromkeys(one for one in ids if isinstance(one, str) and one))


def relinked(tools: list[Any], to: Callable[[str], str | None]) -> tuple[list[Any], list[str]]:
    """``tools`` with the ids that ``to`` gives for those that they call, and the ids for which it gives none: tools that
    call those are left out."""
    kept: list[Any] = []
    lost: list[str] = []
    for tool in tools:
        called = linked([tool])
        if not called:
            kept.append(tool)
        elif (target := to(called[0])) is None:
            lost.append(called[0])
        else:
            kept.append({**tool, _TYPE: {**tool[_TYPE], "id": target}})
    return kept, lost


def with_ids(tools: object, of: Callable[[str], str | None]) -> list[Any] | None:
    """``tools`` where those that call another by its name alone call it by the id that ``of`` gives; None where there
    is nothing to change."""
    changed = False
    found = []
    for tool in tools if isinstance(tools, list) else ():
        link = next(_links([tool]), None)
        name = link.get(NAME) if link and not link.get("id") else None
        ident = of(name) if isinstance(name, str) else None
        if link and ident:
            changed = True
            tool = {
                **tool,
                _TYPE: {"id": ident, **{key: value for key, value in link.items() if key not in ("id", NAME)}},
            }
        found.append(tool)
    return found if changed else None


def _links(tools: object) -> Iterator[dict[str, Any]]:
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type") == _TYPE and isinstance(tool.get(_TYPE), dict):
            yield tool[_TYPE]
