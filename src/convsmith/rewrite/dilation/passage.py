"""Layers that nothing has to change: the grids behind them, or why the theorem ends there."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import prod

from convsmith.arithmetic import ConvTranspose
from convsmith.network import Layer
from convsmith.network.reads import permutation
from convsmith.network.shapes import factor_groups
from convsmith.rewrite.dilation.grid import NOWHERE, Broken, Grid, Grids, fixed, rates_of

__all__ = ["passed"]


def passed(layer: Layer, sources: list[Grids]) -> Grids | None:
    """The grids of a layer's first result from those of its inputs; None where none can be told.

    Raises:
        Broken: where old and new differ on the old grid.
    """
    name, kind = layer.operation.name, layer.kind
    if "adaptive" in name:
        return _adaptive(layer, sources)
    if kind in _IN_PLACE:
        return sources[0]
    return _RULES.get(kind, _unknown)(layer, sources)


def _transposed(layer: Layer, sources: list[Grids]) -> Grids | None:
    spec = layer.operation.arithmetic
    assert isinstance(spec, ConvTranspose)
    grids, dims = sources[0], spec.dims
    spatial = grids[-dims:]
    if all(grid.rate == 1 for grid in spatial):
        after = (
            Grid(grid.stride / s, 1, n)
            for grid, s, n in zip(spatial, spec.stride, layer.shape[-dims:], strict=True)
        )
        return (*fixed(layer.shape[:-dims]), *after)
    raise Broken(f"a transposed convolution on a grid of rate {rates_of(spatial)}")


def _split(layer: Layer, sources: list[Grids]) -> Grids:
    dim = layer.operation.settings.get("dim", 0) % len(sources[0])
    if sources[0][dim].rate > 1:
        raise Broken("a map cut in parts")
    if layer.operation.name == "unbind":
        return tuple(grid for d, grid in enumerate(sources[0]) if d != dim)
    return tuple(
        Grid(NOWHERE, 1, grid.length) if d == dim else grid for d, grid in enumerate(sources[0])
    )


def _permute(layer: Layer, sources: list[Grids]) -> Grids:
    return tuple(sources[0][d] for d in permutation(layer))


def _linear(layer: Layer, sources: list[Grids]) -> Grids:
    last = sources[0][-1]
    if last.rate > 1 or last.length != layer.operands[0].shape[-1]:
        raise Broken("a linear layer over the positions of a map")
    return (*sources[0][:-1], *fixed(layer.shape[-1:]))


def _softmax(layer: Layer, sources: list[Grids]) -> Grids:
    dim = layer.operation.settings.get("dim", -1)
    if sources[0][dim].rate > 1:
        raise Broken(f"softmax over a map of rate {sources[0][dim].rate}", sources[0])
    return sources[0]


def _norm(layer: Layer, sources: list[Grids]) -> Grids:
    name, grids = layer.operation.name, sources[0]
    joined = grids
    if name in ("layer_norm", "native_layer_norm", "rms_norm"):
        joined = grids[-len(layer.operation.settings["normalized_shape"]) :]
    if any(grid.rate > 1 for grid in joined):
        raise Broken(f"{name.replace('_', ' ')} over a map of rate {rates_of(joined)}", grids)
    return grids


def _reduction(layer: Layer, sources: list[Grids]) -> Grids:
    settings, grids = layer.operation.settings, sources[0]
    given = settings.get("dim")
    dims = [given] if isinstance(given, int) else list(given or range(len(grids)))
    joined = {d % len(grids) for d in dims}
    rates = [grids[d].rate for d in joined]
    if len(layer.shape) == len(grids):
        after = tuple(
            Grid(NOWHERE, 1, layer.shape[d]) if d in joined and n.rate == 1 else n
            for d, n in enumerate(grids)
        )
        if layer.operation.name != "cumsum":
            after = tuple(Grid(NOWHERE, 1, 1) if d in joined else n for d, n in enumerate(after))
    else:
        after = tuple(n for d, n in enumerate(grids) if d not in joined)
    if max(rates, default=1) > 1:
        pooling = layer.operation.name in ("mean", "amax", "max", "sum", "amin", "min")
        what = "global pooling" if pooling else layer.operation.name
        raise Broken(f"{what} over a map of rate {max(rates)}", after)
    return after


def _adaptive(layer: Layer, sources: list[Grids]) -> Grids:
    grids = sources[0]
    dims = int(layer.operation.name.rstrip("d_")[-1]) if layer.operation.name else 2
    after = list(fixed(layer.shape[: len(grids) - dims]))
    for place in range(len(grids) - dims, len(grids)):
        ratio = Fraction(layer.operands[0].shape[place], max(1, layer.shape[place]))
        stride = grids[place].stride * ratio if layer.shape[place] > 1 else NOWHERE
        after.append(Grid(stride, 1, layer.shape[place]))
    spatial = grids[-dims:]
    if any(grid.rate > 1 for grid in spatial):
        single = prod(layer.shape[-dims:]) == 1
        kind = "global" if single else "adaptive"
        raise Broken(f"{kind} pooling over a map of rate {rates_of(spatial)}", tuple(after))
    return tuple(after)


def _upsample(layer: Layer, sources: list[Grids]) -> Grids:
    grids, dims = sources[0], len(layer.shape) - 2
    scales = layer.operation.settings.get("scale_factors")
    after = list(fixed(layer.shape[:2]))
    for axis, grid in enumerate(grids[2:]):
        old, new = layer.operands[0].shape[2 + axis], layer.shape[2 + axis]
        stride = grid.stride * Fraction(old, new)
        factor = scales[axis] if scales and grid.rate > 1 else None
        length = new if factor is None else int(grid.length * factor)
        after.append(Grid(stride, 1 if factor is None else grid.rate, length))
    if any(grid.rate > 1 for grid in grids[-dims:]):
        raise Broken(f"resizing a map of rate {rates_of(grids[-dims:])}", tuple(after))
    return tuple(after)


def _expand(layer: Layer, sources: list[Grids]) -> Grids:
    grids = sources[0]
    if len(sources) > 1 and layer.operation.name == "expand_as":
        return sources[1]
    after = list(fixed(layer.shape))
    old = layer.operands[0].shape
    for place in range(1, len(grids) + 1):
        if old[-place] == layer.shape[-place]:
            after[-place] = grids[-place]
        elif grids[-place].rate > 1:
            raise Broken("positions repeated")
    return tuple(after)


def _reshape(layer: Layer, sources: list[Grids]) -> Grids:
    grids, before, after = sources[0], layer.operands[0].shape, layer.shape
    found = list(fixed(after))
    kept: set[int] = set()
    for ours, theirs in factor_groups(before, after):
        if len(ours) == len(theirs) == 1:
            found[theirs[0]] = grids[ours[0]]
            kept.add(ours[0])
        elif all(grids[d].length == before[d] for d in ours):
            kept.update(ours)
        elif len(theirs) == 1:
            length = prod(grids[d].length for d in ours)
            found[theirs[0]] = Grid(NOWHERE, 1, length)
    if lost := [g for d, g in enumerate(grids) if g.length != before[d] and d not in kept]:
        raise Broken(f"flattening a map of rate {rates_of(lost)}", tuple(found))
    return tuple(found)


def _unknown(layer: Layer, sources: list[Grids]) -> Grids | None:
    moved = [grid for grids in sources for grid in grids if grid.rate > 1]
    if moved:
        words = layer.operation.name.replace("_", " ")
        raise Broken(f"{words} on a map of rate {rates_of(moved)}")
    same = sources and len(layer.results) == 1 and layer.shape == layer.operands[0].shape
    return sources[0] if same and 0 in layer.places else fixed(layer.shape)


# Position by position, whatever the values around are.
_IN_PLACE = {"activation", "batch norm", "identity", "channel shuffle"}
_RULES: dict[str, Callable[[Layer, list[Grids]], Grids | None]] = {
    "expand": _expand,
    "linear": _linear,
    "norm": _norm,
    "permute": _permute,
    "reduction": _reduction,
    "reshape": _reshape,
    "softmax": _softmax,
    "split": _split,
    "transposed convolution": _transposed,
    "upsample": _upsample,
}
