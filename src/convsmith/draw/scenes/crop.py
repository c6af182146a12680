"""How much of a layer a drawing shows: whole where it fits, else the first positions and channels.

The drawing says what is left out, and every sum still counts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convsmith.arithmetic import Conv, ConvTranspose, Pool, Window
from convsmith.errors import ArgumentError

__all__ = ["Channels", "check_extent", "shown_channels", "shown_inputs", "shown_outputs"]

# Positions along an axis that a drawing holds, for one, two and three axes; and of many maps.
_LONGEST, _LONGEST_MANY = {1: 20, 2: 14, 3: 6}, {1: 14, 2: 9, 3: 6}
_EXTENT = 25
_ROWS, _COLUMNS = 6, 4


@dataclass(frozen=True)
class Channels:
    """Which channels are shown: so many groups, and of each so many inputs and outputs."""

    groups: int
    ins: int
    outs: int
    ins_of: int
    outs_of: int

    @property
    def inputs(self) -> list[int]:
        """The input channels, by number."""
        return [g * self.ins_of + i for g in range(self.groups) for i in range(self.ins)]

    @property
    def outputs(self) -> list[int]:
        """The output channels, by number."""
        return [g * self.outs_of + o for g in range(self.groups) for o in range(self.outs)]

    @property
    def many(self) -> bool:
        """Whether there is more than one input or output."""
        return self.groups * max(self.ins, self.outs) > 1

    def group_of(self, channel: int, kind: str) -> int | None:
        """The group that the label of an `input` or `output` names; None where it says nothing."""
        alone = self.ins_of == self.outs_of == 1
        each = self.ins_of if kind == "input" else self.outs_of
        return None if self.groups == 1 or alone else channel // each

    @property
    def rest(self) -> int:
        """Input channels of each group that are summed but not shown."""
        return self.ins_of - self.ins


def shown_channels(layer: Conv | ConvTranspose) -> Channels:
    """At most a handful of channels, the same number of each group."""
    groups = min(layer.groups, _COLUMNS)
    ins_of, outs_of = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    rows = 4 if layer.groups == 1 else max(1, _ROWS // groups)
    if layer.dims == 3:
        rows = 1
    return Channels(
        groups if layer.dims < 3 else 1,
        min(ins_of, rows),
        min(outs_of, max(1, (_COLUMNS if layer.dims < 3 else 1) // groups)),
        ins_of,
        outs_of,
    )


def check_extent(layer: Conv | ConvTranspose | Pool) -> None:
    """Refuse a kernel of which not even one place could be drawn."""
    extent = max(window.extent for window in layer.windows)
    if extent > _EXTENT:
        raise ArgumentError(
            f"a kernel that spans {extent} positions is too large to draw: at most {_EXTENT} "
            f"({layer!r})"
        )


def shown_outputs(
    windows: Sequence[Window], lengths: Sequence[int], outputs: Sequence[int], many: bool = False
) -> tuple[int, ...]:
    """How many outputs are shown along each axis, of a window over maps of padded `lengths`."""
    longest = (_LONGEST_MANY if many else _LONGEST)[len(windows)]
    return tuple(
        outs if length <= longest else min(outs, max(1, (longest - w.extent) // w.stride + 1))
        for w, length, outs in zip(windows, lengths, outputs, strict=True)
    )


def shown_inputs(
    windows: Sequence[Window], lengths: Sequence[int], many: bool = False
) -> tuple[int, ...]:
    """How many inputs of a transposed convolution are shown along each axis."""
    longest = (_LONGEST_MANY if many else _LONGEST)[len(windows)]
    return tuple(
        min(length, max(1, (longest - w.extent) // w.stride + 1))
        for w, length in zip(windows, lengths, strict=True)
    )
