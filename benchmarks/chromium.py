"""The browser that pages are measured in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from convsmith.errors import MissingExtra, ModelError

__all__ = ["FLAGS", "browser"]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def browser(path: str | None = None) -> Iterator[Any]:
    """Chromium, driven by Playwright: that of a path, or the first one found."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise MissingExtra("a browser to measure in", extra="dev", package="playwright") from None
    found = path or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        raise ModelError("no Chromium is installed: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield launched
        launched.close()
