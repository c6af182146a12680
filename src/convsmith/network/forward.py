"""The forward pass: what every position of every layer sees of the image, in one go."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple
from weakref import WeakKeyDictionary

from convsmith.arithmetic import Positions
from convsmith.network.backward import (
    at_position,
    image_dims,
    image_of,
    inputs_of,
    joins,
    periods,
    spatial_axes,
    strides,
)
from convsmith.network.channels import Map, Passage, all_channels
from convsmith.network.families import Trait, family_of
from convsmith.network.network import Layer, Network
from convsmith.network.shapes import Axes
from convsmith.network.views import Table, Term, View, fewest, union

__all__ = ["views"]

# More different channel sets than this are left to the backward walk.
_TERMS = 256

_VIEWS: WeakKeyDictionary[Network, dict[tuple[str, int], View]] = WeakKeyDictionary()


def views(network: Network) -> Mapping[tuple[str, int], View]:
    """The view of each (layer, result), those left out that no table of a period can say.

    A table of one period an axis is passed on through every operation, because the positions that
    one reads are a product over the axes. What `depends_on` finds walking back from one layer,
    this finds for all of them in time linear in their number. Left out are: merges of unequal
    strides, interpolation with `align_corners`, repeated and rolled maps, and what follows them.
    """
    if network not in _VIEWS:
        found: dict[tuple[str, int], View] = {}
        walk = _Pass(network, found)
        for number, layer in enumerate(network):
            for result in range(max(1, len(layer.results))):
                view = walk.view(number, layer, result)
                if view is not None:
                    found[layer.name, result] = view
        _VIEWS[network] = found
    return _VIEWS[network]


class _Pass:
    """One pass over a network; `found` grows with it."""

    def __init__(self, network: Network, found: dict[tuple[str, int], View]) -> None:
        self.network, self.found = network, found
        self.axes, self.steps = spatial_axes(network), strides(network)
        self.periods = periods(network)
        self.image, self.dims = image_of(network), len(image_dims(network))

    def view(self, number: int, layer: Layer, result: int) -> View | None:
        """The view of one result of a layer whose operands' views are found."""
        if layer.constant or not layer.results:
            return View()
        mine = self.axes[layer.name]
        if layer.kind == "input":
            origin = ((Positions.of([0]),),) * self.dims
            mapped = layer.name == self.image
            return View((Term(all_channels(layer.shape, mine), origin),) if mapped else ())
        shape = layer.results[result].shape
        if len(shape) != len(mine):
            return None
        left_out: set[int] = set()
        family = family_of(layer)
        guessed = {number} if family.guesses(layer) else set()
        sources = []
        box = at_position(shape, mine, 0)
        for nth, (operand, source, which, part) in enumerate(
            inputs_of(self.network, layer, box, result, bounded=False)
        ):
            before = self.network[source].results[which].shape
            joined = joins(layer, self.axes[source], mine, before, part)
            if joined:
                left_out.add(number)
                if not family.has(Trait.STATISTICS):
                    continue
            view = self.found.get((source, which))
            if view is None:
                return None
            left_out.update(view.globals)
            guessed.update(view.guessed)
            if view.terms:
                sources.append(_Source(nth, operand, source, which, before, view.terms, joined))
        terms = self._terms(layer, result, sources)
        if terms is None or ((left_out or guessed) and not all(map(_always, terms))):
            return None  # some positions may not reach the layers that others do
        return View(terms, tuple(sorted(left_out)[::-1]), tuple(sorted(guessed)[::-1]))

    def _terms(self, layer: Layer, result: int, sources: list[_Source]) -> tuple[Term, ...] | None:
        if not sources:
            return ()
        if not all(map(self._whole, (layer.name, *(source.name for source in sources)))):
            return None
        mine, shape = self.axes[layer.name], layer.results[result].shape
        family = family_of(layer)
        if _is_pointwise(layer, mine):
            reading = self._reads_in_place(layer, result, sources)
        else:
            reading = self._reads_windows(layer, result, sources)
        if reading is None:
            return None
        terms = []
        for source, parts in zip(sources, reading, strict=True):
            theirs = self.axes[source.name]
            for term in source.terms:
                channels = family.carry(
                    Passage(
                        layer=layer,
                        channels=term.channels,
                        operand=source.operand,
                        nth=source.nth,
                        result=result,
                        before=Map(source.shape, theirs),
                        after=Map(shape, mine),
                        in_place=source.joined or not family.has(Trait.MIXES_CHANNELS),
                    )
                )
                if channels is None:
                    return None
                if channels:
                    terms.append(Term(channels, self._tables(source.name, term.tables, parts)))
        kept = fewest(terms)
        return tuple(kept) if len(kept) <= _TERMS else None

    def _reads_in_place(
        self, layer: Layer, result: int, sources: list[_Source]
    ) -> list[list[list[Positions]]] | None:
        """For each source and axis what positions 0, 1, … read: themselves, if all is regular."""
        mine, steps = self.axes[layer.name], self.steps
        one = Positions.of([1])
        box = at_position(layer.results[result].shape, mine, 1)
        parts = inputs_of(self.network, layer, box, result, bounded=False)
        for source in sources:
            if steps[source.name] != steps[layer.name]:
                return None
            part = box if source.joined else parts[source.nth][-1]
            axes = mine if source.joined else self.axes[source.name]
            if len(sources) > 1 and axes != mine[-len(axes) :]:
                return None  # a map lies transposed upon another
            if any(axis is not None and p != one for p, axis in zip(part, axes, strict=True)):
                return None
        own = [[Positions.of([i]) for i in range(n)] for n in self.periods[layer.name][: self.dims]]
        return [own] * len(sources)

    def _reads_windows(
        self, layer: Layer, result: int, sources: list[_Source]
    ) -> list[list[list[Positions]]] | None:
        """The same for an operation that slides a window or changes the resolution."""
        mine, shape = self.axes[layer.name], layer.results[result].shape
        spec, family = layer.operation.arithmetic, family_of(layer)
        regular = (
            family.has(Trait.WINDOWED)
            and not layer.operation.settings.get("align_corners")
            and all(source.operand == 0 and self.axes[source.name] == mine for source in sources)
            and (family.has(Trait.ANY_AXIS) or (len(shape) == self.dims + 2 and mine[1] is None))
            and (spec is None or spec.dims == self.dims)
        )
        if not regular:
            return None
        lengths = self.periods[layer.name][: self.dims]
        boxes = [
            inputs_of(self.network, layer, at_position(shape, mine, i), result, bounded=False)
            for i in range(max(lengths))
        ]
        places = [mine.index(axis) for axis in range(self.dims)]
        return [
            [
                [boxes[i][source.nth][-1][place] for i in range(length)]
                for place, length in zip(places, lengths, strict=True)
            ]
            for source in sources
        ]

    def _tables(
        self, source: str, tables: tuple[Table, ...], parts: list[list[Positions]]
    ) -> tuple[Table, ...]:
        """What is seen where a source with `tables` is read at `parts`, axis by axis."""
        steps = self.steps[source]
        return tuple(
            table
            if len(table) == len(reads) and all(p == _at(i) for i, p in enumerate(reads))
            else tuple(union(table, positions, int(len(table) * steps[a])) for positions in reads)
            for a, (table, reads) in enumerate(zip(tables, parts, strict=True))
        )

    def _whole(self, name: str) -> bool:
        """Whether a map has all the image's axes, and a dimension before them."""
        mine = self.axes[name]
        return mine[0] is None and sorted(a for a in mine if a is not None) == [*range(self.dims)]


class _Source(NamedTuple):
    """One part of what a layer reads: which part, and of which operand."""

    nth: int
    operand: int
    name: str
    result: int
    shape: tuple[int, ...]
    terms: tuple[Term, ...]
    joined: bool


def _is_pointwise(layer: Layer, mine: Axes) -> bool:
    """Whether a layer reads, of each operand, the position that it computes."""
    family = family_of(layer)
    if family.has(Trait.ONE_AXIS):
        return mine[layer.operation.settings.get("dim", 0)] is None
    return family.has(Trait.POINTWISE)


@cache
def _at(position: int) -> Positions:
    return Positions.of([position])


def _always(term: Term) -> bool:
    return all(entry for table in term.tables for entry in table)
