"""A dilated network beside the one it was made from: figures, and results on the old grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from convsmith.errors import first_line
from convsmith.measure import inspect, local_field
from convsmith.network import Network
from convsmith.network.example import example_inputs
from convsmith.rewrite.dilation.certificate import ChangedLayer, Equality, FieldFigures
from convsmith.rewrite.dilation.plan import Plan
from convsmith.rewrite.dilation.request import returned_layers
from convsmith.rewrite.observation import Runner, by_layers, by_modules, by_nodes, random_inputs
from convsmith.rewrite.surgery import working_copy
from convsmith.text import times

__all__ = ["Work", "changed_layers", "evidence", "figures_at", "same_layer"]


@dataclass(frozen=True)
class Work:
    """A new model and the network it was traced to.

    Attributes:
        model: the old model's copy, or its graph.
        network: the new one, traced.
        nodes: nodes of the graph, by what is judged; None for a copy.
        ends: whether the graph ends at what is judged.
        notes: why it is a graph.
        changed: the modules of a copy that were changed.
    """

    model: nn.Module
    network: Network
    nodes: Mapping[str, str] | None = None
    ends: bool = False
    notes: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def same_layer(work: Work, network: Network, layer: str) -> str | None:
    """The layer of the new network that stands for one of the old."""
    new = work.network
    if work.nodes is None:
        if layer in new:
            return layer
        path = network[layer].path
        return next((x.name for x in reversed(new.layers) if path and x.path == path), None)
    returned = [layer for name, layer in zip(work.nodes, returned_layers(new), strict=False)]
    return returned[0] if returned and (work.ends or layer == returned_layers(network)[0]) else None


def changed_layers(network: Network, plan: Plan) -> tuple[ChangedLayer, ...]:
    """The layers that a plan changes, in order of execution."""
    found = []
    for name, change in plan.changes.items():
        layer = network[name]
        old, new = [w.old for w in change.windows], change.windows
        stride = tuple(w.stride for w in old), tuple(w.stride for w in new)
        padding: tuple[Any, Any] = tuple(w.padding for w in old), tuple(w.padding for w in new)
        if change.pads:
            settings = layer.operation.settings
            pads = settings.get("pad", settings.get("padding", ()))
            padding = _sides(pads), _sides(change.pads)
        if change.cut:
            stride = (int(layer.operation.settings.get("step") or 1),), change.cut[3:]
        dilation = tuple(w.dilation for w in old), tuple(w.dilation for w in new)
        found.append(ChangedLayer(layer.path or name, stride, dilation, padding))
    return tuple(found)


def _sides(pads: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Low and high of each axis, from PyTorch's order, which begins with the last."""
    return tuple((int(pads[i]), int(pads[i + 1])) for i in range(0, len(pads), 2))[::-1]


def figures_at(
    traced: Network, layer: str | None, strides: Sequence[Fraction] = ()
) -> FieldFigures:
    """Figures of a network, its field and stride at one layer.

    Args:
        traced: the network.
        layer: the layer; None if it is not there.
        strides: those that the plan counted; else those of the local field.
    """
    counted = inspect(traced)
    field = local_field(traced, layer) if layer else None
    return FieldFigures(
        stride=tuple(map(float, strides or (field.stride if field else ()))),
        params=counted.params,
        macs=counted.macs,
        field=field.size if field else None,
        coverage=field.coverage if field else None,
        gap=field.gaps if field else None,
    )


def evidence(
    network: Network,
    model: nn.Module,
    example: Any,
    exact: Plan,
    judged: Mapping[str, str],
    work: Work,
    seed: int,
) -> tuple[tuple[Equality, ...], list[str]]:
    """Compare both on random inputs of the example's size, twice, and of sizes beside it.

    Returns:
        One row per judged result and size, and what else has to be known.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs = example_inputs(model, example)
    rates = {name: exact.rates(layer) for name, layer in judged.items()}
    known = {name: rate for name, rate in rates.items() if rate is not None}
    notes = [f"{name} lies on an unknown grid" for name in rates if name not in known]
    modules = {name: name for name in known if name in network.modules and name}
    returned = returned_layers(network)
    sizes: list[tuple[int, ...]] = []
    if work.nodes is None and all(name in modules or name in returned for name in known):
        asked = {name: path for name, path in modules.items() if name not in returned}
        old, new = (
            by_modules(working_copy(m, *inputs[0], **inputs[1]), returned, asked)
            for m in (model, work.model)
        )
        sizes = _neighbours(network)
    elif work.nodes is None:
        names = {name: judged[name] for name in known}
        theirs = {name: same_layer(work, network, layer) or layer for name, layer in names.items()}
        old, new = by_layers(network, names), by_layers(work.network, theirs)
    else:
        old = by_layers(network, {name: judged[name] for name in known})
        if work.ends or set(known) <= set(returned):
            new = by_modules(work.model, list(judged) if work.ends else returned, {})
        else:
            assert isinstance(work.model, fx.GraphModule)
            new = by_nodes(work.model, {name: work.nodes[name] for name in known})
    rows: list[Equality] = []
    for _ in range(2):
        rows += _compare(old, new, random_inputs(inputs, generator), known)
    for grow in sizes:
        other = random_inputs(inputs, generator, grow)
        try:
            old(other)
        except Exception:
            continue  # a size that the model does not take
        try:
            rows += _compare(old, new, other, known, at_example=False)
        except Exception as error:
            more = times(f"+{n}" for n in grow)
            notes.append(f"the new model does not take a size of {more}: {first_line(error)}")
    return tuple(_worst(rows)), notes


def _worst(rows: Sequence[Equality]) -> list[Equality]:
    """The worst of several comparisons of one result at one size."""
    found: dict[tuple[str, tuple[int, ...]], Equality] = {}
    for row in rows:
        key = (row.name, row.input_shape)
        if key not in found or row.absolute >= found[key].absolute:
            found[key] = row
    return list(found.values())


def _neighbours(network: Network) -> list[tuple[int, ...]]:
    """Sizes beside the example's: odd for even, and the axes unequal."""
    dims = max((len(network[name].shape) - 2 for name in network.inputs), default=0)
    if dims < 1:
        return []
    both = [(1,) * dims]
    return both if dims == 1 else [*both, (*(2,) * (dims - 1), 1)]


def _compare(
    old: Runner,
    new: Runner,
    inputs: Any,
    rates: Mapping[str, Sequence[int]],
    *,
    at_example: bool = True,
) -> Iterator[Equality]:
    """Run both networks on the same inputs, and compare every r-th position.

    Args:
        old: gives the old results by name.
        new: gives the new ones.
        inputs: positional and keyword arguments, tensors in float64.
        rates: for each result the rate of each of its dimensions.
        at_example: whether the inputs have the example's size.
    """
    size = next((tuple(x.shape) for x in tree_leaves(inputs) if isinstance(x, Tensor)), ())
    expected, results = old(inputs), new(inputs)
    for name, rate in rates.items():
        a, b = expected[name], results[name]
        on_grid = b[tuple(slice(None, None, r) for r in rate)] if b.dim() == len(rate) else b
        if on_grid.shape != a.shape:
            absolute = relative = inf
        elif a.is_floating_point():
            scale = float(a.abs().max()) if a.numel() else 0.0
            absolute = float((on_grid - a).abs().max()) if a.numel() else 0.0
            relative = absolute / scale if scale else (0.0 if absolute == 0 else inf)
            if absolute != absolute or scale != scale:  # NaN equals nothing
                absolute = relative = inf
        else:
            absolute = relative = float((on_grid != a).any())
        yield Equality(
            name=name,
            rate=tuple(rate[2:]) if len(rate) > 2 else tuple(rate),
            old_shape=tuple(a.shape),
            new_shape=tuple(b.shape),
            input_shape=size,
            absolute=absolute,
            relative=relative,
            at_example=at_example,
        )
