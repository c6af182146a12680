"""How much of a kind is tried: most in a nightly run, less in CI, a part in `make test`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

__all__ = ["NIGHTLY", "THOROUGH", "examples", "thinned"]

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
NIGHTLY = THOROUGH and "CONVSMITH_SEED" in os.environ
"""Whether examples are new ones: then more of them are worth their time than of the same ones."""


def examples(
    thorough: int, quick: int | None = None, nightly: int | None = None, **more: Any
) -> settings:
    """Settings for tests with another number of examples than the profile's.

    Args:
        thorough: how many in a nightly run, unless that is given; three fifths of it in CI.
        quick: how many in `make test`; a quarter unless given.
        nightly: how many in a nightly run.
        more: further settings.
    """
    count = -(-thorough // 4) if quick is None else quick
    if THOROUGH:
        count = -(-3 * thorough // 5)
    if NIGHTLY:
        count = thorough if nightly is None else nightly
    return settings(max_examples=count, **more)


def thinned(cases: Iterable[Any], every: int = 3) -> list[Any]:
    """Cases for `parametrize`: each in a nightly run, of many every other in CI, fewer quickly."""
    found, cases = [], list(cases)
    for place, case in enumerate(cases):
        if place % every and place % 2 and len(cases) > _FEW and not NIGHTLY:
            continue
        values = case if isinstance(case, tuple) else (case,)
        marks = [] if place % every == 0 else [pytest.mark.slow]
        found.append(pytest.param(*values, marks=marks))
    return found


_FEW = 6
"""Cases that are kinds, rather than many of one kind."""
