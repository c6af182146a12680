"""Means, sums, lengths and largest values, of the whole map or of its channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convsmith.kernels.isa import PIXELS, Isa, fit
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.largest import ChannelArgMax, ChannelMax, ChannelSum, RowMax
from convsmith.kernels.rows import RowSum
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map

__all__ = ["REDUCTION", "ChannelTotal", "Largest", "LargestChannel", "LargestPlace", "Mean", "mean"]


@dataclass(eq=False)
class Mean(Block):
    """One of the two sums that make a mean over the map: of rows, or of the sums of rows.

    With a second source, of rows, the mean is that of the squares of the values less its one pixel.

    Attributes:
        of_rows: whether it is of rows.
        total: whether nothing is divided: it is a sum.
        length: whether it is the root of the sum of the squares.
        whole: for a variance or its root, the map whose values are counted, less `lost`.
        lost: degrees of freedom that the mean has taken.
    """

    of_rows: bool = False
    total: bool = False
    length: bool = False
    whole: Map | None = None
    lost: float = 0.0

    narrows = True

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """One value per row; or one in all."""
        return (size[0], 1) if self.of_rows else (1, 1)

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The same row, or all."""
        if which > 0:
            return 0, 1
        return (start, stop) if self.of_rows else (0, height)

    @property
    def gates(self) -> Sequence[Map]:
        """What is subtracted."""
        return self.sources[1:]

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        centred = len(self.sources) > 1
        squares = centred or (self.length and self.of_rows)
        return RowSum(squares, centred, self.length and not self.of_rows)

    def ends(self, length: int, count: int) -> tuple[int | float, ...]:
        """The kernel's last arguments: how many values there are, and the factor of sums.

        Args:
            length: of a row.
            count: the values of `whole`.
        """
        if self.whole is not None and not self.of_rows:
            return length, _inverse(count - self.lost)
        return length, 1.0 if self.total or self.length else 1 / length


def _inverse(count: float) -> float:
    """The factor of a sum of squares; of one value alone there is no variance, but NaN."""
    return 1 / count if count > 0 else float("inf")


@dataclass(eq=False)
class Largest(Mean):
    """The same of largest values: of rows, or of those of rows; or of smallest ones."""

    least: bool = False

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return RowMax(self.least)

    def ends(self, length: int, count: int) -> tuple[int | float, ...]:
        """How many values there are."""
        return (length,)


@dataclass(eq=False)
class LargestChannel(Block):
    """The largest channel of each pixel, or the smallest."""

    least: bool = False

    exact = True
    narrows = True

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return ChannelMax(fit(PIXELS, width), self.least)

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """The channels there are."""
        return [self.sources[0].channels]


@dataclass(eq=False)
class LargestPlace(LargestChannel):
    """The number of the largest channel of each pixel; it fits no bf16."""

    label = "argmax"
    narrows = False

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return ChannelArgMax(fit(PIXELS, width))


@dataclass(eq=False)
class ChannelTotal(Block):
    """The sum of the channels of each pixel, their mean, or the root of the sum of their squares.

    Attributes:
        factor: what the sum is multiplied by.
        length: whether it is the root of the sum of the squares.
        centred: whether squares are summed, of the values less their mean.
    """

    factor: float = 1.0
    length: bool = False
    centred: bool = False

    label = "sum of channels"
    exact = True
    narrows = True

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        squares = self.length or self.centred
        return ChannelSum(squares, self.length, fit(PIXELS, width), self.centred)

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """The channels there are, and the factor."""
        return [self.sources[0].channels, self.factor]


def _refuse_reduction(layer: Layer, weights: Weights) -> str:
    over, keeps = _over(layer), layer.operation.settings.get("keepdim")
    name, before = layer.operation.name, layer.operands[0].shape
    if name not in _REDUCTIONS:
        return f"no kernel for {name}"
    if over not in ([1], [2, 3]) or len(before) != 4:
        return f"no kernel for {name} over other than the map or its channels"
    if name == "linalg_vector_norm" and layer.operation.settings.get("ord", 2) != 2:
        return f"no kernel for {name} of another order than 2"
    if name in _SPREADS and not isinstance(_lost(layer), (int, float)):
        return f"{name} with what is computed"
    return "" if over == [2, 3] or keeps else "it leaves the channels out"


def _lost(layer: Layer) -> Any:
    """The degrees of freedom that the mean has taken, of a variance or its root."""
    settings = layer.operation.settings
    given = settings.get("correction", 1 if settings.get("unbiased", True) else 0)
    return 1 if given is None else given


_SPREADS = ("std", "var")


_REDUCTIONS = ("amax", "amin", "channel_argmax", "linalg_vector_norm", "mean", "std", "sum", "var")


def _over(layer: Layer) -> list[int]:
    """The axes of a map that a reduction goes over."""
    dims = layer.operation.settings.get("dim") or ()
    return sorted(d % 4 for d in dims) if isinstance(dims, (list, tuple)) else []


def _lower(draft: Draft, layer: Layer) -> None:
    source, name = draft.map(layer.inputs[0]), layer.operation.name
    total, length = name == "sum", name in ("linalg_vector_norm", "std")
    if _over(layer) == [1]:
        _lower_channels(draft, layer, source)
    elif name in ("amax", "amin"):
        least = name == "amin"
        draft.place(mean(draft, layer.name, source, kind=Largest, least=least), layer.name)
    elif name in _SPREADS:
        middle = mean(draft, f"{layer.name} mean", source)
        draft.order.append(middle)
        assert middle.target is not None
        block = mean(
            draft, layer.name, source, middle.target, total=True, length=length, whole=source,
            lost=float(_lost(layer)),
        )  # fmt: skip
        draft.place(block, layer.name)
    else:
        draft.place(mean(draft, layer.name, source, total=total, length=length), layer.name)


def _lower_channels(draft: Draft, layer: Layer, source: Map) -> None:
    name, target = layer.operation.name, Map(layer.name, 1, pixel=source.pixel)
    block: Block
    if name == "channel_argmax":
        block = LargestPlace(layer.name, [source], target)
    elif name in ("amax", "amin"):
        block = LargestChannel(layer.name, [source], target, least=name == "amin")
    else:
        spread = name in _SPREADS
        count = source.channels - _lost(layer) if spread else source.channels
        factor = _inverse(count) if spread or name == "mean" else 1.0
        block = ChannelTotal(
            layer.name, [source], target, factor=factor,
            length=name in ("linalg_vector_norm", "std"), centred=spread,
        )  # fmt: skip
    draft.place(block, layer.name)


def mean(
    draft: Draft,
    name: str,
    *sources: Map,
    kind: type[Mean] = Mean,
    **settings: Any,
) -> Mean:
    """The last of the blocks of a mean over the map, or over squares; those before are added.

    Args:
        draft: the blocks so far.
        name: of the result.
        *sources: a map, and perhaps a pixel that is subtracted from it.
        kind: of the blocks.
        **settings: of both of them.
    """
    rows = Map(f"{name} rows", sources[0].channels)
    first = kind(rows.name, list(sources), rows, of_rows=True, **settings)
    draft.order.append(first)
    target = Map(name, rows.channels, pixel=True)
    return kind(name, [rows], target, **settings)


REDUCTION = Lowering(_refuse_reduction, _lower)
