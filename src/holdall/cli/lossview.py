"""What an import loses, as the terminal and ``--json`` show it: field by field where it is an assistant's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from holdall.cli.console import Console

if TYPE_CHECKING:
    from holdall.dialects.loss import Loss

__all__ = ["losses_of", "show", "told"]

# How many the terminal shows; report.md, audit.jsonl and --json have them all.
_SHOWN = 20


def show(console: Console, losses: list[Loss]) -> None:
    """What weighs, and what an assistant itself loses, one by one; the rest counted by its kind."""
    heavy = [loss for loss in losses if _one_by_one(loss)]
    for loss in heavy[:_SHOWN]:
        console.warn(f"  {loss.why.severity}: {_line(loss)}")
    if len(heavy) > _SHOWN:
        console.warn(f"  … and {len(heavy) - _SHOWN} more; --dry-run shows them all")
    light = [loss for loss in losses if not _one_by_one(loss)]
    for why, count in Counter(loss.why for loss in light).items():
        first = next(loss for loss in light if loss.why is why)
        more = f" (and {count - 1} more like it)" if count > 1 else ""
        console.say(f"  {_line(first)}{more}")


def _one_by_one(loss: Loss) -> bool:
    from holdall.dialects.loss import Severity
    from holdall.model import Kind

    return loss.why.weighs or (loss.kind is Kind.ASSISTANT and loss.why.severity is Severity.MINOR)


def losses_of(losses: Iterable[Loss]) -> list[dict[str, Any]]:
    """Losses for ``--json``."""
    return [{"severity": loss.why.severity.value, **msgspec.to_builtins(loss)} for loss in losses]


def told(losses: list[Loss]) -> list[str]:
    """What an assistant loses, field by field."""
    return [f"    {loss.why.severity}: {f'{loss.field}: ' if loss.field else ''}{loss.text}" for loss in losses]


def _line(value: object) -> str:
    """On one line, whatever the names in it hold."""
    return " ".join(str(value).splitlines())
