"""What the controls say: one layer and its input, to and from the address of the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.explore.phrases import Language, phrase
from convsmith.report.text import clean

__all__ = ["KINDS", "MODES", "Kind", "LayerState", "Padding", "Pair", "Sides"]

Pair = tuple[int, int]
Sides = tuple[Pair, Pair]
Padding = Sides | Literal["same", "valid"]
Kind = Literal["conv", "transposed", "max", "average"]

KINDS: tuple[Kind, ...] = ("conv", "transposed", "max", "average")
MODES = ("zeros", "reflect", "replicate", "circular")

# What an address may ask for: beyond it nothing is drawn, and counting alone takes any number.
_LIMITS = {"in": 4096, "out": 4096, "groups": 4096, "size": 4096, "kernel": 64, "stride": 64,
           "dilation": 64, "output_padding": 63, "padding": 256}  # fmt: skip
_KEYS = {"in": "in_channels", "out": "out_channels", "mode": "padding_mode", "ceil": "ceil_mode"}


@dataclass(frozen=True)
class LayerState:
    """One layer and the size of its input; it need not be a layer that exists.

    >>> state = LayerState(in_channels=3, out_channels=10, size=(128, 128))
    >>> state.layer().params, state.to_query()
    (280, {'in': '3', 'out': '10', 'size': '128'})
    """

    kind: Kind = "conv"
    in_channels: int = 1
    out_channels: int = 1
    size: Pair = (5, 5)
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    padding_mode: str = "zeros"
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = True
    output_padding: Pair = (0, 0)
    ceil_mode: bool = False

    @property
    def is_pool(self) -> bool:
        """Whether nothing is learned here."""
        return self.kind in ("max", "average")

    @property
    def sides(self) -> Sides:
        """The padding in numbers: (top, bottom), (left, right)."""
        if self.padding == "valid":
            return (0, 0), (0, 0)
        if self.padding == "same":
            totals = [d * (k - 1) for k, d in zip(self.kernel, self.dilation, strict=True)]
            rows, columns = ((total // 2, total - total // 2) for total in totals)
            return rows, columns
        return self.padding

    @property
    def apart(self) -> bool:
        """Whether any size differs between rows and columns."""
        pairs = [self.size, self.kernel, self.stride, self.dilation, self.output_padding]
        return any(a != b for a, b in (*pairs, self.sides))

    @property
    def padding_form(self) -> str:
        """How the padding is given: `number`, `same`, `valid` or `sides`."""
        if isinstance(self.padding, str):
            return self.padding
        return "number" if all(low == high for low, high in self.padding) else "sides"

    def layer(self) -> Conv | ConvTranspose | Pool:
        """The layer.

        Raises:
            ArgumentError: parameters that no layer can have.
        """
        if self.kind in ("max", "average"):
            return Pool(
                self.kernel, self.stride, self.sides, self.dilation, self.ceil_mode, self.kind
            )
        if self.kind == "transposed":
            return ConvTranspose(
                self.in_channels,
                self.out_channels,
                self.kernel,
                self.stride,
                self.sides,
                self.output_padding,
                self.groups,
                self.bias,
                self.dilation,
            )
        return Conv(
            self.in_channels,
            self.out_channels,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.bias,
            self.padding_mode,
            dims=2,
        )

    @classmethod
    def of(cls, layer: Conv | ConvTranspose | Pool, channels: int, size: Pair) -> LayerState:
        """The state that a layer in the plane stands for.

        Args:
            layer: with two axes.
            channels: of its input; those of a pool are not its own.
            size: rows and columns of its input.

        >>> LayerState.of(Conv(3, 10, 3), 3, (5, 5)).layer() == Conv(3, 10, 3)
        True
        """
        windows: dict[str, Any] = {
            "size": size,
            "kernel": layer.kernel_size,
            "stride": layer.stride,
            "padding": layer.padding,
            "dilation": layer.dilation,
        }
        if isinstance(layer, Pool):
            kind: Kind = "max" if layer.kind == "max" else "average"
            return cls(kind, channels, channels, ceil_mode=layer.ceil_mode, **windows)
        windows |= {"groups": layer.groups, "bias": layer.bias}
        if isinstance(layer, Conv):
            windows["padding_mode"] = layer.padding_mode
        else:
            windows["output_padding"] = layer.output_padding
        kind = "transposed" if layer.transposed else "conv"
        return cls(kind, layer.in_channels, layer.out_channels, **windows)

    def output_channels(self) -> int:
        """Number of output maps."""
        return self.in_channels if self.is_pool else self.out_channels

    def to_query(self) -> dict[str, str]:
        """The parameters of an address; what is as usual is left out."""
        usual = LayerState()
        query = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != getattr(usual, field.name):
                key = next((k for k, name in _KEYS.items() if name == field.name), field.name)
                query[key] = _written(value)
        return query

    @classmethod
    def from_query(
        cls, query: Mapping[str, str], language: Language = "en"
    ) -> tuple[LayerState, list[str]]:
        """The layer that an address asks for, and a line for everything that it cannot mean.

        >>> LayerState.from_query({"kernel": "3x2", "stride": "0"})[1]
        ['The address says stride=0, expected a number or a pair such as 3x2, each from 1 to 64; \
the usual value is taken instead.']
        """
        values: dict[str, Any] = {}
        complaints = []
        for key, (read, expected) in _READERS.items():
            if key not in query:
                continue
            value = read(query[key])
            if value is None:
                what = phrase(expected[0], language, **expected[1])
                complaints.append(
                    phrase(
                        "problem url",
                        language,
                        name=key,
                        value=clean(query[key][:40]),
                        expected=what,
                    )
                )
            else:
                values[_KEYS.get(key, key)] = value
        return replace(cls(), **values), complaints


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple) and isinstance(value[0], tuple):
        numbers = [n for pair in value for n in pair]
        if len(set(numbers)) == 1:
            return str(numbers[0])
        alike = all(low == high for low, high in value)
        return "x".join(str(low) for low, _ in value) if alike else ",".join(map(str, numbers))
    if isinstance(value, tuple):
        return str(value[0]) if value[0] == value[1] else f"{value[0]}x{value[1]}"
    return str(value)


def _int(low: int, high: int) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        good = re.fullmatch(r"\d{1,6}", text, re.ASCII) and low <= int(text) <= high
        return int(text) if good else None

    return read


def _pair(low: int, high: int) -> Callable[[str], Pair | None]:
    def read(text: str) -> Pair | None:
        numbers = [_int(low, high)(part) for part in text.split("x")]
        if None in numbers or len(numbers) > 2:
            return None
        return cast(Pair, (numbers[0], numbers[-1]))

    return read


def _choice(*known: str) -> Callable[[str], str | None]:
    return lambda text: text if text in known else None


def _flag(text: str) -> bool | None:
    return {"0": False, "1": True}.get(text)


def _padding(text: str) -> Padding | None:
    if text in ("same", "valid"):
        return cast(Padding, text)
    high = _LIMITS["padding"]
    if "," not in text:
        pair = _pair(0, high)(text)
        return pair and ((pair[0], pair[0]), (pair[1], pair[1]))
    numbers = [_int(0, high)(part) for part in text.split(",")]
    if None in numbers or len(numbers) != 4:
        return None
    return cast(Sides, (tuple(numbers[:2]), tuple(numbers[2:])))


def _expected(kind: str, **values: object) -> tuple[str, dict[str, object]]:
    return f"expected {kind}", values


_READERS: dict[str, tuple[Callable[[str], Any], tuple[str, dict[str, object]]]] = {
    "kind": (_choice(*KINDS), _expected("choice", choices=", ".join(KINDS))),
    **{
        key: (_int(1, _LIMITS[key]), _expected("int", low=1, high=_LIMITS[key]))
        for key in ("in", "out", "groups")
    },
    **{
        key: (_pair(low, _LIMITS[key]), _expected("pair", low=low, high=_LIMITS[key]))
        for key, low in (("size", 1), ("kernel", 1), ("stride", 1), ("dilation", 1),
                         ("output_padding", 0))
    },
    "padding": (_padding, _expected("padding")),
    "mode": (_choice(*MODES), _expected("choice", choices=", ".join(MODES))),
    "bias": (_flag, _expected("choice", choices="0, 1")),
    "ceil": (_flag, _expected("choice", choices="0, 1")),
}  # fmt: skip
