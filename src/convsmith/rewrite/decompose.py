"""How much of a convolution each number of depthwise kernels a channel can keep."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

__all__ = ["decomposition_errors"]


def decomposition_errors(conv: _ConvNd, covariance: Tensor) -> list[float]:
    """The share of the response's variance that is lost with 1, 2, … kernels a channel.

    Per input channel i with patches of covariance C_i, the response M_i·x has the variance
    |M_i C_i^{1/2}|², and the best T kernels keep its T largest singular values; channels are taken
    as uncorrelated. The last entry, at full rank, is 0.

    >>> conv = torch.nn.Conv2d(4, 2, 3)
    >>> errors = decomposition_errors(conv, torch.eye(9).expand(4, 9, 9).double())
    >>> len(errors), 0 < errors[0] < 1, round(errors[1], 9)
    (2, True, 0.0)
    """
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt()[:, None, :]
    groups = conv.groups
    weight = conv.weight.detach().double().cpu()
    matrices = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    matrices = matrices.transpose(1, 2).flatten(0, 1)  # input channels, outputs they reach, taps
    energies = torch.linalg.svdvals(matrices @ root).square().sum(0)
    total = float(energies.sum())
    kept = energies.cumsum(0) / total if total > 0 else torch.ones_like(energies)
    return [max(0.0, 1 - share) for share in kept.tolist()]
