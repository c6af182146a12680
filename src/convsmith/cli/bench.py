"""`convsmith bench MODEL --size 224`: the runtimes that are installed, side by side."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from convsmith.arithmetic.normalise import choice
from convsmith.cli.bounds import fits, within
from convsmith.cli.inspect import MODEL
from convsmith.cli.output import Force, Json, Original, check_targets, emit, talk
from convsmith.errors import ArgumentError, ModelError, kind_and_line
from convsmith.machine import most_threads
from convsmith.report import Column, Result, Table, milliseconds
from convsmith.runtime.precision import PRECISIONS, check_here
from convsmith.text import times

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
        shape: the input's shape.
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
            title=f"{self.network}, {times(self.shape)}, threads: {self.threads}",
            note=f"use {self.runtimes[0].name}: {self.use}",
        )

    def __repr__(self) -> str:
        return f"RuntimeComparison({self.network}: {len(self.runtimes)} runtimes, use {self.use})"


_LONGEST = 86_400


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL.removesuffix(", .pt2"))],
    size: Annotated[int, typer.Option(help="Rows and columns of the images.")] = 224,
    batch: Annotated[int, typer.Option(help="Images per call.")] = 1,
    channels: Annotated[int, typer.Option(help="Channels of the images.")] = 3,
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
    for name, value in (("size", size), ("batch", batch), ("channels", channels)):
        if value < 1:
            raise ArgumentError(f"--{name} must be at least 1, not {value}")
        within(f"--{name}", value, 1, 1 << 20)
    if threads is not None and threads < 1:
        raise ArgumentError(f"--threads must be at least 1, not {threads}")
    within("--threads", threads, 1, most_threads())
    if not seconds > 0:
        raise ArgumentError(f"--seconds must be above 0, not {seconds}")
    if seconds > _LONGEST:
        raise ArgumentError(f"--seconds must be at most {_LONGEST:,}, not {seconds:g}")
    choice("--precision", precision, PRECISIONS)
    check_here(precision)
    fits("an input of", (batch, channels, size, size))
    from torch import nn

    from convsmith.cli.models import load_model
    from convsmith.machine import processors

    network = load_model(model, weights, original)
    if not isinstance(network, nn.Module):
        raise ModelError(f"{model} is an exported program: bench takes a model in Python")
    shape = (batch, channels, size, size)
    result = _compare(model, network.eval(), shape, threads or processors(), seconds, precision)
    emit(result, json=json, force=force)


def _compare(
    name: str,
    network: Any,
    shape: tuple[int, ...],
    threads: int,
    seconds: float,
    precision: str,
) -> RuntimeComparison:
    import torch

    from convsmith.cli.peers import PEERS, thread_count
    from convsmith.measure.latency import latency
    from convsmith.network.contexts import quiet

    peers = [peer for peer in PEERS if peer.precision in (PRECISIONS[0], precision)]
    shown = ",".join(map(str, shape))
    calls: dict[str, Any] = {}
    errors: dict[str, float] = {}
    idle: list[RuntimeFigures] = []
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(shape, generator=generator)
    with torch.no_grad(), thread_count(threads):
        try:
            expected = _first(network(image))
        except Exception as error:
            reason = kind_and_line(error)
            raise ModelError(f"{name} does not run on {shown}: {reason}") from error
        for peer in peers:
            if peer.missing:
                idle.append(RuntimeFigures(peer.name, why=peer.missing))
                continue
            talk(f"preparing {peer.name}")
            try:
                # Its progress bar is shown while kernels are compiled.
                with nullcontext() if peer.name.startswith("convsmith") else quiet():
                    call = peer.make(network, image, threads)
                    output = _first(call())
            except Exception as error:
                if peer.name == "torch":
                    raise
                idle.append(RuntimeFigures(peer.name, why=kind_and_line(error)[:200]))
                continue
            calls[peer.name] = call
            scale = float(expected.abs().max()) or 1.0
            errors[peer.name] = float((output - expected).abs().max()) / scale
        times = latency(calls, seconds=seconds)
    eager = times["torch"].median_ms
    ran = sorted(
        (
            RuntimeFigures(key, t.median_ms, t.low_ms, t.high_ms, eager / t.median_ms, errors[key])
            for key, t in times.items()
        ),
        key=lambda figures: figures.median_ms or 0.0,
    )
    advice = {peer.name: peer.advice for peer in peers}
    return RuntimeComparison(name, shape, threads, (*ran, *idle), advice[ran[0].name], precision)


def _first(value: Any) -> Any:
    """The first tensor in the output of a model or a runtime."""
    import torch

    while not hasattr(value, "shape"):
        value = next(iter(value.values() if isinstance(value, dict) else value))
    return torch.as_tensor(value).clone()
