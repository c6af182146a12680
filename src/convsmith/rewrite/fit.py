"""Least squares in place of training: the pointwise refit, and batch norm's statistics anew."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from convsmith.network import untouched
from convsmith.nn import SeparablePair
from convsmith.rewrite.surgery import answers, submodule

__all__ = ["reestimate_batch_norm", "refit"]


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


def reestimate_batch_norm(model: nn.Module, batches: Sequence[Tensor]) -> None:
    """Set the running statistics of every batch norm to the average over the images' batches.

    Affine parameters stay. A model without batch norm is left as it is.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    if not norms:
        return
    with untouched(model), torch.no_grad():
        try:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a cumulative average
                norm.training = True
            for batch in batches:
                model(batch)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
