"""A sum of products of one kernel, one mix of inputs and one of outputs: 1×1, depthwise, 1×1."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from convsmith.nn.composed import ComposedConv, grouped, is_single, part
from convsmith.nn.factored import Rank
from convsmith.nn.whitening import kronecker_roots

__all__ = ["CPConv"]

# Rounds of alternating least squares, and the multiply-adds they may take for one rank.
_ROUNDS, _WORK = 40, 2**30

# The pull towards where a factor is, as a share of each term's energy: without it, terms may grow
# without bound and cancel each other (Phan et al. 2020, arXiv:2008.05441). Where a group has no
# weights there is no energy either: the pull is then as small as can be divided by.
_RIDGE, _LEAST = 1e-3, 1e-200

# Ranks between the lightest and the convolution's own cost, a constant factor apart, in multiples
# of the floats that the widest vectors hold.
_STEPS, _LANES = 8, 16


class CPConv(ComposedConv, form="cp"):
    """A 1×1 convolution to ``rank`` maps, one kernel for each of these, and a 1×1 one back.

    The canonical polyadic decomposition of the weight as an array of outputs × inputs × taps: a
    sum of ``rank`` products of a vector along each (Lebedev et al. 2015, arXiv:1412.6553, with all
    axes of the kernel in one vector as in Astrid and Lee 2017, arXiv:1701.07148, because at three
    taps per axis a second depthwise convolution would cost more than it saves). No closed form is
    known: terms start as the strongest of those that `DepthwiseSeparableConv2d`, or
    `PointwiseFirstConv`, has at full rank, and are fitted by alternating least squares. The rank is
    that of a group. The first two convolutions have no bias, so that padding may come between them.

    With ``moments`` the error of a tap counts by the covariance of the patches, that of a channel
    by its strength: see `convsmith.nn.whitening`.

    Args and errors are those of the torch layer; ``kernel_size`` as a tuple says how many axes
    there are, ``transposed`` and ``output_padding`` make it stand for a transposed convolution.

    >>> layer = CPConv(64, 48, (3, 3), rank=80, padding=1)
    >>> [tuple(p.shape) for p in layer.parameters()]
    [(80, 64, 1, 1), (80, 1, 3, 3), (48, 80, 1, 1), (48,)]
    """

    _names = ("shrink", "depthwise", "expand")

    shrink: _ConvNd
    depthwise: _ConvNd
    expand: _ConvNd

    @classmethod
    def reason(cls, conv: _ConvNd) -> str:
        """Say why a convolution has no such form; '' if it has."""
        if is_single(conv):
            return "a group has one channel in or out: there are no three axes to separate"
        return "pointwise already" if conv.weight[0, 0].numel() == 1 else ""

    @classmethod
    def full_rank(cls, conv: _ConvNd) -> int:
        """The least product of two of: inputs of a group, its outputs, and taps."""
        m, n, taps = _sizes(conv)
        return min(m * n, m * taps, n * taps)

    @classmethod
    def ranks(cls, conv: _ConvNd) -> list[Rank]:
        """Return a handful of ranks up to the convolution's own cost, evenly by factors."""
        m, n, taps = _sizes(conv)
        most = min(cls.full_rank(conv), m * n * taps / (m + n + taps))
        shares = (8 ** (step / (_STEPS - 1) - 1) for step in range(_STEPS))
        return list({_whole(share * most) for share in shares})

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
        terms = g * rank
        return (
            part(conv, conv.in_channels, terms, (), groups=g, device=device, dtype=dtype),
            part(conv, terms, terms, axes, groups=terms, device=device, dtype=dtype),
            part(conv, terms, conv.out_channels, (), groups=g, bias=bias, device=device,
                 dtype=dtype),
        )  # fmt: skip

    @classmethod
    def factors(cls, conv: _ConvNd, rank: Any, moments: Tensor | None) -> tuple[Tensor, ...]:
        """Return the three weights."""
        outputs, inputs, kernels = _terms(conv, rank, moments)
        ones = (1,) * len(conv.kernel_size)
        return (
            inputs.mT.flatten(0, 1).reshape(-1, inputs.shape[1], *ones),
            kernels.mT.reshape(-1, 1, *conv.kernel_size),
            outputs.flatten(0, 1).reshape(-1, rank, *ones),
        )


def _sizes(conv: _ConvNd) -> tuple[int, int, int]:
    """Inputs and outputs of a group, and taps."""
    g = conv.groups
    return conv.in_channels // g, conv.out_channels // g, prod(conv.kernel_size)


def _whole(rank: float) -> int:
    """A whole rank; one that fills vectors, where that changes little."""
    return max(1, round(rank)) if rank < 2 * _LANES else _LANES * round(rank / _LANES)


def _terms(conv: _ConvNd, rank: int, moments: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """(groups, out, rank), (groups, in, rank) and (groups, taps, rank)."""
    weight = grouped(conv).flatten(3)
    g, n, m, taps = weight.shape
    if rank == min(m * n, m * taps, n * taps):
        return _signed(_balanced(_start(weight, rank)))  # exact, whatever counts
    strength, weakness, root, inverse = kronecker_roots(moments, g, m, conv.kernel_size, ())
    weighted = weight * strength[:, None, :, 0] @ root[:, None]
    outputs, inputs, kernels = _start(weighted, rank)
    rounds = min(_ROUNDS, max(2, _WORK // (3 * weight.numel() * rank)))
    for _ in range(rounds):
        outputs = _fitted(weighted.flatten(2), outputs, inputs, kernels)
        inputs = _fitted(weighted.transpose(1, 2).flatten(2), inputs, outputs, kernels)
        kernels = _fitted_kernels(weighted, outputs, inputs, kernels)
        outputs, inputs, kernels = _balanced((outputs, inputs, kernels))
    return _signed(_balanced((outputs, weakness[..., 0] * inputs, inverse @ kernels)))


def _start(weight: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The strongest terms of the channel by channel decomposition with the fewest in all."""
    _, n, m, taps = weight.shape
    by_input = m * min(n, taps) <= n * min(m, taps)
    matrices = weight.transpose(1, 2) if by_input else weight
    left, values, rows = torch.linalg.svd(matrices, full_matrices=False)
    channels, terms = left.shape[1], values.shape[2]
    order = values.flatten(1).argsort(dim=1, descending=True, stable=True)[:, :rank]
    one = torch.nn.functional.one_hot(order // terms, channels).to(weight).mT
    mix = (left * values[:, :, None]).transpose(2, 3).flatten(1, 2)
    picked = order[..., None]
    mix = mix.gather(1, picked.expand(-1, -1, mix.shape[2])).mT
    kernels = rows.flatten(1, 2).gather(1, picked.expand(-1, -1, taps)).mT
    return (mix, one, kernels) if by_input else (one, mix, kernels)


def _fitted(unfolded: Tensor, factor: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The factor of least error, by the weight as (groups, its rows, first · second)."""
    products = (first[:, :, None] * second[:, None]).flatten(1, 2)
    return _solved(unfolded @ products, factor, first, second)


def _fitted_kernels(weight: Tensor, outputs: Tensor, inputs: Tensor, kernels: Tensor) -> Tensor:
    """Likewise the kernels, without a product of all channels."""
    g, n, m, taps = weight.shape
    mixed = (outputs.mT @ weight.reshape(g, n, -1)).reshape(g, -1, m, taps)
    shared = (inputs.mT[:, :, None] @ mixed)[:, :, 0].mT
    return _solved(shared, kernels, outputs, inputs)


def _solved(shared: Tensor, factor: Tensor, first: Tensor, second: Tensor) -> Tensor:
    gram = (first.mT @ first) * (second.mT @ second)
    energies = gram.diagonal(dim1=1, dim2=2)
    pull = _RIDGE * energies.clamp_min(_LEAST)
    energies += pull
    solved: Tensor = torch.linalg.solve(gram, (shared + factor * pull[:, None]).mT)
    return solved.mT


def _balanced(factors: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Share the norm of each term evenly."""
    norms = torch.stack([torch.linalg.vector_norm(factor, dim=1) for factor in factors])
    share = norms.prod(0).pow(1 / 3) / norms.clamp_min(torch.finfo(norms.dtype).tiny)
    outputs, inputs, kernels = (f * s[:, None] for f, s in zip(factors, share, strict=True))
    return outputs, inputs, kernels


def _signed(factors: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Make the largest entry of each term's kernel positive."""
    outputs, inputs, kernels = factors
    largest = kernels.abs().argmax(1, keepdim=True)
    sign = torch.where(kernels.gather(1, largest) < 0, -1.0, 1.0)
    return outputs * sign, inputs, kernels * sign
