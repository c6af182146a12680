"""How coarse a map is, told by its size where the operations before it do not tell it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from math import log

from convsmith.network import Network
from convsmith.rewrite.dilation.grid import Grid, Grids
from convsmith.rewrite.dilation.plan import Plan, Striding

__all__ = ["located", "strides_at", "too_coarse"]

_CLOSE = 1.25
"""How far two sizes may be from a whole ratio: windows may pad a map, and kernels shorten it."""

Known = Mapping[str, tuple[Grids, ...] | None]


def located(
    network: Network, known: Known, name: str, grids: Grids, places: Sequence[int]
) -> Grids | None:
    """The grids of some dimensions of a map, with strides where they were lost.

    A map that became tokens, windows or channels and is a map again has lost its strides. The
    nearest map before it that has them tells them by its size: as many positions as that one
    have its stride, half as many have twice its stride.

    Args:
        network: the network.
        known: the grids of all layers up to this one.
        name: the layer whose result the map is.
        grids: its grids.
        places: the dimensions that belong to the image.

    Returns:
        One grid per place; None if no map tells the strides.
    """
    spatial = tuple(grids[place] for place in places)
    lengths = [network[name].shape[place] for place in places]
    lost = [
        not grid.stride and grid.rate == 1 and n > 1
        for grid, n in zip(spatial, lengths, strict=True)
    ]
    if not any(lost):
        return spatial
    for source in _nearest_first(network, name):
        strides = _by_size(source, known, network, lengths)
        if strides is not None:
            return tuple(
                grid._replace(stride=stride) if gone else grid
                for grid, stride, gone in zip(spatial, strides, lost, strict=True)
            )
    return None


def _nearest_first(network: Network, name: str) -> Iterator[str]:
    waiting, seen = [name], {name}
    while waiting:
        now = waiting.pop(0)
        yield now
        for source in network[now].inputs:
            if source not in seen:
                seen.add(source)
                waiting.append(source)


def _by_size(
    source: str, known: Known, network: Network, lengths: Sequence[int]
) -> tuple[Fraction, ...] | None:
    """The strides of a map of these lengths, if it covers what an earlier one covers."""
    grids = known.get(source)
    if not grids:
        return None
    shape = network[source].shape
    image = [
        (grid.stride, n) for grid, n in zip(grids[0], shape, strict=True) if grid.stride and n > 1
    ]
    best: tuple[float, tuple[Fraction, ...]] | None = None
    for chosen in combinations(reversed(image), len(lengths)):
        pairs = list(zip(reversed(chosen), lengths, strict=True))
        ratios = [_ratio(before, after) for (_, before), after in pairs]
        if any(
            max(before / (q * n), q * n / before) > _CLOSE
            for ((_, before), n), q in zip(pairs, ratios, strict=True)
        ):
            continue
        apart = sum(abs(log(q)) for q in ratios) + 10 * (len(set(ratios)) - 1)
        if best is None or apart < best[0]:
            strides = tuple(stride * q for ((stride, _), _), q in zip(pairs, ratios, strict=True))
            best = apart, strides
    return None if best is None else best[1]


def _ratio(before: int, after: int) -> Fraction:
    """How many positions of one size became one of another, or one became how many."""
    if after <= before:
        return Fraction(max(1, round(before / after)))
    return Fraction(1, max(1, round(after / before)))


def too_coarse(
    network: Network, plan: Plan, striding: Striding, judged: Sequence[str]
) -> dict[str, Fraction]:
    """Layers on the way to what is judged whose maps stay coarser than was asked for.

    Judged by the sizes of the maps: that no layer was found which could lose its stride does not
    mean that there is none.
    """
    if striding.total is None:
        return {}
    way = {up.name for name in judged for up in network.upstream(name)} | set(judged)
    found = {name: stride for name, stride in plan.coarse.items() if name in way}
    for name in judged:
        grids = plan.grids[name]
        if not grids or len(grids[0]) < 3:
            continue
        _, left = strides_at(network, plan, name)
        for axis, stride in enumerate(left, -len(left)):
            if stride > striding.most(axis):
                found[name] = max(stride, found.get(name, stride))
    return found


def strides_at(
    network: Network, plan: Plan, name: str
) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """The strides of a result along the axes of the image, before and after; () if unknown."""
    every = plan.grids[name]
    if not every:
        return (), ()
    grids = every[0]
    spatial: Sequence[Grid] = [grid for grid in grids if grid.stride]
    if not spatial and len(grids) > 3:
        spatial = located(network, plan.grids, name, grids, range(2, len(grids))) or ()
    before = tuple(grid.stride for grid in spatial)
    return before, tuple(grid.stride / grid.rate for grid in spatial)
