"""Concatenations along channels, without copies wherever a part can be written in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from convsmith.kernels.isa import BLOCK, Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.rows import Copy
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Block, Input
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map

__all__ = ["CONCAT", "Copied", "Joined"]


@dataclass(eq=False)
class Joined(Block):
    """A concatenation; it is not run: its parts are written where they belong."""

    virtual: ClassVar[bool] = True


@dataclass(eq=False)
class Copied(Block):
    """The values of a map, as channels of a concatenation or with zeros around them."""

    exact = True
    narrows = True

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return Copy()


def _refuse(layer: Layer, weights: Weights) -> str:
    name, dim = layer.operation.name, layer.operation.settings.get("dim", 0)
    if name not in ("cat", "concat", "concatenate") or dim not in (1, -3):
        return "not joined along channels"
    return "" if len(layer.inputs) == len(layer.operands) else "joined with a constant"


def _lower(draft: Draft, layer: Layer) -> None:
    block, copies = _join(layer.name, [draft.map(name) for name in layer.inputs], draft.order)
    draft.order += copies
    draft.place(block, layer.name)


def _join(name: str, parts: Sequence[Map], order: Sequence[Block]) -> tuple[Joined, list[Copied]]:
    """The map of a concatenation along channels.

    A part whose channels fill whole vectors is from now on written into the new map at once, and
    other readers read it there. So is an earlier concatenation of the first parts, as in
    a DenseNet, where each layer reads all before it. Other parts are copied.

    Args:
        name: the layer.
        parts: what is joined.
        order: the blocks so far.

    Returns:
        The block that stands for the result, and the copies to make before.
    """
    fixed = {id(block.target) for block in order if isinstance(block, Input)}
    earlier = sorted(
        (block for block in order if isinstance(block, Joined)), key=lambda b: -len(b.sources)
    )
    target = Map(name, sum(part.channels for part in parts))
    copies, first, place = [], 0, 0
    while place < len(parts):
        part, taken = parts[place], 1
        for block in earlier:
            ahead = parts[place : place + len(block.sources)]
            assert block.target is not None
            if list(map(id, ahead)) == list(map(id, block.sources)) and block.target.parent is None:
                part, taken = block.target, len(ahead)
                break
        free = part.parent is None and id(part) not in fixed
        if free and part.channels % BLOCK == 0 == first % BLOCK:
            part.join(target, first)
        else:
            channels = sum(p.channels for p in parts[place : place + taken])
            room = Map(f"{name}[{first}:{first + channels}]", channels, channels)
            room.join(target, first)
            copies.append(Copied(room.name, [part], room))
        first += part.channels
        place += taken
    return Joined(name, list(parts), target), copies


CONCAT = Lowering(_refuse, _lower)
