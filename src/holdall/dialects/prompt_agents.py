"""Prompt agents of Azure AI Foundry: what becomes of an assistant, a classic agent, an OpenAI agent and an agent of
another Foundry project, how they are named, and what is lost. Pure.

Everywhere but on the wire and in a bundle such an agent is flat: its name, description and metadata beside the members
of its definition. No version can be changed once it is made. Sources: azure-ai-projects 2.10.0, and Microsoft's table
for the migration from classic agents; for names, which are 1 to 63 letters, digits and inner hyphens, whatever the
case, the service's own refusal (``invalid_parameters``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from itertools import count
from typing import Any

from holdall.dialects import assistants
from holdall.dialects.agents import AGENT, without_nulls
from holdall.dialects.assistants import OPENAI, READ_ONLY, refusing
from holdall.dialects.canonical import UNSET, canonical_form
from holdall.dialects.foundry_bindings import by_name, carried, connection_ids, connection_name, templates
from holdall.dialects.foundry_tools import ASSISTANT_TOOLS, OPENAI_AGENT_TOOLS, RESOURCES, place_mcp
from holdall.dialects.loss import Why
from holdall.dialects.responses import lose_unused, placed, settings
from holdall.dialects.rules import (
    ABSENT,
    DEFAULTS,
    METADATA,
    TRUE_NAME,
    Form,
    Reading,
    Request,
    Rule,
    Table,
    Targets,
    Text,
    fields,
    marked_once,
    read_fields,
    refused,
)
from holdall.errors import DamagedBundle
from holdall.kinds import read
from holdall.model import Kind, Record, SourceId

PROMPT = "prompt"
VERSIONS = 1000
"""As many versions as an agent may have."""

_KNOWN = ("kind", "model", "name")
_OWN = ("name", "description", "metadata")
_BESIDE: Mapping[str, Rule] = {"description": OPENAI.fields["description"], "metadata": METADATA}
_SENT_AS_IT_IS: tuple[str, ...] = ("model", "instructions", "description", "metadata")
_INDEXES = "azure_ai_search"
_OF_THE_PROJECT = {"skills": "skills", "rai_config": "content filters"}
_AGENT_READ_ONLY = (*READ_ONLY, "updated_at")

LONGEST = 63
"""Characters of an agent's name."""
_FITS = re.compile(rf"[a-zA-Z0-9]([a-zA-Z0-9-]{{0,{LONGEST - 2}}}[a-zA-Z0-9])?")
_OTHERS = re.compile(r"[^a-zA-Z0-9]+")
# Letters that Unicode takes for no letter with a mark.
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ł": "l", "Ł": "L"}
)
# The name where neither name nor id has anything that fits.
_ANY = "agent"


def flat(decoded: Mapping[str, Any]) -> dict[str, Any]:
    """An agent (by its latest version) or one version of it, as decoded, as one flat object.

    >>> flat({"name": "n", "versions": {"latest": {"version": "2", "definition": {"kind": "prompt", "model": "m"}}}})
    {'kind': 'prompt', 'model': 'm', 'name': 'n', 'description': None, 'metadata': None}
    """
    version = _object(_object(decoded.get("versions")).get("latest")) or decoded
    found = {field: version.get(field) for field in _OWN}
    return {**_object(version.get("definition")), **found, "name": decoded.get("name")}


def version_body(flat: Mapping[str, Any]) -> dict[str, Any]:
    """What creates a version: the definition, and beside it what is set of description and metadata.

    >>> version_body({"kind": "prompt", "model": "m", "top_p": None, "name": "n", "description": "D."})
    {'definition': {'kind': 'prompt', 'model': 'm'}, 'description': 'D.'}
    """
    definition = {field: value for field, value in flat.items() if field not in _OWN and value is not None}
    beside = {field: flat[field] for field in ("description", "metadata") if flat.get(field) is not None}
    return {"definition": definition, **beside}


def impossible(record: Record) -> str:
    """Why no agent can be made of ``record``; empty where one can."""
    if record.kind is Kind.AGENT:
        # Elsewhere it may name none.
        return "" if read(record).model else "no model, which is required"
    if record.kind is not Kind.FOUNDRY_AGENT:
        return ""
    kind = flat(read_fields(record)).get("kind")
    if kind == PROMPT:
        return ""
    if not isinstance(kind, str):
        return "the bundle has no definition of it"
    return f"it is a {kind} agent; only prompt agents can be made of a definition alone"


def dispensable(flat: Mapping[str, Any]) -> dict[str, bool]:
    """The fields of a version that may be left out, and whether that loses nothing."""
    default = DEFAULTS["reasoning_effort"]
    reasoning = {"reasoning": flat["reasoning"] in (None, {"effort": default})} if "reasoning" in flat else {}
    # What nobody here knows may be of a newer service than this one.
    unknown = {field: False for field in flat if field not in (*_KNOWN, *UNSET[Kind.FOUNDRY_AGENT])}
    return {**unknown, **assistants.dispensable(flat), **reasoning}


def connections(record: Record) -> list[str]:
    """The names of the connections that the tools of a record use, each once."""
    try:
        found = read_fields(record)
    except DamagedBundle:
        return []
    if record.kind is Kind.FOUNDRY_AGENT:
        found = flat(found)
    used = connection_ids([found.get("tools"), found.get("tool_resources")])
    return list(dict.fromkeys(map(connection_name, used)))


def build(record: Record, *, prefix: str, operation: str, targets: Targets, model: str | None, table: Table) -> Request:
    """A version of an agent, flat, for anything that becomes one. There is no update after it.

    Of a table with another form, nothing is left out of an agent: it is compared with what its own server has.
    """
    bound = targets.connections if table.form is Form.FOUNDRY else None
    known = None if bound is None else by_name(bound)
    reading = Reading(record, prefix=prefix, model=model, connections=known)
    if record.kind is Kind.FOUNDRY_AGENT:
        body = _of_foundry(reading, targets, model)
    elif record.kind is Kind.AGENT:
        body = _of_agent(reading)
    else:
        body = _of_assistant(reading, targets, table)
    if record.kind is not Kind.FOUNDRY_AGENT and (found := templates(body.get("instructions"))):
        text = f"has {', '.join(found[:3])}, which Foundry may fill in as an input of the agent; check the instructions"
        reading.lose(Why.TEMPLATE, "instructions", body["instructions"], text)
    return _marked(reading, body, prefix, operation, targets.names.get(record.id))


def _marked(reading: Reading, body: dict[str, Any], prefix: str, operation: str, chosen: str | None) -> Request:
    """The request with the agent's name and our marks."""
    record, own = reading.record, reading.name
    name = chosen or agent_name(prefix + own if own else None, record.id)
    # A copy of a copy is still called what the first one was.
    inherited = _object(body.get("metadata")).get(TRUE_NAME) if record.kind is Kind.FOUNDRY_AGENT else None
    real = prefix + (inherited if isinstance(inherited, str) else own or "")
    metadata, losses = marked_once(
        body.get("metadata"),
        kind=record.kind,
        source=record.id,
        name=own,
        operation=operation,
        real=real if own and real != name else None,
    )
    if own and name != prefix + own:
        is_kept = TRUE_NAME in metadata
        text = f"{name} at the destination" + ("; the real name is in its metadata" if is_kept else "")
        reading.lose(Why.NAME_CHANGED if is_kept else Why.VALUE_CHANGED, "name", own, text)
    return Request(body={**body, "name": name, "metadata": metadata}, losses=[*reading.losses, *losses])


def _of_assistant(reading: Reading, targets: Targets, table: Table) -> dict[str, Any]:
    """An assistant's or a classic agent's definition."""
    _lose_assets(reading)
    place_mcp(reading)
    found = {field: value for field, value in fields(reading, table.fields).items() if value is not None}
    refusing(reading, found)
    kept = {field: found[field] for field in _SENT_AS_IT_IS if field in found}
    body: dict[str, Any] = {"kind": PROMPT, **kept, **settings(found)}
    if tools := placed(reading, found.get("tools", []), targets):
        body["tools"] = tools
    asked = reading.fields.get("tools")
    types = [tool.get("type") for tool in asked if isinstance(tool, dict)] if isinstance(asked, list) else []
    lose_unused(reading, {kind for kind in types if isinstance(kind, str)}, table.resources)
    # Tools have taken what they use.
    if unused := _object(reading.fields.get("tool_resources")).get(_INDEXES):
        reading.lose(Why.UNUSABLE, f"tool_resources.{_INDEXES}", unused, f"left out: no {_INDEXES} tool uses it")
    reading.lose_unknown(reading.fields, {*table.fields, *READ_ONLY}, "")
    return body


def _lose_assets(reading: Reading) -> None:
    """Take out what tools use by the address of an Azure asset."""
    resources = _object(reading.fields.get("tool_resources"))
    for tool, field in (("file_search", "vector_stores"), ("code_interpreter", "data_sources")):
        if value := _object(resources.get(tool)).pop(field, None):
            text = "left out: Azure assets have no place in an agent; upload their files and name them in its tools"
            reading.lose(Why.LEFT_OUT, f"tool_resources.{tool}.{field}", value, text)


def _of_agent(reading: Reading) -> dict[str, Any]:
    """An OpenAI agent's definition."""
    rules = {field: AGENT[field] for field in ("model", "instructions", "text", "reasoning", "metadata")}
    asked = {**rules, "tools": OPENAI_AGENT_TOOLS}
    found = {field: value for field, value in fields(reading, asked).items() if value not in (None, [], {})}
    body: dict[str, Any] = {"kind": PROMPT, **found}
    text = body.pop("text", {})
    if text.get("format", {"type": "text"}) != {"type": "text"}:
        named: dict[str, Any] = {"name": "response", **text["format"]}
        body["text"] = {"format": named}
    _fit_model(reading, body)
    if text.get("verbosity", "medium") != "medium":
        reading.lose_unknown({"verbosity": text["verbosity"]}, (), "text.")
    others = {field: reading.fields.get(field) for field in AGENT.keys() - asked.keys() - {"name"}}
    told = {field: value for field, value in others.items() if canonical_form(Kind.AGENT, field, value) is not None}
    if "multi_agent" in told:
        text = "left out: Foundry agents have no agents of their own to work with"
        reading.lose(Why.LEFT_OUT, "multi_agent", told.pop("multi_agent"), text)
    reading.lose_unknown(dict(sorted(told.items())), (), "")
    reading.lose_unknown(reading.fields, {*AGENT, *_AGENT_READ_ONLY}, "")
    return body


def _of_foundry(reading: Reading, targets: Targets, model: str | None) -> dict[str, Any]:
    """Another agent's definition, as it was read but for what it refers to."""
    body = {field: without_nulls(value) for field, value in flat(reading.fields).items() if value is not None}
    for field, rule in _BESIDE.items():
        if field in body and (made := rule.repair(reading, body.pop(field), field)) is not ABSENT:
            body[field] = made
    if isinstance(body.get("tools"), list):
        body["tools"] = carried(reading, body["tools"], targets)
    if model is not None and model != body.get("model"):
        body["model"] = model
        _fit_model(reading, body)
    if reading.connections is not None:
        for field, noun in _OF_THE_PROJECT.items():
            if value := body.pop(field, None):
                names = ", ".join(_names(value))
                text = f"left out: the {noun} {names} belong to the source's project; add them at the destination"
                reading.lose(Why.LEFT_OUT, field, value, text)
    return body


def _names(value: Any) -> list[str]:
    """What is named in a list of objects, or in one."""
    each = [_object(one) for one in value] if isinstance(value, list) else [_object(value)]
    found = (one.get("name") or one.get("rai_policy_name") for one in each)
    return [connection_name(name) for name in found if isinstance(name, str)]


def _fit_model(reading: Reading, body: dict[str, Any]) -> None:
    """Remove from ``body`` what its model refuses, judged by its name."""
    name = body.get("model")
    for field in refused(name) if isinstance(name, str) else ():
        where = "reasoning" if field == "reasoning_effort" else field
        value = body.pop(where, None)
        default = {"effort": DEFAULTS[field]} if where == "reasoning" else DEFAULTS[field]
        if value is not None and value != default:
            reading.lose(Why.MODEL_REFUSES, where, value, f"left out: {name} does not accept it")


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


FOUNDRY_AGENTS = Table(
    form=Form.FOUNDRY,
    build=build,
    fields={**OPENAI.fields, "name": Text(), "instructions": Text(), "tools": ASSISTANT_TOOLS},
    # No refusal of a second store is known, but Microsoft's pages say one.
    stores=1,
    files=50,
    resources=RESOURCES,
    batch_files=500,
    # Any is taken, but agents and stores refuse the ids of all others.
    purpose="assistants",
)
"""New Foundry agents, by the fields of an assistant that becomes one."""


def agent_name(name: str | None, id: str) -> str:
    """The name of an agent for something called ``name``; where nothing of that can stay, one made of the ``id``.

    >>> agent_name("Café: front desk (2)", "asst_1"), agent_name("受付", "asst_1"), agent_name("fits-as-it-is", "x")
    ('Cafe-front-desk-2', 'asst-1', 'fits-as-it-is')
    """
    if name is not None and _FITS.fullmatch(name):
        return name
    return _plain(name or "") or _plain(id) or _ANY


def agent_names(records: Iterable[Record], prefix: str = "", *, others: Collection[str] = ()) -> dict[SourceId, str]:
    """The agents' names for ``records`` in the order of their bundle, whatever is selected: no two alike.

    An agent of Foundry keeps its own where that fits behind the ``prefix``; others of that name get a number.
    So do those whose name is among the ``others``, which are without case.
    """
    wanted = {record.id: _wanted(record, prefix) for record in records}
    taken = dict.fromkeys(others, SourceId(""))
    for id, (name, own) in wanted.items():
        if own:
            taken.setdefault(name.casefold(), id)
    numbers: dict[str, int] = {}
    found: dict[SourceId, str] = {}
    for id, (name, _) in wanted.items():
        is_free = taken.setdefault(name.casefold(), id) == id
        found[id] = name if is_free else _numbered(name, id, taken, numbers)
    return found


def _numbered(name: str, id: SourceId, taken: dict[str, SourceId], numbers: dict[str, int]) -> str:
    """The first that is free of ``name-2``, ``name-3``, …; ``numbers`` are the last ones tried."""
    # Names that only differ where a number may cut them share one, or each would try all numbers of the others.
    stem = name[: LONGEST - 8].casefold()
    for number in count(numbers.get(stem, 1) + 1):
        ending = f"-{number}"
        made = name[: LONGEST - len(ending)].rstrip("-") + ending
        if taken.setdefault(made.casefold(), id) == id:
            numbers[stem] = number
            return made
    raise AssertionError("numbers end")


def _wanted(record: Record, prefix: str) -> tuple[str, bool]:
    """The name that a record asks for, and whether it is one that an agent has already."""
    if record.kind is Kind.FOUNDRY_AGENT:
        name = f"{prefix}{record.id}"
        return agent_name(name, record.id), _FITS.fullmatch(name) is not None
    own = read(record).name
    return agent_name(f"{prefix}{own}" if own else None, record.id), False


def _plain(text: str) -> str:
    """``text`` in letters, digits and single hyphens, cut to the limit; empty where nothing is left."""
    # Not more than can matter: a name may have any length.
    spelled = unicodedata.normalize("NFKD", text[: 16 * LONGEST].translate(_LETTERS))
    bare = "".join(char for char in spelled if not unicodedata.combining(char))
    return _OTHERS.sub("-", bare).strip("-")[:LONGEST].rstrip("-")
