"""Holes in a receptive field: which layers make them, and the rates that would close them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import gcd, prod
from typing import Any

from convsmith.arithmetic import Conv, Positions
from convsmith.arithmetic.normalise import count
from convsmith.errors import ArgumentError
from convsmith.measure.receptive import ReceptiveField, local_field
from convsmith.network import Layer, Network
from convsmith.network.families import Trait, family_of
from convsmith.network.local import origin_region
from convsmith.report import Column, Result, Table, number, percent, shape

__all__ = ["Gridding", "Holes", "gridding", "hdc", "holes"]

# A repair is searched among at most so many sets of rates.
_SEARCH = 50_000


@dataclass(frozen=True, slots=True)
class Gridding(Result):
    """Dilated convolutions in series, along one axis.

    Attributes:
        rates: their dilations, first layer first.
        kernel: their taps.
        width: positions from the first to the last that the stack reads.
        covered: how many of them it really reads.
        coverage: the share of the plane that two such axes read.
        largest_gap: the longest run that is never read.
        hdc: whether the HDC rule (Wang et al. 2018) lets the rates pass.
        repair: the nearest rates of the same width without a hole; None if there are none.
    """

    rates: tuple[int, ...]
    kernel: int
    width: int
    covered: int
    coverage: float
    largest_gap: int
    hdc: bool
    repair: tuple[int, ...] | None


def gridding(rates: Sequence[int], kernel: int = 3) -> Gridding:
    """What a stack of dilated convolutions in series reads, exactly, and how to close its holes.

    >>> found = gridding([2, 2, 2])
    >>> found.width, found.covered, found.largest_gap, found.hdc, found.repair
    (13, 7, 1, False, (1, 2, 3))
    """
    checked = tuple(count("rate", rate) for rate in rates)
    taps = count("kernel", kernel)
    if not checked:
        raise ArgumentError("gridding needs at least one rate")
    seen = _seen(checked, taps)
    return Gridding(
        rates=checked,
        kernel=taps,
        width=seen.span,
        covered=len(seen),
        coverage=(len(seen) / seen.span) ** 2,
        largest_gap=seen.largest_gap,
        hdc=hdc(checked, taps),
        repair=None if not seen.largest_gap else _repair(checked, taps),
    )


def hdc(rates: Sequence[int], kernel: int = 3) -> bool:
    """The rule of hybrid dilated convolution (Wang et al. 2018, arXiv:1702.08502).

    M_i = max(M_{i+1} - 2·r_i, 2·r_i - M_{i+1}, r_i) from M_n = r_n down, and M_2 ≤ kernel; and
    the rates must have no common factor, without which the rule alone would let 2, 2, 2 pass. It
    is a rule of thumb: `gridding` counts.

    >>> hdc([1, 2, 5]), hdc([1, 2, 9]), hdc([2, 2, 2])
    (True, False, False)
    """
    if len(rates) < 2:
        return rates[0] == 1
    distance = rates[-1]
    for rate in reversed(rates[1:-1]):
        distance = max(distance - 2 * rate, 2 * rate - distance, rate)
    return distance <= kernel and gcd(*rates) == 1


@dataclass(frozen=True)
class Holes(Result):
    """The holes in the field of one layer.

    Attributes:
        layer: its name.
        field: its exact receptive field.
        causes: dilated layers upstream, each with the coverage that the field would have if that
            layer alone had dilation 1.
        series: dilated convolutions that follow one another: their names, and what they read.
    """

    layer: str
    field: ReceptiveField
    causes: tuple[tuple[str, float], ...]
    series: tuple[tuple[tuple[str, ...], Gridding], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "layer": self.layer,
            "field": self.field.to_dict(),
            "causes": [{"layer": name, "coverage": share} for name, share in self.causes],
            "series": [{"layers": list(names)} | found.to_dict() for names, found in self.series],
        }

    def table(self) -> Table:
        """The dilated layers that make the holes, the one that matters most first."""
        size, read = shape(self.field.size), percent(self.field.coverage)
        return Table(
            columns=(
                Column("layer", "made by"),
                Column("coverage", "read without its dilation", align="right", format=percent),
            ),
            rows=self.causes,
            title=f"Holes in the field of {self.layer}: {read} of {size} is read",
            note=f"Largest gap: {shape(self.field.gaps)}." if any(self.field.gaps) else "No holes.",
        )

    def series_table(self) -> Table:
        """Every series of dilated convolutions: its rates, what they read, and the repair."""
        return Table(
            columns=(
                Column("layers", "convolutions in series"),
                Column("rates", "rates", align="right", format=_rates),
                Column("width", "width", align="right", format=number),
                Column("covered", "covered", align="right", format=number),
                Column("coverage", "read", align="right", format=percent),
                Column("hdc", "HDC rule"),
                Column("repair", "same width without a hole", align="right", format=_rates),
            ),
            rows=tuple(
                (
                    " → ".join(names),
                    found.rates,
                    found.width,
                    found.covered,
                    found.coverage,
                    "passes" if found.hdc else "fails",
                    found.repair if found.largest_gap else found.rates,
                )
                for names, found in self.series
            ),
            title="Dilated convolutions in series",
        )

    def __repr__(self) -> str:
        if not any(self.field.gaps):
            return f"Holes({self.layer!r}: none)"
        names = ", ".join(name for name, _ in self.causes) or "no single layer"
        return f"Holes({self.layer!r}: {100 * self.field.coverage:.1f} % read, by {names})"


def holes(network: Network, name: str) -> Holes | None:
    """Find the layers that leave holes in the field of `name`; None where it has no map.

    A layer is a cause if the field is read more fully without its dilation.
    """
    field = local_field(network, name)
    if field is None:
        return None
    causes = []
    if any(field.gaps):
        for layer in _gapped(network, field.layer):
            filled = origin_region(network, field.layer, _without_dilation(layer))
            box = prod(stop - start for start, stop in filled.hull)
            if filled and filled.count() / box > field.coverage:
                causes.append((layer.name, filled.count() / box))
    upstream = {name, *(layer.name for layer in network.upstream(name))}
    found = tuple(
        (names, gridding(rates, kernel))
        for names, rates, kernel in _series(network)
        if upstream.issuperset(names)
    )
    return Holes(field.layer, field, tuple(sorted(causes, key=lambda c: -c[1])), found)


def _series(network: Network) -> Iterator[tuple[tuple[str, ...], tuple[int, ...], int]]:
    """Convolutions of one kernel and stride 1 that follow one another, one of them dilated."""
    # For each layer the last convolution of the series that its result has come through, and for
    # each of these the one before it, how many there are so far, and whether one is dilated.
    last: dict[str, str | None] = {}
    before: dict[str, str | None] = {}
    length: dict[str, int] = {}
    dilated: dict[str, bool] = {}
    for layer in network:
        spec = layer.operation.arithmetic
        ways = [way for source in layer.inputs if (way := last[source]) is not None]
        came = max(ways, key=lambda way: length[way], default=None)
        kernel = _square(spec)
        if kernel is None or spec is None:
            pointwise = isinstance(spec, Conv) and spec.is_pointwise
            passes = pointwise or family_of(layer).has(Trait.IN_SERIES)
            last[layer.name] = came if passes and _keeps(spec) else None
            continue
        if came is not None and _square(network[came].operation.arithmetic) != kernel:
            came = None
        last[layer.name], before[layer.name] = layer.name, came
        length[layer.name] = 1 + (length[came] if came else 0)
        dilated[layer.name] = max(spec.dilation) > 1 or bool(came and dilated[came])
    inner = set(before.values())
    order = {name: number for number, name in enumerate(last)}
    runs = []
    for end in before:
        if end not in inner and length[end] > 1 and dilated[end]:
            series, way = [end], before[end]
            while way is not None:
                series.append(way)
                way = before[way]
            runs.append(tuple(reversed(series)))
    for run in sorted(runs, key=lambda run: order[run[0]]):
        specs = [network[name].operation.arithmetic for name in run]
        rates = tuple(spec.dilation[0] for spec in specs if spec is not None)
        yield run, rates, _square(specs[0]) or 0


def _square(spec: Any) -> int | None:
    """The taps of a convolution with stride 1 and one kernel and dilation for all axes."""
    if not isinstance(spec, Conv) or spec.is_pointwise or not _keeps(spec):
        return None
    same = len(set(spec.dilation)) == len(set(spec.kernel_size)) == 1
    return spec.kernel_size[0] if same else None


def _keeps(spec: Any) -> bool:
    return spec is None or set(spec.stride) == {1}


def _rates(rates: Sequence[int]) -> str:
    return ", ".join(map(str, rates))


def _seen(rates: Sequence[int], kernel: int) -> Positions:
    found = Positions.of([0])
    for rate in rates:
        found = found.spread(kernel, rate)
    return found


def _repair(rates: tuple[int, ...], kernel: int) -> tuple[int, ...] | None:
    """The rates of equal sum, and so of equal width, that differ least and leave no hole."""
    best = None
    for tried, candidate in enumerate(_equal_sum(rates)):
        if tried > _SEARCH:
            break
        change = sum(abs(a - b) for a, b in zip(candidate, rates, strict=True))
        if best is not None and (change, candidate) >= best:
            continue
        if not _seen(candidate, kernel).largest_gap:
            best = (change, candidate)
    return best[1] if best else None


def _equal_sum(rates: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    total = sum(rates)
    for head in product(range(1, total + 1), repeat=len(rates) - 1):
        last = total - sum(head)
        if last >= 1:
            yield (*head, last)


def _gapped(network: Network, name: str) -> Iterator[Layer]:
    for layer in (network[name], *network.upstream(name)):
        spec = layer.operation.arithmetic
        if spec is not None and max(spec.dilation) > 1:
            yield layer


def _without_dilation(changed: Layer) -> Layer:
    """The same layer with dilation 1, its padding less by what it no longer spans."""
    spec = changed.operation.arithmetic
    assert spec is not None
    dense = tuple(replace(window, dilation=1) for window in spec.windows)
    near = object.__new__(type(spec))
    for key, value in vars(spec).items():
        object.__setattr__(near, key, value)
    object.__setattr__(near, "windows", dense)
    return replace(changed, operation=replace(changed.operation, arithmetic=near))
