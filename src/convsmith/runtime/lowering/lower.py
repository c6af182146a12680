"""From the layers of a region to its blocks."""

from __future__ import annotations

from collections.abc import Collection

from convsmith.network import Network
from convsmith.runtime.lowering.block import Block, Output
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Weights
from convsmith.runtime.lowering.narrowing import narrow
from convsmith.runtime.lowering.separable import fuse_separable
from convsmith.runtime.lowering.table import lowering_of
from convsmith.runtime.lowering.winograd import transform
from convsmith.runtime.precision import FLOAT32, Precision

__all__ = ["lower"]


def lower(
    network: Network,
    inside: Collection[str],
    outputs: Collection[str],
    weights: Weights,
    precision: Precision = FLOAT32,
) -> list[Block]:
    """The blocks of a region; batch norm, activations and additions are folded in.

    Args:
        network: the network.
        inside: the names of the region's layers; `refusal` has nothing against any.
        outputs: those whose values are used outside.
        weights: their parameters.
        precision: what is computed with.
    """
    draft = Draft(network, inside, outputs, weights)
    for layer in network:
        if layer.name in draft.inside:
            for source in layer.inputs:
                if source not in draft.made:
                    draft.input(source)
            lowering = lowering_of(layer)
            assert lowering is not None
            lowering.lower(draft, layer)
    blocks = [block for block in draft.order if not block.virtual]
    maps = {name: draft.map(name) for name in draft.outputs}
    fuse_separable(blocks, {id(part) for source in maps.values() for part in source.chain})
    blocks += [Output(name, [source], None) for name, source in maps.items()]
    _widen(blocks)
    narrow(blocks, precision)
    if precision.winograd:
        transform(blocks)
    return blocks


def _widen(blocks: list[Block]) -> None:
    """Make room around each map for the padding that its readers look for."""
    for block in (block for block in blocks if block.sources):
        block.sources[0].widen(*block.margins)
        if block.border and any(map(any, block.margins)):
            block.sources[0].fill = block.border
