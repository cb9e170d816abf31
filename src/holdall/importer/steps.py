"""What a plan is made of: the contents and records it speaks of, its steps, and what each of them loses.

Pure values. The steps are a tagged union: whoever carries a plan out, prints it or keeps it matches over all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.importer.text import DEFAULT_OVERLAP, is_text_name
from holdall.model import Kind, Record, Rung, SourceId

__all__ = [
    "LONE_FILES",
    "AttachFiles",
    "Cannot",
    "Catalogue",
    "Content",
    "CreateAssistant",
    "CreateStore",
    "LeaveOut",
    "Plan",
    "Step",
    "Totals",
    "Unit",
    "UploadFile",
]


LONE_FILES = SourceId("files")
"""Stands for the files that nothing refers to, where something has to have an id."""


class Content(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file as the bundle holds it.

    ``stored`` and ``size`` are bytes: in the bundle, and of the file itself if that is known. ``overlap`` is how many
    tokens the parts of its parsed text share; ``reason`` why it is unavailable.
    """

    id: SourceId
    filename: str | None = None
    purpose: str | None = None
    rung: Rung = Rung.UNAVAILABLE
    stored: int = 0
    size: int | None = None
    truncated: bool = False
    overlap: int = DEFAULT_OVERLAP
    reason: str = ""

    def copy_names(self) -> list[str]:
        """The names that a copy of the file may have been given."""
        name = self.filename or self.id
        if self.rung is not Rung.TEXT:
            return [name]
        return [name, f"{name}.txt"] if is_text_name(name) else [f"{name}.txt"]


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan needs to know of a bundle. Memberships as ids only: a store may have 100,000."""

    assistants: list[Record]
    stores: dict[SourceId, Record]
    members: Mapping[SourceId, list[SourceId]]
    files: dict[SourceId, Content]


class UploadFile(msgspec.Struct, frozen=True, kw_only=True, tag="upload_file", gc=False):
    content: Content
    purpose: str


class CreateStore(msgspec.Struct, frozen=True, kw_only=True, tag="create_store"):
    id: SourceId
    name: str | None
    losses: list[Loss] = []


class AttachFiles(msgspec.Struct, frozen=True, kw_only=True, tag="attach_files"):
    """Put ``count`` files into the store; which, and how, the bundle's memberships say."""

    store: SourceId
    count: int


class CreateAssistant(msgspec.Struct, frozen=True, kw_only=True, tag="create_assistant"):
    """``stores`` and ``files`` are the references that will be kept."""

    id: SourceId
    name: str | None
    model: str | None
    stores: list[SourceId] = []
    files: list[SourceId] = []
    losses: list[Loss] = []


class LeaveOut(msgspec.Struct, frozen=True, kw_only=True, tag="leave_out"):
    """A reference that the copy will not have."""

    loss: Loss


class Cannot(msgspec.Struct, frozen=True, kw_only=True, tag="cannot"):
    """The unit's root can't be created, and nothing of the unit will be."""

    id: SourceId
    name: str | None
    reason: str


Step = UploadFile | CreateStore | AttachFiles | CreateAssistant | LeaveOut | Cannot


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One root with what it needs and no earlier unit brings, in the order in which it is done."""

    kind: Kind
    id: SourceId
    name: str | None
    steps: list[Step]

    def losses(self) -> Iterator[Loss]:
        """What is known beforehand not to come through as it was."""
        for step in self.steps:
            match step:
                case LeaveOut(loss=loss):
                    yield loss
                case CreateStore(losses=losses) | CreateAssistant(losses=losses):
                    yield from losses
                case UploadFile(content=content, purpose=purpose):
                    yield from _upload_losses(content, purpose)


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    assistants: int = 0
    stores: int = 0
    files: int = 0
    memberships: int = 0
    bytes: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The units in order. ``chosen`` is how many roots they stand for, ``of`` how many the bundle has by itself."""

    units: list[Unit]
    prefix: str
    chosen: int
    of: int

    def losses(self) -> Iterator[Loss]:
        for unit in self.units:
            yield from unit.losses()

    def totals(self) -> Totals:
        """What would be created."""
        steps = [step for unit in self.units for step in unit.steps]
        uploads = [step for step in steps if isinstance(step, UploadFile)]
        return Totals(
            assistants=sum(isinstance(step, CreateAssistant) for step in steps),
            stores=sum(isinstance(step, CreateStore) for step in steps),
            files=len(uploads),
            memberships=sum(step.count for step in steps if isinstance(step, AttachFiles)),
            bytes=sum(step.content.stored for step in uploads),
        )


def _upload_losses(content: Content, purpose: str) -> Iterator[Loss]:
    def loss(why: Why, text: str, field: str | None = None) -> Loss:
        return Loss(why=why, kind=Kind.FILE, id=content.id, name=content.filename, field=field, text=text)

    if content.rung is Rung.TEXT:
        yield loss(Why.AS_TEXT, "its parsed text stands in for the file, whose bytes could not be exported")
        if content.truncated:
            yield loss(Why.TRUNCATED, "the parsed text could only be exported in part")
    if content.purpose is not None and purpose != content.purpose:
        yield loss(Why.PURPOSE_CHANGED, f"{content.purpose} can't be given by a client, {purpose} is used", "purpose")
