"""How much of a kind is tried: all of it in CI, a part in `make test`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

__all__ = ["THOROUGH", "examples", "thinned"]

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def examples(thorough: int, quick: int | None = None, **more: Any) -> settings:
    """Settings for tests with another number of examples than the profile's.

    Args:
        thorough: how many in CI.
        quick: how many in `make test`; a quarter unless given.
        more: further settings.
    """
    count = thorough if THOROUGH else -(-thorough // 4) if quick is None else quick
    return settings(max_examples=count, **more)


def thinned(cases: Iterable[Any], every: int = 3) -> list[Any]:
    """Cases for `parametrize`: each in CI, one of so many in `make test`."""
    found = []
    for place, case in enumerate(cases):
        values = case if isinstance(case, tuple) else (case,)
        marks = [] if place % every == 0 else [pytest.mark.slow]
        found.append(pytest.param(*values, marks=marks))
    return found
