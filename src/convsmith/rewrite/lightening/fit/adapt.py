"""One block fitted by gradients to what the original's block gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor
from torch.fx import Node

from convsmith.rewrite.lightening.fit.blocks import Block
from convsmith.rewrite.lightening.fit.replay import Replay, Values

__all__ = ["Effort", "adapted", "lost"]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done for one block.

    Attributes:
        steps: of Adam, at most.
        least: fewer than these help too little to be taken.
        size: images in a step.
        rate: the learning rate at the start, from where it falls to zero by a half cosine.
    """

    steps: int = 250
    least: int = 40
    size: int = 64
    rate: float = 2e-3


def adapted(
    light: Replay,
    block: Block,
    shown: tuple[Values, Values, Values],
    held: tuple[Values, Values],
    weigh: Values,
    effort: Effort,
    seed: int,
    advance: Callable[[int], None],
) -> dict[str, Tensor]:
    """New weights for a block, by name; none if they are not better on the images held out.

    Args:
        light: runs the light network's blocks.
        block: the one to fit.
        shown: for each image, what the block is given in the light network and in the original,
            and what the original's block gives.
        held: for the images held out, the first and the last of these.
        weigh: how much each value of its outputs matters.
        effort: how much is done.
        seed: of what is drawn.
        advance: called with the number of steps done.
    """
    random = torch.Generator().manual_seed(seed)
    ours, theirs, wanted = shown
    before = {name: value.detach().clone() for name, value in light.weights(block).items()}
    weights = {name: value.clone().requires_grad_() for name, value in before.items()}
    optimizer = torch.optim.Adam(list(weights.values()), lr=effort.rate)
    spread = {node: _spread(wanted[node], weight) for node, weight in weigh.items()}
    size, count = effort.size, len(next(iter(wanted.values())))
    order = torch.zeros(0, dtype=torch.long)
    for step in range(effort.steps):
        if len(order) < size:
            order = torch.cat([order, torch.randperm(count, generator=random)])
        some, order = order[:size], order[size:]
        exact = torch.rand(size, generator=random) < 0.5
        given = {node: _mixed(exact, theirs[node][some], v[some]) for node, v in ours.items()}
        for group in optimizer.param_groups:
            group["lr"] = effort.rate * 0.5 * (1 + cos(pi * step / effort.steps))
        with torch.enable_grad():
            results = light.run(block, given, weights)
            losses = [
                (weight * (results[node] - wanted[node][some]).square()).mean() / spread[node]
                for node, weight in weigh.items()
            ]
            gradients = torch.autograd.grad(
                torch.stack(losses).sum(), list(weights.values()), allow_unused=True
            )
        for weight, gradient in zip(weights.values(), gradients, strict=True):
            weight.grad = gradient
        optimizer.step()
        advance(step + 1)
    after = {name: value.detach() for name, value in weights.items()}
    given, expected = held
    old, new = (
        lost(light.all(block, given, size, own), expected, weigh) for own in (before, after)
    )
    return after if new < old else {}


def lost(results: Values, wanted: Values, weigh: Mapping[Node, Tensor]) -> float:
    """The square difference as a share of the variance; of all results where none is weighed."""
    total = 0.0
    for node in weigh or wanted:
        weight = weigh.get(node, torch.ones(()))
        if wanted[node].is_floating_point():
            apart = (weight * (results[node] - wanted[node]).square()).mean()
            total += float(apart) / _spread(wanted[node], weight)
    return total


def _spread(values: Tensor, weight: Tensor) -> float:
    """The weighted variance over images; 1 where they do not vary."""
    return float((weight * (values - values.mean(0)).square()).mean()) or 1.0


def _mixed(exact: Tensor, theirs: Tensor, ours: Tensor) -> Tensor:
    """Some images from the one, the others from the other."""
    return torch.where(exact.to(ours.device).reshape(-1, *(1,) * (ours.ndim - 1)), theirs, ours)
