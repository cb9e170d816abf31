"""The limits of the format: what is over one is named by a proof."""

from __future__ import annotations

from pathlib import Path

from holdall.bundle.verification import verify
from tests.hostile.forge import forge
from tests.hostile.lies import LIMITS
from tests.sweep import sweep


@sweep("name", LIMITS)
def test_what_is_over_a_limit_is_named(name: str, tmp_path: Path) -> None:
    lies, said = LIMITS[name]
    path = tmp_path / "bundle.tar.zst"
    path.write_bytes(forge(**lies))
    messages = [finding.message for finding in verify(path).findings]
    assert any(said in message for message in messages), messages
