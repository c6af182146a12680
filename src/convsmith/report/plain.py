"""Values of any library as what JSON knows: dictionaries, lists, text, numbers, null."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Return a value as JSON would give it back; what JSON has no number for is None.

    Tuples and sets become lists, keys become text, a fraction becomes an int where it is whole and
    else a float, a frozen dataclass its `to_dict()` or its fields, an array nested lists.

    Raises:
        TypeError: for anything else.

    >>> plain({"sizes": (3, 3), 1: float("nan"), "stride": Fraction(1, 2)})
    {'sizes': [3, 3], '1': None, 'stride': 0.5}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, Set)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else float(value)
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if hasattr(value, "tolist"):  # a number or array of NumPy or torch
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no place in a JSON report")
