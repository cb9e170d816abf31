"""What the tables of limits are written in: one kind of rule for each kind of value that an API takes. Values only.

``mending`` reads them. A rule says what is taken; what becomes of anything else is the same everywhere: it is written
as the API wants it where that says the same, cut where it is too long, and left out where nothing else is possible.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = [
    "Anything",
    "Choice",
    "Each",
    "Flag",
    "Format",
    "Free",
    "Function",
    "Members",
    "Number",
    "Pairs",
    "Rule",
    "Tagged",
    "Text",
    "Tools",
]


class Anything(msgspec.Struct, frozen=True):
    """Whatever it is."""


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``most`` characters. ``weighs``: to cut it loses a part of what the copy does."""

    most: int | None = None
    weighs: bool = False


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """From ``least`` to ``most``; a ``whole`` one has no fraction. ``scales``: a number of some larger unit, by what
    one of these is in smaller ones (86,400 for a day that may have been given in seconds). ``clamped``: the nearest
    number that is taken stands for one that isn't."""

    least: float
    most: float
    whole: bool = False
    scales: tuple[int, ...] = ()
    clamped: bool = False


class Flag(msgspec.Struct, frozen=True):
    """True or false."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of these words; ``otherwise`` is what stands for any other, if anything does."""

    words: tuple[str, ...]
    otherwise: str | None = None


class Free(msgspec.Struct, frozen=True):
    """An object of the owner's own."""


class Pairs(msgspec.Struct, frozen=True, kw_only=True):
    """The owner's own keys: how many, and how long they and their values are. ``scalars``: numbers, true and false
    stay what they are; else all values are texts."""

    keys: int = 16
    key: int = 64
    value: int = 512
    scalars: bool = False


class Members(msgspec.Struct, frozen=True, kw_only=True):
    """An object of the API's making. ``defaults`` go where one of its members has to be there and isn't; what lacks one
    of ``needs`` is of no use."""

    members: Mapping[str, Rule]
    defaults: Mapping[str, Any] = {}
    needs: tuple[str, ...] = ()


class Each(msgspec.Struct, frozen=True):
    """A list of these."""

    rule: Rule


class Tagged(msgspec.Struct, frozen=True, kw_only=True):
    """An object whose ``type`` says which of the ``kinds`` it is."""

    kinds: Mapping[str, Members]


class Format(msgspec.Struct, frozen=True):
    """An assistant's response format: ``auto``, ``{type}``, or ``{type, json_schema: {name, schema, …}}``."""


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A function tool. ``nested``: what it is stands in ``function``, not in the tool itself. ``complete``: its
    parameters have to be there, and so have its other members in ``defaults``."""

    nested: bool = True
    complete: bool = False
    description: Text = Text()
    more: Mapping[str, Rule] = {}
    defaults: Mapping[str, Any] = {}


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """A list of tools of these ``kinds``, at most ``most``, and of some only one. ``others``: those of other types are
    sent as they are."""

    kinds: Mapping[str, Members | Function | Anything]
    most: int | None = None
    once: tuple[str, ...] = ()
    others: bool = False


Rule = Anything | Text | Number | Flag | Choice | Free | Pairs | Members | Each | Tagged | Format | Function | Tools
