"""`Cost`: what one layer costs, and how far the figure can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convsmith.report import Result

__all__ = ["Cost", "Status"]

Status = Literal["exact", "measured", "lower bound", "upper bound", "unknown"]
"""How far a figure can be trusted: `measured` is what one run did, on the inputs it was given."""


@dataclass(frozen=True, slots=True)
class Cost(Result):
    """What one layer costs for the shapes it was traced with.

    Attributes:
        macs: multiply-adds; None if unknown.
        flops: floating-point operations; None if unknown.
        status: whether the two are exact.
        reason: why they are not, else ''.
    """

    macs: int | None
    flops: int | None
    status: Status = "exact"
    reason: str = ""
