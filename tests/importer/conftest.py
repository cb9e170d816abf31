"""What the tests of the importer's rooms may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdall.sandbox.server import Running
from tests.importer.rig import KEY
from tests.project import Hand


@pytest.fixture
def hand(box: Running) -> Iterator[Hand]:
    """The project that is imported into."""
    with Hand(box.url, KEY) as opened:
        yield opened
