"""Milliseconds per layer: the exported program run node by node, each call on the clock.

A layer's figure is that of its operation alone. Their sum stays below the whole pass by what
PyTorch spends between operations, and on a busy machine by more: an interruption hits one layer of
a pass, whose median ignores it, but almost every whole pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.fx import GraphModule, Interpreter, Node

from convsmith.arithmetic.normalise import count as counted
from convsmith.errors import ArgumentError
from convsmith.machine import most_threads
from convsmith.measure.latency import Latency
from convsmith.network import Network
from convsmith.report import Column, Result, Table, data_frame, milliseconds

if TYPE_CHECKING:
    import pandas

__all__ = ["Timing", "layer_latency"]

_HOUR, _MOST_PASSES = 3600, 1_000_000


@dataclass(frozen=True, repr=False)
class Timing(Result):
    """The time of each layer of a network, and of the whole pass, on one machine.

    Attributes:
        layers: by the layer's name, in order of execution; inputs are not among them.
        whole: of one eager pass over all the same operations.
        threads: the threads that PyTorch computed with.
    """

    layers: Mapping[str, Latency]
    whole: Latency
    threads: int

    @property
    def total_ms(self) -> float:
        """The sum of the layers' medians, in milliseconds."""
        return sum(layer.median_ms for layer in self.layers.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return super().to_dict() | {"total_ms": self.total_ms}

    def to_pandas(self) -> pandas.DataFrame:
        """One row per layer, as a `pandas.DataFrame`."""
        rows = [{"layer": name} | asdict(layer) for name, layer in self.layers.items()]
        return data_frame(rows)

    def table(self) -> Table:
        """One row per layer, with its share of the sum."""
        total = self.total_ms
        return Table(
            [
                Column("layer", "layer"),
                Column("median_ms", "median", align="right", format=milliseconds),
                Column("low_ms", "25 %", align="right", format=milliseconds),
                Column("high_ms", "75 %", align="right", format=milliseconds),
                Column("share", "share", align="right", share=True),
            ],
            [
                (name, layer.median_ms, layer.low_ms, layer.high_ms, layer.median_ms / total)
                for name, layer in self.layers.items()
            ],
            footer={"layer": "sum", "median_ms": total},
            note=f"the whole pass: {milliseconds(self.whole.median_ms)}; threads: {self.threads}",
        )

    def __repr__(self) -> str:
        return (
            f"Timing({len(self.layers)} layers, {self.total_ms:.3f} ms in sum, "
            f"{self.whole.median_ms:.3f} ms the whole pass, threads: {self.threads})"
        )


def layer_latency(
    network: Network, *, seconds: float = 1.0, minimum: int = 5, threads: int | None = None
) -> Timing:
    """Time every layer of a network on this machine, with the weights as they are now.

    The layers run one after the other as the model runs them, in evaluation mode and without
    gradients, in turn with whole passes, so that drift hits both alike. Inputs have the shapes,
    types and strides of the trace: random values where they are floating-point or complex, else
    zeros. Whatever a pass writes into is a copy that is made afresh before each. The whole pass
    is that of the exported operations: the model's own Python code adds to it, and the fused path
    of `nn.TransformerEncoderLayer`, which a trace does not take, takes from it.

    Args:
        network: from `trace`, of a model with weights.
        seconds: the time to spend after the warm-up; the minimum of passes may take longer.
        minimum: the least number of passes.
        threads: how many threads PyTorch computes with, by default as many as now; set back after.

    Raises:
        ArgumentError: for a model on the meta device, a network that was not read from an
            exported program, fewer than 2 passes or fewer than 1 thread.

    >>> import torch, convsmith as cs
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> timing = layer_latency(cs.trace(model, (1, 3, 34, 34)), seconds=0.01)
    >>> list(timing.layers), timing.total_ms > 0
    (['0', '1'], True)
    """
    if network.program is None:
        raise ArgumentError(f"{network.name} has no exported program; read it with trace()")
    if counted("minimum", minimum, 0, _MOST_PASSES) < 2:
        raise ArgumentError(f"a layer's time needs at least 2 passes, not {minimum}")
    if threads is not None and counted("threads", threads, 0, most_threads()) < 1:
        raise ArgumentError(f"expected at least 1 thread, not {threads}")
    if not 0 <= seconds <= _HOUR:
        raise ArgumentError(f"seconds must be from 0 to {_HOUR:,}, not {seconds}")
    arguments = _arguments(network)
    devices = {value.device for value in arguments if isinstance(value, Tensor)}
    clock = _Clock(network.program.graph_module, devices)
    with torch.no_grad(), _random_state(devices), _threads(threads) as count:
        fresh = _Fresh(arguments, clock)
        parts: list[dict[str, float]] = []
        whole: list[float] = []
        begin = perf_counter()
        while len(whole) < minimum or perf_counter() - begin < seconds:
            values = fresh()
            clock.wait()
            clock.run(*values)
            parts.append(clock.times)
            values = fresh()
            clock.wait()
            start = perf_counter()
            clock.module(*values)
            clock.wait()
            whole.append(1e3 * (perf_counter() - start))
    # What a tensor holds after a write is no operation of its own.
    timed = (layer for layer in network.layers if layer.kind not in ("input", "write"))
    return Timing(
        layers={layer.name: _latency([part[layer.node] for part in parts]) for layer in timed},
        whole=_latency(whole),
        threads=count,
    )


class _Clock(Interpreter):
    """Runs a program node by node; `times` has the milliseconds of the latest pass."""

    def __init__(self, module: GraphModule, devices: set[torch.device]) -> None:
        super().__init__(module)
        self.asynchronous = [device for device in devices if device.type != "cpu"]
        self.times: dict[str, float] = {}

    def wait(self) -> None:
        for device in self.asynchronous:
            torch.accelerator.synchronize(device)

    def run(self, *args: Any) -> Any:  # type: ignore[override]
        self.times = {}
        # An exported graph is flat as it is: its arguments are those of its placeholders.
        return super().run(*args, enable_io_processing=False)

    def run_node(self, n: Node) -> Any:
        if not callable(n.target):
            return super().run_node(n)
        # Looking up the arguments takes microseconds that belong to the interpreter, not the layer.
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        start = perf_counter()
        result = n.target(*args, **kwargs)
        self.wait()
        self.times[n.name] = 1e3 * (perf_counter() - start)
        return result


class _Fresh:
    """Arguments for one pass after another; no pass sees what another has written.

    A warm-up pass on copies of everything shows which are written to; only those are copied again
    for each pass. Both signs are needed: an in-place operation may leave the values equal, and the
    running statistics of a batch norm change without a new version of the tensor.
    """

    def __init__(self, arguments: Sequence[Any], clock: _Clock) -> None:
        self.arguments = arguments
        copies = [_copy(value) for value in arguments]
        versions = [value._version if isinstance(value, Tensor) else 0 for value in copies]
        clock.run(*copies)
        self.written = {
            i
            for i, (value, copy) in enumerate(zip(arguments, copies, strict=True))
            if isinstance(value, Tensor)
            and (copy._version != versions[i] or not torch.equal(copy, value))
        }

    def __call__(self) -> list[Any]:
        return [_copy(v) if i in self.written else v for i, v in enumerate(self.arguments)]


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _arguments(network: Network) -> list[Any]:
    """A value for each placeholder of the program: weights as they are, inputs made up."""
    program: ExportedProgram = network.program
    generator = torch.Generator().manual_seed(0)
    nodes = {node.name: node for node in program.graph.nodes}
    values: list[Any] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind != InputKind.USER_INPUT:
            target = spec.target or ""
            state = program.state_dict
            value = state[target] if target in state else program.constants.get(target)
        elif isinstance(spec.arg, ConstantArgument):
            value = spec.arg.value
        else:
            value = nodes[spec.arg.name].meta["val"]
        if isinstance(value, Tensor) and value.is_meta:
            raise ArgumentError(
                f"times need weights: {spec.target or spec.arg.name!r} of {network.name} "
                "is on the meta device"
            )
        if spec.kind == InputKind.USER_INPUT and isinstance(value, Tensor):
            value = _example(value, generator)
        values.append(value)
    return values


def _example(like: Tensor, generator: torch.Generator) -> Tensor:
    """Values for a fake tensor, in its shape, type, strides and place."""
    shape, strides = [int(n) for n in like.shape], [int(n) for n in like.stride()]
    if like.is_floating_point() or like.is_complex():
        kind = torch.complex64 if like.is_complex() else torch.float32
        values = torch.randn(shape, generator=generator, dtype=kind).to(like.dtype)
    else:
        values = torch.zeros(shape, dtype=like.dtype)
    if 0 in strides:  # an expanded tensor, which cannot be written
        return values.to(like.device)
    return torch.empty_strided(shape, strides, dtype=like.dtype, device=like.device).copy_(values)


def _latency(times: list[float]) -> Latency:
    # Of a handful of passes, exclusive quartiles would lie outside all of them, even below zero.
    low, _, high = quantiles(times, n=4, method="inclusive")
    return Latency(median(times), low, high, len(times))


@contextmanager
def _threads(count: int | None) -> Iterator[int]:
    """Compute with this many threads, then with as many as before."""
    before = torch.get_num_threads()
    if count is not None and count != before:
        torch.set_num_threads(count)
    try:
        yield torch.get_num_threads()
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


@contextmanager
def _random_state(devices: set[torch.device]) -> Iterator[None]:
    """Restore the random state: a model may draw numbers in evaluation too."""
    cuda = [device.index or 0 for device in devices if device.type == "cuda"]
    with torch.random.fork_rng(devices=cuda):
        yield
