"""Tables in plain text: what each parameter of a convolution does, and what one costs."""

from __future__ import annotations

from collections.abc import Sequence

from convsmith.arithmetic.convolution import Conv
from convsmith.arithmetic.normalise import Size, per_axis
from convsmith.arithmetic.transposed import ConvTranspose
from convsmith.text import times

__all__ = ["parameter_table", "summary"]

_PARAMETERS = [
    ("parameter", "values", "default", "what it does", "weights", "output"),
    ("in_channels", "m ≥ 1", "", "maps that come in; a kernel has m / groups slices", "× m", ""),
    ("out_channels", "n ≥ 1", "", "maps that come out, one kernel each", "× n", "n maps"),
    ("kernel_size", "k or (k, k)", "", "taps of the kernel per axis", "× k·k", "- (k - 1)"),
    ("stride", "s or (s, s)", "1", "step of the kernel", "", "÷ s"),
    ("padding", "p, sides, 'same', 'valid'", "0", "positions added around the map", "", "+ 2·p"),
    ("dilation", "d or (d, d)", "1", "distance between taps", "", "- d·(k - 1)"),
    ("groups", "g divides m and n", "1", "parts of the channels that never mix", "÷ g", ""),
    ("bias", "True, False", "True", "one number added an output map", "+ n", ""),
    ("padding_mode", "zeros, reflect, …", "zeros", "what the padding holds", "", ""),
    ("output_padding", "below s (transposed)", "0", "which of several sizes", "", "+ itself"),
]  # fmt: skip


def parameter_table() -> str:
    """Every parameter of a convolution: values, default, meaning, effect on weights and output.

    >>> print(parameter_table().splitlines()[3].split("  ")[0])
    kernel_size
    """
    return _aligned(_PARAMETERS)


def summary(layer: Conv | ConvTranspose, input_size: Size, batch: int = 1) -> str:
    """One convolution on one input, as a table: sizes, parameters, operations, bytes.

    >>> print(summary(Conv(3, 10, 3), 128))
    Conv(3, 10, kernel_size=3)
    input              1 × 3 × 128 × 128
    output             1 × 10 × 126 × 126
    weight             10 × 3 × 3 × 3
    parameters         280
    MACs               4,286,520
    MACs on values     4,286,520
    FLOPs              8,731,800
    bytes, at least    832,768
    separable          0.2111 of the MACs
    """
    size = per_axis("input_size", input_size, layer.dims)
    shape = (batch, layer.in_channels, *size)
    sign = " × "
    rows = [
        ("input", times(shape, sign)),
        ("output", times(layer.output_shape(shape), sign)),
        ("weight", times(layer.weight_shape, sign)),
        ("parameters", f"{layer.params:,}"),
        ("MACs", f"{layer.macs(size, batch):,}"),
        ("MACs on values", f"{layer.real_macs(size, batch):,}"),
        ("FLOPs", f"{layer.flops(size, batch):,}"),
        ("bytes, at least", f"{layer.bytes_moved(size, batch):,}"),
    ]
    if isinstance(layer, Conv):
        rows.append(("separable", f"{float(layer.cost_ratio()):.4f} of the MACs"))
    return f"{layer!r}\n{_aligned(rows, gap=4)}"


def _aligned(rows: Sequence[Sequence[str]], gap: int = 2) -> str:
    widths = [max(map(len, column)) + gap for column in zip(*rows, strict=True)]
    lines = (
        "".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
