"""The browser that live pages are tried in."""

from __future__ import annotations

from tests.chromium import chromium, open_page  # noqa: F401 (fixtures)
