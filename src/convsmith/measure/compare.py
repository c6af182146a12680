"""Two networks side by side: totals, and layer by layer where their names agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convsmith.report import Column, Result, Table, bytes_, count

if TYPE_CHECKING:
    from convsmith.measure.inspection import Inspection

__all__ = ["Comparison", "layer_comparison", "total_comparison"]


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """Two networks side by side.

    Attributes:
        one: the first, which ratios are over.
        other: the second.

    >>> import convsmith as cs
    >>> from torch import nn
    >>> dense, light = nn.Conv2d(64, 64, 3), cs.nn.DepthwiseSeparableConv2d(64, 64, 3)
    >>> one, other = (cs.inspect(model, (1, 64, 16, 16)) for model in (dense, light))
    >>> one.compare(other)
    Comparison(Conv2d and DepthwiseSeparableConv2d: 0.130× the parameters, 0.127× the MACs)
    """

    one: Inspection
    other: Inspection

    def table(self) -> Table:
        """The totals, a row per figure."""
        return total_comparison(self.one, self.other)

    def layer_table(self) -> Table:
        """The layers that differ, a row per name."""
        return layer_comparison(self.one, self.other)

    def to_dict(self) -> dict[str, Any]:
        """Both inspections as plain data."""
        return {"one": self.one.to_dict(), "other": self.other.to_dict()}

    def __repr__(self) -> str:
        ratios = [
            f"{getattr(self.other, key) / getattr(self.one, key):.3f}× the {name}"
            for key, name in (("params", "parameters"), ("macs", "MACs"))
            if getattr(self.one, key)
        ]
        names = f"{self.one.model} and {self.other.model}"
        return f"Comparison({': '.join([names, ', '.join(ratios)] if ratios else [names])})"


def total_comparison(one: Inspection, other: Inspection) -> Table:
    """The totals of two inspections, a row per figure.

    >>> import convsmith as cs
    >>> from torch import nn
    >>> dense, light = nn.Conv2d(64, 64, 3), cs.nn.DepthwiseSeparableConv2d(64, 64, 3)
    >>> pair = [cs.inspect(model, (1, 64, 16, 16)) for model in (dense, light)]
    >>> [row[:3] for row in total_comparison(*pair).rows][:2]
    [('parameters', '36,928', '4,800'), ('MACs', '7,225,344', '915,712')]
    """
    figures = [
        ("parameters", one.params, other.params, count),
        ("MACs", one.macs, other.macs, count),
        ("FLOPs", one.flops, other.flops, count),
        ("bytes moved", one.bytes, other.bytes, bytes_),
    ]
    if one.memory and other.memory:
        figures.append(("peak memory", one.memory.total, other.memory.total, bytes_))
    rows: list[tuple[str | None, ...]] = [
        (name, show(a), show(b), f"{b / a:.3f}×" if a else None) for name, a, b, show in figures
    ]
    fields = [x.local_receptive_field for x in (one, other)]
    rows.append(("receptive field", *(str(f) if f else None for f in fields), None))
    rows.append(("status", one.status, other.status, None))
    return Table(
        columns=(
            Column("figure", "figure"),
            Column("one", one.model, align="right"),
            Column("other", other.model if other.model != one.model else f"{other.model}, other",
                   align="right"),
            Column("ratio", "ratio", align="right"),
        ),
        rows=rows,
        title=f"{one.model} and {other.model}",
    )  # fmt: skip


def layer_comparison(one: Inspection, other: Inspection) -> Table:
    """Parameters and multiply-adds of every layer that differs, a row per name."""
    ours = {layer.name: layer for layer in one.layers}
    theirs = {layer.name: layer for layer in other.layers}
    rows = []
    for name in dict.fromkeys([*ours, *theirs]):
        a, b = ours.get(name), theirs.get(name)
        figures = [(x.operation, x.params, x.macs) if x else (None, None, None) for x in (a, b)]
        if figures[0] != figures[1] and any(x and (x.params or x.macs) for x in (a, b)):
            (was, params, macs), (now, new_params, new_macs) = figures
            rows.append((name, was, now, params, new_params, macs, new_macs))
    return Table(
        columns=(
            Column("layer", "layer"),
            Column("one", "operation"),
            Column("other", "other's operation"),
            Column("params", "parameters", align="right", format=count),
            Column("other_params", "other's", align="right", format=count),
            Column("macs", "MACs", align="right", format=count),
            Column("other_macs", "other's", align="right", format=count),
        ),
        rows=rows,
        title="Layers that differ",
        note=None if rows else "None.",
    )
