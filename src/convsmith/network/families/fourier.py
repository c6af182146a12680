"""Fourier transforms, of whole dimensions and of short windows."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from convsmith.arithmetic import Box
from convsmith.network.cost import Cost
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import all_or_unknown, axes_nowhere, everything, unmoved
from convsmith.network.shapes import whole

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES", "transform_flops"]

_WHY = "how a Fourier transform is computed depends on the library: counted by its prime factors"


def transform_flops(length: int) -> int:
    """Operations of one transform of complex values, in steps by the length's prime factors.

    A step by 2 is 5 per value, which makes 5·n·log₂ n where the length is a power of two. A step
    by another prime p turns each value (6) and adds p - 1 complex products to it (8 each).

    >>> transform_flops(8), transform_flops(12), transform_flops(1)
    (120, 384, 0)
    """
    steps, factor, rest = 0, 2, length
    while rest > 1:
        while rest % factor:
            factor = factor + 1 if factor * factor <= rest else rest
        steps += 5 if factor == 2 else 6 + 8 * (factor - 1)
        rest //= factor
    return length * steps


def _dims(layer: Layer) -> list[int]:
    settings, total = layer.operation.settings, len(layer.operands[0].shape)
    chosen = settings.get("dim")
    if chosen is None:
        chosen = range(total)[-len(settings.get("s") or [0] * total) :]
    return [d % total for d in ([chosen] if isinstance(chosen, int) else chosen)]


def _cost(layer: Layer) -> Cost:
    """One transform per row and dimension. A half that is real is counted like the whole."""
    before, after = layer.operands[0].shape, layer.shape
    lengths = [max(pair) for pair in zip(before, after, strict=True)]
    every = prod(lengths)
    flops = sum(every // lengths[d] * transform_flops(lengths[d]) for d in _dims(layer))
    return Cost(0, flops, "upper bound", _WHY)


def _windows_cost(layer: Layer) -> Cost:
    """`stft` and `istft`: each window is weighted, transformed, and, on the way back, added."""
    name, size = layer.operation.name, layer.operation.settings["n_fft"]
    spectrum = layer.shape if name == "stft" else layer.operands[0].shape
    # Frequencies and windows are the last two dimensions, before real and imaginary parts.
    kind = layer.results[0].dtype if name == "stft" else layer.operands[0].dtype
    *batch, _, windows = spectrum if kind.startswith("complex") else spectrum[:-1]
    weighted = 1 if name == "stft" else 3
    flops = prod(batch) * windows * (weighted * size + transform_flops(size))
    return Cost(0, flops, "upper bound", _WHY)


def _reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """The whole of each dimension that is transformed."""
    full, over = whole(layer.operands[0].shape), _dims(layer)
    yield 0, tuple(full[d] if d in over else positions for d, positions in enumerate(box))


FAMILIES = (
    Family(
        kind="fourier transform",
        about="a spectrum of whole dimensions, or of short windows",
        names="""fft_fft fft_fft2 fft_fftn fft_hfft fft_hfft2 fft_hfftn fft_ifft fft_ifft2
            fft_ifftn fft_ihfft fft_ihfft2 fft_ihfftn fft_irfft fft_irfft2 fft_irfftn fft_rfft
            fft_rfft2 fft_rfftn istft stft""",
        traits=Trait.COMPLEX,
        cost=_cost,
        reads=_reads,
        axes=axes_nowhere,
        carry=all_or_unknown,
        step=unmoved,
        bounds=lambda layer: True,  # the real part alone, say, leaves some positions out
    ).but("istft stft", cost=_windows_cost, reads=everything),
)
