"""Fewer channels inside: 1×1, a small convolution, 1×1."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from convsmith.nn.composed import ComposedConv, grouped, is_single, part, ungrouped
from convsmith.nn.whitening import kronecker_roots

__all__ = ["TuckerConv"]

# Alternating projections settle within a few rounds from the higher-order SVD.
_ROUNDS = 3


class TuckerConv(ComposedConv, form="tucker"):
    """A 1×1 convolution to fewer channels, the spatial one on those, and a 1×1 one back.

    The Tucker-2 decomposition (Kim et al. 2016, arXiv:1511.06530): the weight is projected onto
    ``rank = (inner inputs, inner outputs)`` directions of its two channel axes, found by the
    higher-order singular value decomposition and a few rounds of alternating projections (HOOI,
    De Lathauwer et al. 2000). Ranks are those of a group. The first convolution has no bias, so
    that padding may come after it.

    With ``moments`` the error of a tap counts by the covariance of the patches, that of a channel
    by its strength: see `convsmith.nn.whitening`.

    Args and errors are those of the torch layer; ``kernel_size`` as a tuple says how many axes
    there are, ``transposed`` and ``output_padding`` make it stand for a transposed convolution.

    >>> layer = TuckerConv(64, 48, (3, 3), rank=(16, 12), padding=1)
    >>> [tuple(p.shape) for p in layer.parameters()]
    [(16, 64, 1, 1), (12, 16, 3, 3), (48, 12, 1, 1), (48,)]
    """

    _names = ("shrink", "core", "expand")

    shrink: _ConvNd
    core: _ConvNd
    expand: _ConvNd

    @classmethod
    def reason(cls, conv: _ConvNd) -> str:
        """Say why a convolution has no such form; '' if it has."""
        if is_single(conv):
            return "a group has one channel in or out: there are no channels to save"
        return ""

    @classmethod
    def full_rank(cls, conv: _ConvNd) -> tuple[int, int]:
        """Channels in and out of a group, each at most the other times the taps."""
        m, n = conv.in_channels // conv.groups, conv.out_channels // conv.groups
        taps = prod(conv.kernel_size)
        return min(m, n * taps), min(n, m * taps)

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
        """Return the three convolutions of a rank."""
        g, axes = conv.groups, range(len(conv.kernel_size))
        inner, outer = (g * r for r in rank)
        return (
            part(conv, conv.in_channels, inner, (), groups=g, device=device, dtype=dtype),
            part(conv, inner, outer, axes, groups=g, device=device, dtype=dtype),
            part(conv, outer, conv.out_channels, (), groups=g, bias=bias, device=device,
                 dtype=dtype),
        )  # fmt: skip

    @classmethod
    def factors(cls, conv: _ConvNd, rank: Any, moments: Tensor | None) -> tuple[Tensor, ...]:
        """Return the three weights."""
        shrink, core, expand = _project(conv, rank, moments)
        ones = (1,) * len(conv.kernel_size)
        core = core.reshape(*core.shape[:3], *conv.kernel_size)
        return (
            shrink.flatten(0, 1)[..., *(None for _ in ones)],
            ungrouped(core, conv.transposed),
            expand.flatten(0, 1)[..., *(None for _ in ones)],
        )


def _project(
    conv: _ConvNd, rank: tuple[int, int], moments: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(groups, R_in, in), (groups, R_out, R_in, taps) and (groups, out, R_out)."""
    weight = grouped(conv).flatten(3)
    g, _, m, _ = weight.shape
    strength, weakness, root, _ = kronecker_roots(moments, g, m, conv.kernel_size, ())
    strength, weakness = strength[..., 0], weakness[..., 0]
    scaled = weight * strength[:, None]
    weighted = scaled @ root[:, None]
    inputs = _leading(weighted.transpose(1, 2).flatten(2), rank[0])
    for _ in range(_ROUNDS):
        outputs = _leading(torch.einsum("gnmt,gmi->gnit", weighted, inputs).flatten(2), rank[1])
        inputs = _leading(torch.einsum("gnmt,gno->gmot", weighted, outputs).flatten(2), rank[0])
    core = torch.einsum("gnmt,gno,gmi->goit", scaled, outputs, inputs)
    return (inputs * weakness).mT, core, outputs


def _leading(matrix: Tensor, rank: int) -> Tensor:
    """Orthonormal columns of most energy, which span all of the matrix where they can."""
    _, rows, others = matrix.shape
    if rows > others:
        # The Gram matrix would lose the small directions among those that are not there at all.
        columns: Tensor = torch.linalg.svd(matrix, full_matrices=rank > others).U
    else:
        columns = torch.linalg.eigh(matrix @ matrix.mT).eigenvectors.flip(2)
    return columns[:, :, :rank]
