"""What becomes of one assistant or agent, once what it refers to is there: the last step of its unit. Pure.

It is created, made equal or used as it is; in the form of the Responses API an assistant is
written down as a request, unless that is there already.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from holdall.dialects.loss import Loss, Why
from holdall.dialects.registry import definition
from holdall.dialects.tables import Form
from holdall.importer.plan.choices import Choices
from holdall.importer.plan.copy_references import CopyReferences
from holdall.importer.plan.difference import top_fields
from holdall.importer.plan.existing import Existing, Found
from holdall.importer.plan.requests import paths
from holdall.importer.plan.steps import CREATE, UPDATE, Adopt, BundleSummary, By, OnConflict, Step, WriteRequest
from holdall.kinds import KINDS
from holdall.model import DefinitionView, Kind, TargetId
from holdall.selection import Root

__all__ = ["DefinitionSteps"]


class DefinitionSteps:
    """The steps of one planning, for all definitions of a bundle, chosen or not."""

    def __init__(self, catalogue: BundleSummary, prefix: str, choices: Choices, presence: Existing) -> None:
        self._records = catalogue.by_id()
        self._prefix, self._choices, self._presence = prefix, choices, presence
        self._paths = paths(catalogue.assistants, prefix) if choices.form is Form.RESPONSES else {}

    def step(self, root: Root, view: DefinitionView, refers: CopyReferences) -> Step:
        """What is to be done about the definition itself."""
        if root.kind is Kind.ASSISTANT and self._choices.form is Form.RESPONSES:
            written = self._presence.requests.get(root.id)
            if written and written.equal:
                return _adopt(root, written.path, By.WRITTEN, refers)
            return self._write(root, view, refers, beside=written.path if written and written.beside else None)
        found = self._presence.whole(root.kind).get(root.id)
        if found and not found.differences:
            return _adopt(root, found.target, found.by, refers)
        return self._make(root, view, refers, found)

    def impossible(self, root: Root, view: DefinitionView) -> str:
        """Why there can't be a copy; empty where there can be one."""
        found = self._presence.whole(root.kind).get(root.id)
        if found and not any(difference.field == "model" for difference in found.differences):
            return ""
        written = self._presence.requests.get(root.id) if root.kind is Kind.ASSISTANT else None
        if written and written.equal:
            return ""
        if view.model is not None and view.model in self._choices.missing:
            return f"its model {self._choices.missing[view.model]}"
        return "it names no model, and has to" if KINDS[root.kind].needs_model and not view.model else ""

    def _make(self, root: Root, view: DefinitionView, refers: CopyReferences, found: Found | None) -> Step:
        """Create it, or make what is there equal."""
        new = self._choices.models.rule(view.model)
        # The dialect is asked with the source's own ids: what it loses doesn't depend on what the ids become.
        request = definition(
            self._records[root.kind][root.id],
            prefix=self._prefix,
            targets=refers.targets(),
            model=new,
            table=self._choices.table,
        )
        step: dict[str, Any] = {
            "id": root.id,
            "name": root.name,
            "model": new or view.model,
            "losses": [*request.losses, *_mapped(root, view.model, new)],
        }
        # Of what refers to nothing, the step has no such fields.
        if refers.stores or refers.files:
            step.update(stores=refers.stores, files=refers.files)
        if found is None:
            return CREATE[root.kind](**step)
        fields, differences = top_fields(found.differences), found.differences
        return UPDATE[root.kind](**step, target=found.target, fields=fields, differences=differences)

    def _write(self, root: Root, view: DefinitionView, refers: CopyReferences, *, beside: str | None) -> Step:
        new = self._choices.models.rule(view.model)
        draft = definition(
            self._records[root.kind][root.id],
            prefix=self._prefix,
            targets=refers.targets(),
            model=new,
            table=self._choices.table,
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
            losses=[*draft.losses, *_mapped(root, view.model, new)],
        )


def _adopt(root: Root, target: TargetId, by: By, refers: CopyReferences) -> Adopt:
    return Adopt(
        kind=root.kind,
        id=root.id,
        target=target,
        name=root.name,
        by=by,
        stores=refers.stores,
        files=refers.files,
    )


def _mapped(root: Root, model: str | None, new: str | None) -> Iterable[Loss]:
    """What is to be said of a root whose ``model`` gives way to a ``new`` one."""
    if new is not None and new != model:
        text = f"{model} in the bundle, {new} in the copy (--map-model)"
        yield Loss(why=Why.MODEL_MAPPED, kind=root.kind, id=root.id, name=root.name, field="model", text=text)
