"""`inspect`: one call from a model to all of its figures."""

from __future__ import annotations

from math import prod
from typing import Any

from convsmith.arithmetic import Conv, ConvTranspose
from convsmith.measure.cost import cost
from convsmith.measure.inspection import Inspection
from convsmith.measure.layer_report import LayerReport
from convsmith.network import Layer, Network, trace
from convsmith.network.families import Trait, family_of

__all__ = ["inspect"]


def inspect(model: Any, example: Any = None) -> Inspection:
    """Count what every layer of a model costs, exactly, without running it.

    Args:
        model: a `torch.nn.Module`, an exported program, or a `Network` that is traced already.
        example: a tensor, a shape such as `(1, 3, 224, 224)`, or several (see `trace`); a network
            needs none.

    Raises:
        TraceError: if the model cannot be captured.

    >>> import torch, convsmith as cs
    >>> cs.inspect(torch.nn.Linear(300, 10), (1, 300))
    Inspection(Linear: 3.01 k parameters, 3.00 k MACs, 6.01 k FLOPs, exact)
    """
    network = model if isinstance(model, Network) else trace(model, example)
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
