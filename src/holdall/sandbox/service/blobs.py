"""The bytes of uploaded files: a folder of blobs, each written under a passing name and then renamed."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import uuid
from pathlib import Path
from typing import BinaryIO


class Incoming:
    """A blob that is being written. Ends in ``Blobs.keep`` or in ``drop``; before the first ``write`` it is nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file: BinaryIO | None = None

    def write(self, data: bytes | bytearray) -> None:
        if self._file is None:
            self._file = self.path.open("wb")
        self._file.write(data)
        self.size += len(data)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def drop(self) -> None:
        self.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


class Blobs:
    """The folder. A name is 32 hex digits; what was made of a blob (text, a zip packed anew) is beside it."""

    def __init__(self, folder: Path) -> None:
        self._kept = folder / "blobs"
        self._incoming = folder / "incoming"
        # Whatever a killed process was receiving: no record names it.
        shutil.rmtree(self._incoming, ignore_errors=True)
        for folder in (self._incoming, self._kept):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)

    def incoming(self) -> Incoming:
        return Incoming(self._incoming / uuid.uuid4().hex)

    def keep(self, incoming: Incoming) -> str:
        """Give what was received its place, and return its name. Durable against a kill once this returns."""
        incoming.close()
        name = incoming.path.name
        target = self.path(name)
        target.parent.mkdir(exist_ok=True)
        os.replace(incoming.path, target)
        return name

    def equal(self, one: str, other: str) -> bool:
        return filecmp.cmp(self.path(one), self.path(other), shallow=False)

    def copied(self, name: str, *, more: bytes = b"") -> str:
        """A second blob with the bytes of the first, and ``more`` after them; return its name."""
        copy = self.incoming()
        if not more:
            with contextlib.suppress(OSError):  # not every file system has hard links
                os.link(self.path(name), copy.path)
                return self.keep(copy)
        shutil.copyfile(self.path(name), copy.path)
        with copy.path.open("ab") as end:
            end.write(more)
        return self.keep(copy)

    def path(self, name: str) -> Path:
        return self._kept / name[:2] / name

    def made_path(self, name: str) -> Path:
        """Where what was made of a blob is kept."""
        return self._kept / name[:2] / f"{name}.txt"

    def keep_made(self, name: str, passing: Path) -> None:
        """Give what was made of a blob, which is at ``passing``, its place."""
        os.replace(passing, self.made_path(name))

    def remove(self, name: str) -> None:
        """Take a blob away. One that is being downloaded on a system that forbids it stays, unnamed."""
        for path in (self.path(name), self.made_path(name)):
            with contextlib.suppress(OSError):
                path.unlink()
