"""The browser that live pages are tried in."""

from __future__ import annotations
