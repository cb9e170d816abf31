"""How often the bytes of a bundle are gone over when it is proved and then read: counted, not timed."""

from __future__ import annotations

import hashlib
import platform
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle import frames
from holdall.bundle.seekable import decompress
from holdall.bundle.verification import verified
from holdall.model import SourceId
from tests.bundle.packing import File, pack

SIZE = 20 << 20

# The faults of the second proof in one process: what the first one freed serves it.
_FAULTS = """
import resource, sys
from holdall.bundle.verification import verify
verify(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
verify(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A bundle of one content of 20 MiB that can't be compressed."""
    pack(tmp_path / "b.tar.zst", [File(id="file-a", data=random.Random(1).randbytes(SIZE))])
    return tmp_path / "b.tar.zst"


class Counting:
    """hashlib's sha256, and how many bytes it got."""

    def __init__(self) -> None:
        self.size, self._honest = 0, hashlib.sha256

    def __call__(self, data: bytes | memoryview = b"", made: Any = None) -> Any:
        count, found = self, made or self._honest(data)
        count.size += len(data)

        class Hash:
            def update(self, data: bytes | memoryview) -> None:
                count.size += len(data)
                found.update(data)

            def copy(self) -> Any:
                return count(made=found.copy())

            def digest(self) -> bytes:
                return bytes(found.digest())

            def hexdigest(self) -> str:
                return str(found.hexdigest())

        return Hash()


def test_seal_and_content_are_hashed_once_and_what_is_read_later_once_more(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed, decoded = Counting(), 0

    def counting(frame: bytes, size: int) -> bytes:
        nonlocal decoded
        decoded += size
        return decompress(frame, size)

    monkeypatch.setattr(hashlib, "sha256", hashed)
    monkeypatch.setattr(frames, "decompress", counting)
    monkeypatch.setitem(frames.FrameFile.__init__.__kwdefaults__, "decode", counting)
    slack = SIZE // 20
    with verified(large) as (verdict, reader):
        assert verdict.whole
        assert reader
        assert 2 * SIZE <= hashed.size <= 2 * SIZE + slack
        assert SIZE <= decoded <= SIZE + slack
        entry = reader.content(SourceId("file-a"))
        assert entry
        with reader.open(entry) as stream:
            while stream.read(1 << 20):
                pass
        assert 3 * SIZE <= hashed.size <= 3 * SIZE + slack
        assert 2 * SIZE <= decoded <= 2 * SIZE + slack
    with verified(large, keep=False) as (verdict, _):
        assert verdict.whole


def test_the_seal_is_hashed_beside_the_contents(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    threads: dict[str, set[int]] = {"seal": set(), "decoder": set()}

    def watched(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            threads[name].add(threading.get_ident())
            return work(*arguments)

        return call

    monkeypatch.setattr(frames.SealHash, "add", watched("seal", frames.SealHash.add))
    monkeypatch.setattr(frames, "decompress", watched("decoder", decompress))
    with verified(large) as (verdict, _):
        assert verdict.whole
    assert len(threads["seal"]) == 1
    assert threads["seal"].isdisjoint(threads["decoder"] | {threading.get_ident()})


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back so soon")
def test_the_memory_of_frames_is_used_again(large: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _FAULTS, str(large)], check=True, capture_output=True, text=True)
    # Without it, a page fault for nearly every page of the decoded frames.
    assert int(done.stdout) < SIZE // 4096 // 2
