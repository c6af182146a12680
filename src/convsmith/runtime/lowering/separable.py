"""A depthwise convolution and the pointwise one that reads it become one block."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.convolution import Convolution
from convsmith.runtime.lowering.transposed import Transposed

__all__ = ["fuse_separable"]


def fuse_separable(order: list[Block], outside: Collection[int]) -> None:
    """Put depthwise convolutions into the only pointwise one that reads them.

    Args:
        order: the blocks; changed in place.
        outside: by id, the maps that are read outside.
    """
    readers: dict[int, list[Block]] = {}
    for block in order:
        for source in block.sources:
            for part in source.chain:  # it may have been cut from what a block writes
                readers.setdefault(id(part), []).append(block)
    for block in list(order):
        following = readers.get(id(block.target), [])
        if len(following) != 1 or id(block.target) in outside or not isinstance(block, Convolution):
            continue
        last = following[0]
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
            first_slope=block.slope,
            activation=last.activation,
            slope=last.slope,
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
