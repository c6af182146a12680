"""The windows of convolutions and pools, as ONNX describes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from convsmith.importing.file import Node

__all__ = ["Windows"]


@dataclass(frozen=True)
class Windows:
    """One window per axis of space.

    Attributes:
        kernel: lengths.
        stride: steps.
        dilation: between taps.
        before: padding at the beginning of each axis.
        after: padding at its end.
        ceil: whether the last window may reach over the end.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    ceil: bool = False

    @classmethod
    def of(cls, node: Node, axes: int, kernel: Sequence[int] | None = None) -> Windows:
        """Those of a node.

        Raises:
            ModelError: for padding that depends on the size.
        """
        given = node.attributes
        lengths = tuple(given.get("kernel_shape") or kernel or ())
        if len(lengths) != axes or any(n < 1 for n in lengths):
            raise node.refuse(f"has a kernel of {len(lengths)} axes on a map of {axes}")
        stride = tuple(given.get("strides") or (1,) * axes)
        dilation = tuple(given.get("dilations") or (1,) * axes)
        pads = tuple(given.get("pads") or (0,) * (2 * axes))
        auto = given.get("auto_pad", "NOTSET")
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            if any(n != 1 for n in stride):
                raise node.refuse(f"pads by {auto} at a stride, by the size of its map")
            whole = [d * (k - 1) for k, d in zip(lengths, dilation, strict=True)]
            short, long = [n // 2 for n in whole], [n - n // 2 for n in whole]
            pads = (*short, *long) if auto == "SAME_UPPER" else (*long, *short)
        elif auto == "VALID":
            pads = (0,) * (2 * axes)
        if not len(stride) == len(dilation) == axes or len(pads) != 2 * axes:
            raise node.refuse("has windows of another number of axes than its map")
        if min(*stride, *dilation) < 1:
            raise node.refuse("has a stride or a dilation below 1")
        return cls(
            lengths, stride, dilation, pads[:axes], pads[axes:], bool(given.get("ceil_mode", 0))
        )

    @property
    def symmetric(self) -> tuple[int, ...] | None:
        """The padding where both ends have the same, and none is negative; else None."""
        return self.before if self.before == self.after and min(self.before) >= 0 else None

    @property
    def flat(self) -> list[int]:
        """The padding as `F.pad` takes it."""
        pairs = zip(reversed(self.before), reversed(self.after), strict=True)
        return [n for pair in pairs for n in pair]

    def padded(
        self, value: Tensor, fill: float, at_most_half: bool = False
    ) -> tuple[Tensor, tuple[int, ...]]:
        """The map, padded as far as what follows cannot do it, and what that has to pad."""
        padding = self.symmetric
        halves = [k // 2 for k in self.kernel]
        fits = padding is not None and (
            not at_most_half or all(p <= h for p, h in zip(padding, halves, strict=True))
        )
        if padding is not None and fits:
            return value, padding
        return F.pad(value, self.flat, "constant", fill), (0,) * len(self.kernel)
