"""What a network that kernels compute alone holds while the rows of an image stream through it."""

from __future__ import annotations

from collections.abc import Sequence

from convsmith.network import Network
from convsmith.runtime.execution.bands import plan
from convsmith.runtime.graph.capture import Capture
from convsmith.runtime.graph.partition import left_to_torch
from convsmith.runtime.graph.weights import LayerWeights
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.lower import lower
from convsmith.runtime.lowering.resample import Upsampled
from convsmith.runtime.precision import FLOAT32, Precision

__all__ = ["Rings"]


class Rings:
    """Bytes of the rings of a network, for parts of an image of any size.

    Args:
        blocks: of the network as one region.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = blocks
        self._known: dict[tuple[int, int, int], int] = {}

    @classmethod
    def of(cls, network: Network, precision: Precision = FLOAT32) -> Rings | None:
        """Those of a network of one image and one output; None where torch has a share in it.

        Args:
            network: at the size of any image.
            precision: what its kernels compute with: maps in bf16 take half as much.
        """
        if len(network.inputs) != 1 or len(network.outputs) != 1:
            return None
        left = left_to_torch(Capture(network, network.program))
        output = network.outputs[0]
        needed = {output, *(layer.name for layer in network.upstream(output))}
        inside = {name for name in needed if not _is_outside(network, name)}
        if not inside or not left.keys().isdisjoint(inside):
            return None
        blocks = lower(network, inside, [output], LayerWeights(network), precision)
        for block in blocks:
            if isinstance(block, Upsampled) and block.output is not None:
                before, after = (network[n].shape[2:] for n in (block.sources[0].name, block.name))
                rows, columns = (b / a for a, b in zip(before, after, strict=True))
                block.output, block.factors = None, (rows, columns)
        return cls(blocks)

    def nbytes(self, size: tuple[int, int], threads: int) -> int:
        """For a part of so many rows and pixels, and so many threads."""
        key = (*size, threads)
        if key not in self._known:
            self._known[key] = plan(self._blocks, [size], threads=threads).memory
        return self._known[key]


def _is_outside(network: Network, name: str) -> bool:
    return network[name].constant or network[name].kind == "input"
