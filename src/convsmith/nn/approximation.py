"""How much of a convolution a factored weight keeps, by what its patches vary in."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

__all__ = ["decomposition_errors", "lost_shares"]


def decomposition_errors(conv: _ConvNd, covariance: Tensor | None = None) -> list[float]:
    """The share of the response's variance that is lost with 1, 2, … kernels per channel.

    Per input channel i with patches of covariance C_i, the response M_i·x has the variance
    |M_i C_i^{1/2}|², and the best T kernels keep its T largest singular values; channels are taken
    as uncorrelated, and white without `covariance`. The last entry, at full rank, is 0.

    >>> conv = torch.nn.Conv2d(4, 2, 3)
    >>> errors = decomposition_errors(conv, torch.eye(9).expand(4, 9, 9).double())
    >>> len(errors), 0 < errors[0] < 1, round(errors[1], 9)
    (2, True, 0.0)
    """
    matrices = _grouped(conv).transpose(1, 2).flatten(0, 1)  # input channels, outputs, taps
    if covariance is not None:
        values, vectors = torch.linalg.eigh(covariance)
        matrices = matrices @ (vectors * values.clamp_min(0).sqrt()[:, None, :])
    energies = torch.linalg.svdvals(matrices).square().sum(0)
    total = float(energies.sum())
    kept = energies.cumsum(0) / total if total > 0 else torch.ones_like(energies)
    return [max(0.0, 1 - share) for share in kept.tolist()]


def lost_shares(
    conv: _ConvNd, approximations: Sequence[Tensor], covariance: Tensor | None = None
) -> list[float]:
    """The share of the response's variance that is lost with other weights in its place.

    Channels are taken as uncorrelated, their patches as having these covariances (in_channels,
    taps, taps), or as white. Weights are (groups, out/groups, in/groups, *kernel).
    """
    weight = _grouped(conv)
    total = float(_energy(weight, covariance).sum())
    lost = [float(_energy(weight - near.flatten(3), covariance).sum()) for near in approximations]
    return [max(0.0, value / total) if total > 0 else 0.0 for value in lost]


def _energy(weight: Tensor, covariance: Tensor | None) -> Tensor:
    if covariance is None:
        return weight.square()
    g, _, m, taps = weight.shape
    blocks = covariance.cpu().double().reshape(g, m, taps, taps)
    return (weight.transpose(1, 2) @ blocks) * weight.transpose(1, 2)


def _grouped(conv: _ConvNd) -> Tensor:
    weight = conv.weight.detach().double().cpu().flatten(2)
    weight = weight.reshape(conv.groups, -1, weight.shape[1], prod(conv.kernel_size))
    return weight.transpose(1, 2) if conv.transposed else weight
