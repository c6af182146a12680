"""How much each value of a block's output matters to the answer of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node

from convsmith.rewrite.lightening.fit.blocks import Block
from convsmith.rewrite.lightening.fit.replay import Replay

__all__ = ["importance"]

_MOST = 20.0
"""Clamped here, in units of the mean: few images leave a few values with a huge estimate."""


def importance(
    replay: Replay, blocks: Sequence[Block], batches: Sequence[Tensor], seed: int
) -> list[dict[Node, Tensor]]:
    """The weights of values, of mean 1, for each output that a block with lighter layers computes.

    The mean square gradient of -log p(answer), where the answer is drawn from what the network
    itself says (the diagonal of Fisher's information; Li et al. 2021, arXiv:2102.05426): of a
    class for each image, or for each place of a map; outputs that are not classes are disturbed by
    white noise of their own spread.

    Args:
        replay: of the original.
        blocks: of the whole network.
        batches: images, as many at a time as the network was traced for.
        seed: of what is drawn.
    """
    random = torch.Generator().manual_seed(seed)
    sums: list[dict[Node, Tensor]] = [{} for _ in blocks]
    (given,) = replay.inputs
    for images in batches:
        values: Mapping[Node, Tensor] = {given: images.clone().requires_grad_() * 1}
        seen: list[Tensor] = []
        with torch.enable_grad():
            for block in blocks:
                values = replay.run(block, values)
                seen += [values[node] for node in block.fitted if block.layers]
                # What comes next may write into what it is given.
                values = {node: value.clone() for node, value in values.items()}
            loss = sum((_surprise(value, random) for value in values.values()), torch.zeros(()))
        gradients = iter(torch.autograd.grad(loss, seen, allow_unused=True))
        for block, found in zip(blocks, sums, strict=True):
            for node in block.fitted if block.layers else ():
                gradient = next(gradients)
                square = 0.0 if gradient is None else gradient.square().sum(0)
                found[node] = found.get(node, torch.zeros(())) + square
    return [{node: _relative(total) for node, total in found.items()} for found in sums]


def _surprise(answer: Tensor, random: torch.Generator) -> Tensor:
    """-log p of an answer that is drawn from the network's own, summed over images and places."""
    if not answer.is_floating_point() or not answer.requires_grad:
        return torch.zeros(())
    if answer.ndim > 1 and answer.shape[1] > 1:
        rows = answer.movedim(1, -1).flatten(0, -2)
        chances = rows.detach().float().softmax(1).cpu()
        if torch.isfinite(chances).all():
            drawn = torch.multinomial(chances, 1, generator=random)[:, 0].to(rows.device)
            return F.cross_entropy(rows, drawn, reduction="sum")
    noise = torch.randn(answer.shape, generator=random).to(answer)
    return (answer * noise).sum()


def _relative(total: Tensor) -> Tensor:
    mean = total.mean()
    if not torch.isfinite(mean) or mean <= 0:
        return torch.ones_like(total)
    clamped = (total / mean).clamp_max(_MOST)
    return clamped / clamped.mean()
