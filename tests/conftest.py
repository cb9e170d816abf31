"""What the tests of every room may use."""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx2._config import create_ssl_context

from holdall.sandbox.server import Running

# A shell that runs the suite in the background has it ignore Ctrl-C, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_TLS = ssl.create_default_context()


@pytest.fixture(autouse=True, scope="session")
def one_tls_context() -> Iterator[None]:
    """Nothing here speaks TLS, and every new client would read all the certificates of the machine."""

    def context(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        # A test that names certificates is about them.
        return create_ssl_context(*args, **kwargs) if "SSL_CERT_FILE" in os.environ else _TLS

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx2._transports.default.create_ssl_context", context)
        yield


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Running]:
    """A running sandbox with a fresh folder and an open control door; its base URL is ``box.url``."""
    with Running(tmp_path / "sandbox", control=True) as running:
        yield running
