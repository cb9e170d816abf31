"""Whether a file at a destination is one of the bundle's, by what its record says."""

from __future__ import annotations

from holdall.importer.plan.bundle_summary import Content
from holdall.model import Fidelity, FileView, epoch_seconds


def is_same_file(view: FileView, content: Content) -> bool:
    """Whether a file with the bundle's own id is that very file."""
    # The id alone says nothing: look-alikes number their files from 1.
    made = epoch_seconds(view.created_at)
    return bool(made) and made == content.created_at and view.filename == content.filename


def fits(view: FileView | None, content: Content) -> bool:
    return bool(view and view.filename in content.copy_names() and sized(view, content))


def sized(view: FileView, content: Content) -> bool:
    """Whether the sizes agree. The size of a text that is joined of parts isn't known before."""
    return content.fidelity is Fidelity.TEXT or view.bytes is None or view.bytes == content.stored
