"""Where branches meet that do not lie upon each other: unequal strides, or centres apart."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from convsmith.network.backward import spatial_axes, strides
from convsmith.network.families import Trait, family_of
from convsmith.network.forward import views
from convsmith.network.network import Layer, Network
from convsmith.network.views import View
from convsmith.text import times

__all__ = ["drifts", "merge_note", "unequal_merge", "wraps"]


def merge_note(network: Network, name: str) -> str:
    """How the branches that a layer adds or joins lie apart, in pixels of the image; '' if not.

    The centre of a branch is that of its field at position 0; behind upsampling, where positions
    see differently, it is the mean of (centre - position·stride) over one period.

    >>> import convsmith as cs
    >>> from torch import nn
    >>> class Two(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.a, self.b = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3, padding=1)
    ...
    ...     def forward(self, x):
    ...         return self.a(x) + self.b(x)[..., :-2, :-2]
    >>> merge_note(cs.trace(Two(), (1, 1, 9, 9)), "add")
    'centres 1×1 pixels apart (a, slice#2)'
    """
    branches = _branches(network, name)
    if len(branches) < 2:
        return ""
    ways = _ways(network, branches)
    centres = {source: _centre(view, ways[source]) for source, view in branches.items() if view}
    apart, ends = _apart(centres) if len(centres) == len(branches) else ((), ())
    distance = f"centres {_short(apart)} pixels apart" if any(apart) else ""
    if len(set(ways.values())) == 1:
        return f"{distance} ({', '.join(ends)})" if distance else ""
    first = {way: source for source, way in reversed(ways.items())}
    met = " and ".join(f"{_short(way)} ({source})" for way, source in reversed(first.items()))
    return f"merges strides of {met} pixels" + (f", {distance} at position 0" if distance else "")


def drifts(network: Network, name: str) -> bool:
    """Whether what a layer reads moves unevenly with the position, from the first one on.

    So does interpolation with `align_corners`, whose step is (n - 1)/(m - 1), and a merge of
    unequal strides.
    """
    layer = network[name]
    if layer.kind == "write" or _end_to_end(network, layer):
        return True
    if family_of(layer).has(Trait.WINDOWED) and layer.operation.settings.get("align_corners"):
        return layer.shape != layer.operands[0].shape
    return len(set(_ways(network, _branches(network, name)).values())) > 1


def wraps(network: Network, name: str) -> bool:
    """Whether positions of a layer at one border of the image read the other one."""
    return any(
        layer.kind == "roll" or layer.operation.settings.get("mode") == "circular"
        for layer in (network[name], *network.upstream(name))
    )


def _end_to_end(network: Network, layer: Layer) -> bool:
    """Whether a layer puts maps end to end along an axis of the image."""
    axes = spatial_axes(network)[layer.name]
    return family_of(layer).has(Trait.MERGES) and any(
        axis is not None and operand.shape[d] not in (1, layer.shape[d])
        for operand in layer.operands
        if len(operand.shape) == len(layer.shape)
        for d, axis in enumerate(axes)
    )


def unequal_merge(network: Network, name: str) -> str:
    """The layer itself or the nearest one before it that merges unequal strides; '' if none."""
    for layer in (network[name], *network.upstream(name)):
        if family_of(layer).has(Trait.MERGES) and drifts(network, layer.name):
            return layer.name
    return ""


def _branches(network: Network, name: str) -> dict[str, View | None]:
    """The operands of a merge that see the image, with what they see where it is known."""
    layer, axes, seen = network[name], spatial_axes(network), views(network)
    if not family_of(layer).has(Trait.MERGES) or layer.constant or len(set(layer.inputs)) < 2:
        return {}
    mine = {axis for axis in axes[name] if axis is not None}
    found = {}
    for source in layer.inputs:
        view = seen.get((source, 0))
        if mine and mine == set(axes[source]) - {None} and (view is None or view.terms):
            found[source] = view
    return found


def _ways(network: Network, branches: Iterable[str]) -> dict[str, tuple[Fraction, ...]]:
    """The stride of each branch along each axis."""
    steps = strides(network)
    return {source: tuple(steps[source][a] for a in sorted(steps[source])) for source in branches}


def _centre(view: View, way: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    found = []
    for axis, (period, step) in enumerate(zip(view.periods, way, strict=True)):
        places = []
        for i in range(period):
            entries = [entry for term in view.terms if (entry := term.tables[axis][i])]
            if entries:
                ends = min(e.start for e in entries) + max(e.stop for e in entries) - 1
                places.append(Fraction(ends, 2) - i * step)
        found.append(sum(places, Fraction(0)) / max(1, len(places)))
    return tuple(found)


def _apart(
    centres: dict[str, tuple[Fraction, ...]],
) -> tuple[tuple[Fraction, ...], tuple[str, ...]]:
    """The largest distance along each axis, and the branches farthest apart."""
    columns = list(zip(*centres.values(), strict=True))
    apart = tuple(max(column) - min(column) for column in columns)
    widest = columns[apart.index(max(apart))]
    names = list(centres)
    ends = {widest.index(min(widest)), widest.index(max(widest))}
    return apart, tuple(names[i] for i in sorted(ends))


def _short(values: tuple[Fraction, ...]) -> str:
    return times(f"{float(value):g}" for value in values)
