"""What becomes of several blocks at once: concatenations without copies, fused pairs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from convsmith.kernels.isa import BLOCK
from convsmith.runtime.lowering.blocks import Block, Copied, Input
from convsmith.runtime.lowering.convolutions import Convolution, Transposed
from convsmith.runtime.lowering.maps import Map

__all__ = ["Joined", "fuse_separable", "join"]


@dataclass(eq=False)
class Joined(Block):
    """A concatenation; it is not run: its parts are written where they belong."""


def join(name: str, parts: Sequence[Map], order: Sequence[Block]) -> tuple[Joined, list[Copied]]:
    """The map of a concatenation along channels.

    A part whose channels fill whole vectors is from now on written into the new map at once, and
    whoever else reads it reads it there. So is an earlier concatenation of the first parts, as in
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


def fuse_separable(order: list[Block], wanted: Collection[int]) -> None:
    """Put depthwise convolutions into the only pointwise one that reads them.

    Args:
        order: the blocks; changed in place.
        wanted: by id, the maps that are read outside.
    """
    readers: dict[int, list[Block]] = {}
    for block in order:
        for source in block.sources:
            readers.setdefault(id(source), []).append(block)
    for block in list(order):
        mine = readers.get(id(block.target), [])
        if len(mine) != 1 or id(block.target) in wanted or not isinstance(block, Convolution):
            continue
        last = mine[0]
        if not (isinstance(last, Convolution) and _fits(block, last)):
            continue
        fused = replace(
            block,
            name=last.name,
            sources=[block.sources[0], *last.sources[1:]],
            target=last.target,
            layers=block.layers + last.layers,
            weight=last.weight,
            bias=last.bias,
            groups=1,
            depthwise=(block.weight, block.bias),
            middle=block.activation,
            activation=last.activation,
            residual=last.residual,
            final=last.final,
        )
        order[order.index(last)] = fused
        order.remove(block)
        for source in fused.sources:
            readers[id(source)] = [fused if b in (block, last) else b for b in readers[id(source)]]


def _fits(block: Convolution, last: Convolution) -> bool:
    assert block.target is not None
    return (
        block.spread
        and block.depthwise is None
        and block.residual is None
        and block.target.parent is None
        and last.kind == "pointwise"
        and not isinstance(last, Transposed)
        and last.sources[0] is block.target
        and all(window.stride == 1 and not any(window.padding) for window in last.windows)
        and not (isinstance(block, Transposed) and last.residual is not None)
    )
