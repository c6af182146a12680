"""What runs where in a compiled network, and how long each block takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from convsmith.report import MISSING, Column, Result, Table, count, data_frame, milliseconds
from convsmith.text import times

if TYPE_CHECKING:
    import pandas

__all__ = ["BlockTime", "Profile"]


@dataclass(frozen=True, slots=True)
class BlockTime(Result):
    """One block of a compiled network.

    Attributes:
        name: the layer whose value it gives.
        layers: all layers that it computes.
        kernel: the kind of kernel, or 'torch'.
        why: for what runs in torch, the reason.
        size: of its output: channels, rows and pixels, or what torch gives.
        ms: the median of its milliseconds for the whole batch, run alone.
        macs: its multiply-adds for the whole batch; 0 for what torch runs.
        gflops: 10⁹ operations per second, two for each multiply-add; None where there are none.
        peak: these as a share of the measured peak.
        nbytes: of the rows that are kept of its output.
        numbers: what it computes with: `bf16` where it multiplies such numbers, `on bf16` where it
            computes in float32 and reads or writes maps of bf16, else `float32`.
    """

    name: str
    layers: tuple[str, ...]
    kernel: str
    why: str
    size: tuple[int, ...]
    ms: float
    macs: int = 0
    gflops: float | None = None
    peak: float | None = None
    nbytes: int = 0
    numbers: str = "float32"


@dataclass(frozen=True, repr=False)
class Profile(Result):
    """The blocks of a compiled network in order of execution.

    Attributes:
        network: the name of the model.
        blocks: one by one.
        ms: of the whole call; the sum of the blocks is larger where they run from caches.
        peak_gflops: 10⁹ operations per second of a pointwise kernel whose data stay in the cache.
        threads: that the kernels used.
    """

    network: str
    blocks: tuple[BlockTime, ...]
    ms: float
    peak_gflops: float | None
    threads: int

    @property
    def total_ms(self) -> float:
        """The sum of the blocks' milliseconds."""
        return sum(block.ms for block in self.blocks)

    @property
    def nbytes(self) -> int:
        """The bytes of all rows that are kept."""
        return sum(block.nbytes for block in self.blocks)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return super().to_dict() | {"total_ms": self.total_ms, "nbytes": self.nbytes}

    def to_pandas(self) -> pandas.DataFrame:
        """One row per block, as a `pandas.DataFrame`."""
        return data_frame(asdict(block) for block in self.blocks)

    def table(self) -> Table:
        """One row per block, and their sum."""
        macs = sum(block.macs for block in self.blocks)
        timed = sum(block.ms for block in self.blocks if block.macs)
        rate = 2e-6 * macs / timed if timed else None
        peak = f"; peak: {self.peak_gflops:.0f} GFLOP/s" if self.peak_gflops else ""
        narrow = any(block.numbers != "float32" for block in self.blocks)
        numbers = [Column("numbers", "numbers")] if narrow else []
        return Table(
            [
                Column("name", "block"),
                Column("kernel", "kernel"),
                *numbers,
                Column("size", "output", align="right", format=_size),
                Column("ms", "time", align="right", format=milliseconds),
                Column("gflops", "GFLOP/s", align="right", format="{:.0f}".format),
                Column("peak", "of peak", align="right", share=True),
                Column("nbytes", "bytes kept", align="right", format=count),
                Column("why", "why", wrap=True),
            ],
            [
                (
                    b.name,
                    b.kernel,
                    *([b.numbers] if narrow else []),
                    b.size,
                    b.ms,
                    b.gflops,
                    b.peak,
                    b.nbytes or None,
                    b.why,
                )
                for b in self.blocks
            ],
            footer={
                "name": "sum",
                "ms": self.total_ms,
                "gflops": rate,
                "peak": rate / self.peak_gflops if rate and self.peak_gflops else None,
                "nbytes": self.nbytes,
            },
            note=f"the whole call: {milliseconds(self.ms)}; threads: {self.threads}{peak}",
        )

    def __repr__(self) -> str:
        return (
            f"Profile({self.network}: {len(self.blocks)} blocks, {self.total_ms:.3f} ms in sum, "
            f"{self.ms:.3f} ms the whole call, threads: {self.threads})"
        )


def _size(size: Sequence[int]) -> str:
    return times(size) or MISSING
