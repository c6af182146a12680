"""What one layer does: its kind, its arithmetic and its settings, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.text import times

__all__ = ["Operation"]


@dataclass(frozen=True, slots=True)
class Operation:
    """What a layer computes.

    Attributes:
        kind: its family, which says how it is counted and what it reads (`network.families`).
        name: the operation within the family, as PyTorch's own library calls it, e.g. `relu`.
        arithmetic: the windows and channels of a convolution or pool, else None.
        settings: its other arguments by the name they have in PyTorch's schema; tensors left out.
        label: what tables call it, where that is not its name.
        custom: the rules that a user registered for it, in place of those of its kind.
    """

    kind: str
    name: str
    arithmetic: Conv | ConvTranspose | Pool | None = None
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    label: str = field(default="", repr=False)
    custom: Any = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """A few words for a table.

        >>> str(Operation("convolution", "conv2d", Conv(32, 32, 3, 2, groups=32)))
        'depthwise 3×3, stride 2'
        """
        layer = self.arithmetic
        if layer is None:
            return self.label or self.name
        size = times(layer.kernel_size)
        parts = [f"{self._adjective(layer)} {size}"]
        if set(layer.stride) != {1}:
            parts.append(f"stride {_short(layer.stride)}")
        if set(layer.dilation) != {1}:
            parts.append(f"dilation {_short(layer.dilation)}")
        if not isinstance(layer, Pool) and layer.groups > 1 and not layer.is_depthwise:
            parts.append(f"{layer.groups} groups")
        return ", ".join(parts)

    def _adjective(self, layer: Conv | ConvTranspose | Pool) -> str:
        if isinstance(layer, Pool):
            return f"{layer.kind} pool"
        transposed = "transposed " if layer.transposed else ""
        return transposed + ("depthwise" if layer.is_depthwise else "convolution")


def _short(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(set(values)) == 1 else times(values)
