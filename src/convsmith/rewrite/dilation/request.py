"""What a call of `dilate` asks for, found in the network: strides, dilations, results to judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace as changed
from typing import Any

from torch import fx
from torch.utils._pytree import tree_leaves

from convsmith.arithmetic import Conv
from convsmith.errors import ArgumentError, nearest
from convsmith.network import Layer, Network
from convsmith.rewrite.dilation.plan import Change, Plan, Striding
from convsmith.rewrite.dilation.window import DilatedWindow
from convsmith.rewrite.observation import passed_on
from convsmith.text import times

__all__ = [
    "Rates",
    "judged_layers",
    "layers_in",
    "returned_layers",
    "some_of",
    "striding_of",
    "with_rates",
]

Rates = Mapping[str, int | tuple[int, ...]] | Sequence[int]


def striding_of(
    network: Network, output_stride: int | Sequence[int] | None, layers: str | Sequence[str] | None
) -> Striding:
    """Which strides go; an `ArgumentError` for what fits no layer."""
    if (output_stride is None) == (layers is None):
        raise ArgumentError("pass exactly one of output_stride and layers")
    if output_stride is not None:
        total = list(output_stride) if isinstance(output_stride, Sequence) else [output_stride]
        if not total or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in total):
            raise ArgumentError(
                f"output_stride must be a positive number, or one per axis, not {output_stride!r}"
            )
        dims = {len(network[name].shape) - 2 for name in network.inputs}
        if len(total) > 1 and len(total) not in dims:
            raise ArgumentError(f"output_stride has {len(total)} numbers for {max(dims)} axes")
        return Striding(total=tuple(total))
    assert layers is not None
    names: set[str] = set()
    for name in [layers] if isinstance(layers, str) else layers:
        inside = [x for x in layers_in(network, name) if _is_strided(x)]
        if not inside:
            raise ArgumentError(f"{name!r} has no stride to lose")
        names.update(layer.name for layer in inside)
    if not names:
        raise ArgumentError("layers names no layer")
    return Striding(layers=frozenset(names))


def _is_strided(layer: Layer) -> bool:
    if layer.kind == "slice":
        return int(layer.operation.settings.get("step") or 1) > 1
    if layer.kind == "convolution" and layer.operation.arithmetic is not None:
        return max(layer.operation.arithmetic.stride) > 1
    if "adaptive" in layer.operation.name or "_pool" not in layer.operation.name:
        return False
    settings = layer.operation.settings
    stride = settings["stride"] or settings["kernel_size"]
    return max([stride] if isinstance(stride, int) else stride) > 1


def layers_in(network: Network, name: str) -> list[Layer]:
    """The layers of a module, or the one layer of that name."""
    if name in network and name not in network.modules:
        return [network[name]]
    found = [
        layer
        for layer in network
        if not layer.constant and (layer.path == name or layer.path.startswith(f"{name}."))
    ]
    if not found or not name:
        known = [*network.modules, *(layer.name for layer in network)]
        raise ArgumentError(f"no layer {name!r} in {network.name}{nearest(name, known)}")
    return found


def judged_layers(
    network: Network, features: str | Sequence[str] | None, example: Any = None
) -> dict[str, str]:
    """What is compared: the name by which it is reported, and its layer.

    A module that computes nothing (an `Identity`) stands for the one whose result it passes on,
    which a run on the example shows.
    """
    if features is None:
        return {name: name for name in returned_layers(network)}
    names = [features] if isinstance(features, str) else list(features)
    if not names:
        raise ArgumentError("features names no layer")
    return {name: layers_in(network, _computing(network, name, example))[-1].name for name in names}


def _computing(network: Network, name: str, example: Any) -> str:
    """The module of this name, or the one whose result it passes on."""
    inside = f"{name}."
    if name not in network.modules or any(
        layer.path == name or layer.path.startswith(inside) for layer in network
    ):
        return name
    source = None if example is None else passed_on(network.model, example, name)
    if source is None or not any(layer.path.startswith(source) for layer in network):
        kind = network.modules[name]
        raise ArgumentError(
            f"features: {name!r} in {network.name} computes nothing ({kind}): name the module "
            "before it"
        )
    return source


def returned_layers(network: Network) -> list[str]:
    """The layers whose results the model returns, as often as it returns them."""
    names = {layer.node: layer.name for layer in network}
    leaves = tree_leaves(network.program.graph.output_node().args[0])
    return [names[x.name] for x in leaves if isinstance(x, fx.Node) and x.name in names]


def with_rates(network: Network, exact: Plan, rates: Rates | None) -> tuple[Plan, tuple[str, ...]]:
    """The plan with dilations of the user's own, and what they change."""
    if rates is None:
        return exact, ()
    convs = [layer for layer in network if isinstance(layer.operation.arithmetic, Conv)]
    windows = {layer.name: _windows_of(layer, exact) for layer in convs}
    dilations: dict[str, tuple[int, ...]] = {}
    if isinstance(rates, Mapping):
        for name, rate in rates.items():
            inside = [x for x in layers_in(network, name) if x.name in windows]
            if not inside:
                raise ArgumentError(f"rates: {name!r} has no convolution")
            dilations |= {x.name: _per_axis(name, rate, len(windows[x.name])) for x in inside}
    else:
        dilated = [
            name
            for name, axes in windows.items()
            if any(w.dilation > 1 and w.old.kernel > 1 for w in axes)
        ]
        if len(rates) != len(dilated):
            raise ArgumentError(
                f"rates has {len(rates)} numbers for {len(dilated)} dilated convolutions: "
                f"{some_of(map(repr, dilated))}"
            )
        dilations = {
            name: _per_axis(name, rate, len(windows[name]))
            for name, rate in zip(dilated, rates, strict=True)
        }
    changes, notes = dict(exact.changes), []
    for name, new in dilations.items():
        old = windows[name]
        if all(w.dilation == d or w.old.kernel == 1 for w, d in zip(old, new, strict=True)):
            continue
        change = changes.get(name, Change(name, windows=old))
        moved = tuple(_redilated(w, d) for w, d in zip(old, new, strict=True))
        changes[name] = changed(change, windows=moved)
        before = times(dict.fromkeys(w.dilation for w in old))
        after = times(dict.fromkeys(w.dilation for w in moved))
        notes.append(f"{name}: dilation {before} → {after}")
    return changed(exact, changes=changes), tuple(notes)


def _windows_of(layer: Layer, exact: Plan) -> tuple[DilatedWindow, ...]:
    change = exact.changes.get(layer.name)
    if change is not None:
        return change.windows
    assert layer.operation.arithmetic is not None
    return tuple(DilatedWindow.of(w, 1, w.stride) for w in layer.operation.arithmetic.windows)


def _redilated(window: DilatedWindow, dilation: int) -> DilatedWindow:
    """A window with another dilation, its padding such that the map keeps its size."""
    more = (dilation - window.dilation) * (window.old.kernel - 1)
    low, high = window.padding
    padding = (low + more // 2, high + more - more // 2)
    return changed(window, dilation=dilation, padding=padding)


def _per_axis(name: str, rate: Any, dims: int) -> tuple[int, ...]:
    values = (rate,) * dims if isinstance(rate, int) else tuple(rate)
    if len(values) != dims or any(not isinstance(n, int) or n < 1 for n in values):
        raise ArgumentError(
            f"rates: {name!r} takes a positive number, or one for each of {dims} axes, not {rate!r}"
        )
    return values


def some_of(words: Iterable[str], most: int = 4) -> str:
    """The first words of a list, and how many more there are."""
    every = list(words)
    more = len(every) - most
    return "; ".join(every[:most]) + (f"; and {more} more" if more > 0 else "")
