"""Reducers: what is kept of a network's output, tile by tile, so that it never exists in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from convsmith.errors import ArgumentError

__all__ = [
    "Argmax", "Histogram", "Keep", "Probability", "Reducer", "Threshold", "named", "reducer",
    "reducer_from",
]  # fmt: skip


class Reducer(Protocol):
    """What is kept of an output (batch, channels, *spatial)."""

    @property
    def keeps_channels(self) -> bool:
        """Whether the result still has a dimension of channels."""

    def dtype(self, output: str, channels: int) -> str:
        """The type of a value of the result, or an error where none fits."""

    def __call__(self, output: Tensor) -> Tensor:
        """Reduce one tile."""


@dataclass(frozen=True)
class Keep:
    """The output as it is, or in another type.

    Attributes:
        kind: a type such as `float16`; that of the output unless given.
    """

    kind: str = ""
    keeps_channels = True

    def dtype(self, output: str, channels: int) -> str:
        """The type of the output."""
        return self.kind or ("float32" if output == "bfloat16" else output)

    def __call__(self, output: Tensor) -> Tensor:
        """Leave the values as they are."""
        kind = getattr(torch, self.kind) if self.kind else None
        if kind is None and output.dtype is torch.bfloat16:
            kind = torch.float32
        return output if kind is None else output.to(kind)


@dataclass(frozen=True)
class Argmax:
    """The channel with the largest value, in the smallest type that holds all channels.

    Attributes:
        kind: a type such as `uint16`; the smallest that fits unless given.
    """

    kind: str = ""
    keeps_channels = False

    def dtype(self, output: str, channels: int) -> str:
        """The smallest unsigned type; a smaller one that was asked for is refused."""
        for kind in ("uint8", "uint16", "uint32"):
            if channels - 1 <= np.iinfo(kind).max:
                break
        if self.kind and np.iinfo(self.kind).max < channels - 1:
            raise ArgumentError(
                f"{self.kind} cannot hold {channels} classes: leave the type out, or pass {kind}"
            )
        return self.kind or kind

    def __call__(self, output: Tensor) -> Tensor:
        """The numbers of the channels."""
        return largest_channel(output)


@dataclass(frozen=True)
class Probability:
    """The probability of each channel, or of one, as 0 … 255.

    Attributes:
        channel: the one to keep; all unless given. With a single channel it is its sigmoid.
    """

    channel: int | None = None

    @property
    def keeps_channels(self) -> bool:
        """Whether all channels are kept."""
        return self.channel is None

    def dtype(self, output: str, channels: int) -> str:
        """One byte."""
        if self.channel is not None and not 0 <= self.channel < channels:
            raise ArgumentError(f"the output has {channels} channels; there is no {self.channel}")
        return "uint8"

    def __call__(self, output: Tensor) -> Tensor:
        """Softmax over channels, rounded to 255 steps."""
        shares = output.float().softmax(1) if output.shape[1] > 1 else output.float().sigmoid()
        shares = shares if self.channel is None else shares[:, self.channel]
        return (shares * 255).round_().to(torch.uint8)


@dataclass(frozen=True)
class Threshold:
    """1 where a channel is above a value, else 0.

    Attributes:
        value: to be above.
        channel: which.

    Raises:
        ArgumentError: for a value that is not a number.
    """

    value: float = 0.5
    channel: int = 0
    keeps_channels = False

    def __post_init__(self) -> None:
        if isnan(self.value):
            raise ArgumentError("a threshold is a number: nothing is above nan")

    def dtype(self, output: str, channels: int) -> str:
        """One byte."""
        if not 0 <= self.channel < channels:
            raise ArgumentError(f"the output has {channels} channels; there is no {self.channel}")
        return "uint8"

    def __call__(self, output: Tensor) -> Tensor:
        """Compare."""
        return (output[:, self.channel] > self.value).to(torch.uint8)


@dataclass(frozen=True)
class Histogram:
    """How many positions have each class; the map of classes is written as by `Argmax`.

    Counts are merged from the manifest when all units are done.
    """

    keeps_channels = False

    def dtype(self, output: str, channels: int) -> str:
        """As for the map of classes."""
        return Argmax().dtype(output, channels)

    def __call__(self, output: Tensor) -> Tensor:
        """The numbers of the channels."""
        return largest_channel(output)


def largest_channel(output: Tensor) -> Tensor:
    """`output.argmax(1)`, where a value fits the smallest unsigned type.

    On the processor it goes channel by channel, which numpy does in vectors: 30 times as fast as
    torch, which goes value by value.

    >>> largest_channel(torch.tensor([[[1.0, 5.0], [3.0, 5.0], [3.0, 2.0]]]))
    tensor([[1, 0]], dtype=torch.uint8)
    """
    kind = next(k for k in (np.uint8, np.uint16, np.uint32) if output.shape[1] <= np.iinfo(k).max)
    if output.device.type != "cpu" or output.dtype is torch.bfloat16 or not output.shape[1]:
        return output.argmax(1)
    values = output.detach().numpy()
    most, numbers = values[:, 0].copy(), np.zeros(values[:, 0].shape, kind)
    for channel in range(1, values.shape[1]):
        larger = (values[:, channel] > most).astype(kind)
        np.maximum(most, values[:, channel], out=most)
        np.maximum(numbers, np.multiply(larger, kind(channel), out=larger), out=numbers)
    if np.isnan(most).any():  # which argmax takes for the largest
        return output.argmax(1)
    return torch.from_numpy(numbers)


def reducer(spec: str | Reducer | None) -> Reducer:
    """A reducer from its name.

    >>> reducer("argmax:uint16"), reducer("threshold:0.3")
    (Argmax(kind='uint16'), Threshold(value=0.3, channel=0))

    Raises:
        ArgumentError: for a name that is none.
    """
    if spec is None:
        return Keep()
    if not isinstance(spec, str):
        has = hasattr(spec, "keeps_channels") and hasattr(spec, "dtype") and callable(spec)
        if not has or isinstance(spec, type):
            raise ArgumentError(
                "a reducer of your own has keeps_channels, dtype(output, channels), and is called "
                f"with a tile: not {spec!r:.60}"
            )
        return spec
    name, _, rest = spec.partition(":")
    try:
        match name:
            case "argmax":
                return Argmax(_integer(rest))
            case "probability":
                return Probability(int(rest) if rest else None)
            case "threshold":
                parts = rest.split(":") if rest else []
                return Threshold(*_numbers(parts))
            case "histogram" if not rest:
                return Histogram()
            case "float16" | "float32" | "float64" if not rest:
                return Keep(name)
    except ValueError:
        pass
    raise ArgumentError(
        f"unknown reducer {spec!r}: expected argmax[:uint16], probability[:CHANNEL], "
        "threshold[:VALUE[:CHANNEL]], histogram, float16 or float32"
    )


def _integer(kind: str) -> str:
    if kind and kind not in ("uint8", "uint16", "uint32", "int32", "int64"):
        raise ValueError(kind)
    return kind


def _numbers(parts: Sequence[str]) -> tuple[float, int]:
    value = float(parts[0]) if parts else 0.5
    return value, int(parts[1]) if len(parts) > 1 else 0


def named(chosen: Reducer) -> dict[str, Any]:
    """A reducer as data.

    Raises:
        ArgumentError: for one of the user's own, which is code.
    """
    for name, kind in _REDUCERS.items():
        if type(chosen) is kind:
            fields: Any = chosen
            return {"name": name, **asdict(fields)}
    raise ArgumentError(
        f"{type(chosen).__name__} is a reducer of your own: other processes take "
        f"{', '.join(_REDUCERS)}"
    )


def reducer_from(data: dict[str, Any]) -> Reducer:
    """A reducer from its data."""
    values = dict(data)
    chosen: Reducer = _REDUCERS[values.pop("name")](**values)
    return chosen


_REDUCERS: dict[str, Any] = {
    "keep": Keep,
    "argmax": Argmax,
    "probability": Probability,
    "threshold": Threshold,
    "histogram": Histogram,
}
