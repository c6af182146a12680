"""What a run has done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.report import Column, Result, Table, count
from convsmith.tiling.plan import Plan

__all__ = ["Outcome"]


@dataclass(frozen=True, repr=False, eq=False)
class Outcome(Result):
    """What a run has done.

    Attributes:
        plan: what was planned.
        target: the path that was written, '' in memory.
        units: how many there are.
        computed: how many this run has computed.
        resumed: how many a run before had done.
        masked: how many the mask left out.
        complete: whether every unit was found, once; false after one part of several.
        seconds: this run took.
        counts: positions of each class, where a histogram was asked for.
        array: the target, open for reading.
    """

    plan: Plan
    target: str
    units: int
    computed: int
    resumed: int
    masked: int
    complete: bool
    seconds: float
    counts: tuple[int, ...] = ()
    array: Any = field(default=None, repr=False)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        """The result as an array, so that numpy takes an outcome for one."""
        return np.array(self.array, dtype=dtype, copy=copy)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON; without the array."""
        return {"report": "tile", "version": 1} | super().to_dict() | {"plan": self.plan.to_dict()}

    def table(self) -> Table:
        """A row per figure."""
        rows = [
            ("target", self.target or "in memory"),
            ("units", f"{count(self.computed)} of {count(self.units)} computed"),
            ("done before", count(self.resumed)),
            ("left out by the mask", count(self.masked)),
            ("complete", "yes" if self.complete else "no: other parts are to come"),
            ("took", f"{self.seconds:.1f} s"),
        ]
        if self.counts:
            rows.append(("positions per class", ", ".join(map(count, self.counts))))
        return Table([Column("what", "run"), Column("value", self.plan.verdict, wrap=True)], rows)

    def __repr__(self) -> str:
        state = "complete" if self.complete else "not complete"
        return (
            f"Outcome({self.target or 'in memory'}: {state}, {self.computed} of {self.units} units "
            f"in {self.seconds:.1f} s)"
        )
