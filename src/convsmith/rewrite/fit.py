"""In place of training: a least-squares refit of the pointwise half, and batch norm matched."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from convsmith.network import submodule, untouched
from convsmith.nn import SeparablePair
from convsmith.rewrite.surgery import answers, inputs

__all__ = ["match_batch_norm", "refit"]


def refit(
    light: nn.Module,
    original: nn.Module,
    batches: Sequence[Tensor],
    path: str,
    *,
    ridge: float = 1e-3,
) -> float:
    """Fit one pointwise convolution to what the original layer answered, and return the error left.

    Ridge regression of the original's responses on the depthwise outputs of the network that is
    rewritten up to here, so that it also makes good what earlier layers lost (asymmetric
    reconstruction, Zhang et al. 2015, arXiv:1505.06798). The ridge pulls towards the weights it
    starts from: a direction that no image shows keeps its decomposed value.

    Returns:
        The share of the responses' variance that is left unexplained: 0 is a perfect fit.
    """
    layer = submodule(light, path)
    assert isinstance(layer, SeparablePair)
    pointwise = layer.pointwise
    groups, outputs = pointwise.groups, pointwise.out_channels // pointwise.groups
    inputs = pointwise.in_channels // groups
    gram = torch.zeros(groups, inputs, inputs, dtype=torch.float64)
    cross = torch.zeros(groups, inputs, outputs, dtype=torch.float64)
    power = torch.zeros(groups, outputs, dtype=torch.float64)
    sums = torch.zeros(groups, inputs, dtype=torch.float64), power.clone()
    count = 0
    with untouched(light), untouched(original), torch.no_grad():
        for batch in batches:
            shown = answers(light, f"{path}.depthwise", partial(light, batch))
            wanted = answers(original, path, partial(original, batch))
            for z, y in zip(shown, wanted, strict=True):
                z = z.transpose(0, 1).reshape(groups, inputs, -1).double().cpu()
                y = y.transpose(0, 1).reshape(groups, outputs, -1).double().cpu()
                gram += z @ z.mT
                cross += z @ y.mT
                power += y.square().sum(2)
                sums[0].add_(z.sum(2))
                sums[1].add_(y.sum(2))
                count += z.shape[2]
        mean_z, mean_y = sums[0] / count, sums[1] / count
        gram = gram / count - mean_z[:, :, None] * mean_z[:, None, :]
        cross = cross / count - mean_z[:, :, None] * mean_y[:, None, :]
        variance = (power / count - mean_y.square()).clamp_min(0)
        start = pointwise.weight.detach().double().cpu().reshape(groups, outputs, inputs).mT
        # Scaled by each input's own variance, so that it does not matter how depthwise and
        # pointwise share their scale.
        scale = gram.diagonal(dim1=1, dim2=2)
        scale = scale.maximum(1e-6 * scale.amax(1, keepdim=True)).clamp_min(1e-12)
        pull = torch.diag_embed(ridge * scale)
        solved = torch.linalg.solve(gram + pull, cross + pull @ start)
        pointwise.weight.copy_(solved.mT.reshape(pointwise.weight.shape))
        if pointwise.bias is not None:
            pointwise.bias.copy_((mean_y - (mean_z[:, None] @ solved)[:, 0]).flatten())
        explained = 2 * (solved * cross).sum() - (solved * (gram @ solved)).sum()
        return float(1 - explained / variance.sum()) if variance.sum() > 0 else 0.0


def match_batch_norm(
    light: nn.Module, original: nn.Module, batches: Sequence[Tensor], path: str
) -> None:
    """Set a batch norm's running statistics so that its output has the original's mean and spread.

    Where the original's statistics are those of the images, this is estimating them anew. Where
    they are not, the difference stays as the original has it: a network that computes the same as
    the original keeps its statistics.
    """
    norm = submodule(light, path)
    assert isinstance(norm, _BatchNorm)
    with untouched(light), untouched(original), torch.no_grad():
        found = []
        for model in (light, original):
            sums = squares = torch.zeros(norm.num_features, dtype=torch.float64)
            count = 0
            for batch in batches:
                (maps,) = inputs(model, path, partial(model, batch))
                values = maps.transpose(0, 1).flatten(1).double().cpu()
                sums, squares = sums + values.sum(1), squares + values.square().sum(1)
                count += values.shape[1]
            mean = sums / count
            found.append((mean, (squares / count - mean.square()).clamp_min(0)))
        (mean, variance), (wanted_mean, wanted_variance) = found
        assert norm.running_mean is not None
        assert norm.running_var is not None
        # A channel that is constant in either network has no spread to match.
        alive = (variance > 0) & (wanted_variance > 0)
        ratio = torch.where(alive, variance / wanted_variance, torch.ones_like(variance))
        held_mean, held_variance = norm.running_mean.double().cpu(), norm.running_var.double().cpu()
        matched = ((held_variance + norm.eps) * ratio - norm.eps).clamp_min(0)
        # By the scale that is really set: where it was clamped, the mean must still be right.
        scale = ((matched + norm.eps) / (held_variance + norm.eps)).sqrt()
        norm.running_mean.copy_(mean - (wanted_mean - held_mean) * scale)
        norm.running_var.copy_(matched)
