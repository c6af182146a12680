"""Arithmetic of two maps, or of a map and constants: sums, products, a number for each channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.pointwise import Epilogue
from convsmith.kernels.rows import Scale
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Array, Block
from convsmith.runtime.lowering.convolution import Convolution, affine, unchanged
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
    name, settings = layer.operation.name, layer.operation.settings
    if len(layer.inputs) == 1:
        return _refuse_constant(layer, weights.get(layer.name, {}))
    if len(layer.inputs) != len(shapes) or len(shapes) != 2:
        return f"{name} with a constant"
    if name == "add" and settings.get("alpha", 1) == 1:
        return "" if shapes[0] == shapes[1] else "an addition that broadcasts"
    if name == "mul" and shapes[0] != shapes[1]:
        gates = [s for s in shapes if s[2:] == (1, 1)]
        if len(gates) == 1 and shapes[0][:2] == shapes[1][:2]:
            return ""
    return f"no kernel for {name}"


def _lower(draft: Draft, layer: Layer) -> None:
    if len(layer.inputs) == 1:
        scale, shift = _constants(layer, draft.weights.get(layer.name, {}))
        affine(draft, layer, layer.inputs[0], scale, shift)
    elif layer.operation.name == "mul":
        _scaled(draft, layer)
    else:
        _sum(draft, layer)


def _refuse_constant(layer: Layer, weights: Mapping[str, Tensor]) -> str:
    """Why a layer of one map is no scale and shift of each channel; '' if it is."""
    name, settings = layer.operation.name, layer.operation.settings
    if name not in _AFFINE or settings.get("rounding_mode"):
        return f"no kernel for {name}"
    # A number that is computed is none of the settings.
    numbers = [settings.get(key) for key in _AFFINE[name] if key == "alpha" or not weights]
    if not all(type(number) in (int, float) for number in numbers):
        return f"{name} with what is computed"
    if name == "div" and "self" in weights:
        return "a division by the map"
    channels = layer.shape[1]
    for tensor in weights.values():
        shape = (1,) * (4 - tensor.dim()) + tuple(tensor.shape)
        if shape not in ((1, 1, 1, 1), (1, channels, 1, 1)):
            return f"{name} with other than a number for each channel"
    if all(operand.shape != layer.shape for operand in layer.operands):
        return f"a {name} that broadcasts the map"
    return ""


_AFFINE = {
    "add": ("other", "alpha"),
    "div": ("other",),
    "mul": ("other",),
    "neg": (),
    "rsub": ("other", "alpha"),
    "sub": ("other", "alpha"),
}
"""Operations on a map, and the numbers they take: `other`, which may be a tensor, `alpha` times."""


def _constants(layer: Layer, weights: Mapping[str, Tensor]) -> tuple[Array, Array]:
    """The scale and the shift of each channel."""
    settings, ones = layer.operation.settings, np.ones(layer.shape[1])
    given = next(iter(weights.values()), None)
    other: Array = ones * settings.get("other", 0.0)
    if given is not None:
        other = ones * given.detach().double().numpy().reshape(-1)
    name, alpha, turned = layer.operation.name, settings.get("alpha", 1), "self" in weights
    if name == "mul":
        return other, 0 * ones
    if name == "div":
        with np.errstate(divide="ignore"):
            return 1 / other, 0 * ones
    if name == "neg":
        return -ones, 0 * ones
    # One of the two is taken `alpha` times, with a sign: the second, or in `rsub` the first.
    factor = alpha if name == "add" else -alpha
    if turned != (name == "rsub"):
        return factor * ones, other
    return ones, factor * other


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
