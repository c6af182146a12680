"""Where a result lies on the image that it was computed from, and so in the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from convsmith.network.backward import at_position, periods, strides
from convsmith.network.dependence import depends_on
from convsmith.tiling.stores.source import Source
from convsmith.tiling.survey import Survey

__all__ = ["Placement", "placement"]

_PERIOD = 64
"""The most positions whose fields are averaged: an odd factor of interpolation repeats late."""


@dataclass(frozen=True)
class Placement:
    """Position o of a result lies at position `offset + step · o` of the image, along each axis.

    Attributes:
        path: of the image, whose header says where it is in the world; '' for an array.
        size: of the image as it was read: a level of a pyramid is coarser than the file says.
        step: how far the image moves when the result moves by one.
        offset: where the centre of the first position lies.
    """

    path: str
    size: tuple[int, ...]
    step: tuple[float, ...]
    offset: tuple[float, ...]

    def matrix(self) -> NDArray[np.float64]:
        """From positions of the result to those of the image: an affine map, axes in order."""
        square = np.diag([*self.step, 1.0])
        square[:-1, -1] = self.offset
        return square


def placement(survey: Survey, source: Source, size: Sequence[int], *, windowed: bool) -> Placement:
    """Where the result lies: each position at the centre of what it depends on.

    Args:
        survey: of the network.
        source: the image.
        size: the lengths of the result, which has all axes of the image.
        windowed: whether the result is made of windows, which are as long as what they give.
    """
    path = source.opener[0] if source.opener is not None else ""
    if windowed or not _centre(survey, 0):
        steps = [n / by for n, by in zip(source.size, size, strict=True)]
        return Placement(path, source.size, tuple(steps), tuple((s - 1) / 2 for s in steps))
    steps, offsets = [], []
    moves, repeats = strides(survey.network)[survey.output], periods(survey.network)[survey.output]
    for axis, (length, period) in enumerate(zip(size, repeats, strict=False)):
        block = min(period, length, _PERIOD)
        first = sum(_centre(survey, at)[axis] for at in range(block)) / block
        last = sum(_centre(survey, length - 1 - at)[axis] for at in range(block)) / block
        step = (last - first) / (length - block) if length > block else moves[axis]
        steps.append(float(step))
        offsets.append(float(first - step * Fraction(block - 1, 2)))
    return Placement(path, source.size, tuple(steps), tuple(offsets))


def _centre(survey: Survey, position: int) -> list[Fraction]:
    """The centre of what one position depends on, as if the image had no end; [] for nothing."""
    network, name = survey.network, survey.output
    box = at_position(survey.result.shape, survey.axes[name], position)
    field = depends_on(network, name, [box], local=True).inputs.get(survey.image.name)
    return [Fraction(start + stop - 1, 2) for start, stop in field.hull[2:]] if field else []
