"""The one selector: ``--only`` and ``--exclude`` with ``asst:``, ``agent:``, ``store:`` or ``file:`` before an id or a
GLOB. Pure.

A selection chooses roots. Everything that a root needs is included, whatever its name, so no copy lacks its files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import msgspec

from holdall.errors import Mistakes, NothingThere, UsageFault
from holdall.kinds import IDS, KINDS, SELECTORS, noun
from holdall.model import Kind, SourceId
from holdall.untrusted import normalized

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
