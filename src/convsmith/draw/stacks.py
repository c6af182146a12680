"""Layers in series as people write them: `3`, `3s2`, `max2`, `dw3p1`, `1c8`, `t3s2`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.draw.options import check_drawable
from convsmith.errors import ArgumentError

__all__ = ["LAYERS", "STACK", "parse_layers", "parse_stack"]

STACK = "3 (a convolution), 3s2 (stride), 3d2 (dilation), max2 or avg3s2 (a pool)"
"""How people write a layer of one channel."""

LAYERS = (
    "3 (a convolution), 3x2, 3s2 (stride), 3d2 (dilation), 3p1 or 3p2:0 (padding), 1c8 (8 output "
    "channels), 3g2 (groups), dw3 (depthwise), t3s2o1 (transposed, output padding 1), max2 or "
    "avg3s2 (a pool)"
)
"""The same with channels, groups and transposed convolutions."""

_LAYER = re.compile(r"(max|avg|dw|t)?(\d+(?:x\d+)*)((?:[sdpcgo]\d+(?:x\d+)*(?::\d+)?)*)", re.ASCII)
_OPTION = re.compile(r"([sdpcgo])([\dx:]+)")
_NAMES = {
    "s": "stride",
    "d": "dilation",
    "p": "padding",
    "c": "channels",
    "g": "groups",
    "o": "output padding",
}


def parse_layers(
    layers: Sequence[str], channels: int = 1, dims: int = 2
) -> list[Conv | ConvTranspose | Pool]:
    """Read layers in series; each takes the channels that the one before it gives.

    A convolution gives as many channels as it takes unless `c` says otherwise.

    Args:
        layers: one or several to a word, with commas between.
        channels: of the input.
        dims: how many axes a size of one number stands for.

    Raises:
        ArgumentError: a word that is not a layer, or parameters that no layer can have.

    >>> parse_layers(["dw3p1", "1c4", "t2s2"], channels=3)
    [Conv(3, 3, kernel_size=3, padding=1, groups=3), Conv(3, 4, kernel_size=1), \
ConvTranspose(4, 4, kernel_size=2, stride=2)]
    """
    stack: list[Conv | ConvTranspose | Pool] = []
    for word in (part for text in layers for part in text.split(",") if part):
        layer = _layer(word.strip(), channels, dims, LAYERS)
        channels = channels if isinstance(layer, Pool) else layer.out_channels
        stack.append(layer)
    return stack


def parse_stack(layers: Sequence[str]) -> list[Conv | Pool]:
    """Read layers of one channel that are not transposed.

    >>> parse_stack(["3", "3s2d2", "max2"])
    [Conv(1, 1, kernel_size=3), Conv(1, 1, kernel_size=3, stride=2, dilation=2), Pool(...)]
    """
    stack: list[Conv | Pool] = []
    for word in (part for text in layers for part in text.split(",") if part):
        layer = _layer(word.strip(), 1, 2, STACK)
        many = not isinstance(layer, Pool) and max(layer.in_channels, layer.out_channels) > 1
        if many or isinstance(layer, ConvTranspose):
            raise ArgumentError(f"{word!r} is not a layer of one channel: expected {STACK}")
        stack.append(layer)
    return stack


def _layer(word: str, channels: int, dims: int, expected: str) -> Conv | ConvTranspose | Pool:
    match = _LAYER.fullmatch(word)
    if match is None:
        raise ArgumentError(f"{word!r} is not a layer: expected {expected}")
    kind, kernel, options = match.groups()
    given: dict[str, str] = {}
    for name, value in _OPTION.findall(options):
        if given.setdefault(name, value) != value or (":" in value and name != "p"):
            raise ArgumentError(f"{word!r}: the {_NAMES[name]} is not one: expected {expected}")
    window = _size(word, kernel)
    stride = _size(word, given["s"]) if "s" in given else None
    dilation = _size(word, given.get("d", "1"))
    padding = _padding(word, given.get("p", "0"), dims)
    outs, groups = (_count(word, given.get(name)) for name in "cg")
    if kind in ("max", "avg"):
        refused = [name for name in "cgo" if name in given]
        if refused:
            raise ArgumentError(f"{word!r}: a pool has no {_NAMES[refused[0]]}")
        name = "max" if kind == "max" else "average"
        return Pool(window, stride, padding, dilation, kind=name, dims=dims)
    if kind == "dw":
        if groups is not None:
            raise ArgumentError(f"{word!r}: a depthwise layer has as many groups as channels")
        groups = channels
    stride = 1 if stride is None else stride
    numbers = channels, channels if outs is None else outs, window, stride, padding
    if kind == "t":
        extra = _size(word, given.get("o", "0"))
        return ConvTranspose(*numbers, extra, groups or 1, True, dilation, dims)
    if "o" in given:
        raise ArgumentError(f"{word!r}: output padding is for a transposed layer, such as t3s2o1")
    return Conv(*numbers, dilation, groups or 1, dims=dims)


def _size(word: str, text: str) -> int | tuple[int, ...]:
    # Numbers of one axis each: far more digits are cut before they become one.
    numbers = tuple(int(part[:9]) for part in text.split("x"))
    for number in numbers:
        check_drawable(repr(word), [number])
    return numbers[0] if len(numbers) == 1 else numbers


def _count(word: str, text: str | None) -> int | None:
    if text is None:
        return None
    number = _size(word, text)
    if not isinstance(number, int):
        raise ArgumentError(f"{word!r}: channels and groups are one number each")
    return number


def _padding(word: str, text: str, dims: int) -> Any:
    if ":" not in text:
        return _size(word, text)
    ends = text.split(":")
    low, high = (_size(word, end) for end in ends)
    if not (isinstance(low, int) and isinstance(high, int)):
        raise ArgumentError(f"{word!r}: padding per side is low:high, such as 3p2:0")
    return ((low, high),) * dims
