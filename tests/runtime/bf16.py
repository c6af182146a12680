"""What a network compiled with `precision="bf16"` has to give: its blocks in float64 with the
roundings of the kernels, as an interval for each value.

Float64 and float32 sums differ by some units in the last place of float32, so that a value close
to the middle between two numbers of bf16 may be rounded to either. The interval says which values
are so: nearly all have but one number that is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from convsmith.runtime.execution.region import Region
from convsmith.runtime.lowering.adaptive import AdaptivePool
from convsmith.runtime.lowering.block import Block, Input, Output
from convsmith.runtime.lowering.channels import Shuffled, WindowedChannels
from convsmith.runtime.lowering.concat import Copied
from convsmith.runtime.lowering.convolution import Convolution
from convsmith.runtime.lowering.elementwise import Combined
from convsmith.runtime.lowering.maps import Map
from convsmith.runtime.lowering.mean import (
    ChannelTotal,
    Largest,
    LargestChannel,
    LargestPlace,
    Mean,
)
from convsmith.runtime.lowering.norm import Factor, Normalised, NormalisedPixels, Responses
from convsmith.runtime.lowering.pad import Bordered
from convsmith.runtime.lowering.pixels import InChannels, InPixels
from convsmith.runtime.lowering.pool import AveragePool, LargestPool
from convsmith.runtime.lowering.resample import Upsampled
from convsmith.runtime.lowering.scaled import Scaled
from convsmith.runtime.lowering.softmax import Shares
from convsmith.runtime.lowering.strided import EveryFew
from convsmith.runtime.lowering.transposed import Transposed
from tests.kernels.reference import activated

CHECKED = Counter[str]()
"""Regions and values that `check` has looked at, and how many of these may be either of two."""

EPSILON = torch.finfo(torch.float32).eps
_REACH = 1.2
"""How much further an activation reaches within an error than at its ends, at most."""


class Interval(NamedTuple):
    """Values, and how far from them a right result may be."""

    value: Tensor
    error: Tensor


def to_bf16(value: Tensor) -> Tensor:
    """The nearest numbers of bf16, of two the even one, in float64.

    Without a way through float32, which could round twice: 8 bits of the mantissa are left.
    """
    mantissa, exponent = torch.frexp(value)
    # torch.round takes the even one of two that are as near; below 2^-126 steps are equal.
    steps = torch.clamp(8 - exponent, max=133)
    near = torch.ldexp(torch.round(torch.ldexp(mantissa, steps + exponent)), -steps)
    near = torch.where(near.abs() > torch.finfo(torch.bfloat16).max, near * torch.inf, near)
    return torch.where(value.isfinite(), near, value)


def rounded(given: Interval) -> Interval:
    """What is stored as bf16."""
    value, error = given
    near = to_bf16(value)
    low, high = to_bf16(value - error), to_bf16(value + error)
    return Interval(near, torch.maximum((near - low).abs(), (high - near).abs()))


def expected(region: Region, *images: Tensor) -> list[Interval]:
    """The outputs of a region, each an interval around the right value."""
    return _Run(region).outputs(images)


class _Run:
    def __init__(self, region: Region) -> None:
        self.region, self.maps = region, dict[int, Interval]()

    def outputs(self, images: tuple[Tensor, ...]) -> list[Interval]:
        given, results = iter(images), []
        for block in self.region.blocks:
            if isinstance(block, Output):
                results.append(self.read(block.sources[0]))
                continue
            if isinstance(block, Input):
                image = next(given).double()
                image = image.mT[None, :, None] if block.vectors else image
                found = Interval(image, 0 * image)
            else:
                found = self.compute(block)
            assert block.target is not None
            self.write(block.target, found)
        return results

    def read(self, source: Map) -> Interval:
        """The channels of a map, which may lie in another."""
        part = slice(source.start, source.start + source.channels)
        value, error = self.maps[id(source.root)]
        return Interval(value[:, part], error[:, part])

    def write(self, target: Map, found: Interval) -> None:
        """Into the map, rounded where it is bf16."""
        root = target.root
        found = rounded(found) if root.narrow else found
        if target is root:
            self.maps[id(root)] = found
            return
        if id(root) not in self.maps:
            shape = (len(found.value), root.channels, *found.value.shape[2:])
            self.maps[id(root)] = Interval(*(found.value.new_zeros(shape) for _ in range(2)))
        part = slice(target.start, target.start + target.channels)
        for whole, own in zip(self.maps[id(root)], found, strict=True):
            whole[:, part] = own

    def compute(self, block: Block) -> Interval:
        """What a block gives before it is stored."""
        x = self.read(block.sources[0])
        if isinstance(block, Convolution):
            return self.convolution(block, x)
        if isinstance(block, NormalisedPixels):
            return _normalised(block, x)
        if isinstance(block, Normalised):
            factor, middle = map(self.read, block.gates)
            apart = Interval(x.value - middle.value, x.error + middle.error)
            apart = _blurred(apart, x.value.abs() + middle.value.abs())
            value, error = _product(apart, factor)
            bias = torch.from_numpy(block.bias).float().double()[:, None, None]
            return self.ended(block, _blurred(Interval(value + bias, error), value.abs()))
        if isinstance(block, Responses):
            return _responses(block, x)
        if isinstance(block, Factor):
            weight = torch.from_numpy(block.weight).double()[:, None, None]
            root = (x.value + block.eps).rsqrt()
            error = weight.abs() * root**3 * x.error
            return _blurred(Interval(weight * root, error), (weight * root).abs())
        if isinstance(block, WindowedChannels):
            return _windowed(block, x)
        if isinstance(block, Scaled):
            return self.ended(block, _product(x, self.read(block.sources[1])))
        if isinstance(block, Combined):
            both = [x, self.read(block.sources[1])]
            return _combined(block.operation, *(both[::-1] if block.turned else both))
        if isinstance(block, Shares):
            return _shares(block, x)
        if isinstance(block, ChannelTotal):
            if block.centred:
                middle = Interval(*(v.mean(1, keepdim=True) for v in x))
                apart = Interval(x.value - middle.value, x.error + middle.error)
                sizes = x.value.abs().amax(1, keepdim=True)
                apart = _blurred(apart, sizes * (1 + x.value.shape[1] ** 0.5))
                found = _total(_product(apart, apart), 1, block.factor, False)
                return _root(found) if block.length else found
            return _total(x, 1, block.factor, block.length)
        if isinstance(block, InPixels):
            return Interval(*(F.pixel_shuffle(v, block.factor) for v in x))
        if isinstance(block, InChannels):
            return Interval(*(F.pixel_unshuffle(v, block.windows[0].kernel) for v in x))
        if isinstance(block, LargestPlace):
            place = x.value.argmax(1, keepdim=True).double()
            second = x.value.topk(min(2, x.value.shape[1]), 1).values
            near = second[:, :1] - second[:, -1:] <= 2 * x.error.amax(1, keepdim=True)
            return Interval(place, near * float(x.value.shape[1]))
        if isinstance(block, LargestChannel):
            return _largest(x, 1, block.least)
        if isinstance(block, Largest):
            return _largest(x, 3 if block.of_rows else 2, block.least)
        if isinstance(block, Mean):
            dims = 3 if block.of_rows else 2
            if block.gates:
                middle = self.read(block.gates[0])
                apart = Interval(x.value - middle.value, x.error + middle.error)
                x = _product(apart, _blurred(apart, x.value.abs()))
            if block.total or block.length:
                length = block.length and not block.of_rows
                squares = block.length and block.of_rows and not block.gates
                if block.whole is not None and not block.of_rows:
                    count = self.read(block.whole).value[0, 0].numel()
                    found = _total(x, dims, 1 / (count - block.lost), False)
                    return _root(found) if length else found
                found = _total(_product(x, x) if squares else x, dims, 1.0, False)
                return _root(found) if length else found
            return _blurred(Interval(*(v.mean(dims, keepdim=True) for v in x)), x.value.abs().max())
        if isinstance(block, Shuffled):
            return Interval(*(F.channel_shuffle(v, block.groups) for v in x))
        if isinstance(block, Copied):
            return Interval(*(F.pad(v, _pads(block)) for v in x))
        if isinstance(block, EveryFew):
            ends = [slice(s.low, -s.high or None, s.step) for s in block.strides]
            return Interval(*(v[:, :, ends[0], ends[1]] for v in x))
        if isinstance(block, AdaptivePool):
            if block.largest:
                return Interval(*(F.adaptive_max_pool2d(v, block.output) for v in x))
            means = [F.adaptive_avg_pool2d(v, block.output) for v in (*x, x.value.abs())]
            return Interval(means[0], means[1] + 16 * EPSILON * means[2])
        if isinstance(block, Bordered):
            (top, bottom), (left, right) = block.sides
            sides, constant = (left, right, top, bottom), block.constant
            if block.mode != "constant":
                return Interval(*(F.pad(v, sides, block.mode) for v in x))
            return Interval(F.pad(x.value, sides, value=constant), F.pad(x.error, sides))
        if isinstance(block, Upsampled):
            return self.upsampled(block, x)
        rows, columns = block.windows
        if isinstance(block, LargestPool):
            low = F.pad(x.value, _pads(block), value=-torch.inf)
            most = F.max_pool2d(
                low, (rows.kernel, columns.kernel), (rows.stride, columns.stride), 0,
                (rows.dilation, columns.dilation),
            )  # fmt: skip
            # No value is further from its own than the furthest of the window is.
            error = F.max_pool2d(
                F.pad(x.error, _pads(block)), (rows.kernel, columns.kernel),
                (rows.stride, columns.stride), 0, (rows.dilation, columns.dilation),
            )  # fmt: skip
            return Interval(most, error)
        assert isinstance(block, AveragePool), block
        one = torch.ones(1, 1, *x.value.shape[2:], dtype=torch.float64)
        sums = [self.window_sum(block, v) for v in (*x, x.value.abs())]
        count = self.window_sum(block, one)
        return Interval(sums[0] / count, (sums[1] + 16 * EPSILON * sums[2]) / count)

    @staticmethod
    def window_sum(block: Block, value: Tensor) -> Tensor:
        rows, columns = block.windows
        ones = torch.ones(value.shape[1], 1, rows.kernel, columns.kernel, dtype=torch.float64)
        padded = F.pad(value, _pads(block))
        return F.conv2d(padded, ones, None, (rows.stride, columns.stride), groups=value.shape[1])

    def convolution(self, block: Convolution, x: Interval) -> Interval:
        weight, groups = block.weight, block.groups
        if block.depthwise is not None:
            first, bias = block.depthwise
            multiplier = len(first) // x.value.shape[1]
            between = _convolved(block, x, first, bias, x.value.shape[1], products=False)
            between = _activated(block.middle, between, block.first_slope)
            if block.products:
                between = rounded(between)
            assert multiplier == block.multiplier
            plain = _convolved(None, between, weight, block.bias, 1, products=block.products)
            return self.ended(block, plain)
        return self.ended(
            block, _convolved(block, x, weight, block.bias, groups, products=block.products)
        )

    def ended(self, block: Any, found: Interval) -> Interval:
        """Activation, residual, activation."""
        found = _activated(block.activation, found, block.slope)
        if block.residual is None:
            return found
        other = self.read(block.residual)
        total = Interval(found.value + other.value, found.error + other.error)
        return _activated(block.final, _blurred(total, total.value.abs()), block.slope)

    @staticmethod
    def upsampled(block: Upsampled, x: Interval) -> Interval:
        size = block.size((x.value.shape[2], x.value.shape[3]))
        mode, _, corners = block.mode.partition(":")
        options: dict[str, Any] = {"mode": mode}
        if not mode.startswith("nearest"):
            options["align_corners"] = bool(corners)
        scales = {"size": size} if block.output is not None else {"scale_factor": block.factors}
        found = Interval(*(F.interpolate(v, **scales, **options) for v in x))
        if mode == "bicubic":  # some of its weights are below 0; their sizes add up to less than 2
            found = Interval(found.value, 0 * found.value + 2 * x.error.max())
            return _blurred(found, 8 * x.value.abs().max())
        return found if mode != "bilinear" else _blurred(found, 8 * x.value.abs().max())


def _convolved(
    block: Convolution | None,
    x: Interval,
    weight: np.ndarray[Any, Any],
    bias: np.ndarray[Any, Any],
    groups: int,
    products: bool,
) -> Interval:
    """A sum over windows; of one pixel where there is no block."""
    w = torch.from_numpy(np.ascontiguousarray(weight)).float()
    # Weights are float32 before they become bf16.
    w = (w.bfloat16() if products else w).double()
    b = torch.from_numpy(np.ascontiguousarray(bias, np.float64)).float().double()
    terms = w[0].numel()

    def summed(value: Tensor, weight: Tensor) -> Tensor:
        if block is None:
            return F.conv2d(value, weight)
        rows, columns = block.windows
        stride, dilation = (rows.stride, columns.stride), (rows.dilation, columns.dilation)
        if isinstance(block, Transposed):
            outs, ins = weight.shape[:2]
            split = weight.reshape(groups, outs // groups, ins, *weight.shape[2:]).swapaxes(1, 2)
            given = split.reshape(groups * ins, outs // groups, *weight.shape[2:])
            full = F.conv_transpose2d(value, given, None, stride, 0, 0, groups, dilation)
            (top, _), (left, _) = rows.padding, columns.padding
            height, width = block.size((value.shape[2], value.shape[3]))
            more = F.pad(full, (0, max(0, left + width), 0, max(0, top + height)))
            return more[:, :, top : top + height, left : left + width]
        own = min(groups, value.shape[1])  # one channel has more than one by name alone
        return F.conv2d(F.pad(value, _pads(block)), weight, None, stride, 0, dilation, own)

    value, sizes = summed(x.value, w), summed(x.value.abs(), w.abs())
    # A sum of so many terms, rounded at each, is wrong by the root of their number at most.
    blur = (4 + terms**0.5) * EPSILON * (sizes + b.abs()[:, None, None])
    return Interval(value + b[:, None, None], summed(x.error, w.abs()) + blur)


def _normalised(block: NormalisedPixels, x: Interval) -> Interval:
    weight, bias = (
        torch.from_numpy(v).float().double()[:, None, None] for v in (block.weight, block.bias)
    )
    middle = x.value.mean(1, keepdim=True) * block.centred
    root = ((x.value - middle).square().mean(1, keepdim=True) + block.eps).rsqrt()
    value = (x.value - middle) * root * weight + bias
    # What is off by e moves the mean by e at most, and the deviation by as much.
    most = x.error.amax(1, keepdim=True) + 8 * EPSILON * x.value.abs().amax(1, keepdim=True)
    error = weight.abs() * root * most * (2 + (x.value - middle).abs() * root)
    return _blurred(Interval(value, error), value.abs() + bias.abs())


def _largest(x: Interval, dim: int, least: bool) -> Interval:
    value = x.value.amin(dim, keepdim=True) if least else x.value.amax(dim, keepdim=True)
    return Interval(value, x.error.amax(dim, keepdim=True))


def _total(x: Interval, dim: int, factor: float, length: bool) -> Interval:
    """A sum of values, or the root of that of their squares."""
    x = _product(x, x) if length else x
    sums = [factor * v.sum(dim, keepdim=True) for v in (*x, x.value.abs())]
    blur = (4 + x.value.shape[dim] ** 0.5) * EPSILON * sums[2]
    found = Interval(sums[0], sums[1] + blur)
    return _root(found) if length else found


def _root(x: Interval) -> Interval:
    value = x.value.sqrt()
    return _blurred(Interval(value, value - (x.value - x.error).clamp(min=0).sqrt()), value)


def _shares(block: Shares, x: Interval) -> Interval:
    # Nothing is off by more than the largest of its exponents is, twice.
    value = F.log_softmax(x.value, 1)
    size = 8 * EPSILON * (1 + x.value.abs().amax(1, keepdim=True))
    error = (2 * x.error.amax(1, keepdim=True) + size).expand_as(value)
    if block.logarithm:
        return _blurred(Interval(value, error), value.abs())
    return Interval(value.exp(), value.exp() * error.expm1())


def _responses(block: Responses, x: Interval) -> Interval:
    given = block.beside, block.factor, block.exponent, block.constant
    value = F.local_response_norm(x.value, *given)
    low, high = ((x.value.abs() + s * x.error).clamp(min=0) for s in (-1, 1))

    def power(sizes: Tensor) -> Tensor:
        return torch.ones_like(sizes) / F.local_response_norm(sizes, *given) * sizes

    # The divisor grows with every size, and the quotient with its own.
    small, large = power(low.clamp(min=1e-30)), power(high.clamp(min=1e-30))
    ends = [high / small, low / large]
    error = torch.stack([(end - value.abs()).abs() for end in ends]).amax(0)
    return _blurred(Interval(value, error), value.abs())


def _windowed(block: WindowedChannels, x: Interval) -> Interval:
    weight = torch.from_numpy(block.weight).float().double()[None, None]

    def summed(value: Tensor, taps: Tensor) -> Tensor:
        flat = value.movedim(1, -1).reshape(-1, 1, value.shape[1])
        found = F.conv1d(flat, taps, padding=taps.shape[2] // 2)
        return found.reshape(*value.movedim(1, -1).shape).movedim(-1, 1)

    value = summed(x.value, weight) + block.bias
    return _blurred(Interval(value, summed(x.error, weight.abs())),
                    summed(x.value.abs(), weight.abs()) + abs(block.bias))  # fmt: skip


def _activated(name: str, x: Interval, slope: Any) -> Interval:
    if name == "identity":
        return x
    slope = None if slope is None else torch.from_numpy(slope).float().double()
    value, *ends = (
        activated(name, v, slope) for v in (x.value, x.value - x.error, x.value + x.error)
    )
    # What is not linear may reach further between the ends; where they are not a number, anything.
    error = (
        torch.stack([_REACH * (end - value).abs() for end in ends]).amax(0).nan_to_num(torch.inf)
    )
    if name.split(":")[0] in ("relu", "relu6", "clamp", "hardtanh", "leaky_relu"):
        return Interval(value, error)
    return _blurred(Interval(value, error), value.abs() + x.value.abs())


def _product(x: Interval, y: Interval) -> Interval:
    value = x.value * y.value
    error = x.error * y.value.abs() + y.error * x.value.abs() + x.error * y.error
    return _blurred(Interval(value, error), value.abs())


def _combined(operation: str, x: Interval, y: Interval) -> Interval:
    if operation == "mul":
        return _product(x, y)
    value = getattr(torch, operation)(x.value, y.value)
    if operation in ("add", "sub"):
        return _blurred(Interval(value, x.error + y.error), value.abs())
    if operation != "div":
        return Interval(value, torch.maximum(x.error, y.error).expand_as(value))
    nearest = (y.value.abs() - y.error).clamp(min=0)
    return _blurred(Interval(value, (x.error + value.abs() * y.error) / nearest), value.abs())


def _blurred(x: Interval, size: Tensor) -> Interval:
    """With the error of some operations in float32 on numbers of a size."""
    return Interval(x.value, x.error + 8 * EPSILON * size)


def _pads(block: Block) -> tuple[int, int, int, int]:
    (top, bottom), (left, right) = (window.padding for window in block.windows)
    return left, right, top, bottom


@contextmanager
def every_region_checked() -> Iterator[list[Region]]:
    """Check what each region gives for what it is called with; those that were called."""
    called: list[Region] = []
    compute = Region.compute

    def checked(region: Region, tensors: Sequence[Tensor]) -> list[Tensor]:
        outputs = compute(region, tensors)
        if tensors[0].shape[0]:
            check(region, tuple(outputs), *tensors)
        called.append(region)
        return outputs

    with mock.patch.object(Region, "compute", checked):
        yield called


def check(region: Region, found: Any, *images: Tensor) -> None:
    """Require that each value lies in its interval."""
    outputs = found if isinstance(found, tuple) else (found,)
    CHECKED["regions"] += 1
    for mine, right, block in zip(outputs, expected(region, *images), region.outputs, strict=True):
        value, error = right
        CHECKED["values"] += value.numel()
        if block.sources[0].root.narrow:
            CHECKED["bf16"] += value.numel()
            CHECKED["either of two"] += int((error > 0).sum())
        if region.inputs[0].vectors:
            value, error = value[0, :, 0].mT, error[0, :, 0].mT
        assert mine.shape == value.shape
        wrong = (mine.double() - value).abs() > error + 2 * torch.finfo(torch.float32).tiny
        assert not wrong.any(), (
            f"{int(wrong.sum())} of {wrong.numel()} values, e.g. {mine[wrong][0].item()} "
            f"for {value[wrong][0].item()} ± {error[wrong][0].item()}"
        )
