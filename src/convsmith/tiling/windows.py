"""The usual sliding window: where windows lie, what they weigh, and what they take.

It is not the whole image's result: each window is padded at its own border. A network trained on
padded patches may do better so. Windows, weights and order are those of MONAI's
`sliding_window_inference`, but only the windows that a unit touches are run for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod

import torch
from torch import Tensor

from convsmith.errors import ArgumentError
from convsmith.tiling.budget import middle_peak, output_size
from convsmith.tiling.spans import Span
from convsmith.tiling.survey import Survey

__all__ = [
    "BLENDS", "blended_size", "importance", "ratios", "starts", "touching", "unit_lengths",
    "window_peak", "windows_run",
]  # fmt: skip

BLENDS = ("gaussian", "constant")

_SIGMA = 0.125
"""Standard deviation of the Gaussian, as a share of a window: MONAI's and nnU-Net's value."""

_LEAST = 1e-3
"""The least weight of a position, so that corners are not divided by nothing: MONAI's value."""

_UNIT_WINDOWS = 64
"""A unit is at most so many windows large: its border windows run for both sides, but a kill loses
all of it."""

_COPIES = 4
"""A strip is held as a sum, as the sum that follows it, blended, and reduced."""


def starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along an axis: evenly spaced, the last one moved back to the end.

    >>> starts(10, 4, 0.25)
    [0, 3, 6]
    """
    if length <= window:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    count = -(-(length - window) // step) + 1
    return [min(i * step, length - window) for i in range(count)]


def importance(window: Sequence[int], blend: str) -> Tensor:
    """The weight of each position of a window."""
    if blend == "constant":
        return torch.ones(tuple(window))
    weights = torch.ones(())
    for length in window:
        at = torch.arange(-(length - 1) / 2, (length - 1) / 2 + 1, dtype=torch.float32)
        weights = weights.unsqueeze(-1) * torch.exp(at**2 / (-2 * (length * _SIGMA) ** 2))
    return weights.clamp(min=max(float(weights.min()), _LEAST))


def ratios(survey: Survey) -> tuple[Fraction, ...]:
    """How much longer the output of a window is, along each axis.

    Raises:
        ArgumentError: for an output that lacks an axis of the image.
    """
    window, shape = survey.image.shape[2:], survey.result.shape
    if len(shape) != len(window) + 2:
        raise ArgumentError(
            f"windows need an output with batch, channels and {len(window)} axes; "
            f"that of {survey.network.name} has shape {shape}"
        )
    return tuple(Fraction(after, n) for after, n in zip(shape[2:], window, strict=True))


def blended_size(survey: Survey, overlap: float, size: Sequence[int]) -> tuple[int, ...]:
    """The lengths of the output for an image of a size.

    Raises:
        ArgumentError: where windows do not fall on whole positions of the output.
    """
    lengths = []
    for length, window, ratio in zip(size, survey.image.shape[2:], ratios(survey), strict=True):
        places = [s * ratio for s in (*starts(length, window, overlap), length)]
        if any(place.denominator != 1 for place in places):
            raise ArgumentError(
                f"windows of {window} on {length} positions do not fall on whole positions "
                f"of an output that is {ratio} as long: choose tile and overlap to fit"
            )
        lengths.append(int(length * ratio))
    return tuple(lengths)


def touching(length: int, window: int, overlap: float, ratio: Fraction, span: Span) -> list[int]:
    """Where the windows begin that touch a span of the output.

    >>> touching(100, 32, 0.5, Fraction(2), (100, 128))
    [32, 48]
    """
    first, stop = span
    return [
        start
        for start in starts(length, window, overlap)
        if start * ratio < stop and (start + window) * ratio > first
    ]


def windows_run(survey: Survey, overlap: float, size: Sequence[int], unit: Sequence[int]) -> int:
    """How many windows are run for all units: those at a border for both sides."""
    total = 1
    for length, window, ratio, by in zip(
        size, survey.image.shape[2:], ratios(survey), unit, strict=True
    ):
        end = int(length * ratio)
        margin = int(max(0, window - length) // 2 * ratio)
        spans = [(at + margin, min(at + by, end) + margin) for at in range(0, end, by)]
        total *= sum(len(touching(length, window, overlap, ratio, span)) for span in spans)
    return total


def unit_lengths(
    survey: Survey, size: Sequence[int], memory: int, bytes_kept: int
) -> tuple[int, ...]:
    """The lengths of a unit: as many windows as fit the memory, alike along all axes.

    Args:
        survey: of the network at the size of a window.
        size: the lengths of the blended output.
        memory: bytes for a window, the strip that is blended, and the unit.
        bytes_kept: of a position of the reduced result.
    """
    window = output_size(survey)
    most = round(_UNIT_WINDOWS ** (1 / len(window)))
    for count in range(most, 0, -1):
        lengths = tuple(min(n, count * w) for n, w in zip(size, window, strict=True))
        if count == 1 or window_peak(survey, lengths, bytes_kept) <= memory:
            break
    return lengths


def window_peak(survey: Survey, unit: Sequence[int], bytes_kept: int) -> int:
    """The bytes of tensors alive while a unit is computed: strips are as high as a window."""
    window, kind = output_size(survey), survey.result.results[0]
    strip = min(window[0], unit[0]) * prod(unit[1:]) * (survey.result.shape[1] + 1)
    return (
        middle_peak(survey, window)
        + _COPIES * strip * kind.itemsize
        + 2 * prod(unit) * bytes_kept  # once more in the order of the target
    )
