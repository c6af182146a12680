"""Layers that nothing has to change: the grids after them, or why the theorem ends there."""

from __future__ import annotations

from fractions import Fraction
from math import prod

from convsmith.arithmetic import ConvTranspose
from convsmith.network import Layer
from convsmith.network.families.permute import permutation
from convsmith.network.shapes import factor_groups
from convsmith.rewrite.dilation.grid import NOWHERE, Grid, Grids, NotEquivalent, fixed, rates_of

__all__ = [
    "adaptive_pool", "expand", "in_place", "linear", "norm", "permute", "reduction", "reshape",
    "softmax", "split", "transposed", "unchangeable", "upsample",
]  # fmt: skip

# Each gives the grids of a layer's first result from those of its inputs, None where none can be
# told, and raises `NotEquivalent` where old and new differ on the old grid.


def in_place(layer: Layer, sources: list[Grids]) -> Grids:
    """Position by position, whatever the values around are."""
    return sources[0]


def transposed(layer: Layer, sources: list[Grids]) -> Grids | None:
    """A map that nothing was left of makes a larger one; no other does."""
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
    raise NotEquivalent(f"a transposed convolution on a grid of rate {rates_of(spatial)}")


def split(layer: Layer, sources: list[Grids]) -> Grids:
    """Parts along a dimension that is not of the map."""
    dim = layer.operation.settings.get("dim", 0) % len(sources[0])
    if sources[0][dim].rate > 1:
        raise NotEquivalent("a map cut in parts")
    if layer.operation.name == "unbind":
        return tuple(grid for d, grid in enumerate(sources[0]) if d != dim)
    return tuple(
        Grid(NOWHERE, 1, grid.length) if d == dim else grid for d, grid in enumerate(sources[0])
    )


def permute(layer: Layer, sources: list[Grids]) -> Grids:
    """Dimensions take their grids along."""
    return tuple(sources[0][d] for d in permutation(layer))


def linear(layer: Layer, sources: list[Grids]) -> Grids:
    """Weights along a dimension that is not of the map."""
    last = sources[0][-1]
    if last.rate > 1 or last.length != layer.operands[0].shape[-1]:
        raise NotEquivalent("a linear layer over the positions of a map")
    return (*sources[0][:-1], *fixed(layer.shape[-1:]))


def softmax(layer: Layer, sources: list[Grids]) -> Grids:
    """Shares of a sum along a dimension that is not of the map."""
    dim = layer.operation.settings.get("dim", -1)
    if sources[0][dim].rate > 1:
        raise NotEquivalent(f"softmax over a map of rate {sources[0][dim].rate}", sources[0])
    return sources[0]


def norm(layer: Layer, sources: list[Grids]) -> Grids:
    """Statistics over dimensions that are not of the map."""
    name, grids = layer.operation.name, sources[0]
    joined = grids
    if name in ("layer_norm", "native_layer_norm", "rms_norm"):
        joined = grids[-len(layer.operation.settings["normalized_shape"]) :]
    if any(grid.rate > 1 for grid in joined):
        raise NotEquivalent(
            f"{name.replace('_', ' ')} over a map of rate {rates_of(joined)}", grids
        )
    return grids


def reduction(layer: Layer, sources: list[Grids]) -> Grids:
    """Dimensions that are summed are gone, or have one position."""
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
        raise NotEquivalent(f"{what} over a map of rate {max(rates)}", after)
    return after


def adaptive_pool(layer: Layer, sources: list[Grids]) -> Grids:
    """Windows that follow from the size of a map are those of the old one."""
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
        raise NotEquivalent(f"{kind} pooling over a map of rate {rates_of(spatial)}", tuple(after))
    return tuple(after)


def upsample(layer: Layer, sources: list[Grids]) -> Grids:
    """Interpolation reads neighbours, which are others on a finer grid."""
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
        raise NotEquivalent(f"resizing a map of rate {rates_of(grids[-dims:])}", tuple(after))
    return tuple(after)


def expand(layer: Layer, sources: list[Grids]) -> Grids:
    """Repeated along dimensions that are not of the map."""
    grids = sources[0]
    if len(sources) > 1 and layer.operation.name == "expand_as":
        return sources[1]
    after = list(fixed(layer.shape))
    old = layer.operands[0].shape
    for place in range(1, len(grids) + 1):
        if old[-place] == layer.shape[-place]:
            after[-place] = grids[-place]
        elif grids[-place].rate > 1:
            raise NotEquivalent("positions repeated")
    return tuple(after)


def reshape(layer: Layer, sources: list[Grids]) -> Grids:
    """Dimensions that stay as they are keep their grids."""
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
        raise NotEquivalent(f"flattening a map of rate {rates_of(lost)}", tuple(found))
    return tuple(found)


def unchangeable(layer: Layer, sources: list[Grids]) -> Grids | None:
    """Any other operation: on a map whose rate has grown it does something else."""
    moved = [grid for grids in sources for grid in grids if grid.rate > 1]
    if moved:
        words = layer.operation.name.replace("_", " ")
        raise NotEquivalent(f"{words} on a map of rate {rates_of(moved)}")
    same = sources and len(layer.results) == 1 and layer.shape == layer.operands[0].shape
    return sources[0] if same and 0 in layer.places else fixed(layer.shape)
