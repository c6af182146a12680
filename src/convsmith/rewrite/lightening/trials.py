"""How much a network's answer loses by each form of a convolution: tried, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from convsmith.measure import inspect
from convsmith.network import Network, submodule, untouched
from convsmith.network.modules import copied
from convsmith.nn import Factored
from convsmith.rewrite.lightening.candidates import Candidate, Choice
from convsmith.rewrite.lightening.fit.alone import Seen, fit_alone
from convsmith.rewrite.lightening.fit.moments import Moments, covariance
from convsmith.rewrite.lightening.fit.rewrite import give_bias
from convsmith.rewrite.lightening.outputs import apart, compared
from convsmith.rewrite.surgery import replace

__all__ = ["ByChoice", "tried"]

ByChoice = Mapping[Choice, float]
"""A number for each form of a convolution."""

_CLEAR, _CLEARER = 1.5, 1.25
"""A form that loses so many times what a cheaper one does is not tried: before either is fitted,
and with the last part of each fitted. Nearer to each other, which is better may yet change."""

_WORK = 5e9
"""Multiply-adds of all images that a trial takes: about a quarter of a second."""

_FEWEST, _MOST = 16, 64
"""Images of a trial."""


def tried(
    model: nn.Module,
    network: Network,
    batches: Sequence[Tensor],
    moments: Mapping[str, Moments],
    offered: Sequence[tuple[Candidate, ByChoice]],
    progress: Callable[[int, int], None],
) -> list[dict[Choice, float]]:
    """The share of the output's variance that is lost by each form that is worth trying.

    One form at a time is put into a copy of the network, fitted to what its convolution sees and
    answers, and the network is run. So a choice goes by what will be left of an error once it is
    fitted, and by what the rest of the network makes of it, and not by an estimate of either.

    Args:
        model: the network; it is only run.
        network: the same, traced.
        batches: images.
        moments: what each convolution sees.
        offered: the convolutions, with the forms that they may take and what these cost.
        progress: called as `progress(done, of)`.

    Returns:
        For each convolution, what is lost by its forms; those that are not worth trying are left
        out.
    """
    light, done, total = copied(model), 0, sum(len(costs) for _, costs in offered)
    losses: list[dict[Choice, float]] = []
    progress(0, total)
    with untouched(light), torch.no_grad():
        rest = _Rest(light, torch.cat(list(batches))[: _number(network)])
        for c, costs in offered:
            seen, kept = Seen(light, batches, c.path), submodule(light, c.path)
            layers = {choice: _made(c, choice, moments) for choice in _worth(c, costs, moments)}
            first = {choice: fit_alone(layer, seen, rounds=0) for choice, layer in layers.items()}
            found = {}
            for choice in _front(costs, first, _CLEARER):
                residual = fit_alone(layers[choice], seen, rounds=1)
                replace(light, c.path, layers[choice])
                found[choice] = rest.loss(residual)
                replace(light, c.path, kept)
            losses.append(found)
            done += len(costs)
            progress(done, total)
    return losses


def _made(c: Candidate, choice: Choice, moments: Mapping[str, Moments]) -> Factored:
    layer = choice.form.make(c.conv, choice.rank, covariance(moments, c.path)).eval()
    give_bias(layer)  # for the mean, which a batch norm is given later
    return layer


def _worth(c: Candidate, costs: ByChoice, moments: Mapping[str, Moments]) -> list[Choice]:
    """The forms that are worth fitting, by what their decompositions lose."""
    patch_covariance, before = covariance(moments, c.path), dict[Choice, float]()
    for form in dict.fromkeys(choice.form for choice in costs):
        ranks = [choice.rank for choice in costs if choice.form == form]
        errors = form.error(c.conv, ranks, patch_covariance)
        before |= {Choice(form, rank): error for rank, error in zip(ranks, errors, strict=True)}
    return _front(costs, before, _CLEAR)


def _front(costs: ByChoice, losses: ByChoice, clear: float) -> list[Choice]:
    """Those that no cheaper one is clearly better than, in ascending cost."""
    front, best = [], float("inf")
    for choice in sorted(losses, key=lambda choice: (costs[choice], losses[choice])):
        best = min(best, losses[choice])
        if losses[choice] <= max(best, clear * best):
            front.append(choice)
    return front


def _number(network: Network) -> int:
    """Images of a trial."""
    each = max(1, inspect(network).macs)
    return int(min(_MOST, max(_FEWEST, _WORK // each)))


class _Rest:
    """What a network makes of some images, now and as it was."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        self._model, self._images = model, images
        self._expected = self._answers()

    def loss(self, otherwise: float) -> float:
        """The share of the variance that is lost; `otherwise` where the answer does not vary."""
        moved, variance = apart(self._answers(), self._expected)
        return moved / variance if variance > 0 else otherwise

    def _answers(self) -> list[Tensor]:
        return compared(self._model(self._images))
