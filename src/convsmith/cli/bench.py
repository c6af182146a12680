"""`convsmith bench MODEL --input 1,3,320,512`: the runtimes that are installed, side by side."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convsmith.arithmetic.normalise import choice
from convsmith.cli.bounds import fits, within
from convsmith.cli.inputs import INPUT, read_inputs
from convsmith.cli.inspect import MODEL
from convsmith.cli.output import Force, Json, Original, check_targets, emit, talk
from convsmith.errors import ArgumentError, ModelError, kind_and_line
from convsmith.machine import most_threads
from convsmith.report import Column, Result, Table, milliseconds
from convsmith.runtime.precision import PRECISIONS, check_here
from convsmith.text import times

if TYPE_CHECKING:
    from convsmith.cli.peers import Inputs

__all__ = ["RuntimeComparison", "RuntimeFigures", "command"]


@dataclass(frozen=True, slots=True)
class RuntimeFigures(Result):
    """What one runtime took.

    Attributes:
        name: the runtime.
        median_ms: milliseconds per call; None if it did not run.
        low_ms: the fastest quarter of the calls lies below this.
        high_ms: the slowest quarter lies above this.
        speedup: relative to eager PyTorch.
        error: largest difference from eager PyTorch, divided by the largest value.
        why: why it did not run: the line that installs it, or its own message.
    """

    name: str
    median_ms: float | None = None
    low_ms: float | None = None
    high_ms: float | None = None
    speedup: float | None = None
    error: float | None = None
    why: str = ""


@dataclass(frozen=True, repr=False)
class RuntimeComparison(Result):
    """Runtimes side by side on one network.

    Attributes:
        network: the model, as the user named it.
        shape: that of the first input; `more_shapes`: those of the others.
        threads: threads per runtime.
        precision: `bf16` where runtimes that compute in it take part, too, else `float32`.
        runtimes: the fastest first, then those that did not run.
        use: how to use the fastest one.
    """

    network: str
    shape: tuple[int, ...]
    threads: int
    runtimes: tuple[RuntimeFigures, ...]
    use: str
    precision: str = "float32"
    more_shapes: tuple[tuple[int, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return {"report": "bench", "version": 1} | super().to_dict()

    def table(self) -> Table:
        """A row per runtime."""
        return Table(
            [
                Column("name", "runtime"),
                Column("median_ms", "median", align="right", format=milliseconds),
                Column("low_ms", "25 %", align="right", format=milliseconds),
                Column("high_ms", "75 %", align="right", format=milliseconds),
                Column("speedup", "× torch", align="right", format="{:.2f}".format),
                Column("error", "error", align="right", format="{:.0e}".format),
                Column("why", "not run", wrap=True),
            ],
            [
                (r.name, r.median_ms, r.low_ms, r.high_ms, r.speedup, r.error, r.why)
                for r in self.runtimes
            ],
            title=", ".join(
                (
                    self.network,
                    *map(times, (self.shape, *self.more_shapes)),
                    f"threads: {self.threads}",
                )
            ),
            note=f"use {self.runtimes[0].name}: {self.use}",
        )

    def __repr__(self) -> str:
        return f"RuntimeComparison({self.network}: {len(self.runtimes)} runtimes, use {self.use})"


_LONGEST = 86_400


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL.removesuffix(", .pt2"))],
    shapes: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="[NAME=]N,C,H,W[:TYPE]", help=INPUT),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Rows and columns of square images; 224 by default.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Images per call; 1 by default.")] = None,
    channels: Annotated[
        int | None, typer.Option(help="Channels of the images; 3 by default.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads per runtime; all processors by default.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="Time to spend measuring all runtimes together.")
    ] = 5.0,
    precision: Annotated[
        str,
        typer.Option(help=f"{' or '.join(PRECISIONS)}, which adds runtimes that compute in it."),
    ] = PRECISIONS[0],
    weights: Annotated[str | None, typer.Option(metavar="FILE", help="Trained weights.")] = None,
    original: Original = None,
    json: Json = None,
    force: Force = False,
) -> None:
    """Time a network in every installed runtime, and say which one to use."""
    check_targets(json, force=force)
    example = _example(shapes or [], {"batch": batch, "channels": channels, "size": size})
    if threads is not None and threads < 1:
        raise ArgumentError(f"--threads must be at least 1, not {threads}")
    within("--threads", threads, 1, most_threads())
    if not seconds > 0:
        raise ArgumentError(f"--seconds must be above 0, not {seconds}")
    if seconds > _LONGEST:
        raise ArgumentError(f"--seconds must be at most {_LONGEST:,}, not {seconds:g}")
    choice("--precision", precision, PRECISIONS)
    check_here(precision)
    from torch import nn

    from convsmith.cli.models import load_model
    from convsmith.machine import processors

    network = load_model(model, weights, original)
    if not isinstance(network, nn.Module):
        raise ModelError(f"{model} is an exported program: bench takes a model in Python")
    inputs = _inputs(network, example)
    result = _compare(model, network.eval(), inputs, threads or processors(), seconds, precision)
    emit(result, json=json, force=force)


def _example(shapes: list[str], lengths: dict[str, int | None]) -> Any:
    """What a model is called with: inputs of any kind, or square images."""
    for name, value in lengths.items():
        if value is not None and shapes:
            raise ArgumentError(f"--input gives the whole shape: pass it without --{name}")
        if value is not None and value < 1:
            raise ArgumentError(f"--{name} must be at least 1, not {value}")
        within(f"--{name}", value, 1, 1 << 20)
    if shapes:
        return read_inputs(shapes)
    batch, channels, size = (
        default if value is None else value
        for value, default in zip(lengths.values(), (1, 3, 224), strict=True)
    )
    shape = (batch, channels, size, size)
    fits("an input of", shape)
    return shape


def _inputs(network: Any, example: Any) -> Inputs:
    """The inputs, those of fractions filled with random ones."""
    import torch
    from torch.utils._pytree import tree_map

    from convsmith.network.example import example_inputs

    generator = torch.Generator().manual_seed(0)

    def filled(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or not leaf.is_floating_point():
            return leaf
        return torch.rand(leaf.shape, generator=generator).to(leaf)

    inputs: Inputs = tree_map(filled, example_inputs(network, example))
    return inputs


def _compare(
    name: str,
    network: Any,
    inputs: Inputs,
    threads: int,
    seconds: float,
    precision: str,
) -> RuntimeComparison:
    import torch
    from torch.utils._pytree import tree_leaves

    from convsmith.cli.peers import PEERS, thread_count
    from convsmith.measure.latency import latency
    from convsmith.network.contexts import quiet

    peers = [peer for peer in PEERS if peer.precision in (PRECISIONS[0], precision)]
    args, kwargs = inputs
    tensors = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, torch.Tensor)]
    first, *others = (tuple(tensor.shape) for tensor in tensors)
    calls: dict[str, Any] = {}
    errors: dict[str, float] = {}
    idle: list[RuntimeFigures] = []
    with torch.no_grad(), thread_count(threads):
        try:
            expected = _first(network(*args, **kwargs))
        except Exception as error:
            reason = kind_and_line(error)
            shown = " and ".join(",".join(map(str, shape)) for shape in (first, *others))
            raise ModelError(f"{name} does not run on {shown}: {reason}") from error
        for peer in peers:
            if peer.missing:
                idle.append(RuntimeFigures(peer.name, why=peer.missing))
                continue
            talk(f"preparing {peer.name}")
            try:
                # Its progress bar is shown while kernels are compiled.
                with nullcontext() if peer.name.startswith("convsmith") else quiet():
                    call = peer.make(network, inputs, threads)
                    output = _first(call())
            except Exception as error:
                if peer.name == "torch":
                    raise
                idle.append(RuntimeFigures(peer.name, why=kind_and_line(error)[:200]))
                continue
            calls[peer.name] = call
            scale = float(expected.abs().max()) or 1.0
            errors[peer.name] = float((output - expected).abs().max()) / scale
        measured = latency(calls, seconds=seconds)
    eager = measured["torch"].median_ms
    ran = sorted(
        (
            RuntimeFigures(key, t.median_ms, t.low_ms, t.high_ms, eager / t.median_ms, errors[key])
            for key, t in measured.items()
        ),
        key=lambda figures: figures.median_ms or 0.0,
    )
    advice = {peer.name: peer.advice for peer in peers}
    use = advice[ran[0].name]
    return RuntimeComparison(name, first, threads, (*ran, *idle), use, precision, tuple(others))


def _first(value: Any) -> Any:
    """The first tensor in the output of a model or a runtime."""
    import torch

    while not hasattr(value, "shape"):
        value = next(iter(value.values() if isinstance(value, dict) else value))
    return torch.as_tensor(value).clone()
