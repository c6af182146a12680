"""Norms by statistics of the image itself: of each pixel, of groups of channels, of each one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from convsmith.kernels.isa import PIXELS, Isa, fit
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.norm import (
    RESPONSE_EXPONENTS,
    ChannelNorm,
    InverseDeviation,
    ResponseNorm,
)
from convsmith.network import Layer
from convsmith.runtime.lowering.batch_norm import BATCH_NORM
from convsmith.runtime.lowering.block import Array, Block
from convsmith.runtime.lowering.convolution import Convolution, padded
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import COMPUTED_WEIGHT, Lowering, Weights
from convsmith.runtime.lowering.maps import Map
from convsmith.runtime.lowering.mean import mean
from convsmith.runtime.lowering.scaled import Scaled

__all__ = ["NORM", "Factor", "Normalised", "NormalisedPixels", "Responses"]


@dataclass(eq=False)
class NormalisedPixels(Block):
    """The channels of each pixel by their own mean and variance, then scaled and shifted.

    Attributes:
        centred: whether the mean is subtracted; else it is 0, as in a root mean square.
    """

    weight: Array = field(default_factory=lambda: np.empty(0))
    bias: Array = field(default_factory=lambda: np.empty(0))
    eps: float = 0.0
    centred: bool = True

    narrows = True

    @property
    def label(self) -> str:
        """What a profile calls its kernel."""
        return "layer norm" if self.centred else "rms norm"

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel for rows of `width` pixels."""
        return ChannelNorm(fit(PIXELS, width), self.centred)

    def constants(self, isa: Isa) -> list[Array]:
        """What each channel is multiplied by, and what is added."""
        assert self.target is not None
        return [padded(values, self.target.pitch) for values in (self.weight, self.bias)]

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """The channels that count, and what is added to their variance."""
        return [self.sources[0].channels, self.eps, None, None]


@dataclass(eq=False)
class Responses(Block):
    """Each channel over a power of the squares of those beside it, as AlexNet has it.

    Attributes:
        beside: how many channels are summed.
        factor: of their mean; `exponent` and `constant`: of the power, and what is added before.
    """

    beside: int = 1
    factor: float = 1.0
    exponent: float = 1.0
    constant: float = 1.0

    label = "response norm"
    narrows = True

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return ResponseNorm(self.beside, repr(self.exponent))

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """The channels there are, the factor of a sum, and the constant."""
        return [self.sources[0].channels, self.factor / self.beside, self.constant]


@dataclass(eq=False)
class Factor(Block):
    """What each channel is multiplied by, from the one pixel of its variance."""

    weight: Array = field(default_factory=lambda: np.empty(0))
    eps: float = 0.0

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return InverseDeviation()

    def constants(self, isa: Isa) -> list[Array]:
        """What is divided."""
        assert self.target is not None
        return [padded(self.weight, self.target.pitch)]

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """What is added to the variance, and what is divided."""
        return [self.eps, None]


@dataclass(eq=False)
class Normalised(Scaled):
    """Each channel less a number of the image, times another one, and a constant added."""

    bias: Array = field(default_factory=lambda: np.empty(0))

    label = "norm"

    @property
    def gates(self) -> Sequence[Map]:
        """What each channel is multiplied by, and what is subtracted before."""
        return self.sources[1:3]

    def constants(self, isa: Isa) -> list[Array]:
        """What is added to each channel, and the slopes."""
        assert self.target is not None
        return [padded(self.bias, self.target.pitch), *super().constants(isa)]

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """What is added, and the slopes."""
        return [None, *super().settings(row, size)]


def _refuse(layer: Layer, weights: Weights) -> str:
    name = layer.operation.name
    if name == "channel_response_norm":
        exponent = layer.operation.settings["beta"]
        return "" if exponent in RESPONSE_EXPONENTS else f"no kernel for its exponent, {exponent}"
    if name not in (*_OF_PIXELS, "group_norm", "instance_norm"):
        return f"no kernel for {name}: its statistics are those of each image"
    given = len(layer.operands) - 1
    own = weights.get(layer.name, {})
    if len(own) != given:
        return COMPUTED_WEIGHT
    if _is_kept(layer):
        return BATCH_NORM.refuse(layer, weights)
    if not {*own} <= {"weight", "bias"}:
        return f"{name} whose statistics are to be kept"
    return ""


def _is_kept(layer: Layer) -> bool:
    """Whether it is an instance norm by statistics that were kept: in all but name a batch norm."""
    settings = layer.operation.settings
    return layer.operation.name == "instance_norm" and not settings.get("use_input_stats")


_OF_PIXELS = ("channel_norm", "channel_rms_norm")


def _lower(draft: Draft, layer: Layer) -> None:
    if _is_kept(layer):
        BATCH_NORM.lower(draft, layer)
        return
    if layer.operation.name == "channel_response_norm":
        _by_responses(draft, layer)
        return
    values = draft.parameters(layer) if layer.name in draft.weights else {}
    channels = layer.shape[1]
    weight = values.get("weight", np.ones(channels))
    bias = values.get("bias", np.zeros(channels))
    given = layer.operation.settings["eps"]
    eps = float(np.finfo(np.float32).eps if given is None else given)
    if layer.operation.name in _OF_PIXELS:
        source = draft.map(layer.inputs[0])
        target = Map(layer.name, channels, pixel=source.pixel)
        centred = layer.operation.name == "channel_norm"
        block = NormalisedPixels(
            layer.name, [source], target, weight=weight, bias=bias, eps=eps, centred=centred
        )
        draft.place(block, layer.name)
    else:
        groups = int(layer.operation.settings.get("num_groups", channels))
        _by_means(draft, layer, groups, weight, bias, eps)


def _by_responses(draft: Draft, layer: Layer) -> None:
    source, settings = draft.map(layer.inputs[0]), layer.operation.settings
    block = Responses(
        layer.name, [source], Map(layer.name, source.channels, pixel=source.pixel),
        beside=int(settings["size"]), factor=float(settings["alpha"]),
        exponent=float(settings["beta"]), constant=float(settings["k"]),
    )  # fmt: skip
    draft.place(block, layer.name)


def _by_means(
    draft: Draft, layer: Layer, groups: int, weight: Array, bias: Array, eps: float
) -> None:
    """Values of each group of channels by their mean and variance over the map.

    What each channel is multiplied by is computed of one pixel; the map is read three times.
    """
    name, source = layer.name, draft.map(layer.inputs[0])
    channels = source.channels
    share = np.repeat(np.eye(groups), channels // groups, axis=1)  # (groups, channels)

    def sums(what: str, value: Map, matrix: Array) -> Map:
        """Sums over the channels of one pixel."""
        target = Map(f"{name} {what}", len(matrix), pixel=True)
        kernel, none = matrix[:, :, None, None], np.zeros(len(matrix))
        draft.order.append(Convolution(target.name, [value], target, weight=kernel, bias=none))
        return target

    def over_groups(what: str, *maps: Map) -> Map:
        """The mean of each group, for each of its channels."""
        block = mean(draft, f"{name} {what}", *maps)
        draft.order.append(block)
        assert block.target is not None
        if groups == channels:
            return block.target
        together = sums(f"{what} of groups", block.target, share * groups / channels)
        return sums(f"{what} of channels", together, share.T)

    middle = over_groups("mean", source)
    variance = over_groups("variance", source, middle)
    factor = Map(f"{name} factor", channels, pixel=True)
    draft.order.append(Factor(factor.name, [variance], factor, weight=weight, eps=eps))
    target = Map(name, channels, pixel=source.pixel)
    draft.place(Normalised(name, [source, factor, middle], target, bias=bias), name)


NORM = Lowering(_refuse, _lower)
