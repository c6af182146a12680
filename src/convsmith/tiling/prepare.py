"""From stored values to what the network takes: scaled, centred, in its own type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convsmith.errors import ArgumentError

__all__ = ["Prepare"]

_FULL_SCALE = {"uint8": 1 / 255, "uint16": 1 / 65535}


@dataclass(frozen=True)
class Prepare:
    """`(value · scale - mean) / std`, per channel.

    Attributes:
        scale: what stored values are multiplied by. Unless given, uint8 and uint16 are brought to
            0 … 1, as torchvision does, and other types are left alone.
        mean: of each channel, after scaling; () for 0.
        std: of each channel, after scaling; () for 1.
    """

    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @classmethod
    def of(cls, scale: Any, mean: Any, std: Any) -> Prepare:
        """From a call's arguments: numbers of NumPy or torch, too, and one for all channels.

        >>> Prepare.of(np.float32(0.5), [0.25, 0.5], 2)
        Prepare(scale=0.5, mean=(0.25, 0.5), std=(2,))
        """
        return cls(_plain(scale), _each(mean), _each(std))

    def check(self, channels: int) -> None:
        """Refuse values that do not fit the channels.

        Raises:
            ArgumentError: naming the one that does not.
        """
        scale = () if self.scale is None else (self.scale,)
        for name, values in (("scale", scale), ("mean", self.mean), ("std", self.std)):
            if not all(isinstance(value, Real) and isfinite(value) for value in values):
                raise ArgumentError(f"{name} takes finite numbers, not {values}")
        if self.scale == 0:
            raise ArgumentError("scale must not be 0: all values would be")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) not in (1, channels):
                raise ArgumentError(
                    f"{name} has {len(values)} values, the image {channels} channels"
                )
        if any(not value > 0 for value in self.std):
            raise ArgumentError(f"std must be above 0, not {self.std}")

    def __call__(
        self, part: NDArray[Any], kind: torch.dtype, order: Literal["C", "K"] = "C"
    ) -> Tensor:
        """Turn a part (channels, *spatial) into a batch of one.

        Args:
            part: values as they are stored.
            kind: the type that the network takes.
            order: of the result in memory: `C`, or `K` for that of the part.
        """
        scale = self.scale
        if scale is None:
            scale = _FULL_SCALE.get(str(part.dtype), 1.0)
        if not kind.is_floating_point:
            return torch.from_numpy(np.ascontiguousarray(part)).to(kind)[None]
        real: Any = np.float64 if kind is torch.float64 else np.float32
        values: Any = np.array(
            part, dtype=real, order=order
        )  # a copy of its own, in native byte order
        if scale != 1.0:
            values *= real(scale)
        shape = (-1,) + (1,) * (part.ndim - 1)
        if self.mean:
            values -= np.array(self.mean, real).reshape(shape)
        if self.std:
            values /= np.array(self.std, real).reshape(shape)
        return torch.from_numpy(values).to(kind)[None]


def _each(values: Any) -> tuple[float, ...]:
    values = _plain(values)  # a tensor of no axes calls itself iterable
    several = isinstance(values, Iterable) and not isinstance(values, str)
    return tuple(map(_plain, values)) if several else (values,)


def _plain(value: Any) -> Any:
    """A number as one that JSON takes; else the value, for `check` to refuse."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
