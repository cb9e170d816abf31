"""What becomes of an assistant at a destination: one word for each dialect there is."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Form"]


class Form(StrEnum):
    """The dialects that a destination can be asked in."""

    ASSISTANTS = "assistants"
    """An assistant of the Assistants API, which the server keeps."""
    RESPONSES = "responses"
    """A request for the Responses API, which is written down: no server keeps it."""
