"""Arithmetic of two maps, or of a map and constants: sums, products, a number for each channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from convsmith.runtime.lowering.convolution import affine, scaled
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.ended import Ended
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map
from convsmith.runtime.lowering.scaled import Scaled
from convsmith.runtime.lowering.transposed import Transposed

__all__ = ["ELEMENTWISE", "Combined"]


@dataclass(eq=False)
class Combined(Block):
    """The values of two maps, of which the second may have one channel or one pixel for all.

    Attributes:
        operation: what is made of the two.
        residual: the second, which is read as one to be added is; None where it is one pixel.
        turned: whether the second comes first in the operation.
    """

    operation: str = "mul"
    residual: Map | None = None
    turned: bool = False

    narrows = True

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The same rows, or one pixel."""
        return (0, 1) if which and self.gates else (start, stop)

    @property
    def gates(self) -> Sequence[Map]:
        """The second map where it is one pixel."""
        return self.sources[1:] if self.residual is None else ()

    @property
    def label(self) -> str:
        """What a profile calls its kernel."""
        return "product" if self.operation == "mul" else self.operation

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        first, second = self.sources
        single = second.channels == 1 < first.channels
        return Combine(self.operation, single, bool(self.gates), self.turned)


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
    if name not in COMBINATIONS or settings.get("rounding_mode") or settings.get("alpha", 1) != 1:
        return f"no kernel for {name}"
    small, large = sorted(shapes, key=prod)
    fits = small[0] == large[0] and small[1] in (1, large[1]) and small[2:] in (large[2:], (1, 1))
    return "" if fits else f"{name} that broadcasts"


def _lower(draft: Draft, layer: Layer) -> None:
    name, inputs = layer.operation.name, layer.inputs
    if len(inputs) == 1 and not ACTIVATION.refuse(layer, draft.weights):
        ACTIVATION.lower(draft, layer)
    elif len(inputs) == 1:
        scale, shift = _constants(layer, draft.weights.get(layer.name, {}))
        affine(draft, layer, inputs[0], scale, shift)
    elif name in ("add", "sub") and _alike(draft, *inputs):
        if name == "add":
            _sum(draft, layer)
        else:
            scaled(draft, layer, inputs[1], -1.0).add(draft.map(inputs[0]))
    else:
        _combined(draft, layer)


def _alike(draft: Draft, *names: str) -> bool:
    return len({draft.network[name].shape for name in names}) == 1


def _combined(draft: Draft, layer: Layer) -> None:
    """A value of each of two maps, the smaller of which is repeated."""
    name, inputs = layer.operation.name, list(layer.inputs)
    shapes = [draft.network[source].shape for source in inputs]
    turned = prod(shapes[0]) < prod(shapes[1])
    if turned:
        inputs, shapes = inputs[::-1], shapes[::-1]
    value, other = map(draft.map, inputs)
    pixel = shapes[1][2:] == (1, 1) != shapes[0][2:]
    target = Map(layer.name, layer.shape[1], pixel=value.pixel)
    if name == "mul" and pixel and shapes[0][1] == shapes[1][1]:
        draft.place(Scaled(layer.name, [value, other], target), layer.name)
        return
    residual = None if pixel else other
    block = Combined(
        layer.name, [value, other], target, operation=name, residual=residual, turned=turned
    )
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
            and isinstance(block, Ended)
            and not isinstance(block, Transposed)
            and block.residual is None
            and block.final == "identity"
        ):
            block.add(draft.map(other))
            draft.extend(layer, block)
            return
    scaled(draft, layer, order[0]).add(draft.map(order[1]))


ELEMENTWISE = Lowering(_refuse, _lower)
