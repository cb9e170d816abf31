"""How a plan is to be made, as far as the user has a say in it. Values only."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from holdall.bundle.layout import HoldallInfo
from holdall.dialects.registry import table
from holdall.dialects.tables import Form, Table
from holdall.importer.plan.model_check import ModelMap
from holdall.importer.plan.steps import OnConflict

__all__ = ["Choices", "table_of"]


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """How the user wants it; ``form`` is what the destination can keep, and ``limits`` its own table, if it has one.

    ``missing`` has why a model can't be used, by the bundle's name for it. ``delete``: an update also takes files out
    of a store that the bundle's store doesn't have. ``even_if_changed``: it also sets what others have changed since
    an earlier run.
    """

    form: Form = Form.ASSISTANTS
    limits: Table | None = None
    models: ModelMap = ModelMap()
    missing: Mapping[str, str] = {}
    on_conflict: OnConflict = OnConflict.STOP
    delete: bool = False
    even_if_changed: bool = False

    @property
    def table(self) -> Table:
        """What the destination takes."""
        return self.limits or table(self.form)


def table_of(form: Form, base_url: str, info: HoldallInfo) -> Table:
    """The table of the destination at ``base_url`` for what the bundle with this ``info`` has."""
    return table(form, base_url, own=info.source.base_url == base_url and not info.options.get("dump"))
