"""A form fitted to what its convolution sees in the original network, and to what that answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from convsmith.network import submodule
from convsmith.nn import Factored
from convsmith.rewrite.lightening.fit.parts import fit_of_parts
from convsmith.rewrite.lightening.fit.regression import Regression, put, weights_of
from convsmith.rewrite.surgery import watching

__all__ = ["Seen", "fit_alone"]


class Seen:
    """What a convolution is given and answers, gathered once for all forms that it may take.

    Args:
        model: the network; it is only run.
        batches: images.
        path: the convolution.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Tensor], path: str) -> None:
        conv = submodule(model, path)
        assert isinstance(conv, _ConvNd)
        self.conv = conv
        self._model, self._batches = model, batches

    @cached_property
    def whole(self) -> Regression:
        """Sums over whole patches."""
        sums = Regression.of(self.conv)
        for batch in self._batches:
            for maps, answer in self._of(batch):
                sums.add(self.conv, maps, answer)
            if sums.enough:
                break
        return sums

    @cached_property
    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Inputs and answers themselves, for as many images as `whole` takes at least."""
        found: list[tuple[Tensor, Tensor]] = []
        for batch in self._batches:
            found += self._of(batch)
            if sum(len(maps) for maps, _ in found) >= Regression.IMAGES:
                break
        return found

    def _of(self, batch: Tensor) -> list[tuple[Tensor, Tensor]]:
        found: list[tuple[Tensor, Tensor]] = []
        see = partial(_keep, found)
        with watching(self.conv, see, stop=True):
            self._model(batch)
        return found


def _keep(found: list[tuple[Tensor, Tensor]], given: tuple[Tensor, ...], answer: Tensor) -> None:
    found.append((given[0].clone(), answer.clone()))  # what follows may write into them


def fit_alone(layer: Factored, seen: Seen, *, ridge: float = 1e-3, rounds: int = 1) -> float:
    """Fit a form to the convolution that it stands for, as if nothing else were rewritten.

    Args:
        layer: the form, with the weights of its decomposition.
        seen: by the convolution.
        ridge: the pull towards these, as a share of the variance of each weight's feature.
        rounds: how often all parts are solved.

    Returns:
        The share of the responses' variance that is left unexplained; 0 is a perfect fit.
    """
    fit = fit_of_parts(layer, seen.conv)
    if fit is not None:
        return fit(seen.whole, ridge=ridge, rounds=rounds)
    sums = Regression.of(layer.last)
    for maps, answer in seen.pairs:
        sums.add(layer.last, layer.body(maps), answer)
    weights, bias, left = sums.solve(weights_of(layer.last), ridge)
    put(layer.last, weights, bias)
    return left
