"""Chromium, for tests of what runs in a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 180_000  # on a busy computer


@contextmanager
def chromium(*switches: str) -> Iterator[Any]:
    """A browser of Playwright's, with further switches."""
    from playwright.sync_api import sync_playwright

    if not CHROMIUM.is_file():
        pytest.skip(f"{CHROMIUM} is not installed")  # .ci/run installs it
    with sync_playwright() as running:
        opened = running.chromium.launch(timeout=PATIENCE_MS, executable_path=str(CHROMIUM), args=[*SWITCHES, *switches])
        yield opened
        opened.close()


def wait(page: Any, condition: str) -> None:
    """Until it holds in the page, whose policy forbids what Playwright's own waiting does."""
    late = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < late, condition
        page.wait_for_timeout(100)
