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
from hypothesis import HealthCheck, settings

from holdall.sandbox.server import Running

# A shell that runs the suite in the background has it ignore Ctrl-C, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_TLS = ssl.create_default_context()
_CERTIFICATES = os.environ.get("SSL_CERT_FILE")

# A busy machine takes its time over an example, and over drawing one.
settings.register_profile("holdall", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("holdall")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("contract")
    group.addoption(
        "--live", action="store_true", help="ask OPENAI_LIVE_BASE_URL with OPENAI_LIVE_API_KEY what tests/contract asks"
    )
    group.addoption("--live-write", action="store_true", help="with --live: create, check and delete there, too")


def pytest_configure(config: pytest.Config) -> None:
    live, writes = config.getoption("--live"), config.getoption("--live-write")
    if writes and not live:
        raise pytest.UsageError("--live-write goes with --live")
    if live and os.environ.get("CI"):
        raise pytest.UsageError("--live asks an account of somebody's: never in CI")
    if live and not os.environ.get("OPENAI_LIVE_API_KEY"):
        raise pytest.UsageError("--live needs a key: set OPENAI_LIVE_API_KEY (and OPENAI_LIVE_BASE_URL)")


@pytest.fixture(autouse=True, scope="session")
def cheap() -> Iterator[None]:
    """Without what costs a lot and shows nothing here: certificates read for each client, and waits for the disk."""

    def context(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        # A test that names certificates is about them.
        return create_ssl_context(*args, **kwargs) if os.environ.get("SSL_CERT_FILE") != _CERTIFICATES else _TLS

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx2._transports.default.create_ssl_context", context)
        # No test turns the machine off. Processes of their own do without this, and so do the tests of full disks.
        patch.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Running]:
    """A running sandbox with a fresh folder and an open control door; its base URL is ``box.url``."""
    with Running(tmp_path / "sandbox", control=True) as running:
        yield running
