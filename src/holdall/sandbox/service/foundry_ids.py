"""Ids of files as Azure takes them: by their beginning, and only of files that are the project's own."""

from __future__ import annotations

from collections.abc import Sequence

from holdall.sandbox.service.api_errors import ApiError, invalid
from holdall.sandbox.service.service import ApiSurface, Call
from holdall.sandbox.service.switches import Variation


def check_file_ids(call: Call, ids: Sequence[str], where: str) -> None:
    """Refuse the id of a file of another purpose, which begins otherwise; ``where`` is the place in the body.

    Only what Foundry calls new does this.
    """
    if call.surface is not ApiSurface.CURRENT or Variation.ID_ASSISTANT not in call.service.behaviour.oddities:
        return
    for id_ in ids:
        if not id_.startswith("assistant"):
            raise invalid(f"Invalid '{where}': '{id_}'. Expected an ID that begins with 'assistant'.", where)


def not_owned(ids: Sequence[str]) -> ApiError:
    """400 for files that aren't there, or are another's: nobody learns which."""
    return invalid(f"Files [{', '.join(ids)}] were not found due to ownership verification failure", None)
