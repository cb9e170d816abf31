"""The models that an account has, each with the day on which it shuts down, as far as its server says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

import msgspec

__all__ = ["day", "read", "shutdown"]


class _Model(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    shutdown_date: str | int | float | None = None


class _Deployment(msgspec.Struct, frozen=True, kw_only=True):
    name: str


class _Models(msgspec.Struct, frozen=True, kw_only=True):
    data: list[_Model] = []
    value: list[_Deployment] = []


def read(raw: bytes) -> Mapping[str, date | None]:
    """The answer of ``GET /models``, or of Azure's ``GET /deployments``. Raises msgspec.DecodeError."""
    found = msgspec.json.decode(raw, type=_Models)
    models = {model.id: shutdown(model.shutdown_date) for model in found.data}
    return models | {deployment.name: None for deployment in found.value}


def day(now: float) -> date:
    """The day, UTC, of a time in Unix seconds."""
    return datetime.fromtimestamp(now, UTC).date()


def shutdown(value: object) -> date | None:
    """A model's ``shutdown_date``: a date, a time or Unix seconds; None for none, and for what can't be read."""
    try:
        if isinstance(value, str):
            return date.fromisoformat(value[:10])
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return day(value)
    except (ValueError, OverflowError, OSError):
        pass
    return None
