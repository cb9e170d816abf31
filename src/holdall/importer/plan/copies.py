"""What becomes of one assistant, once what it refers to is there: the last step of its unit. Pure.

In the form of the Assistants API it is created, made equal or used as it is; in that of the Responses API it is written
down as a request, unless that is there already.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdall.dialects import assistants, responses
from holdall.dialects.forms import Form
from holdall.dialects.loss import Loss, Why
from holdall.importer.plan.choices import Choices
from holdall.importer.plan.difference import top_fields
from holdall.importer.plan.presence import Found, Presence
from holdall.importer.plan.references import References
from holdall.importer.plan.requests import paths
from holdall.importer.plan.steps import Adopt, By, CreateAssistant, OnConflict, Step, UpdateAssistant, WriteRequest
from holdall.model import AssistantView, Kind, Record, SourceId, TargetId
from holdall.selection import Root

__all__ = ["Copies", "mapped"]


class Copies:
    """The steps of one planning; ``records`` are all assistants of the bundle, chosen or not."""

    def __init__(self, records: list[Record], prefix: str, choices: Choices, presence: Presence) -> None:
        self._records = {record.id: record for record in records}
        self._prefix, self._choices, self._presence = prefix, choices, presence
        self._paths = paths(records, prefix) if choices.form is Form.RESPONSES else {}

    def step(self, root: Root, view: AssistantView, refers: References) -> Step:
        """What is to be done about the assistant itself."""
        written = self._presence.requests.get(root.id)
        if self._choices.form is Form.RESPONSES:
            if written and written.equal:
                return _adopt(root, written.path, By.WRITTEN, refers)
            return self._write(root, view, refers, beside=written.path if written and written.beside else None)
        found = self._presence.assistants.get(root.id)
        if found and not found.differences:
            return _adopt(root, found.target, found.by, refers)
        return self._make(root, view, refers, found)

    def impossible(self, view: AssistantView) -> str:
        """Why there can't be a copy; empty where there can be one."""
        source = SourceId(view.id)
        found, written = self._presence.assistants.get(source), self._presence.requests.get(source)
        if found and not any(difference.field == "model" for difference in found.differences):
            return ""
        if written and written.equal:
            return ""
        if view.model is not None and view.model in self._choices.missing:
            return f"its model {self._choices.missing[view.model]}"
        return "" if view.model else "it names no model, and has to"

    def _make(self, root: Root, view: AssistantView, refers: References, found: Found | None) -> Step:
        """Create the assistant, or make the one that is there equal."""
        new = self._choices.models.rule(view.model)
        # The dialect is asked with the source's own ids: what it loses doesn't depend on what the ids become.
        request = assistants.assistant(
            self._records[root.id],
            prefix=self._prefix,
            operation="",
            stores={id: TargetId(id) for id in refers.stores},
            files={id: TargetId(id) for id in refers.files},
            model=new,
            table=self._choices.table,
        )
        losses = [*request.losses, *mapped(root, view.model, new)]
        if found is None:
            return CreateAssistant(
                id=root.id,
                name=root.name,
                model=new or view.model,
                stores=refers.stores,
                files=refers.files,
                losses=losses,
            )
        return UpdateAssistant(
            id=root.id,
            target=found.target,
            name=root.name,
            model=new or view.model,
            fields=top_fields(found.differences),
            differences=found.differences,
            stores=refers.stores,
            files=refers.files,
            losses=losses,
        )

    def _write(self, root: Root, view: AssistantView, refers: References, *, beside: str | None) -> Step:
        new = self._choices.models.rule(view.model)
        draft = responses.assistant(
            self._records[root.id],
            prefix=self._prefix,
            stores={id: TargetId(id) for id in refers.stores},
            files={id: TargetId(id) for id in refers.files},
            model=new,
        )
        return WriteRequest(
            id=root.id,
            name=root.name,
            model=new or view.model,
            path=self._paths[root.id],
            beside=beside,
            replace=self._choices.on_conflict is not OnConflict.DUPLICATE,
            stores=refers.stores,
            files=refers.files,
            losses=[*draft.losses, *mapped(root, view.model, new)],
        )


def _adopt(root: Root, target: TargetId, by: By, refers: References) -> Adopt:
    return Adopt(
        kind=Kind.ASSISTANT,
        id=root.id,
        target=target,
        name=root.name,
        by=by,
        stores=refers.stores,
        files=refers.files,
    )


def mapped(root: Root, model: str | None, new: str | None) -> Iterable[Loss]:
    """What is to be said of a root whose ``model`` gives way to a ``new`` one."""
    if new is not None and new != model:
        text = f"{model} in the bundle, {new} in the copy (--map-model)"
        yield Loss(why=Why.MODEL_MAPPED, kind=root.kind, id=root.id, name=root.name, field="model", text=text)
