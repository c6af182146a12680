"""`inspect`: one call from a model to all of its figures."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from convsmith.arithmetic import Conv, ConvTranspose
from convsmith.errors import ArgumentError, TraceError
from convsmith.measure.cost import cost
from convsmith.measure.inspection import Inspection
from convsmith.measure.layer_report import LayerReport
from convsmith.network import Layer, Network, trace
from convsmith.network.families import Trait, family_of
from convsmith.network.recording import record

__all__ = ["inspect"]


def inspect(
    model: Any, example: Any = None, *, axes: str | None = None, run: bool | None = None
) -> Inspection:
    """Count what every layer of a model costs, exactly, without running it.

    A model that `torch.export` refuses, because what it does depends on values, is run once and
    counted as it runs: its status is then `measured`, and it has no graph to read fields from.

    Args:
        model: a `torch.nn.Module`, an exported program, or a `Network` that is traced already.
        example: a tensor, a shape such as `(1, 3, 224, 224)`, or several (see `trace`); a network
            needs none.
        axes: what the dimensions of the image are, such as `NHWC` (see `trace`).
        run: whether to run the model instead of tracing it; None only where tracing fails, False
            never.

    Raises:
        ArgumentError: for `run=True` with a network that is traced already.
        TraceError: if the model can be neither captured nor run.

    >>> import torch, convsmith as cs
    >>> cs.inspect(torch.nn.Linear(300, 10), (1, 300))
    Inspection(Linear: 3.01 k parameters, 3.00 k MACs, 6.01 k FLOPs, exact)
    """
    if run is not None and not isinstance(run, bool):
        raise ArgumentError(f"run is True, False or None, not {type(run).__name__}")
    if run:
        return _measured(model, example, "")
    try:
        network = model if isinstance(model, Network) else trace(model, example, axes=axes)
    except TraceError as error:
        if run is False or not isinstance(model, nn.Module):
            raise
        try:
            return _measured(model, example, f"{error}; ")
        except TraceError:
            raise error from error.__cause__  # what tracing refused says more
    seen: set[str] = set()
    return Inspection(
        model=network.name,
        inputs=tuple(network[name].shape for name in network.inputs),
        layers=tuple(_report(layer, seen) for layer in network),
        params=network.params,
        unused=tuple(parameter.name for parameter in network.unused),
        buffers=sum(p.numel for p in network.parameters.values() if p.buffer),
        network=network,
    )


def _measured(model: Any, example: Any, why: str) -> Inspection:
    """Count what runs when the model is called once."""
    if isinstance(model, ExportedProgram):
        if example is None and model.example_inputs is not None:
            args, kwargs = model.example_inputs
            example = kwargs if kwargs and not args else args
        model = model.module(check_guards=False)
    if not isinstance(model, nn.Module):
        raise ArgumentError(
            f"run=True takes a torch.nn.Module or a program, not {type(model).__name__}"
        )
    recording = record(model, example)
    used = {parameter.name for layer in recording.layers for parameter in layer.parameters}
    seen: set[str] = set()
    reports = [_report(layer, seen) for layer in recording.layers]
    values = recording.parameters.values()
    hint = ""
    if isinstance(getattr(model, "backbone", None), nn.Module):
        hint = "; model.backbone can be inspected by itself, fields included"
    return Inspection(
        model=recording.name,
        inputs=recording.inputs,
        layers=tuple(
            replace(report, status="measured") if report.status == "exact" else report
            for report in reports
        ),
        params=sum(p.numel for p in values if not p.buffer),
        unused=tuple(p.name for p in values if not p.buffer and p.name not in used),
        buffers=sum(p.numel for p in values if p.buffer),
        measured=f"{why}counted in one run, which other values may change{hint}",
    )


def _report(layer: Layer, seen: set[str]) -> LayerReport:
    trained = [p for p in layer.parameters if not p.buffer]
    new = [p for p in trained if p.name not in seen]
    seen.update(p.name for p in new)
    count = cost(layer)
    # A view gives another name to the same bytes.
    view = family_of(layer).has(Trait.VIEW)
    moved = 0 if view else sum(t.nbytes for t in (*layer.operands, *layer.results))
    return LayerReport(
        name=layer.name,
        path=layer.path,
        kind=layer.kind,
        operation=str(layer.operation),
        output=layer.shape,
        params=sum(p.numel for p in new),
        macs=count.macs,
        flops=count.flops,
        bytes=moved,
        status=count.status,
        reason=count.reason,
        padding_macs=_on_padding(layer, count.macs),
        shared=tuple(p.name for p in trained if p not in new),
        source=layer.source,
    )


def _on_padding(layer: Layer, macs: int | None) -> int:
    spec = layer.operation.arithmetic
    if not macs or not isinstance(spec, (Conv, ConvTranspose)):
        return 0
    shape = layer.operands[0].shape
    batch, size = prod(shape[: -spec.dims - 1]), shape[-spec.dims :]
    return macs - spec.real_macs(size, batch)
