"""Arithmetic of two maps: sums, and each channel times a number of the image."""

from __future__ import annotations

from dataclasses import dataclass

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.pointwise import Epilogue
from convsmith.kernels.rows import Scale
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.convolution import Convolution, unchanged
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map
from convsmith.runtime.lowering.transposed import Transposed

__all__ = ["ELEMENTWISE", "Scaled"]


@dataclass(eq=False)
class Scaled(Block):
    """Each channel times a number of the image, as squeeze-and-excite does."""

    residual: Map | None = None
    activation: str = "identity"
    final: str = "identity"

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The gate is one pixel; it lies in the second source."""
        return (0, 1) if which == 1 else (start, stop)

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return Scale(Epilogue(self.activation, self.residual is not None, self.final))


def _refuse(layer: Layer, weights: Weights) -> str:
    shapes = [operand.shape for operand in layer.operands]
    if len(layer.inputs) != len(shapes) or len(shapes) != 2:
        return f"{layer.operation.name} with a constant"
    if layer.operation.name == "add" and layer.operation.settings.get("alpha", 1) == 1:
        return "" if shapes[0] == shapes[1] else "an addition that broadcasts"
    if layer.operation.name == "mul" and shapes[0] != shapes[1]:
        gates = [s for s in shapes if s[2:] == (1, 1)]
        if len(gates) == 1 and shapes[0][:2] == shapes[1][:2]:
            return ""
    return f"no kernel for {layer.operation.name}"


def _lower(draft: Draft, layer: Layer) -> None:
    if layer.operation.name == "mul":
        _scaled(draft, layer)
    else:
        _sum(draft, layer)


def _scaled(draft: Draft, layer: Layer) -> None:
    value, gate = layer.inputs
    if draft.network[value].shape[2:] == (1, 1) != draft.network[gate].shape[2:]:
        value, gate = gate, value
    target = Map(layer.name, layer.shape[1])
    draft.place(Scaled(layer.name, [draft.map(value), draft.map(gate)], target), layer.name)


def _sum(draft: Draft, layer: Layer) -> None:
    first, second = layer.inputs if len(layer.inputs) == 2 else layer.inputs * 2
    order = sorted((first, second), key=lambda name: draft.order.index(draft.made[name]))
    for host, other in (order[::-1], order):
        block = draft.made[host] if host != other and draft.alone(host) else None
        ready = block is not None and (
            draft.order.index(draft.made[other]) < draft.order.index(block)
        )
        if (
            ready
            and isinstance(block, (Convolution, Scaled))
            and not isinstance(block, Transposed)
            and block.residual is None
            and block.final == "identity"
        ):
            block.residual = draft.map(other)
            block.sources.append(block.residual)
            draft.extend(layer, block)
            return
    block = unchanged(draft, layer, order[0])
    block.residual = draft.map(order[1])
    block.sources.append(block.residual)


ELEMENTWISE = Lowering(_refuse, _lower)
