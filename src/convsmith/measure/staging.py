# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""A traced network on a live stage: its longest chain of windows, with its own weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from convsmith.arithmetic import Chain, Conv, ConvTranspose, Pool
from convsmith.draw.live.activations import ACTIVATIONS
from convsmith.draw.live.photo import read_photo
from convsmith.draw.live.stage import Stage
from convsmith.draw.scenes.stage import CHANNELS, check_extent, stage
from convsmith.draw.scenes.values import default_image
from convsmith.errors import ArgumentError, ModelError
from convsmith.measure.receptive import local_field
from convsmith.network import Layer, Network
from convsmith.network.backward import image_dims, image_of
from convsmith.network.families import Trait, family_of
from convsmith.text import times

__all__ = ["network_stage"]

_Numbers = tuple[Tensor | None, Tensor | None]

_PATH = 22


@dataclass
class _Window:
    """A layer of the chain, and what its sums pass through before the next one."""

    layer: Layer
    arithmetic: Conv | ConvTranspose | Pool
    activation: str | None = None
    norm: Layer | None = None


@dataclass
class _Chain:
    """The longest chain from the image, and whether that is all there is of the network."""

    windows: list[_Window]
    omitted: list[str]
    branches: bool
    whole: bool


def network_stage(
    network: Network, *, image: str | None = None, language: str = "en", theme: str = "auto"
) -> Stage:
    """Put the longest chain of a network's convolutions and pools on a live stage.

    Weights are the network's, with batch norm folded into them; activations are computed. Where
    a map has more than 16 channels, or the whole would be too large, the first channels stand for
    all: the page says so, as it says what it leaves out.

    Args:
        network: traced, in the size that is to be seen.
        image: a photograph that becomes the input, as values from 0 to 1, and lies under it.
        language: `en` or `zh`, the one that the page opens in.
        theme: `auto`, `light` or `dark`.

    Raises:
        ArgumentError: a network without maps, or maps too large even with one channel.
        ModelError: no convolution or pool that the input reaches alone.
    """
    start = image_of(network)
    if not start:
        raise ArgumentError(f"{network.name} takes no maps: there is nothing to put on a stage")
    if image_dims(network) != tuple(range(2, len(network[start].shape))):
        raise ArgumentError(
            f"the image of {network.name} is {times(network[start].shape)}: a stage shows batch, "
            "channels and space, in this order"
        )
    _, channels, *size = network[start].shape
    chain = _longest(network, start)
    parts, shown = _fitting(network, chain.windows, channels, size)
    values, photo = None, None
    if image is not None:
        planes, photo = read_photo(image, size, channels)
        values = [
            [[round(pixel / 255, 3) for pixel in row] for row in plane]
            for plane in planes[: parts[0].channels]
        ]
    field = local_field(network, chain.windows[-1].layer.name)
    drawn = stage(
        [part.layer for part in parts],
        tuple(size),
        values=default_image((parts[0].channels, *size)) if values is None else values,
        weights=[part.weight for part in parts],
        biases=[part.bias for part in parts],
        title=network.name,
        language=language,
        theme=theme,
    )
    return replace(
        drawn,
        activations=tuple(window.activation for window in chain.windows),
        paths=tuple(_short(window.layer.name) for window in chain.windows),
        note=_note(chain, shown, times(field.size) if field else ""),
        photo=photo,
    )


# The chain


def _longest(network: Network, start: str) -> _Chain:
    """Of all ways from the image through maps, the one with most windows on it."""
    length: dict[str, int] = {start: 0}
    before: dict[str, str] = {}
    ends: list[str] = []
    dims = len(network[start].shape) - 2
    for layer in network:
        reached = [each for each in layer.inputs if each in length]
        if layer.name == start or not reached:
            continue
        window = _is_window(layer, dims)
        if not window and not any(_passes(network, layer, each) for each in reached):
            continue
        fitting = reached if window else [e for e in reached if _passes(network, layer, e)]
        # The operand of a window is its first; of a merge any branch may be the longest.
        source = fitting[0] if window else max(fitting, key=lambda each: length[each])
        before[layer.name], length[layer.name] = source, length[source] + window
        if window:
            ends.append(layer.name)
    if not ends:
        first = next((each for each in network if start in each.inputs), None)
        raise ModelError(
            f"{network.name} has no convolution or pool that its image reaches through maps alone"
            + (f": {first.name} is {first.operation}" if first else "")
        )
    last = max(ends, key=lambda name: length[name])
    return _read(network, start, last, before, length)


def _read(
    network: Network, start: str, last: str, before: dict[str, str], length: dict[str, int]
) -> _Chain:
    names = [last]
    while names[-1] != start:
        names.append(before[names[-1]])
    names.reverse()
    # What follows the last window belongs to it as long as it leaves the map as it is.
    while following := [
        each.name for each in network.consumers(names[-1]) if before.get(each.name) == names[-1]
    ]:
        names.append(following[0])
    on_it = set(names)
    windows: list[_Window] = []
    omitted: list[str] = []
    branches = False
    dims = len(network[start].shape) - 2
    for name in names[1:]:
        layer = network[name]
        reached = [each for each in layer.inputs if each in length]
        branches |= len(reached) > 1
        if _is_window(layer, dims):
            arithmetic = layer.operation.arithmetic
            assert isinstance(arithmetic, Conv | ConvTranspose | Pool)
            windows.append(_Window(layer, arithmetic))
        elif not _joined(windows, layer):
            omitted.append(layer.operation.label or layer.operation.name)
    whole = bool(set(network.outputs) & on_it)
    return _Chain(windows, list(dict.fromkeys(omitted)), branches, whole)


def _is_window(layer: Layer, dims: int) -> bool:
    arithmetic = layer.operation.arithmetic
    return isinstance(arithmetic, Conv | ConvTranspose | Pool) and arithmetic.dims == dims


def _passes(network: Network, layer: Layer, source: str) -> bool:
    """Whether a layer leaves the grid and the channels of a map as they are."""
    family = family_of(layer)
    alike = layer.shape == network[source].shape
    return alike and family.has(Trait.POINTWISE | Trait.STATISTICS)


def _joined(windows: list[_Window], layer: Layer) -> bool:
    """Whether a layer becomes part of the window before it, or does nothing."""
    if layer.kind == "identity" or family_of(layer).has(Trait.VIEW):
        return True
    if not windows:
        return False
    window = windows[-1]
    if layer.kind == "batch norm" and not layer.operation.settings.get("training"):
        if isinstance(window.arithmetic, Pool) or window.norm or window.activation:
            return False
        window.norm = layer
        return True
    name = _activation(layer)
    if name is None or window.activation:
        return False
    window.activation = name
    return True


def _activation(layer: Layer) -> str | None:
    """The name under which a stage computes an activation."""
    settings = layer.operation.settings
    name = layer.operation.name
    if name == "hardtanh" and (settings.get("min_val"), settings.get("max_val")) == (0, 6):
        name = "relu6"
    return name if layer.kind == "activation" and name in ACTIVATIONS else None


# The numbers


@dataclass
class _Part:
    """A window with the channels that are shown, and its numbers."""

    layer: Conv | ConvTranspose | Pool
    channels: int
    weight: Any
    bias: Any


def _fitting(
    network: Network, windows: Sequence[_Window], channels: int, size: Sequence[int]
) -> tuple[list[_Part], int | None]:
    """All channels where they fit, else as many of the first as do; their number, or None."""
    numbers = [_numbers(network, window) for window in windows]
    widest = max(channels, *(window.layer.shape[1] for window in windows))
    if widest <= CHANNELS:
        parts = _cut(windows, numbers, channels, widest)
        if parts and (widest == 1 or _fits(parts, size)):
            return parts, None
    for most in (16, 8, 4, 3, 2, 1):
        parts = _cut(windows, numbers, min(channels, most), most) if most < widest else None
        if parts and (most == 1 or _fits(parts, size)):
            return parts, most
    raise ModelError(f"{network.name}: its channels cannot be cut down to what a stage shows")


def _fits(parts: Sequence[_Part], size: Sequence[int]) -> bool:
    try:
        check_extent(Chain(*(part.layer for part in parts)), parts[0].channels, tuple(size))
    except ArgumentError:
        return False
    return True


def _cut(
    windows: Sequence[_Window], numbers: Sequence[_Numbers], channels: int, most: int
) -> list[_Part] | None:
    """The first channels of every map; None where groups cannot be cut so."""
    parts = []
    for window, (weight, bias) in zip(windows, numbers, strict=True):
        layer = window.arithmetic
        if isinstance(layer, Pool):
            parts.append(_Part(layer, channels, None, None))
            continue
        ins, outs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
        if channels <= ins:
            groups, kept_in, kept = 1, channels, min(most, outs)
        elif channels % ins == 0 and channels // ins * outs <= max(most, CHANNELS):
            groups, kept_in, kept = channels // ins, ins, outs
        else:
            return None
        axes = (groups * kept_in, kept) if layer.transposed else (groups * kept, kept_in)
        assert weight is not None
        part = weight[: axes[0], : axes[1]]
        cut = _regrouped(layer, groups * kept_in, groups * kept, groups)
        shown = None if bias is None else _plain(bias[: groups * kept])
        parts.append(_Part(cut, channels, _plain(part), shown))
        channels = groups * kept
    return parts


def _regrouped(
    layer: Conv | ConvTranspose, ins: int, outs: int, groups: int
) -> Conv | ConvTranspose:
    """The same windows with other channels."""
    sizes = layer.kernel_size, layer.stride, layer.padding
    if isinstance(layer, ConvTranspose):
        return ConvTranspose(
            ins, outs, *sizes, layer.output_padding, groups, layer.bias, layer.dilation, layer.dims
        )
    return Conv(
        ins, outs, *sizes, layer.dilation, groups, layer.bias, layer.padding_mode, dims=layer.dims
    )


def _numbers(network: Network, window: _Window) -> _Numbers:
    """The weight and the bias of a window in float64, batch norm folded into them."""
    layer = window.arithmetic
    if isinstance(layer, Pool):
        return None, None
    tensors = list(_tensors(network, window.layer))
    weights = [t for _, t in tensors if tuple(t.shape) == layer.weight_shape]
    biases = [t for _, t in tensors if tuple(t.shape) == (layer.out_channels,)]
    if len(weights) != 1 or len(biases) > 1:
        raise ModelError(
            f"{window.layer.name} has no weight of its own: it is computed from others, or unknown"
        )
    weight, bias = weights[0], biases[0] if biases else None
    if window.norm is None:
        return weight, bias
    norm = {name.rpartition(".")[2]: tensor for name, tensor in _tensors(network, window.norm)}
    if not {"running_mean", "running_var"} <= norm.keys():
        raise ModelError(f"{window.norm.name} has statistics that a stage cannot read")
    spread = norm["running_var"] + float(window.norm.operation.settings.get("eps", 1e-5))
    scale = norm.get("weight", torch.ones_like(spread)) / spread.sqrt()
    shift = norm.get("bias", torch.zeros_like(spread)) - norm["running_mean"] * scale
    bias = shift if bias is None else bias * scale + shift
    taps = weight.shape[2:]
    if not layer.transposed:
        return weight * scale.reshape(-1, 1, *[1] * len(taps)), bias
    grouped = weight.reshape(layer.groups, -1, weight.shape[1], *taps)
    scales = scale.reshape(layer.groups, 1, weight.shape[1], *[1] * len(taps))
    return (grouped * scales).reshape(weight.shape), bias


def _tensors(network: Network, layer: Layer) -> Iterator[tuple[str, Tensor]]:
    stored = network.program.state_dict
    for parameter in layer.parameters:
        for name in (parameter.name, *parameter.aliases):
            if name in stored:
                yield name, stored[name].detach().cpu().double()
                break


def _plain(tensor: Tensor) -> Any:
    """Nested lists; nine digits are all that a float32 has."""

    def rounded(values: Any) -> Any:
        if isinstance(values, list):
            return [rounded(each) for each in values]
        number = float(f"{values:.9g}")
        return int(number) if number.is_integer() and abs(number) < 1e9 else number

    return rounded(tensor.tolist())


# The words


def _short(path: str) -> str:
    if path.isdecimal():  # in a Sequential; a number alone would say nothing
        return f"[{path}]"
    return path if len(path) <= _PATH else "…" + path[1 - _PATH :]


def _note(chain: _Chain, shown: int | None, field: str) -> tuple[str, str]:
    """What the picture is of the network, in both languages."""
    english, chinese = [], []

    def add(one: str, other: str) -> None:
        english.append(one)
        chinese.append(other)

    if field:
        add(f"theoretical receptive field {field}", f"理论感受野 {field}")
    if shown is not None:
        add(
            f"at most the first {shown} channels of a map: its values are of these alone",
            f"每张特征图至多显示前 {shown} 个通道，数值只由它们算出",
        )
    if chain.branches:
        add(
            "the longest chain through the branches: what joins it from others is left out",
            "分支中最长的一条链，其他分支汇入的部分略去",
        )
    if chain.omitted:
        names = ", ".join(chain.omitted[:4]) + (", …" if len(chain.omitted) > 4 else "")
        add(f"without {names}", f"略去 {names}")
    if not chain.whole:
        last = _short(chain.windows[-1].layer.name)
        add(f"up to {last}", f"到 {last} 为止")
    return " · ".join(english), " · ".join(chinese)
