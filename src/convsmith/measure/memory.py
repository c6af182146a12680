"""Peak memory of one inference pass: what is alive while each layer runs, without computing it.

The graph is replayed on tensors without values, so every operation itself shows what it allocates:
which results are views, whether a `reshape` copies, which operand an in-place operation writes
into, which temporaries a composite operation makes. What this cannot see is what a kernel takes
below PyTorch's dispatcher: the workspace of a convolution, the packed copy of a weight.

How long a tensor lives depends on the Python code around the operations: a local variable, a list
of features or an argument of a method keeps it. So the model's own code is run as well, also
without values, to see when each tensor goes. Neither takes the fused path of
`nn.TransformerEncoderLayer`, which hides its tensors in one operation. Where there is no such code
(an exported program), or it takes another path than the trace, three rules of Python and PyTorch
give a lower bound:

1. a storage lives as long as any tensor that shares it is still to be read;
2. the arguments of a module's call are held by its caller until it returns;
3. what the network returns lives to the end, and its input is never released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from convsmith.errors import ArgumentError
from convsmith.measure.rehearsal import rehearse
from convsmith.measure.replay import Alive, Replay
from convsmith.network import Network
from convsmith.report import Column, Result, Table, bytes_, data_frame, shape

if TYPE_CHECKING:
    import pandas

__all__ = ["Alive", "Memory", "memory"]

Status = Literal["exact", "lower bound", "upper bound"]


@dataclass(frozen=True, repr=False)
class Memory(Result):
    """The peak memory of an inference pass (eager, without gradients), in bytes.

    Attributes:
        activations: the most that the pass has allocated at any time; inputs and weights left out.
        inputs: the tensors passed in, which the caller holds.
        parameters: all parameters and buffers of the model, a shared one once.
        layer: where the peak occurs.
        alive: the tensors that make up `activations`, in the order they were made.
        during: bytes of activations while each layer runs, its temporaries included.
        at_most: `activations` again where it is exact; without the model's own code, if every
            local variable kept its tensor until its forward pass returned; else what that code
            takes.
        status: `exact` where the model's own code was followed, or where this changes nothing;
            else a bound, as where an operation could not be replayed.
        reason: why it is not exact, else ''.
    """

    activations: int
    inputs: int
    parameters: int
    layer: str
    alive: tuple[Alive, ...]
    during: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    at_most: int = 0
    status: Status = "exact"
    reason: str = ""

    @property
    def total(self) -> int:
        """Activations at the peak, inputs and parameters together."""
        return self.activations + self.inputs + self.parameters

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return super().to_dict() | {"total": self.total}

    def to_pandas(self) -> pandas.DataFrame:
        """One row per tensor alive at the peak, as a `pandas.DataFrame`."""
        return data_frame([asdict(tensor) for tensor in self.alive])

    def table(self) -> Table:
        """The tensors alive at the peak."""
        return Table(
            [
                Column("name", "tensor"),
                Column("shape", "shape", align="right", format=shape),
                Column("bytes", "memory", align="right", format=bytes_),
            ],
            [(tensor.name, tensor.shape, tensor.bytes) for tensor in self.alive],
            title=f"Alive at the peak, in {self.layer}",
            footer={"name": "total", "bytes": self.activations},
            note=self.reason or None,
        )

    def __repr__(self) -> str:
        sign = {"exact": "", "lower bound": "≥ ", "upper bound": "≤ "}[self.status]
        return (
            f"Memory(peak {sign}{bytes_(self.activations)} of activations at {self.layer!r}, "
            f"{bytes_(self.total)} with inputs and parameters)"
        )


def memory(network: Network) -> Memory:
    """The peak memory of an inference pass, for the shapes the network was traced with.

    Nothing is computed and no memory for values is allocated. Workspaces below PyTorch's
    dispatcher and what its allocator reserves are not counted.

    Raises:
        ArgumentError: for a network that was not read from an exported program.

    >>> import torch, convsmith as cs
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> report = memory(cs.trace(model, (1, 3, 34, 34)))
    >>> report.layer, report.activations == 2 * 4 * 8 * 32 * 32
    ('1', True)
    """
    if network.program is None:
        raise ArgumentError(f"{network.name} has no exported program; read it with trace()")
    replay = Replay(network)
    rehearsal = rehearse(network)
    lives = None if rehearsal is None else replay.lives_seen(rehearsal.made)
    if lives is None:
        lives = replay.lives(locals_kept=False)
    during = replay.during(lives)
    at = max(range(len(during)), key=during.__getitem__, default=-1)
    peak = during[at] if during else 0
    reasons = list(dict.fromkeys(replay.failures))
    if rehearsal is None:
        most = max(replay.during(replay.lives(locals_kept=True)), default=0)
        if most > peak:
            reasons.append(
                f"local variables that keep their tensors could raise it to {most:,} bytes"
            )
    else:
        most = max(peak, rehearsal.peak)
        if peak != rehearsal.peak:
            reasons.append(f"run by itself, the model's code takes {rehearsal.peak:,} bytes")
    less = rehearsal is not None and rehearsal.peak < peak
    status: Status = ("upper bound" if less else "lower bound") if reasons else "exact"
    return Memory(
        activations=peak,
        inputs=replay.inputs,
        parameters=sum(parameter.type.nbytes for parameter in network.parameters.values()),
        layer=replay.steps[at].name if during else "",
        alive=replay.alive(at, lives) if during else (),
        during=MappingProxyType(
            {
                step.name: size
                for step, size in zip(replay.steps, during, strict=True)
                if step.name in network
            }
        ),
        at_most=most,
        status=status,
        reason="; ".join(reasons),
    )
