"""Least squares after an activation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from convsmith.rewrite.lightening.fit.following import Following
from convsmith.rewrite.lightening.fit.regression import spread

__all__ = ["after_activation"]

_Function = Callable[[Tensor], Tensor]


def after_activation(
    sample: tuple[Tensor, Tensor],
    weights: Tensor,
    bias: Tensor,
    activation: _Function,
    like: Tensor,
    ridge: float,
) -> tuple[Tensor, Tensor, float]:
    """Weights and bias of less error after an activation, f, and what is left of it.

    Minimises |f(y) - f(Az + b)|² (Zhang et al. 2015, arXiv:1505.06798, section 3.2): with values
    ŷ of its own for each response, |f(y) - f(ŷ)|² + λ|ŷ - (Az + b)|² is solved for ŷ element by
    element and for A, b by ridge regression in turn, with λ rising. The best of all rounds is
    returned, which is the start where none is better.

    Args:
        sample: features (groups, features, places) and responses (groups, outputs, places).
        weights: (groups, outputs, features), from where it starts.
        bias: (groups, outputs).
        activation: of maps (places, channels, ...).
        like: a tensor of the type and on the device that the activation takes, of as many
            dimensions as its maps.
        ridge: the pull towards the start, as a share of the variance of each feature.
    """
    z, y = sample
    if isinstance(activation, Following) and activation.limits is not None:
        scale, shift = (v.reshape(y.shape[:2]) for v in activation.affine(y.shape[0] * y.shape[1]))
        if (scale != 0).all():  # the norms only give the responses other units
            wide = scale[:, :, None]
            start = weights * wide, bias * scale + shift
            cut = _Cut(*activation.limits)
            solved, moved, left = _in_turn(z, y * wide + shift[:, :, None], *start, cut, ridge)
            return solved / wide, (moved - shift) / scale, left
    return _in_turn(z, y, weights, bias, _General(activation, like), ridge)


def _in_turn(
    z: Tensor, y: Tensor, weights: Tensor, bias: Tensor, f: _Cut | _General, ridge: float
) -> tuple[Tensor, Tensor, float]:
    places = z.shape[2]
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
    apart = (f(answer) - target).square()
    best = weights, bias, float(apart.sum())
    for weight in (0.1, 0.1, 0.3, 0.3, 1.0, 1.0, 3.0, 3.0):
        # In units of how much of a difference f lets through.
        off = (answer - y).square().mean(2, keepdim=True).clamp_min(1e-30)
        passed = apart.mean(2, keepdim=True) / off
        targets = f.between(answer, y, target, weight * passed)
        mean = targets.mean(2, keepdim=True)
        solved = torch.cholesky_solve(centred @ (targets - mean).mT / places + held, factor).mT
        moved = (mean - solved @ mean_z)[:, :, 0]
        answer = solved @ z + moved[:, :, None]
        apart = (f(answer) - target).square()
        if (error := float(apart.sum())) < best[2]:
            best = solved, moved, error
    return best[0], best[1], best[2] / total


class _Cut:
    """A function that cuts values off below and above, such as ReLU and ReLU6."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, values: Tensor) -> Tensor:
        return values.clamp(self.low, self.high)

    def between(self, answer: Tensor, y: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The ŷ of least (f(y) - f(ŷ))² + λ(ŷ - answer)², for each element."""
        best = self((weight * answer + target) / (weight + 1))
        least = (best - target).square() + weight * (best - answer).square()
        for edge, beyond in ((self.low, answer.clamp_max), (self.high, answer.clamp_min)):
            if abs(edge) == torch.inf:
                continue
            choice = beyond(edge)
            cost = (target - edge).square() + weight * (choice - answer).square()
            best = torch.where(cost < least, choice, best)
            least = torch.minimum(cost, least)
        return best


class _General:
    """Any function of maps, which is tried at some values."""

    def __init__(self, function: _Function, like: Tensor) -> None:
        self.function, self.like = function, like

    def __call__(self, values: Tensor) -> Tensor:
        groups, outputs, places = values.shape
        ones = (1,) * (self.like.ndim - 2)
        maps = values.permute(2, 0, 1).reshape(places, groups * outputs, *ones)
        result: Tensor = self.function(maps.to(self.like)).cpu().double()
        return result.reshape(places, groups, outputs).permute(1, 2, 0)

    def between(self, answer: Tensor, y: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The same; between the answer and y both terms only trade places, if f never turns."""
        choices = [answer + share * (y - answer) for share in torch.linspace(0, 1, 17).tolist()]
        values = [self(choice) for choice in choices]
        best: Tensor = choices[0]
        least = torch.full_like(answer, torch.inf)
        for choice, value in zip(choices, values, strict=True):
            cost = (value - target).square() + weight * (choice - answer).square()
            best, least = torch.where(cost < least, choice, best), torch.minimum(cost, least)
        return best
