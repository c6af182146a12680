"""Least squares after an activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convsmith.rewrite.lightening.fit.regression import spread

__all__ = ["after_activation"]


def after_activation(
    sample: tuple[Tensor, Tensor],
    weights: Tensor,
    bias: Tensor,
    activation: Callable[[Tensor], Tensor],
    like: Tensor,
    ridge: float,
) -> tuple[Tensor, Tensor, float]:
    """Weights and bias of less error after an activation, f, and what is left of it.

    Minimises |f(y) - f(Az + b)|² (Zhang et al. 2015, arXiv:1505.06798, section 3.2): with values
    ŷ of its own for each response, |f(y) - f(ŷ)|² + λ|ŷ - (Az + b)|² is solved for ŷ element by
    element and for A, b by ridge regression in turn, with λ rising. The best of all rounds is
    returned, which is the start where none is better.
    """
    z, y = sample
    groups, outputs, places = y.shape

    def f(values: Tensor) -> Tensor:
        ones = (1,) * (like.ndim - 2)
        maps = values.permute(2, 0, 1).reshape(places, groups * outputs, *ones)
        result: Tensor = activation(maps.to(like)).cpu().double()
        return result.reshape(places, groups, outputs).permute(1, 2, 0)

    mean_z = z.mean(2, keepdim=True)
    centred = z - mean_z
    gram = centred @ centred.mT / places
    # Few samples would overfit, so the fewer there are, the harder the ridge pulls towards the
    # starting weights.
    pull = torch.diag_embed((ridge + z.shape[1] / places) * spread(gram))
    factor = torch.linalg.cholesky(gram + pull)
    held, target = pull @ weights.mT, f(y)
    total = float((target - target.mean(2, keepdim=True)).square().sum())
    if total == 0:
        return weights, bias, 0.0
    answer = weights @ z + bias[:, :, None]
    best = weights, bias, float((f(answer) - target).square().sum())
    relu = activation in (F.relu, torch.relu) or isinstance(activation, nn.ReLU)
    for weight in (0.1, 0.1, 0.3, 0.3, 1.0, 1.0, 3.0, 3.0):
        targets = _targets(answer, y, target, f, weight, relu)
        mean = targets.mean(2, keepdim=True)
        solved = torch.cholesky_solve(centred @ (targets - mean).mT / places + held, factor).mT
        moved = (mean - solved @ mean_z)[:, :, 0]
        answer = solved @ z + moved[:, :, None]
        error = float((f(answer) - target).square().sum())
        if error < best[2]:
            best = solved, moved, error
    return best[0], best[1], best[2] / total


def _targets(
    answer: Tensor,
    y: Tensor,
    target: Tensor,
    f: Callable[[Tensor], Tensor],
    weight: float,
    relu: bool,
) -> Tensor:
    """The ŷ of least (f(y) - f(ŷ))² + λ(ŷ - answer)², for each element."""
    if relu:
        low = answer.clamp_max(0)
        high = ((weight * answer + target) / (weight + 1)).clamp_min(0)
        choices: Sequence[Tensor] = (low, high)
        values = [torch.zeros_like(low), high]
    else:
        # Between the answer and y both terms only trade places, if f never turns.
        choices = [answer + share * (y - answer) for share in torch.linspace(0, 1, 17).tolist()]
        values = [f(choice) for choice in choices]
        # In units of how much of a difference f lets through.
        passed = (values[0] - target).square().mean(2, keepdim=True)
        weight = weight * passed / (answer - y).square().mean(2, keepdim=True).clamp_min(1e-30)  # type: ignore[assignment]
    best, least = choices[0], torch.full_like(answer, torch.inf)
    for choice, value in zip(choices, values, strict=True):
        cost = (value - target).square() + weight * (choice - answer).square()
        best, least = torch.where(cost < least, choice, best), torch.minimum(cost, least)
    return best
