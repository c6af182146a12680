"""Both halves of a separable layer fitted in turn."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from convsmith.nn import SeparablePair
from convsmith.rewrite.lightening.fit.conjugate import conjugate_gradients
from convsmith.rewrite.lightening.fit.regression import (
    Regression,
    put,
    spread,
    unexplained,
    weights_of,
)

__all__ = ["fit_jointly"]

# Steps of conjugate gradients: each round continues where the last one ended.
_STEPS = 24


def fit_jointly(
    layer: SeparablePair, conv: _ConvNd, sums: Regression, *, ridge: float, rounds: int
) -> float:
    """Fit both halves of a separable layer to what a convolution answered, in turn.

    With the depthwise half held the pointwise one is a ridge regression, as in `refit`; with the
    pointwise half held so is the depthwise one, which then sees how input channels vary together.
    Each solution is no worse than the last, for the ridge pulls towards where it started. All of
    it follows from the second moments of whole patches, (inputs · taps)² values per group.

    Args:
        layer: with nothing between its halves.
        conv: what it stands for.
        sums: over the whole patches that `conv` sees, and what it answers.
        ridge: the pull, as a share of the variance of each weight's feature.
        rounds: how often both are solved.

    Returns:
        The share of the responses' variance that is left unexplained; 0 is a perfect fit.
    """
    second, cross, variance, mean_x, mean_y = sums.centred()
    groups, taps = conv.groups, conv.weight[0, 0].numel()
    kernels = layer.depthwise.weight.detach().cpu().double()
    kernels = kernels.reshape(groups, -1, layer.multiplier, taps)
    # The pointwise half first, as `refit` does: no round can then lose more than that.
    start = weights_of(layer.pointwise)
    mix, explained = _pointwise(second, cross, kernels, start, ridge)
    for _ in range(rounds):
        kernels = _spatial(second, cross, kernels, mix, ridge)
        mix, explained = _pointwise(second, cross, kernels, mix, ridge)
    layer.depthwise.weight.copy_(kernels.reshape(layer.depthwise.weight.shape))
    features = _features(mean_x[:, :, None], kernels)[..., 0]
    put(layer.pointwise, mix, mean_y - (mix @ features[:, :, None])[..., 0])
    total = float(variance.sum())
    return unexplained(explained, total)


def _features(moments: Tensor, kernels: Tensor) -> Tensor:
    """Moments of patches (groups, inputs · taps, …) as those of filtered maps."""
    groups, channels, multiplier, taps = kernels.shape
    blocks = moments.reshape(groups, channels, taps, -1)
    return (kernels @ blocks).reshape(groups, channels * multiplier, -1)


def _pointwise(
    second: Tensor, cross: Tensor, kernels: Tensor, start: Tensor, ridge: float
) -> tuple[Tensor, float]:
    """The pointwise weights of least error, and the variance that they explain."""
    gram = _features(_features(second, kernels).mT, kernels)
    shared = _features(cross, kernels)
    pull = torch.diag_embed(ridge * spread(gram))
    solved = torch.linalg.solve(gram + pull, shared + pull @ start.mT)
    return solved.mT, float(2 * (solved * shared).sum() - (solved * (gram @ solved)).sum())


def _spatial(second: Tensor, cross: Tensor, kernels: Tensor, mix: Tensor, ridge: float) -> Tensor:
    """The depthwise kernels of less error, by preconditioned conjugate gradients."""
    groups, channels, multiplier, taps = kernels.shape
    weights = mix.mT @ mix
    power = second.diagonal(dim1=1, dim2=2).reshape(groups, channels, 1, taps)
    own = weights.diagonal(dim1=1, dim2=2).reshape(groups, channels, multiplier, 1)
    diagonal = (own * power).clamp_min(1e-12 * float((own * power).max()) + 1e-300)
    pull = ridge * diagonal

    def back(moments: Tensor) -> Tensor:
        # (groups, inputs · taps, inputs · multiplier) to the kernels: each channel its own row
        blocks = moments.reshape(groups, channels, taps, channels * multiplier)
        rows = weights.reshape(groups, channels, multiplier, channels * multiplier)
        return rows @ blocks.mT

    def curvature(values: Tensor) -> Tensor:
        return back(_features(second, values).mT) + pull * values

    blocks = (cross @ mix).reshape(groups, channels, taps, channels, multiplier)
    target = torch.diagonal(blocks, dim1=1, dim2=3).permute(0, 3, 2, 1)
    return conjugate_gradients(curvature, target + pull * kernels, kernels, diagonal, _STEPS)
