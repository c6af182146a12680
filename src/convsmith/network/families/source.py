"""Where values come from: inputs, tensors made from nothing; and operations that nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convsmith.arithmetic import Box
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import (
    all_or_unknown,
    axes_merged,
    axes_nowhere,
    free,
    nothing,
    same_place,
    unmoved,
)
from convsmith.network.shapes import Axes, whole

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES"]


def _image_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    """Those of its layout; else all dimensions but batch and channels are axes of the image."""
    if "axes" in layer.operation.settings:
        return tuple(layer.operation.settings["axes"])
    dims = len(layer.shape)
    return (None, None, *range(dims - 2)) if dims > 2 else (None,) * dims


def _filled(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """The value that fills it, where that is computed."""
    for number in range(1, len(layer.operands)):
        yield number, whole(layer.operands[number].shape)


def _ends_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """`linspace`: both ends, which may be tensors."""
    for number, operand in enumerate(layer.operands):
        yield number, whole(operand.shape)


def _normal_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """`normal`: a mean and a deviation per value, where these are tensors; `normal_` has none."""
    if not {"mean", "std"} <= layer.operation.settings.keys():
        yield from same_place(layer, box, result, bounded)


FAMILIES = (
    Family(
        kind="input",
        about="an input of the model",
        names="",
        traits=Trait.VIEW | Trait.BY_NAME,
        cost=free,
        reads=nothing,
        axes=_image_axes,
        carry=all_or_unknown,
        step=unmoved,
    ),
    Family(
        kind="creation",
        about="a tensor from nothing: zeros, ones, arange",
        names="""arange bartlett_window blackman_window empty empty_like eye fft_fftfreq
            fft_rfftfreq fill full full_like hamming_window hann_window kaiser_window linspace
            logspace new_empty new_full new_ones new_zeros normal ones ones_like rand rand_like
            randint randn randn_like scalar_tensor uniform zero zeros zeros_like""",
        traits=Trait.VIEW,
        cost=free,
        reads=nothing,
        axes=axes_nowhere,
        carry=all_or_unknown,
        step=unmoved,
    )
    .but("fill", reads=_filled)
    .but("linspace logspace", reads=_ends_reads)
    .but("normal", reads=_normal_reads, axes=axes_merged),
    Family(
        kind="unknown",
        about="an operation without rules, kept by its name",
        names="",
        traits=Trait.BY_NAME,
        cost=None,
        reads=None,
        axes=axes_nowhere,
        carry=all_or_unknown,
        step=unmoved,
    ),
)
