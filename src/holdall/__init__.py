"""holdall: pack OpenAI assistants and all they know into one bundle file, and replay it into any project.

``open_bundle(path)`` reads a bundle; it is the one thing that this package promises to other programs. All other
modules are private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdall.version import __version__

if TYPE_CHECKING:
    from holdall.bundle.reader import open_bundle

__all__ = ["__version__", "open_bundle"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: the command line must not open the bundle's modules to print its help.
    if name == "open_bundle":
        from holdall.bundle.reader import open_bundle

        return open_bundle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
