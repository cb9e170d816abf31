"""What a page says of a bundle: the values of its definitions, the files of its stores, and when its models end.

Of a bundle no destination can be asked, so the shutdown dates are those that OpenAI's deprecations page announced up to
November 2026. What has replaced a model is left out, because published replacements contradict each other.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec

from holdall.bundle.layout import LedgerLine
from holdall.bundle.reader import BundleReader
from holdall.dialects.prompt_agents import flat
from holdall.kinds import read
from holdall.legible import Capped
from holdall.model import DefinitionView, Fidelity, Kind, Record, SourceId
from holdall.spilling import ValueSorter
from holdall.untrusted import read_json

# Characters of a value that has a place of its own.
_LONG = 100

_SHOWN_ELSEWHERE = frozenset({"id", "object", "created_at", "name", "model", "description", "instructions", "tools"})

_SHUTDOWNS = {
    date(2026, 10, 23): (
        "gpt-3.5-turbo gpt-3.5-turbo-0125 gpt-4 gpt-4-0613 gpt-4-turbo gpt-4-turbo-2024-04-09 gpt-4o-2024-05-13 "
        "gpt-4.1-nano gpt-4.1-nano-2025-04-14 o1 o1-2024-12-17 o3-mini o3-mini-2025-01-31 o4-mini o4-mini-2025-04-16"
    ),
    date(2026, 12, 11): (
        "gpt-5 gpt-5-2025-08-07 gpt-5-mini gpt-5-mini-2025-08-07 gpt-5-nano gpt-5-nano-2025-08-07 o3 o3-2025-04-16"
    ),
    date(2027, 1, 14): (
        "gpt-4o gpt-4o-2024-08-06 gpt-4o-2024-11-20 gpt-4o-mini gpt-4o-mini-2024-07-18 gpt-4.1 gpt-4.1-2025-04-14 "
        "gpt-4.1-mini gpt-4.1-mini-2025-04-14"
    ),
}
_BY_MODEL = {model: day for day, models in _SHUTDOWNS.items() for model in models.split()}
_TUNED = re.compile(r"ft:([^:]+):")


def fields_of(record: Record) -> dict[str, Any]:
    try:
        found = read_json(record.raw)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    # The latest version of a Foundry agent, as an assistant has it all.
    return {"id": record.id, **flat(found)} if record.kind is Kind.FOUNDRY_AGENT else found


def tools_of(fields: dict[str, Any]) -> list[Any]:
    tools = fields.get("tools")
    return tools if isinstance(tools, list) else [] if tools is None else [tools]


def parameters(fields: dict[str, Any], view: DefinitionView, *, long: bool) -> Iterator[tuple[str, Any]]:
    """What else a definition sets; the ``long`` values by themselves."""
    refers = bool(view.store_ids or view.file_ids)
    for field, value in fields.items():
        if field in _SHOWN_ELSEWHERE or value in (None, "", [], {}) or (field == "tool_resources" and refers):
            continue
        if long == (len(short(value)) > _LONG):
            yield field, value


def title_of(field: str) -> str:
    words = field.replace("_", " ")[:_LONG]
    return words[:1].upper() + words[1:]


def indented(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class Share(msgspec.Struct):
    """Of one store: how many of its files were got in each way, and their size in bytes."""

    files: Counter[Fidelity] = msgspec.field(default_factory=Counter)
    bytes: int = 0
    members: int = 0


class _Trace(msgspec.Struct, frozen=True, omit_defaults=True):
    """A mention of a file: in a store, by an assistant, or its line in the ledger."""

    store: int | None = None
    line: LedgerLine | None = None


class Shares:
    """``stores`` has one for each store in the bundle; ``unused`` are the files that no store or assistant has.

    Memory grows with the stores, not with their files. Raises DamagedBundle.
    """

    def __init__(self, bundle: BundleReader) -> None:
        self.stores: dict[SourceId, Share] = {}
        self.unused: Capped[LedgerLine] = Capped()
        traces = ValueSorter(_Trace)
        for record in bundle.stores():
            number = len(self.stores)
            if record.id not in self.stores:
                self.stores[record.id] = Share()
                for member in bundle.memberships(record.id):
                    traces.add(member.id, _Trace(store=number))
        for record in bundle.whole():
            for file in read(record).file_ids:
                traces.add(file, _Trace())
        for skill in bundle.definitions(Kind.SKILL):
            for version in bundle.versions(Kind.SKILL, skill.id):
                traces.add(version.id, _Trace())
        for line in bundle.ledger():
            traces.add(line.id, _Trace(line=line))
        shares = list(self.stores.values())
        for _, group in traces.by_text():
            self._take(list(group), shares)
        traces.close()

    def _take(self, mentions: list[_Trace], shares: list[Share]) -> None:
        line = next((one.line for one in mentions if one.line is not None), None)
        users = [one for one in mentions if one.line is None]
        if line is not None and not users:
            self.unused.append(line)
        for number in {one.store for one in users if one.store is not None}:
            shares[number].members += 1
            if line is not None:
                shares[number].files[line.fidelity] += 1
                shares[number].bytes += line.size or 0


def announced_shutdown(model: str) -> date | None:
    """The day on which OpenAI shuts ``model`` down; None if none was known when this version was made.

    A fine-tuned model ends with the one that it was made of.

    >>> announced_shutdown("ft:gpt-4o-mini-2024-07-18:acme::abc")
    datetime.date(2027, 1, 14)
    """
    tuned = _TUNED.match(model)
    return _BY_MODEL.get(tuned[1] if tuned else model)
