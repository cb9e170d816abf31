from __future__ import annotations

from contextlib import suppress

import pytest

from holdall.untrusted import require_plain
from tests.growth import assert_linear


@pytest.mark.parametrize("unit", [rb"\"", rb'"', rb'"\\', b"[", b'["]'])
def test_how_deep_json_is_is_found_out_in_linear_time(unit: bytes) -> None:
    def looked_at(raw: bytes) -> None:
        with suppress(ValueError):
            require_plain(raw)

    assert_linear(looked_at, lambda n: b"[" * 201 + b'"' + unit * n, 50_000)
