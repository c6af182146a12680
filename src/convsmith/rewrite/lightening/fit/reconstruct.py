"""Blocks of a lighter network fitted to the original's by gradients, from unlabelled images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from convsmith.network import trace, untouched
from convsmith.rewrite.lightening.fit.adapt import Effort, adapted, lost
from convsmith.rewrite.lightening.fit.blocks import blocks_of
from convsmith.rewrite.lightening.fit.fisher import importance
from convsmith.rewrite.lightening.fit.replay import Replay, Values, seconds_of

__all__ = ["Reconstruction", "reconstruct"]

_FULL = Effort()

_HELD = 8
"""Of so many images one is held out, to tell whether what was fitted is better."""

_ROOM = 2**30
"""Bytes that the maps between two blocks may take, for all images."""

_PATIENCE = 3.0
"""Times as long as was expected: then what is left stays as it is."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What came of it.

    Attributes:
        blocks: how many there were to fit.
        better: how many became better, and were kept.
        steps: taken for each.
        stopped: why some were not tried, or ''.
    """

    blocks: int = 0
    better: int = 0
    steps: int = 0
    stopped: str = ""


def reconstruct(
    light: nn.Module,
    model: nn.Module,
    batches: Sequence[Tensor],
    lighter: Sequence[str],
    *,
    seconds: float = 60.0,
    effort: Effort = _FULL,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, of: None,
    known: Mapping[str, Mapping[str, Tensor]] | None = None,
    keep: Callable[[dict[str, dict[str, Tensor]]], None] = lambda fitted: None,
) -> Reconstruction:
    """Fit `light` block by block, in place, so that each block gives what the original's does.

    After Li et al. 2021 (BRECQ, arXiv:2102.05426): blocks are the stretches between joins, in
    order. A block is given what the light network makes of the images up to it or, for half of
    the images of a step at random (Wei et al. 2022, QDrop, arXiv:2203.05740), what the original
    does. Its loss is the square difference of what it gives, weighted by how much each value
    matters to the answer. All weights in it are fitted, batch norms as a scale and a shift with
    fixed statistics. One image in eight is held out: a block keeps what it has learned only if it
    is better on these, and so does the network in the end.

    Args:
        light: a copy of `model` with lighter layers in it.
        model: the original; it is only run.
        batches: images.
        lighter: the paths of the lighter layers.
        seconds: about how long it may take on a usual processor. By this the number of steps is
            chosen, from how much there is to compute and not by the clock: the same call takes
            the same steps. Where they take three times as long, the rest is left as it is.
        effort: the most that is done for a block.
        seed: of all random numbers.
        progress: called as `progress(done, of)`, with steps.
        known: what `keep` was given last by a run that was interrupted.
        keep: called after each block with the new weights of all blocks so far.
    """
    with untouched(light), untouched(model):
        work = _Work(light, model, torch.cat(list(batches)), lighter, effort, seed)
        return work.carry_out(seconds, progress, dict(known or {}), keep)


class _Work:
    """The blocks of one network, and the images that go through them."""

    def __init__(
        self,
        light: nn.Module,
        model: nn.Module,
        images: Tensor,
        lighter: Sequence[str],
        effort: Effort,
        seed: int,
    ) -> None:
        held = max(1, len(images) // _HELD)
        self.size = max(1, min(effort.size, len(images) - held))
        self.effort, self.seed = replace(effort, size=self.size), seed
        network = trace(model, images[: self.size])
        wanted = set(lighter)
        names = {
            layer.name: layer.path
            for layer in network
            if layer.path in wanted and "convolution" in layer.kind
        }
        self.light, self.original = Replay(network, light, names), Replay(network, model, {})
        self.blocks = blocks_of(network, names)
        self.todo = [index for index, block in enumerate(self.blocks) if block.layers]
        # The images may come class by class.
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        most = max(self.size, _ROOM // (4 * max(1, self._bytes())))
        self.held = _filled(images[order[:held]], self.size)
        self.images = _filled(_varied(images[order[held:]], most), self.size)

    def _bytes(self) -> int:
        """The maps between two blocks at most, for one image."""
        sizes = (
            sum(node.meta["val"].numel() * node.meta["val"].element_size() for node in nodes)
            for block in self.blocks
            for nodes in (block.inputs, block.outputs)
        )
        return max(sizes, default=0) // self.size

    def carry_out(
        self,
        seconds: float,
        progress: Callable[[int, int], None],
        known: dict[str, Any],
        keep: Callable[[dict[str, dict[str, Tensor]]], None],
    ) -> Reconstruction:
        """Fit all blocks in order."""
        weights = [v for block in self.blocks for v in self.light.weights(block).values()]
        # Steps as small as these are lost in narrower numbers.
        narrow = any(value.dtype not in (torch.float32, torch.float64) for value in weights)
        effort = replace(self.effort, steps=0) if narrow else self._affordable(seconds)
        result = Reconstruction(len(self.todo), 0, effort.steps)
        if not self.todo or not effort.steps:
            return result
        total = len(self.todo) * effort.steps
        progress(0, total)
        shown = torch.split(self.images, self.size)
        weigh = importance(self.original, self.blocks, shown, self.seed)
        before, begin, done = self._whole(self.light), monotonic(), 0
        start = {
            name: value.clone()
            for block in self.blocks
            for name, value in self.light.weights(block).items()
        }
        (node,) = self.light.inputs
        ours, theirs, held = ({node: x} for x in (self.images, self.images, self.held))
        held_theirs = held
        for index, block in enumerate(self.blocks[: self.todo[-1] + 1]):
            wanted = self.original.all(block, theirs, self.size)
            held_wanted = self.original.all(block, held_theirs, self.size)
            key = str(index)
            if block.layers and key not in known:
                known[key] = adapted(
                    self.light, block, (ours, theirs, wanted), (held, held_wanted), weigh[index],
                    effort, self.seed + 1000 * index,
                    partial(_advance, progress, done, total),
                )  # fmt: skip
                keep(known)
            if block.layers:
                self._put(known[key])
                result = replace(result, better=result.better + bool(known[key]))
                done += effort.steps
                progress(done, total)
            if monotonic() - begin > _PATIENCE * seconds and index < self.todo[-1]:
                result = replace(result, stopped=_late(monotonic() - begin, index, self.todo))
                break
            ours = self.light.all(block, ours, self.size)
            held = self.light.all(block, held, self.size)
            theirs, held_theirs = wanted, held_wanted
        progress(total, total)
        if not self._whole(self.light) < before:
            self._put(start)
            result = replace(result, better=0)
        return result

    def _affordable(self, seconds: float) -> Effort:
        """As many steps as there are seconds for; none where too few would be left to help."""
        (node,) = self.light.inputs
        values: Values = {node: self.images[: self.size]}
        each = passed = 0.0
        for block in self.blocks:
            taken, values = seconds_of(self.light, block, values)
            passed += taken
            each += 3 * taken if block.layers else 0.0
        # Besides, all images go through both networks, and once back through the original.
        rest = (4 + 2) * passed * len(self.images) / self.size
        steps = min(self.effort.steps, int((seconds - rest) / max(each, 1e-9)))
        return replace(self.effort, steps=steps if steps >= self.effort.least else 0)

    def _whole(self, replay: Replay) -> float:
        """How far its answers to the images held out are from the original's."""
        (node,) = replay.inputs
        ours: Values = {node: self.held}
        theirs: Values = {node: self.held}
        for block in self.blocks:
            ours = replay.all(block, ours, self.size)
            theirs = self.original.all(block, theirs, self.size)
        return lost(ours, theirs, {})

    def _put(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in weights.items():
                self.light.model.get_parameter(name).copy_(value)


def _advance(progress: Callable[[int, int], None], before: int, total: int, steps: int) -> None:
    progress(before + steps, total)


def _late(seconds: float, index: int, todo: Sequence[int]) -> str:
    done = sum(1 for number in todo if number <= index)
    return (
        f"blocks were reconstructed for {seconds:.0f} s, which was enough for {done} of "
        f"{len(todo)}; the others stay as they were refitted"
    )


def _varied(images: Tensor, most: int) -> Tensor:
    """The images, mirrored ones, and ones moved by a pixel, up to a number."""
    moved = torch.cat([images[..., 1:], images[..., -1:]], -1)
    return torch.cat([images, images.flip(-1), moved])[:most]


def _filled(images: Tensor, size: int) -> Tensor:
    """Whole batches: the first images come again where the last batch has too few."""
    number = -(-len(images) // size) * size
    return images.repeat(-(-number // len(images)), *(1,) * (images.ndim - 1))[:number]
