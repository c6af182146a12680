"""Strides become dilations: what each layer of a network has to do, exactly, or why it cannot.

With r = old cumulative stride / new cumulative stride, carried through the network for each axis,
every window takes r times its dilation and padding, and `new[..., ::r, ::r] == old`. The layer that
loses its stride keeps the dilation of what comes in; r grows after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from convsmith.arithmetic import Window
from convsmith.errors import ArgumentError
from convsmith.network import Layer, Network
from convsmith.network.families import Trait, family_of
from convsmith.rewrite.dilation import passage
from convsmith.rewrite.dilation.grid import (
    NOWHERE,
    Grid,
    Grids,
    NotEquivalent,
    fixed,
    like,
    of_image,
)
from convsmith.rewrite.dilation.plan import Change, Plan, Refusal, Striding
from convsmith.rewrite.dilation.strides import located
from convsmith.rewrite.dilation.window import DilatedWindow, windows_of

__all__ = ["RULES", "Rule", "plan"]


def plan(network: Network, striding: Striding) -> Plan:
    """Carry the rates through a network.

    Where branches meet whose maps end at different places after the last old position, all of them
    are cut there: the walk is repeated until nothing has to be cut any more.

    Raises:
        ArgumentError: for a total stride that lies between what two layers can reach.
    """
    trims: set[str] = set()
    while True:
        walk = _Walk(network, striding, frozenset(trims))
        for layer in network:
            walk.visit(layer)
        if walk.to_trim <= trims:
            return Plan(walk.changes, tuple(walk.refusals), walk.grids, walk.coarse)
        trims |= walk.to_trim


@dataclass
class _Walk:
    network: Network
    striding: Striding
    trims: frozenset[str]
    to_trim: set[str] = field(default_factory=set)
    changes: dict[str, Change] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    grids: dict[str, tuple[Grids, ...] | None] = field(default_factory=dict)
    coarse: dict[str, Fraction] = field(default_factory=dict)

    def visit(self, layer: Layer) -> None:
        """Find the grids of a layer's results, and what it has to do for them."""
        sources = [self._source(name) for name in layer.inputs]
        if layer.kind == "select":
            which = layer.operation.settings.get("argument_1", 0)
            every = self.grids[layer.inputs[0]] if layer.inputs else None
            self.grids[layer.name] = None if every is None else (every[which],)
            return
        if layer.kind == "input":
            self.grids[layer.name] = (of_image(layer.shape),)
        elif layer.constant or not layer.inputs:
            self.grids[layer.name] = tuple(fixed(kind.shape) for kind in layer.results)
        elif any(grids is None for grids in sources):
            self.grids[layer.name] = None
        else:
            known = [grids for grids in sources if grids is not None]
            try:
                first = _rule_of(layer)(self, layer, known)
            except NotEquivalent as refused:
                self._refuse(layer, refused.reason)
                first = refused.grids
            if first is None or len(layer.results) < 2:
                self.grids[layer.name] = None if first is None else (first,)
            else:
                self.grids[layer.name] = tuple(like(first, r.shape) for r in layer.results)

    def _source(self, name: str) -> Grids | None:
        found = self.grids[name]
        return found[0] if found else None

    def _refuse(self, layer: Layer, reason: str) -> None:
        # An addition belongs to no module of its own: its name says more than its path.
        own = layer.path and not family_of(layer).has(Trait.MERGES)
        self.refusals.append(Refusal(layer.name, layer.path if own else layer.name, reason))

    # Windows

    def window(self, layer: Layer, sources: list[Grids]) -> Grids:
        old, ceil = windows_of(layer)
        grids = sources[0]
        spatial = grids[len(grids) - len(old) :]
        if self.striding.total is not None and any(window.stride > 1 for window in old):
            places = range(len(grids) - len(old), len(grids))
            found = located(self.network, self.grids, layer.inputs[0], grids, places)
            if found is None:
                self._refuse(layer, "its place in the image is lost: no map before has such a size")
            spatial = found or spatial
        new = []
        for axis, (window, grid) in enumerate(zip(old, spatial, strict=True)):
            stride = self._new_stride(layer, window.stride, grid, axis - len(old))
            trim = layer.name in self.trims
            new.append(DilatedWindow.of(window, grid.rate, stride, ceil=ceil, trim=trim))
        mode = getattr(layer.operation.arithmetic, "padding_mode", "zeros")
        if mode != "zeros" and any(grid.rate > 1 for grid in spatial):
            raise NotEquivalent(f"{mode} padding inside an operation")
        if any(window.is_changed for window in new):
            if "indices" in layer.operation.name and _takes_indices(self.network, layer):
                raise NotEquivalent("the indices of a max pool")
            self.changes[layer.name] = Change(layer.name, windows=tuple(new))
        if any(window.old.stride > 1 for window in new):
            self._note_coarse(layer, spatial, new, -len(new))
        after = (
            Grid(
                grid.stride * window.old.stride, window.rate_out, window.output_length(grid.length)
            )
            for grid, window in zip(spatial, new, strict=True)
        )
        return (*fixed(layer.shape[: len(grids) - len(old)]), *after)

    def _new_stride(self, layer: Layer, stride: int, grid: Grid, axis: int) -> int:
        """The stride that a layer keeps along one axis, counted from the end."""
        if stride == 1:
            return 1
        if self.striding.total is None:
            return 1 if layer.name in self.striding.layers else stride
        most = self.striding.most(axis)
        before, after = grid.stride / grid.rate, grid.stride * stride
        if after <= most:
            return stride
        kept = most / before
        if kept < 1:
            return 1  # it is too coarse already, by an operation whose step nothing can take
        if kept.denominator > 1 or (after / most).denominator > 1:
            raise ArgumentError(
                f"output_stride={most}: at {layer.name!r} the stride goes from {before} to "
                f"{after}, so {most} cannot be reached{_reachable(most, before, after)}"
            )
        return int(kept)

    def _located_slice(self, layer: Layer, grids: Grids, dim: int) -> Grid:
        """The grid of a dimension that a slice steps along, if it may belong to a map."""
        others = sum(1 for grid in grids if grid.stride)
        if dim == 0 or len(grids) < 4 or others > 1:
            return grids[dim]
        # Channels are the second or the last dimension.
        places = range(1, len(grids) - 1) if dim == 1 else range(2, len(grids))
        found = located(self.network, self.grids, layer.inputs[0], grids, places)
        return grids[dim] if found is None else found[dim - places.start]

    def _note_coarse(
        self, layer: Layer, spatial: Grids, windows: Sequence[DilatedWindow], first: int
    ) -> None:
        """Remember a layer that steps and whose map stays coarser than was asked for.

        Args:
            layer: the layer.
            spatial: the grids of the axes that it steps along, before it.
            windows: what it does along each.
            first: the first of these axes, counted from the end.
        """
        if self.striding.total is None:
            return
        for axis, (grid, window) in enumerate(zip(spatial, windows, strict=True), first):
            left = grid.stride * window.old.stride / window.rate_out
            if left > self.striding.most(axis):
                self.coarse[layer.name] = max(left, self.coarse.get(layer.name, left))

    def pad(self, layer: Layer, sources: list[Grids]) -> Grids:
        settings, grids = layer.operation.settings, sources[0]
        pads = [int(n) for n in settings.get("pad", settings.get("padding", ()))]
        mode = str(settings.get("mode", "constant"))
        for name in ("reflect", "replica"):
            if layer.operation.name.startswith(name):
                mode = name
        sides = [(pads[i], pads[i + 1]) for i in range(0, len(pads), 2)]
        after, trim = list(grids), layer.name in self.trims
        for place, (low, high) in enumerate(sides, start=1):
            grid = after[-place]
            if not (low or high) or grid.rate == 1:
                after[-place] = grid._replace(length=grid.length + low + high)
                continue
            if mode == "circular" and grid.excess != grid.rate - 1:
                old = -(-grid.length // grid.rate)
                raise NotEquivalent(
                    f"circular padding of {grid.length} positions on a grid of rate {grid.rate}, "
                    f"where {grid.rate * old} would be needed"
                )
            if mode not in ("constant", "circular") and high and grid.excess:
                self._cut_at_the_last(layer.inputs[:1], f"{mode} padding")
            length = grid.length + grid.rate * (low + high)
            after[-place] = grid._replace(length=length)
            if trim:
                after[-place] = grid._replace(length=length - after[-place].excess)
        if any(grid.rate > 1 for grid in grids[-len(sides) :]):
            new = [
                n * grid.rate
                for pair, grid in zip(sides, reversed(grids), strict=False)
                for n in pair
            ]
            cut = tuple(grid.rate for grid in grids[-len(sides) :]) if trim else ()
            self.changes[layer.name] = Change(layer.name, pads=tuple(new), trim=cut)
        return tuple(after)

    def slice(self, layer: Layer, sources: list[Grids]) -> Grids:
        settings, grids = layer.operation.settings, sources[0]
        dim = settings.get("dim", 0) % len(grids)
        grid = grids[dim]
        old = layer.operands[0].shape[dim]
        if layer.operation.name == "select":
            if grid.rate > 1:
                raise NotEquivalent(f"one position of a grid of rate {grid.rate}")
            return tuple(g for d, g in enumerate(grids) if d != dim)
        if layer.operation.name == "narrow":
            start, step = int(settings["start"]) % old, 1
            end = start + int(settings["length"])
        else:
            step = int(settings.get("step") or 1)
            start, end = _bounds(settings.get("start"), settings.get("end"), old)
        if step > 1 and not grid.stride and self.striding.total is not None:
            grid = self._located_slice(layer, grids, dim)
        stride = self._new_stride(layer, step, grid, dim - len(grids))
        if step > 1:
            window = DilatedWindow.of(Window(1, step), grid.rate, stride)
            self._note_coarse(layer, (grid,), (window,), dim - len(grids))
        rate_out = grid.rate * step // stride
        first = grid.rate * start
        last = grid.length if end == old else grid.rate * end
        length = (last - 1 - first) // stride + 1
        if layer.name in self.trims:
            length -= (length - 1) % rate_out
            last = first + (length - 1) * stride + 1
        if grid.rate > 1 or stride != step or layer.name in self.trims:
            if layer.operation.name == "narrow":
                raise NotEquivalent(f"narrow on a grid of rate {grid.rate}")
            self.changes[layer.name] = Change(layer.name, cut=(dim, first, last, stride))
        after = list(grids)
        after[dim] = Grid(grid.stride * step, rate_out, length)
        return tuple(after)

    # Positions of several maps side by side

    def join(self, layer: Layer, sources: list[Grids]) -> Grids:
        dims = len(layer.shape)
        operands: dict[int, Grids] = dict(zip(layer.places, sources, strict=True))
        for number, kind in enumerate(layer.operands):
            operands.setdefault(number, fixed(kind.shape))
        after = []
        for place in range(1, dims + 1):
            here = [
                (number, grids[-place])
                for number, grids in operands.items()
                if place <= len(grids) and layer.operands[number].shape[-place] != 1
            ] or [(n, grids[-place]) for n, grids in operands.items() if place <= len(grids)]
            after.append(self._common(layer, here))
        return tuple(reversed(after))

    def concat(self, layer: Layer, sources: list[Grids]) -> Grids:
        dims = len(layer.shape)
        dim = layer.operation.settings.get("dim", 0) % dims
        after = []
        numbers = list(layer.places)
        for place in range(dims):
            here = [(n, grids[place]) for n, grids in zip(numbers, sources, strict=True)]
            for number, kind in enumerate(layer.operands):
                if number not in numbers:
                    here.append((number, fixed(kind.shape)[place]))
            if place != dim:
                after.append(self._common(layer, here))
                continue
            if any(grid.rate > 1 for _, grid in here):
                raise NotEquivalent("maps put end to end")
            after.append(Grid(NOWHERE, 1, sum(grid.length for _, grid in here)))
        return tuple(after)

    def _common(self, layer: Layer, operands: list[tuple[int, Grid]]) -> Grid:
        """The one grid of several operands that meet along a dimension."""
        stride = max(grid.stride for _, grid in operands)
        rates = {grid.rate for _, grid in operands}
        # A single position in the image meets any other.
        if len(rates) > 1 and max(grid.length for _, grid in operands) > 1:
            raise NotEquivalent(self._unequal(layer, operands))
        lengths = {grid.length for _, grid in operands}
        if len(lengths) > 1 and max(rates) > 1:
            maps = [layer.inputs[layer.places.index(n)] for n, _ in operands if n in layer.places]
            self._cut_at_the_last(maps, "maps of unequal length")
        return Grid(stride, max(rates), min(lengths))

    def _unequal(self, layer: Layer, operands: list[tuple[int, Grid]]) -> str:
        names = dict(zip(layer.places, layer.inputs, strict=True))
        parts = [
            f"rate {grid.rate} from {names.get(number, 'a tensor of the model')!r}"
            for number, grid in operands
        ]
        return f"grids that differ: {' and '.join(dict.fromkeys(parts))}"

    def _cut_at_the_last(self, maps: Sequence[str], reason: str) -> None:
        """Ask all that start one of these maps to end it at the last old position."""
        found: set[str] = set()
        waiting = list(maps)
        while waiting:
            one = self.network[waiting.pop()]
            if family_of(one).has(Trait.STARTS_MAP) or _is_average(one):
                found.add(one.name)
            else:
                waiting += one.inputs
        if found <= self.trims:
            raise NotEquivalent(reason)
        self.to_trim |= found


def _bounds(start: int | None, end: int | None, length: int) -> tuple[int, int]:
    first, last, _ = slice(start, end).indices(length)
    return first, max(first, last)


def _takes_indices(network: Network, layer: Layer) -> bool:
    return any(
        user.operation.settings.get("argument_1") == 1 for user in network.consumers(layer.name)
    )


# What each kind of operation does to the grids of its map

Rule = Callable[[_Walk, Layer, list[Grids]], Grids | None]
"""The grids of a layer's first result from those of its inputs, and a note of what it has to do.

None where no grid can be told; `NotEquivalent` where old and new differ on the old grid."""


def _unchanged(rule: Callable[[Layer, list[Grids]], Grids | None]) -> Rule:
    """A rule for layers that nothing has to change, which need not know of the walk."""
    return lambda walk, layer, sources: rule(layer, sources)


def _batch_norm(walk: _Walk, layer: Layer, sources: list[Grids]) -> Grids | None:
    taken_now = layer.operation.settings.get("training")
    return passage.norm(layer, sources) if taken_now else sources[0]


def _concat(walk: _Walk, layer: Layer, sources: list[Grids]) -> Grids | None:
    stacks = layer.operation.name in ("stack", "hstack", "vstack")
    return passage.unchangeable(layer, sources) if stacks else walk.concat(layer, sources)


def _pool(walk: _Walk, layer: Layer, sources: list[Grids]) -> Grids:
    if "adaptive" in layer.operation.name:
        return passage.adaptive_pool(layer, sources)
    return walk.window(layer, sources)


def _unknown(walk: _Walk, layer: Layer, sources: list[Grids]) -> Grids | None:
    """Pools that our arithmetic refuses have windows all the same."""
    if "adaptive" in layer.operation.name or _is_average(layer):
        return _pool(walk, layer, sources)
    return passage.unchangeable(layer, sources)


def _is_average(layer: Layer) -> bool:
    return layer.operation.name.startswith("avg_pool")


_IN_PLACE = _unchanged(passage.in_place)
_UNCHANGEABLE = _unchanged(passage.unchangeable)

RULES: Mapping[str, Rule] = {
    "activation": _IN_PLACE,
    "adaptive pool": _unchanged(passage.adaptive_pool),
    "attention": _UNCHANGEABLE,
    "batch norm": _batch_norm,
    "channel shuffle": _IN_PLACE,
    "complex parts": _UNCHANGEABLE,
    "concat": _concat,
    "convolution": _Walk.window,
    "creation": _UNCHANGEABLE,
    "elementwise": _Walk.join,
    "embedding": _UNCHANGEABLE,
    "expand": _unchanged(passage.expand),
    "fourier transform": _UNCHANGEABLE,
    "identity": _IN_PLACE,
    "index": _UNCHANGEABLE,
    "linear": _unchanged(passage.linear),
    "matmul": _UNCHANGEABLE,
    "norm": _unchanged(passage.norm),
    "pad": _Walk.pad,
    "permute": _unchanged(passage.permute),
    "pixel shuffle": _UNCHANGEABLE,
    "pixel unshuffle": _UNCHANGEABLE,
    "pool": _pool,
    "recurrent": _UNCHANGEABLE,
    "reduction": _unchanged(passage.reduction),
    "reshape": _unchanged(passage.reshape),
    "roll": _UNCHANGEABLE,
    "slice": _Walk.slice,
    "softmax": _unchanged(passage.softmax),
    "split": _unchanged(passage.split),
    "transposed convolution": _unchanged(passage.transposed),
    "unknown": _unknown,
    "upsample": _unchanged(passage.upsample),
    "write": _UNCHANGEABLE,
}
"""One rule per kind; inputs, and results picked from several, are grids that are there already."""


def _rule_of(layer: Layer) -> Rule:
    family = family_of(layer)
    # The arguments of a user's own operation are not changed: its grid has to stay as it is.
    if layer.operation.custom is not None and (
        not family.has(Trait.IN_SERIES) or family.has(Trait.STARTS_MAP)
    ):
        return _UNCHANGEABLE
    return RULES[layer.kind]


def _reachable(most: int, before: Fraction, after: Fraction) -> str:
    """The strides beside `most` that could be asked for instead, as the end of a message.

    >>> _reachable(3, Fraction(2), Fraction(4)), _reachable(5, Fraction(1), Fraction(12))
    ('; use 2 or 4', '; use 4 or 6')
    >>> _reachable(3, Fraction(1), Fraction(2, 3))
    ''
    """
    kept = [before * n for n in range(1, int(after / before) + 1) if (after / before / n) % 1 == 0]
    strides = [int(stride) for stride in kept if stride.denominator == 1]
    near = [*[n for n in strides if n < most][-1:], *[n for n in strides if n > most][:1]]
    return f"; use {' or '.join(map(str, near))}" if near else ""
