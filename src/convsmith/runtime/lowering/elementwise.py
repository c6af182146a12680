"""Arithmetic of two maps, or of a map and constants: sums, products, a number for each channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from torch import Tensor

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.rows import COMBINATIONS, Combine
from convsmith.network import Layer
from convsmith.runtime.lowering.activation import ACTIVATION
from convsmith.runtime.lowering.block import Array, Block
from convsmith.runtime.lowering.convolution import Convolution, affine, scaled
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map
from convsmith.runtime.lowering.scaled import Scaled
from convsmith.runtime.lowering.transposed import Transposed

__all__ = ["ELEMENTWISE", "Combined"]


@dataclass(eq=False)
class Combined(Block):
    """The values of two maps, of which the second may have one channel for all.

    Attributes:
        operation: what is made of the two.
        residual: the second, which is read as one to be added is.
    """

    operation: str = "mul"
    residual: Map | None = None

    narrows = True

    @property
    def label(self) -> str:
        """What a profile calls its kernel."""
        return "product" if self.operation == "mul" else self.operation

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        first, second = self.sources
        return Combine(self.operation, second.channels == 1 < first.channels)


def _refuse(layer: Layer, weights: Weights) -> str:
    shapes = [operand.shape for operand in layer.operands]
    name, settings = layer.operation.name, layer.operation.settings
    if len(layer.inputs) == 1 and not ACTIVATION.refuse(layer, weights):
        return ""
    if len(layer.inputs) == 1:
        return _refuse_constant(layer, weights.get(layer.name, {}))
    if len(layer.inputs) != len(shapes) or len(shapes) != 2:
        return f"{name} with a constant"
    if any(len(shape) != 4 for shape in shapes):
        return f"{name} with other than a map"
    if name in ("add", "sub") and settings.get("alpha", 1) == 1:
        return "" if shapes[0] == shapes[1] else f"{name} that broadcasts"
    if name == "mul" and shapes[0][0] == shapes[1][0]:
        small, large = sorted(shapes, key=prod)
        if small[1] == large[1] and small[2:] in (large[2:], (1, 1)):
            return ""
        if small[1] == 1 and small[2:] == large[2:]:
            return ""
    elif name in COMBINATIONS and shapes[0] == shapes[1] and not settings.get("rounding_mode"):
        return ""
    return f"no kernel for {name}"


def _lower(draft: Draft, layer: Layer) -> None:
    name, inputs = layer.operation.name, layer.inputs
    if len(inputs) == 1 and not ACTIVATION.refuse(layer, draft.weights):
        ACTIVATION.lower(draft, layer)
    elif len(inputs) == 1:
        scale, shift = _constants(layer, draft.weights.get(layer.name, {}))
        affine(draft, layer, inputs[0], scale, shift)
    elif name == "sub":
        block = scaled(draft, layer, inputs[1], -1.0)
        _add(block, draft.map(inputs[0]))
    elif name == "add":
        _sum(draft, layer)
    elif name != "mul":
        _combined(draft, layer, *inputs)
    else:
        small, large = sorted(inputs, key=lambda source: prod(draft.network[source].shape))
        pixels, others = (draft.network[source].shape[2:] for source in (small, large))
        (_scaled if pixels == (1, 1) != others else _combined)(draft, layer, large, small)


def _combined(draft: Draft, layer: Layer, value: str, other: str) -> None:
    sources = [draft.map(value), draft.map(other)]
    target = Map(layer.name, layer.shape[1], pixel=sources[0].pixel)
    name = layer.operation.name
    block = Combined(layer.name, sources, target, operation=name, residual=sources[1])
    draft.place(block, layer.name)


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


def _scaled(draft: Draft, layer: Layer, value: str, gate: str) -> None:
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
            _add(block, draft.map(other))
            draft.extend(layer, block)
            return
    _add(scaled(draft, layer, order[0]), draft.map(order[1]))


def _add(block: Convolution | Scaled, other: Map) -> None:
    block.residual = other
    block.sources.append(other)


ELEMENTWISE = Lowering(_refuse, _lower)
