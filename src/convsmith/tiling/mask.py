"""Masks: which positions are asked for. What no tile asks for is neither read nor written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.errors import ArgumentError
from convsmith.tiling.spans import Span

__all__ = ["Mask"]


class Mask:
    """An array of truth values, of the output's size or any coarser one.

    Position o of the output is asked for where the mask is true at the place that o's centre falls
    on when the mask is stretched over the output.
    """

    def __init__(self, array: Any, size: Sequence[int]) -> None:
        if not hasattr(array, "shape") or not hasattr(array, "dtype"):
            raise ArgumentError(f"where= takes an array, not {array!r:.60}")
        if getattr(array.dtype, "kind", "b") not in "buif":
            raise ArgumentError(f"the mask holds {array.dtype}, not numbers: it is 0 where nothing "
                                "is asked")  # fmt: skip
        if len(array.shape) != len(size):
            raise ArgumentError(
                f"the mask has shape {tuple(array.shape)}, but the output has {len(size)} axes"
            )
        if min(array.shape) < 1:
            raise ArgumentError(f"the mask is empty: shape {tuple(array.shape)}")
        self.array, self.size = array, tuple(size)

    def at(self, spans: Sequence[Span]) -> NDArray[np.bool_]:
        """The truth values at a part of the output."""
        places = [
            ((2 * np.arange(*span) + 1) * length) // (2 * total)
            for span, length, total in zip(spans, self.array.shape, self.size, strict=True)
        ]
        part = np.asarray(
            self.array[tuple(slice(int(p[0]), int(p[-1]) + 1) for p in places)]
        ).astype(bool)
        return part[np.ix_(*(p - p[0] for p in places))]

    @staticmethod
    def bounds(part: NDArray[np.bool_], spans: Sequence[Span]) -> tuple[Span, ...] | None:
        """The smallest spans that hold all that is asked for; None where nothing is."""
        if not part.any():
            return None
        bounds = []
        for axis, (start, _) in enumerate(spans):
            others = tuple(a for a in range(part.ndim) if a != axis)
            places = np.flatnonzero(part.any(others))
            bounds.append((start + int(places[0]), start + int(places[-1]) + 1))
        return tuple(bounds)
