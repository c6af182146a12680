"""Convolutions as blocks, with what is folded into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch

from convsmith.arithmetic import Conv, ConvTranspose, Window
from convsmith.kernels.blocked import Blocked
from convsmith.kernels.depthwise import Depthwise, Separable
from convsmith.kernels.grouped import Grouped
from convsmith.kernels.isa import Isa, channel_pitch, fit
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.pointwise import Dense, Pointwise
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Array
from convsmith.runtime.lowering.channels import lower_channel_convolution
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.ended import Ended
from convsmith.runtime.lowering.lowering import COMPUTED_WEIGHT, Lowering, Weights
from convsmith.runtime.lowering.maps import Map

__all__ = ["CONVOLUTION", "Convolution", "affine", "padded", "parameters", "scaled", "sums_by_tile"]


@dataclass(eq=False)
class Convolution(Ended):
    """A convolution, perhaps a depthwise one before it, and what follows on each value.

    Attributes:
        weight: (out, in / groups, rows, columns) of the (last) convolution.
        bias: one number per channel.
        depthwise: weight (channels · multiplier, 1, rows, columns) and bias of the depthwise
            convolution before it; the windows are then of that one.
        middle: the activation between the two.
        first_slope: for each channel between them the number that it takes, if any.
    """

    weight: Array = field(default_factory=lambda: np.empty(0))
    bias: Array = field(default_factory=lambda: np.empty(0))
    groups: int = 1
    depthwise: tuple[Array, Array] | None = None
    middle: str = "identity"
    first_slope: Array | None = None

    @property
    def kind(self) -> str:
        """Which kernel it needs."""
        if self.depthwise is not None:
            return "separable"
        if self.groups > 1:
            return "depthwise" if self.spread and self.multiplier == 1 else "grouped"
        if self.weight.shape[2:] == (1, 1):
            return "pointwise" if self.windows[0].stride == self.windows[1].stride else "dense"
        return "dense"

    @property
    def label(self) -> str:
        """What a profile calls its kernel."""
        return self.kind

    @property
    def spread(self) -> bool:
        """Whether it is a convolution of each channel by itself."""
        return self.groups > 1 and self.weight.shape[1] == 1

    @property
    def in_tiles(self) -> bool:
        """Whether it ends in sums over channels for tiles of outputs."""
        return self.kind in ("pointwise", "dense", "separable")

    @property
    def pairs(self) -> bool:
        """Whether its sums can multiply channels in pairs, with a gain.

        Their number is even, or made so by zeros; a group has vectors of its own, for by trial
        nothing is won where pairs of several groups have to be put together.
        """
        if self.kind != "grouped":
            return self.in_tiles and self.sources[0].even
        outputs = len(self.weight) // self.groups
        return self.weight.shape[1] % 2 == 0 and outputs % 8 == 0 and outputs > 8

    @property
    def multiplier(self) -> int:
        """Outputs of each channel in the depthwise convolution."""
        weight = self.weight if self.depthwise is None else self.depthwise[0]
        return len(weight) // self.sources[0].channels

    @property
    def part(self) -> int:
        """Inputs that are summed by themselves first, for the error; 0 for all in one go."""
        if self.products:  # the result is rounded to bf16: the error of a long sum is nothing to it
            return 0
        inputs, (rows, columns) = self.sources[0].channels, (w.kernel for w in self.windows)
        if self.kind == "grouped":
            return _part(self.weight.shape[1], rows * columns, columns)
        if self.kind != "dense":
            # Other libraries spread the sum of a single pixel over the lanes of vectors.
            longest = 32 if self.sources[0].pixel else _LONG
            return _part(inputs, self.multiplier if self.depthwise else 1, longest=longest)
        # Each tap is a part; that is worth its while from a few inputs.
        if inputs < 4 or (inputs < 32 and inputs * rows * columns < 96):
            return 0
        return _part(inputs) or inputs

    @property
    def heavy(self) -> bool:
        """Whether its weights are too many for the second cache, beside the maps.

        They then come from the third one, at half the speed on some processors, unless they are
        used for many pixels at once. Beside numbers of bf16 that is not done.
        """
        if self.numbers.word or self.kind not in ("pointwise", "dense"):
            return False
        return 4 * self.weight.size >= _HEAVY and (self.kind == "pointwise" or self.part > 0)

    @property
    def dilation(self) -> tuple[int, int]:
        """Of rows and columns."""
        return self.windows[0].dilation, self.windows[1].dilation

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel for rows of `width` pixels."""
        epilogue = self.epilogue
        taps = (self.windows[0].kernel, self.windows[1].kernel)
        stride = (self.windows[0].stride, self.windows[1].stride)
        dilated = self.dilation != (1, 1)
        if self.kind == "depthwise":
            strip, pixels = 0, fit(_FEW, width)
            if prod(taps) >= 49:
                pixels = isa.strip(width)
            if prod(taps) > 49 and not dilated:
                strip, pixels = _strips(isa, width)
            words = self._words(isa)
            return Depthwise(pixels, taps, stride, dilated, epilogue, strip, words)
        if self.kind == "grouped":
            inputs, outputs = self.weight.shape[1], len(self.weight) // self.groups
            # With a stride a wide tile reads more pixels than stay close.
            pixels = isa.strip(width if stride[1] == 1 else min(width, 7))
            return Grouped(inputs, outputs, pixels, taps, stride, dilated, epilogue, self.part)
        assert self.target is not None
        tile = self._tile(isa)
        pixels, panel = isa.pixels(tile, width), self._panel(isa)
        part = self.part
        unroll = 2 - (part or self.sources[0].channels) % 2
        if self.kind == "separable":
            if self.products:
                # Twice as many sums of the depthwise part, of words, are kept at once; by trial up
                # to a quarter quicker than with longer tiles, and nowhere slower.
                pixels = fit(_FEW, width)
            return Separable(
                tile, pixels, taps, stride, dilated, self.middle, unroll, epilogue,
                self.multiplier, part > 0, self._words(isa), self._together(isa),
                panel=panel,
            )  # fmt: skip
        if self.kind == "pointwise":
            return Pointwise(tile, pixels, unroll, epilogue, part > 0, self.heavy, panel=panel)
        if self.heavy:
            return Blocked(tile, pixels, taps, stride, epilogue, panel=panel)
        return Dense(tile, pixels, taps, stride, epilogue, part > 0, panel=panel)

    @property
    def _room(self) -> int:
        """Channels that a depthwise kernel may take from its source; beyond them lie others."""
        source = self.sources[0]
        least = channel_pitch(source.channels)[0]
        return source.pitch if source.parent is None else min(source.pitch, least)

    def _tile(self, isa: Isa) -> int:
        """Outputs of a tile of sums over channels."""
        assert self.target is not None
        return 2 * isa.lanes if self._as_one(isa) else isa.tile(self.target.tile)

    def _panel(self, isa: Isa) -> int:
        """Outputs whose weights lie together."""
        assert self.target is not None
        return 2 * isa.lanes if self._as_one(isa) else isa.panel(self.target.tile)

    def _as_one(self, isa: Isa) -> bool:
        """Whether a tile of sums is rounded as one vector.

        By trial that is up to a tenth quicker where few channels are summed up, and nowhere slower;
        but not where the depthwise part counts, too.
        """
        assert self.target is not None
        target = self.target
        whole = target.pitch % (2 * isa.lanes) == 0
        return self.kind == "pointwise" and target.root.narrow and whole

    def _words(self, isa: Isa) -> int:
        """Pairs of channels that a depthwise kernel takes from words at once; 0 for none."""
        source, target, inputs = self.sources[0], self.target, self.sources[0].channels
        assert target is not None
        fused = self.depthwise is not None
        taps = self.windows[0].kernel * self.windows[1].kernel
        narrow = source.root.narrow and (self.products if fused else target.root.narrow)
        if not narrow or taps > _WORDS:
            return 0
        # Vectors of half the length reach beyond no pixel, for pitches are multiples of a block.
        room = self._room if fused else target.pitch
        needed = -(-inputs // (2 * isa.lanes)) * 2 * isa.lanes if fused else 2 * isa.lanes
        whole = needed <= room if fused else room % needed == 0
        return isa.lanes if whole else isa.lanes // 2

    def _together(self, isa: Isa) -> int:
        """Channels of a float32 map that the depthwise part computes and rounds at once, if any."""
        if not self.products or self.sources[0].root.narrow:
            return 0
        whole = 2 * isa.lanes
        return whole if -(-self.sources[0].channels // whole) * whole <= self._room else 0

    def constants(self, isa: Isa) -> list[Array]:
        """Weights as the kernel takes them."""
        assert self.target is not None
        pitch, tile = self.target.pitch, self._panel(isa)
        each = [values for values in (self.bias, self.slope) if values is not None]
        if self.kind == "depthwise":
            return _depthwise(self.weight, each, 1, pitch, self._words(isa))
        lines = [padded(values, pitch) for values in each]
        if self.kind == "grouped":
            weight = padded(self.weight.transpose(2, 3, 1, 0), pitch)
            return [_twos(weight) if self.products else weight, *lines]
        sums = _pairs if self.products else sums_by_tile
        if self.depthwise is None:
            return [sums(self.weight, pitch, tile), *lines]
        inputs, multiplier = self.sources[0].channels, self.multiplier
        weight = self.weight.reshape(len(self.weight), inputs, multiplier, 1)
        taps, bias = self.depthwise
        between = [values for values in (bias, self.first_slope) if values is not None]
        room = max(self._room, channel_pitch(inputs)[0])
        first = _depthwise(taps, between, multiplier, room, self._words(isa))
        return [*first, sums(weight, pitch, tile), *lines]

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """Numbers and weights."""
        rates, inputs = self.dilation, self.sources[0].channels
        inputs += inputs % 2 if self.products else 0
        own = [None] * (2 if self.slope is None else 3)  # weight, bias, slopes
        if self.groups > 1:
            return [*rates, *own]
        part = [self.part][: self.part > 0]
        if self.kind == "separable":
            first = [None] * (2 if self.first_slope is None else 3)
            return [*rates, *first, inputs, *part, *own]
        if self.kind == "pointwise":
            return [inputs, self.windows[0].stride, *part, *own]
        width = [self.size(size)[1]][: self.heavy]
        return [*width, inputs, *part, *rates, *own]

    def macs(self, size: tuple[int, int]) -> int:
        """Multiply-adds for an output of this size."""
        weights = self.weight.size + (self.depthwise[0].size if self.depthwise else 0)
        return weights * size[0] * size[1]


def _refuse(layer: Layer, weights: Weights) -> str:
    if layer.name not in weights:
        return COMPUTED_WEIGHT
    conv = layer.operation.arithmetic
    if layer.operation.name == "channel_convolution":
        return ""
    return "" if isinstance(conv, Conv) and conv.dims == 2 else "not a two-dimensional convolution"


def _lower(draft: Draft, layer: Layer) -> None:
    if layer.operation.name == "channel_convolution":
        lower_channel_convolution(draft, layer)
    else:
        draft.place(Convolution(**parameters(draft, layer)), layer.name)


CONVOLUTION = Lowering(_refuse, _lower)


def parameters(draft: Draft, layer: Layer) -> dict[str, Any]:
    """What a block of a convolution, or of a transposed one, is made from."""
    conv, values = layer.operation.arithmetic, draft.parameters(layer)
    assert isinstance(conv, (Conv, ConvTranspose))
    pads = draft.pads.get(layer.inputs[0], ((0, 0), (0, 0)))
    source, windows = draft.map(layer.inputs[0]), tuple(map(_wider, conv.windows, pads))
    pixel = source.pixel and all(window == Window(1, window.stride) for window in windows)
    return {
        "name": layer.name,
        "sources": [source],
        "target": Map(layer.name, conv.out_channels, pixel=pixel),
        "windows": windows,
        "weight": values["weight"],
        "bias": values.get("bias", np.zeros(conv.out_channels)),
        "groups": conv.groups,
    }


def affine(draft: Draft, layer: Layer, source: str, scale: Array, shift: Array) -> None:
    """A scale and a shift of each channel: in the convolution before, if nothing else reads it."""
    block = draft.made[source]
    if (
        isinstance(block, Convolution)
        and draft.alone(source)
        and block.activation == block.final == "identity"
        and block.residual is None
    ):
        block.weight = block.weight * scale.reshape(-1, 1, 1, 1)
        block.bias = block.bias * scale + shift
        draft.extend(layer, block)
    else:
        _pass(draft, layer, source, scale, shift)


def _pass(draft: Draft, layer: Layer, source: str, scale: Array, shift: Array) -> Convolution:
    """A scale and a shift of each channel: a depthwise convolution of one tap."""
    value = draft.map(source)
    block = Convolution(
        layer.name,
        [value],
        Map(layer.name, len(scale), pixel=value.pixel),
        weight=scale.reshape(-1, 1, 1, 1),
        bias=shift,
        groups=max(2, len(scale)),
    )
    draft.place(block, layer.name)
    return block


def scaled(draft: Draft, layer: Layer, source: str, scale: float = 1.0) -> Convolution:
    """The same values, or a multiple of them, for what is to be done with them."""
    ones = np.ones(layer.shape[1])
    return _pass(draft, layer, source, scale * ones, 0 * ones)


def _wider(window: Window, more: tuple[int, int]) -> Window:
    """A window with more padding at the two ends."""
    low, high = (a + b for a, b in zip(window.padding, more, strict=True))
    return Window(window.kernel, window.stride, (low, high), window.dilation)


_WORDS = 49
"""Taps of the largest window whose channels of bf16 are taken from words: it is unrolled."""

_FEW = (8, 7, 4, 2, 1)
"""Pixels of a tile of a small window, where what is loaded counts more than what is added."""


def _strips(isa: Isa, width: int) -> tuple[int, int]:
    """For a large window: pixels that are summed at once, and those of up to four such strips."""
    most = max(isa.strips)
    strips = [p for p in (16, 14, 12, 10, 8, 7, 6, 5, 4, 2, 1) if p <= most + 2]
    pixels = fit([p * n for p in strips for n in (1, 2, 3, 4)], width)
    return next((p, pixels) for p in strips if pixels % p == 0 and pixels <= 4 * p)


_HEAVY = 512 * 1024
"""Bytes of weights that share a second cache of 1 MiB with nothing else, by trial."""

_LONG = 256
"""Terms of a sum in one go whose error is like that of other libraries."""


def _part(inputs: int, each: int = 1, near: int = 1, longest: int = _LONG) -> int:
    """Of a long sum over inputs, how many are summed by themselves; 0 for all.

    Args:
        inputs: how many there are.
        each: terms of each in the whole sum.
        near: terms of each in a part.
        longest: terms that are summed in one go, if the inputs can be divided so.
    """
    if inputs * each <= longest:
        return 0
    parts = [n for n in range(-(-16 // near), _LONG // near + 1) if inputs % n == 0]
    return max((n for n in parts if n * near <= longest), default=min(parts, default=0))


def padded(values: Array, pitch: int) -> Array:
    """Zeros after the last axis, up to the pitch."""
    room = [(0, 0)] * (values.ndim - 1) + [(0, pitch - values.shape[-1])]
    return np.ascontiguousarray(np.pad(values, room), np.float32)


def sums_by_tile(weight: Array, pitch: int, tile: int) -> Array:
    """(out, in, rows, columns) to (tiles, rows, columns, in, outputs of a tile)."""
    out, inputs, rows, columns = weight.shape
    padded = np.zeros((pitch, inputs, rows, columns), np.float32)
    padded[:out] = weight
    split = padded.reshape(pitch // tile, tile, inputs, rows, columns)
    return np.ascontiguousarray(split.transpose(0, 3, 4, 2, 1)).reshape(-1, tile)


def _pairs(weight: Array, pitch: int, tile: int) -> Array:
    """The same in bf16, as bits: (tiles, rows, columns, in / 2, outputs of a tile, 2)."""
    weight = np.pad(weight, ((0, 0), (0, weight.shape[1] % 2), (0, 0), (0, 0)))
    lines = sums_by_tile(weight, pitch, tile).reshape(-1, 2, tile).swapaxes(1, 2)
    return bf16_bits(lines)


def _twos(weight: Array) -> Array:
    """(rows, columns, in, outputs) to bits of bf16 (rows, columns, in / 2, outputs · 2)."""
    rows, columns, inputs, outputs = weight.shape
    split = weight.reshape(rows, columns, inputs // 2, 2, outputs).swapaxes(-1, -2)
    return bf16_bits(split.reshape(rows, columns, inputs // 2, 2 * outputs))


def bf16_bits(values: Array) -> Array:
    """Float32 rounded to bf16, to the nearest, of two the even one; its bits."""
    narrow = torch.from_numpy(np.ascontiguousarray(values, np.float32)).bfloat16()
    return narrow.view(torch.int16).numpy().view(np.uint16)


def _depthwise(
    weight: Array, each: Sequence[Array], multiplier: int, pitch: int, words: int
) -> list[Array]:
    """(channels · multiplier, 1, rows, columns) to (multiplier, rows, columns, channels).

    So do the numbers of each channel, without rows and columns.
    """
    taps = weight.reshape(-1, multiplier, *weight.shape[2:]).transpose(1, 2, 3, 0)
    if words:  # whole groups, which are enough for all channels
        pitch = pitch // (2 * words) * (2 * words)
    arrays = [padded(taps, pitch), *(padded(v.reshape(-1, multiplier).T, pitch) for v in each)]
    return [_even_first(array, words) for array in arrays] if words else arrays


def _even_first(values: Array, words: int) -> Array:
    """Of so many pairs of channels, the even ones before the odd ones."""
    split = values.reshape(*values.shape[:-1], -1, words, 2)
    return np.ascontiguousarray(split.swapaxes(-1, -2)).reshape(values.shape)
