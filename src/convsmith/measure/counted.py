"""`Counted`: what another counter says of a network, beside the exact figure, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from convsmith.report import Column, Result, Table, count, data_frame, plain

if TYPE_CHECKING:
    import pandas

__all__ = ["TOOLS", "Counted", "CountedLayer", "Tool"]


@dataclass(frozen=True, slots=True)
class Tool:
    """Another counter of operations.

    Attributes:
        title: as people call it.
        version: the release whose source its rules were read from.
        says: what it calls its total.
        unit: how many of these it counts for one multiply-add.
    """

    title: str
    version: str
    says: str
    unit: int = 1


TOOLS: Mapping[str, Tool] = MappingProxyType(
    {
        "fvcore": Tool("fvcore", "0.1.5", "flops"),
        "ptflops": Tool("ptflops", "0.7.5", "MACs"),
        "thop": Tool("thop", "0.1.1", "MACs"),
        "torchinfo": Tool("torchinfo", "1.8.0", "mult-adds"),
        "torch": Tool("FlopCounterMode", "2.13", "FLOPs", 2),
    }
)
"""The counters whose rules are known, by the name that `count_as` takes."""


@dataclass(frozen=True, slots=True)
class CountedLayer:
    """One layer as another counter sees it.

    Attributes:
        name: the layer's name in the network.
        theirs: what the tool counts, in multiply-adds (halved where it counts two for each).
        ours: the layer's multiply-adds, None if unknown.
        why: why the two differ; '' where they do not.
    """

    name: str
    theirs: int
    ours: int | None
    why: str = ""


@dataclass(frozen=True, repr=False)
class Counted(Result):
    """What another counter says of a network in evaluation mode, and why.

    Attributes:
        model: the name of the model's class.
        tool: the counter, a name of `TOOLS`.
        rows: one a layer, in order of execution; inputs are left out.
        terms: the same total by what the tool counts it for.
        note: what the graph does not tell about this tool and this network, else ''.

    >>> import torch, convsmith as cs
    >>> from convsmith.measure.counters import count_as
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)).eval()
    >>> count_as(cs.trace(model, (1, 3, 12, 12)), "thop")
    Counted(Sequential: thop 0.1.1 says 24,800 MACs, 21,600 are multiply-adds)
    """

    model: str
    tool: str
    rows: tuple[CountedLayer, ...]
    terms: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    note: str = ""

    @property
    def total(self) -> int:
        """Its total for one multiply-add counted as one: the sum of the rows."""
        return sum(row.theirs for row in self.rows)

    @property
    def says(self) -> int:
        """The figure that it prints, in its own unit."""
        return self.total * TOOLS[self.tool].unit

    @property
    def exact(self) -> int:
        """The multiply-adds of all layers that could be counted."""
        return sum(row.ours or 0 for row in self.rows)

    @property
    def differing(self) -> tuple[CountedLayer, ...]:
        """The rows in which its figure is not the layer's multiply-adds."""
        return tuple(row for row in self.rows if row.theirs != row.ours)

    def table(self) -> Table:
        """The rows that differ, and the totals of all."""
        tool = TOOLS[self.tool]
        alike = len(self.rows) - len(self.differing)
        halved = f"{tool.title} counts {tool.unit} {tool.says} a multiply-add: divided here."
        notes = [
            halved if tool.unit > 1 else "",
            f"{alike} of {len(self.rows)} layers are counted alike and not shown." if alike else "",
            self.note,
        ]
        return Table(
            [
                Column("name", "layer"),
                Column("theirs", tool.title, align="right", format=count),
                Column("ours", "MACs", align="right", format=count),
                Column("why", "why", wrap=True),
            ],
            [asdict(row) for row in self.differing],
            title=f"{self.model}: {tool.title} {tool.version} says {self.says:,} {tool.says}",
            footer={"name": "total", "theirs": self.total, "ours": self.exact},
            note=" ".join(filter(None, notes)) or None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values of every row, as for JSON."""
        document = {
            "model": self.model,
            "tool": self.tool,
            **{f"tool_{key}": value for key, value in asdict(TOOLS[self.tool]).items()},
            "says": self.says,
            "total": self.total,
            "exact": self.exact,
            "terms": dict(self.terms),
            "note": self.note,
            "rows": self.rows,
        }
        return {key: plain(value) for key, value in document.items()}

    def to_pandas(self) -> pandas.DataFrame:
        """A row a layer, as a `pandas.DataFrame`."""
        return data_frame([asdict(row) for row in self.rows])

    def __repr__(self) -> str:
        tool = TOOLS[self.tool]
        return (
            f"Counted({self.model}: {tool.title} {tool.version} says {self.says:,} {tool.says}, "
            f"{self.exact:,} are multiply-adds)"
        )
