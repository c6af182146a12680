"""`LayerReport`: the figures of one layer, or of the layers of a module together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convsmith.measure.cost import Status
from convsmith.report import Result

__all__ = ["LayerReport", "merged"]


@dataclass(frozen=True, slots=True)
class LayerReport(Result):
    """One layer's figures.

    Attributes:
        name: the layer's name in the network.
        path: its module's path.
        kind: the family of its operation.
        operation: the operation in a few words.
        output: the shape of its (first) result.
        params: its parameters; a tensor that an earlier layer has counted is not counted again.
        macs: multiply-adds, None if unknown.
        flops: floating-point operations, None if unknown.
        bytes: of the tensors it reads and writes, each once.
        status: of `macs` and `flops`: exact, measured in a run, a bound, or unknown.
        reason: why they are not exact.
        padding_macs: how many of the multiply-adds fall on zero padding, where one factor is 0.
        shared: parameters that an earlier layer has counted.
        source: the user's line of code, as `file.py:12`.
    """

    name: str
    path: str
    kind: str
    operation: str
    output: tuple[int, ...]
    params: int
    macs: int | None
    flops: int | None
    bytes: int
    status: Status = "exact"
    reason: str = ""
    padding_macs: int = 0
    shared: tuple[str, ...] = ()
    source: str = ""

    @property
    def intensity(self) -> float | None:
        """Arithmetic intensity: floating-point operations a byte; None where one is unknown."""
        return None if self.flops is None or not self.bytes else self.flops / self.bytes


def merged(path: str, group: Sequence[LayerReport]) -> LayerReport:
    """The figures of a module: those of its layers, summed; the output is that of its last one."""

    def total(key: str) -> int:
        return sum(getattr(layer, key) or 0 for layer in group)

    odd = [layer for layer in group if layer.status not in ("exact", "measured")]
    sure: Status = "measured" if any(x.status == "measured" for x in group) else "exact"
    return LayerReport(
        name=path,
        path=path,
        kind="module",
        operation=f"{len(group)} operation" + "s" * (len(group) > 1),
        output=group[-1].output,
        params=total("params"),
        macs=total("macs"),
        flops=total("flops"),
        bytes=total("bytes"),
        padding_macs=total("padding_macs"),
        status="lower bound" if odd else sure,
        reason=odd[0].reason if odd else "",
    )
