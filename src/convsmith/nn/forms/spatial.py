"""Spatially separable convolutions: some axes first, then the others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from convsmith.nn.composed import ComposedConv, grouped, part, ungrouped
from convsmith.nn.factorise import balance
from convsmith.nn.whitening import kronecker_roots
from convsmith.text import times

__all__ = ["SpatiallySeparableConv"]


class SpatiallySeparableConv(ComposedConv, form="spatial"):
    """A convolution along some axes, then one along the others: k×1, then 1×k.

    With the taps of the first axes beside the input channels and those of the others beside the
    outputs, the weight is one matrix; ``rank`` maps between the two convolutions give it that rank
    (Jaderberg et al. 2014, arXiv:1405.3866, scheme 2). Each convolution has the stride, padding
    and dilation of its own axes. Of all splits of the axes the one with the fewest multiply-adds
    is taken: the stride comes first where that saves most. In three dimensions it is one axis
    against two, which share one convolution.

    With ``moments`` the errors count by the covariance of the patches: see
    `convsmith.nn.whitening`. The rank is that of a group.

    Args and errors are those of the torch layer; ``kernel_size`` as a tuple says how many axes
    there are, ``transposed`` and ``output_padding`` make it stand for a transposed convolution.

    >>> SpatiallySeparableConv(16, 8, (3, 5), rank=6, stride=(1, 2), padding=(1, 2))
    SpatiallySeparableConv(
      16, 8, kernel_size=(3, 5), rank=6, stride=(1, 2), padding=(1, 2)
      (first): Conv2d(16, 6, kernel_size=(1, 5), stride=(1, 2), padding=(0, 2), bias=False)
      (second): Conv2d(6, 8, kernel_size=(3, 1), stride=(1, 1), padding=(1, 0))
    )
    """

    _names = ("first", "second")

    first: _ConvNd
    second: _ConvNd

    @classmethod
    def reason(cls, conv: _ConvNd) -> str:
        """Say why a convolution has no such form; '' if it has."""
        if sum(k > 1 for k in conv.kernel_size) < 2:
            return f"a kernel of {times(conv.kernel_size)} has no two axes to separate"
        if conv.in_channels == conv.groups == conv.out_channels:
            return "depthwise already"
        return ""

    @classmethod
    def full_rank(cls, conv: _ConvNd) -> int:
        """The lesser of in_channels/groups · taps first and out_channels/groups · taps last."""
        axes = _axes_first(conv)
        first = prod(conv.kernel_size[axis] for axis in axes)
        rest = prod(conv.kernel_size) // first
        return min(conv.in_channels * first, conv.out_channels * rest) // conv.groups

    @classmethod
    def parts(
        cls,
        conv: _ConvNd,
        rank: Any,
        *,
        bias: bool = False,
        device: torch.device | str | int | None = "meta",
        dtype: torch.dtype | None = None,
    ) -> tuple[_ConvNd, ...]:
        """Return both convolutions of a rank."""
        axes = _axes_first(conv)
        rest = [axis for axis in range(len(conv.kernel_size)) if axis not in axes]
        g, m, n = conv.groups, conv.in_channels, conv.out_channels
        return (
            part(conv, m, rank * g, axes, groups=g, device=device, dtype=dtype),
            part(conv, rank * g, n, rest, groups=g, bias=bias, device=device, dtype=dtype),
        )

    @classmethod
    def factors(cls, conv: _ConvNd, rank: Any, moments: Tensor | None) -> tuple[Tensor, ...]:
        """Return both weights."""
        left, right = _split(conv, moments)
        g, n, m = conv.groups, conv.out_channels // conv.groups, conv.in_channels // conv.groups
        axes = _axes_first(conv)
        kernel = [k if axis in axes else 1 for axis, k in enumerate(conv.kernel_size)]
        others = [1 if axis in axes else k for axis, k in enumerate(conv.kernel_size)]
        first = left[:, :, :rank].mT.reshape(g, rank, m, *kernel)
        second = right[:, :rank].reshape(g, rank, n, *others).transpose(1, 2)
        return ungrouped(first, conv.transposed), ungrouped(second, conv.transposed)

    @classmethod
    def products(cls, conv: _ConvNd, ranks: Sequence[Any], moments: Tensor | None) -> list[Tensor]:
        """Return the weight each rank amounts to, as `grouped` lays it out, in float64."""
        left, right = _split(conv, moments)
        return [_folded(conv, left[:, :, :r] @ right[:, :r]) for r in ranks]


def _axes_first(conv: _ConvNd) -> tuple[int, ...]:
    """The axes to begin with: the fewest multiply-adds per place for each map in between."""
    dims = len(conv.kernel_size)
    splits = [
        axes for count in range(1, dims) for axes in combinations(range(dims), count)
        if 1 < prod(conv.kernel_size[a] for a in axes) < prod(conv.kernel_size)
    ]  # fmt: skip
    return min(splits, key=lambda axes: _cost(conv, axes))


def _cost(conv: _ConvNd, axes: Sequence[int]) -> float:
    """Multiply-adds per map between the two, in units of the smaller of input and output maps."""
    first = conv.in_channels * prod(conv.kernel_size[axis] for axis in axes)
    rest = conv.out_channels * prod(conv.kernel_size) // prod(conv.kernel_size[a] for a in axes)
    before = prod(conv.stride[axis] for axis in axes)
    after = prod(conv.stride) // before
    # A transposed convolution is paid at the places of its input, any other at those of its output.
    return first + before * rest if conv.transposed else after * first + rest


def _split(conv: _ConvNd, moments: Tensor | None) -> tuple[Tensor, Tensor]:
    """Columns over (input channels, first taps), rows over (outputs, other taps), largest first.

    The product is the weight projected onto leading directions of its smaller side, so it is exact
    at full rank however close to singular the weighting is.
    """
    weight = grouped(conv)
    g, n, m = weight.shape[:3]
    axes = _axes_first(conv)
    rest = [axis for axis in range(len(conv.kernel_size)) if axis not in axes]
    order = (0, 2, *(3 + a for a in axes), 1, *(3 + a for a in rest))
    matrix = weight.permute(order).reshape(g, m * prod(conv.kernel_size[a] for a in axes), -1)
    a, a_inverse, b, b_inverse = kronecker_roots(moments, g, m, conv.kernel_size, axes)

    def on_left(roots: Tensor, values: Tensor) -> Tensor:
        weighted: Tensor = roots @ values.reshape(g, m, -1, values.shape[2])
        return weighted.flatten(1, 2)

    def on_right(values: Tensor, roots: Tensor) -> Tensor:
        weighted: Tensor = values.reshape(g, values.shape[1], n, -1) @ roots[:, None]
        return weighted.flatten(2, 3)

    weighted = on_right(on_left(a, matrix), b)
    if matrix.shape[1] <= matrix.shape[2]:
        basis = torch.linalg.eigh(weighted @ weighted.mT).eigenvectors.flip(2)
        left, right = on_left(a_inverse, basis), basis.mT @ on_left(a, matrix)
    else:
        basis = torch.linalg.eigh(weighted.mT @ weighted).eigenvectors.flip(2)
        left, right = on_right(matrix, b) @ basis, on_right(basis.mT, b_inverse)
    return balance(left, right)


def _folded(conv: _ConvNd, matrix: Tensor) -> Tensor:
    """Undo the permutation of `_split`."""
    axes = _axes_first(conv)
    dims = len(conv.kernel_size)
    rest = [axis for axis in range(dims) if axis not in axes]
    g, n, m = conv.groups, conv.out_channels // conv.groups, conv.in_channels // conv.groups
    kernel = conv.kernel_size
    shape = (g, m, *(kernel[a] for a in axes), n, *(kernel[a] for a in rest))
    order = (0, 2, *(3 + a for a in axes), 1, *(3 + a for a in rest))
    inverse = [order.index(axis) for axis in range(3 + dims)]
    return matrix.reshape(shape).permute(inverse)
