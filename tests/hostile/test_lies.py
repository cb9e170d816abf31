"""Every lie by itself: a proof finds it, and nothing that reads bundles is taken in by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.forge import forge
from tests.hostile.lies import CERTAIN, NAMED, ODD
from tests.hostile.trial import Trial


@pytest.mark.parametrize("name", CERTAIN)
def test_a_lie_is_found_and_believed_by_nobody(name: str, tmp_path: Path) -> None:
    assert Trial(tmp_path / "trial", forge(**CERTAIN[name])).run(everything=False), "the proof found nothing"


@pytest.mark.parametrize("path", NAMED)
def test_a_name_leads_nowhere(path: str, tmp_path: Path) -> None:
    """Of the three ways to give it one in each name; on demand all."""
    name, lies = NAMED[path][len(path) % 3]
    assert Trial(tmp_path / "trial", forge(**lies)).run(everything=False), name


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_crashes_nothing(name: str, tmp_path: Path) -> None:
    assert not Trial(tmp_path / "trial", forge(**ODD[name])).run(), "odd, and yet as the format says"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CERTAIN, *(name for ways in NAMED.values() for name, _ in ways)])
def test_no_command_believes_a_lie(name: str, tmp_path: Path) -> None:
    lies = CERTAIN | dict(way for ways in NAMED.values() for way in ways)
    assert Trial(tmp_path / "trial", forge(**lies[name])).run(), "the proof found nothing"
