"""All parts of a composed layer fitted in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from convsmith.nn import ComposedConv
from convsmith.nn.composed import grouped, ungrouped
from convsmith.nn.product import body_product, chain_product
from convsmith.rewrite.lightening.fit.conjugate import conjugate_gradients
from convsmith.rewrite.lightening.fit.regression import Regression, spread, unexplained

__all__ = ["fit_alternately", "has_windows_apart"]

# Steps of conjugate gradients: each round continues where the last one ended.
_STEPS = 12


def fit_alternately(
    layer: ComposedConv, conv: _ConvNd, sums: Regression, *, ridge: float, rounds: int
) -> float:
    """Fit every part of a composed layer to what a convolution answered, in turn.

    The weight that the layer amounts to is linear in each of its parts, so with the others held a
    part is a ridge regression: solved at once for the last one, as in `refit`, and by conjugate
    gradients for those before it. Each solution is no worse than the last, for the ridge pulls
    towards where it started. All of it follows from the second moments of whole patches, in which
    input channels vary together.

    Args:
        layer: a chain of convolutions with nothing between them, its windows apart.
        conv: what it stands for.
        sums: over the whole patches that `conv` sees, and what it answers.
        ridge: the pull, as a share of the variance of each weight's feature.
        rounds: how often all parts are solved.

    Returns:
        The share of the responses' variance that is left unexplained; 0 is a perfect fit.
    """
    parts, problem = _parts(layer), _Problem(conv, sums, ridge)
    factors = [grouped(part) for part in parts]
    # The last part first, as `refit` does: no round can then lose more than that.
    factors[-1] = problem.last(factors)
    for _ in range(rounds):
        for index in range(len(parts) - 1):
            factors[index] = problem.inner(factors, index)
        factors[-1] = problem.last(factors)
    for part, factor in zip(parts, factors, strict=True):
        part.weight.copy_(ungrouped(factor, part.transposed))
    if layer.last.bias is not None:
        layer.last.bias.copy_(problem.bias(factors))
    return problem.left(factors)


def has_windows_apart(layer: ComposedConv) -> bool:
    """Whether each axis has its window in one part alone."""
    windows = zip(*(part.kernel_size for part in _parts(layer)), strict=True)
    return all(sum(taps > 1 for taps in axis) <= 1 for axis in windows)


def _parts(layer: ComposedConv) -> list[_ConvNd]:
    return [part for part in layer.children() if isinstance(part, _ConvNd)]


class _Problem:
    """The squared error of a layer's responses, as a function of its parts."""

    def __init__(self, conv: _ConvNd, sums: Regression, ridge: float) -> None:
        self.second, self.cross, variance, self.mean_x, self.mean_y = sums.centred()
        self.groups, self.inputs = conv.groups, conv.in_channels // conv.groups
        self.total, self.ridge = float(variance.sum()), ridge

    def last(self, factors: Sequence[Tensor]) -> Tensor:
        """The last part of least error."""
        last = factors[-1]
        each = len(last) // self.groups
        body = body_product(self.groups, self.inputs, factors)
        body = body.reshape(self.groups, each, *body.shape[1:])
        gram = (body @ self.second[:, None] @ body.mT).flatten(0, 1)
        # Each group of the last part has outputs of its own: (groups, each, patch, outputs).
        cross = self.cross.reshape(self.groups, -1, each, last.shape[1]).transpose(1, 2)
        pull = torch.diag_embed(self.ridge * spread(gram))
        wanted = (body @ cross).flatten(0, 1) + pull @ last.flatten(2).mT
        solved: Tensor = torch.linalg.solve(gram + pull, wanted)
        return solved.mT.reshape(last.shape)

    def inner(self, factors: Sequence[Tensor], index: int) -> Tensor:
        """A part before the last, with less error."""
        start = factors[index]
        weight, back = torch.func.vjp(self._by_part(factors, index), start)  # type: ignore[misc]
        power = self.second.diagonal(dim1=1, dim2=2)[:, None].expand_as(weight.flatten(2))
        # The diagonal of the curvature, if patches were white and no two paths through the chain
        # met: what steps and the ridge are scaled by need not be exact.
        squares = [factor.square() for factor in factors]
        _, back_squares = torch.func.vjp(self._by_part(squares, index), squares[index])  # type: ignore[misc]
        (diagonal,) = back_squares(power.reshape(weight.shape))
        diagonal = diagonal.clamp_min(1e-12 * float(diagonal.max()) + 1e-300)
        pull = self.ridge * diagonal
        (target,) = back(self.cross.mT.reshape(weight.shape))
        whole = self._by_part(factors, index)

        def curvature(values: Tensor) -> Tensor:
            bent = whole(values).flatten(2) @ self.second
            curved: Tensor = back(bent.reshape(weight.shape))[0] + pull * values
            return curved

        return conjugate_gradients(curvature, target + pull * start, start, diagonal, _STEPS)

    def bias(self, factors: Sequence[Tensor]) -> Tensor:
        """The bias with which the mean response is the original's."""
        return (self.mean_y - (self._whole(factors) @ self.mean_x[:, :, None])[..., 0]).flatten()

    def left(self, factors: Sequence[Tensor]) -> float:
        """The share of the variance that is not explained."""
        weight = self._whole(factors)
        explained = 2 * (weight * self.cross.mT).sum() - (weight * (weight @ self.second)).sum()
        return unexplained(float(explained), self.total)

    def _whole(self, factors: Sequence[Tensor]) -> Tensor:
        return chain_product(self.groups, self.inputs, factors).flatten(2)

    def _by_part(self, factors: Sequence[Tensor], index: int) -> Callable[[Tensor], Tensor]:
        """The whole weight as a linear function of one part."""

        def whole(part: Tensor) -> Tensor:
            chain = [*factors[:index], part, *factors[index + 1 :]]
            return chain_product(self.groups, self.inputs, chain)

        return whole
