"""References between definitions: which uses what, which assistants an assistant calls, and what ``--only`` and
``--exclude`` select. Pure.

A definition's references are in its view (``DefinitionView``), in the definition's order. An assistant calls another by
a tool of type ``connected_agent``. Source: Azure's agents (2025-05-01), whose tool has the other's ``id``.

A selection chooses roots by id, name or GLOB, with or without the prefix of a kind (``asst:``, ``store:``). Everything
that a root needs is included, whatever its name, so no copy lacks its files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import msgspec

from holdall.errors import Mistakes, NothingThere, UsageFault
from holdall.kinds import IDS, KINDS, SELECTORS, noun
from holdall.model import AssistantView, DefinitionView, Kind, Record, SourceId
from holdall.untrusted import normalized, read_json

V = TypeVar("V", bound=DefinitionView)

_CALL = "connected_agent"
# What tools that write definitions to files put in place of the id, which means nothing in another project.
_NAME = "name_from_id"


# -- who uses what -------------------------------------------------------------------------------------


class Users(msgspec.Struct, frozen=True, kw_only=True):
    """By store, file and skill, the definitions that name it; all in the order in which they are named."""

    stores: dict[SourceId, list[SourceId]]
    files: dict[SourceId, list[SourceId]]
    skills: dict[SourceId, list[SourceId]] = {}

    def of(self, id: SourceId) -> list[SourceId]:
        """The definitions that name a store, a file or a skill of that id."""
        return [*self.stores.get(id, ()), *self.files.get(id, ()), *self.skills.get(id, ())]

    def needed_by(self, chosen: AbstractSet[str]) -> set[SourceId]:
        """The stores, files and skills that any of the ``chosen`` definitions names."""
        used = (*self.stores.items(), *self.files.items(), *self.skills.items())
        return {id for id, users in used if not chosen.isdisjoint(users)}


def users_of(views: Iterable[DefinitionView], *, stores: bool = True, files: bool = True) -> Users:
    """Who uses what, each user once. ``stores`` or ``files`` False leaves these out."""
    found = Users(stores={}, files={}, skills={})
    for view in views:
        for id in dict.fromkeys(view.store_ids if stores else ()):
            found.stores.setdefault(id, []).append(SourceId(view.id))
        for id in dict.fromkeys(view.file_ids if files else ()):
            found.files.setdefault(id, []).append(SourceId(view.id))
        for id in dict.fromkeys(view.skill_ids):
            found.skills.setdefault(id, []).append(SourceId(view.id))
    return found


# -- who calls whom ------------------------------------------------------------------------------------


def called(chosen: Iterable[SourceId], views: Mapping[SourceId, V]) -> list[V]:
    """The chosen, followed by those they call that are among ``views``."""
    found = {id: views[id] for id in chosen}
    queue = list(found.values())
    while queue:
        for id in queue.pop().assistant_ids:
            if id in views and id not in found:
                found[id] = views[id]
                queue.append(views[id])
    return list(found.values())


def callees_first(chosen: Iterable[SourceId], views: Mapping[SourceId, DefinitionView]) -> Iterator[SourceId]:
    """The same, each after those it calls, else in order."""
    # A stack of our own: a bundle may have a chain of calls longer than Python's stack.
    seen: set[SourceId] = set()
    stack = [(id, False) for id in chosen][::-1]
    while stack:
        id, ready = stack.pop()
        if ready:
            yield id
        elif id not in seen:
            seen.add(id)
            stack.append((id, True))
            stack += [(callee, False) for callee in views[id].assistant_ids[::-1] if callee in views]


def callee(tool: object) -> str | None:
    """The id of the assistant that a tool calls; None where it calls none by an id.

    >>> callee({"type": "connected_agent", "connected_agent": {"id": "asst_1", "name": "n"}})
    'asst_1'
    """
    id = _call(tool).get("id")
    return id if isinstance(id, str) and id else None


def callees(tools: object) -> list[str]:
    """The ids of the assistants that ``tools`` call, each once."""
    found = map(callee, tools if isinstance(tools, list) else ())
    return list(dict.fromkeys(id for id in found if id is not None))


def callee_names(tools: object) -> list[str]:
    """The names of those that ``tools`` call by their names alone, each once."""
    found = map(_callee_name, tools if isinstance(tools, list) else ())
    return list(dict.fromkeys(name for name in found if name is not None))


def with_callees(tools: list[Any], targets: Mapping[Any, str | None]) -> list[Any]:
    """``tools`` where those that call others call them by the ids of ``targets``; where that is None, without the tool.
    One that ``targets`` don't have is called as before."""
    found: list[Any] = []
    for tool in tools:
        id = callee(tool)
        if id not in targets:
            found.append(tool)
        elif targets[id] is not None:
            found.append({**tool, _CALL: {**tool[_CALL], "id": targets[id]}})
    return found


def with_callees_by_id(records: list[Record]) -> list[Record]:
    """The assistants, where those that call one of the others by its name alone call it by its id. Where several have
    the name, or none, nothing is changed."""
    if not any(_NAME.encode() in record.raw for record in records):
        return records
    ids: dict[str | None, list[str]] = {}
    for record in records:
        ids.setdefault(AssistantView.of(record).name, []).append(record.id)
    known: dict[str | None, str] = {name: same[0] for name, same in ids.items() if name and len(same) == 1}
    return [_with_ids(record, known) for record in records]


def _with_ids(record: Record, ids: Mapping[str | None, str]) -> Record:
    try:
        fields = read_json(record.raw)
    except ValueError:
        return record
    tools = fields.get("tools") if isinstance(fields, dict) else None
    if ids.keys().isdisjoint(callee_names(tools)):
        return record
    found = []
    for tool in tools or ():
        name = _callee_name(tool)
        if name in ids:
            link = {key: value for key, value in tool[_CALL].items() if key not in ("id", _NAME)}
            tool = {**tool, _CALL: {"id": ids[name], **link}}
        found.append(tool)
    return msgspec.structs.replace(record, raw=msgspec.json.encode({**fields, "tools": found}))


def _callee_name(tool: object) -> str | None:
    call = _call(tool)
    name = call.get(_NAME)
    return name if isinstance(name, str) and not call.get("id") else None


def _call(tool: object) -> dict[str, Any]:
    """What a tool says of the assistant that it calls; nothing where it calls none."""
    called = tool.get(_CALL) if isinstance(tool, dict) and tool.get("type") == _CALL else None
    return called if isinstance(called, dict) else {}


# -- selecting -----------------------------------------------------------------------------------------

_ID_LIKE = re.compile(f"(?:{'|'.join(start[:-1] for start in IDS)})[_-]")


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be selected: an assistant, an agent, a vector store, a file."""

    kind: Kind
    id: SourceId
    name: str | None = None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Patterns as the user wrote them. Empty: everything. ``said``: how one of ``only`` was asked for, if otherwise."""

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    said: Mapping[str, str] = {}

    def kinds(self) -> set[Kind]:
        """The kinds that the patterns may fit; one without a prefix fits whatever is a root by itself."""
        return {pattern(text).kind or Kind.ASSISTANT for text in (*self.only, *self.exclude)}

    def may_take(self, kind: Kind) -> bool:
        """Whether the selection can include anything of ``kind``."""
        return not self.only or any(pattern(text).kind in (None, kind) for text in self.only)


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """One pattern: an id, a name, or a GLOB (``*``, ``?``, ``[…]``; upper and lower case differ).

    A GLOB fits names, and also ids where it begins as ids do (``asst_*``). ``*`` fits everything, also what has no
    name. White space around a name, and how its accents are encoded, make no difference.
    """

    text: str
    kind: Kind | None = None

    def fits(self, root: Root) -> bool:
        if self.kind is not None and self.kind is not root.kind:
            return False
        if self.text == root.id or (not self.text.strip("*?") and "*" in self.text):
            return True
        if _ID_LIKE.match(self.text) and fnmatchcase(root.id, self.text):
            return True
        text, name = _comparable(self.text), _comparable(root.name or "")
        return bool(name) and (text == name or fnmatchcase(name, text))

    def __str__(self) -> str:
        return (KINDS[self.kind].selector if self.kind else "") + self.text


def pattern(text: str, said: str = "") -> Pattern:
    """Read one pattern; ``said`` is how the user wrote it, if otherwise. Raises UsageFault for one that is only a
    prefix."""
    if text in SELECTORS:
        raise UsageFault(f"can't select {said or repr(text)}: an id or a GLOB must follow the colon")
    head, colon, rest = text.partition(":")
    kind = SELECTORS.get(head + colon)
    return Pattern(text=rest, kind=kind) if kind else Pattern(text=text)


def choose(
    default: Iterable[Root], selection: Selection, *, others: Iterable[Root] = (), where: str = "the bundle"
) -> list[Root]:
    """The chosen roots, in their order.

    ``default`` are the roots where nothing is asked for; ``others`` can be asked for too, by a pattern with their kind
    before it. Raises UsageFault for every ``--only`` that fits nothing, and where nothing at all is left of something.
    """
    roots, only, exclude = list(default), [*map(pattern, selection.only)], [*map(pattern, selection.exclude)]
    chosen = _asked_for(only, roots, list(others), where, selection.said) if only else roots
    left = [root for root in chosen if not _fits_any(exclude, root)]
    if chosen and not left:
        raise NothingThere(f"nothing selected: --exclude removes all {len(chosen)} selected objects of {where}")
    return left


def _asked_for(
    only: list[Pattern], roots: list[Root], others: list[Root], where: str, said: Mapping[str, str]
) -> list[Root]:
    mistakes = Mistakes()
    for wanted in only:
        if not any(map(wanted.fits, [*roots, *others] if wanted.kind else roots)):
            mistakes.add(_nothing_fits(wanted, roots, others, where, said.get(str(wanted))))
    mistakes.raise_all()
    chosen = [root for root in roots if _fits_any(only, root)]
    # A store that is a root by itself is among the others, too.
    taken = {(root.kind, root.id) for root in chosen}
    by_kind = [wanted for wanted in only if wanted.kind]
    return chosen + [root for root in others if (root.kind, root.id) not in taken and _fits_any(by_kind, root)]


def _fits_any(patterns: list[Pattern], root: Root) -> bool:
    return any(wanted.fits(root) for wanted in patterns)


def _nothing_fits(wanted: Pattern, roots: list[Root], more: list[Root], where: str, said: str | None) -> NothingThere:
    kinds = [wanted.kind] if wanted.kind else list(dict.fromkeys(root.kind for root in roots))
    what = " or ".join(map(noun, kinds)) or noun(Kind.ASSISTANT)
    if wanted.text == "*":
        return NothingThere(f"can't select {said or f'--only {wanted}'}: {where} has no {what}")
    hint = (
        "`holdall inspect BUNDLE` lists the contents; quote a GLOB"
        if where == "the bundle"
        else "names must match in full; * and ? are wildcards; quote a GLOB"
    )
    named = {_comparable(root.name).lower(): root.name for root in (*roots, *more) if root.name and root.kind in kinds}
    import difflib  # only for a hint

    near = difflib.get_close_matches(_comparable(wanted.text).lower(), named, n=1, cutoff=0.8)
    if near:
        hint = f"did you mean {named[near[0]]!r}? Case matters; {hint}"
    if not wanted.kind:
        hint += "; to select a vector store or file, write store:… or file:…"
    return NothingThere(
        f"can't select {said or f'--only {wanted}'}: no {what} in {where} has that id or name", hint=hint
    )


def _comparable(text: str) -> str:
    """A name as patterns are compared with it."""
    return normalized("NFC", text).strip()
