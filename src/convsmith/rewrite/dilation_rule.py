"""Strides become dilations: what each layer of a network has to do, exactly, or why it cannot.

With r = old cumulative stride / new cumulative stride, carried through the network for each axis,
every window takes r times its dilation and padding, and `new[..., ::r, ::r] == old`. The layer that
loses its stride keeps the dilation of what comes in; r grows behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from typing import Any

from convsmith.arithmetic import Conv, ConvTranspose, Window
from convsmith.errors import ArgumentError
from convsmith.network import Layer, Network
from convsmith.network.reads import permutation
from convsmith.network.shapes import factor_groups
from convsmith.rewrite.dilated_window import DilatedWindow
from convsmith.rewrite.dilation_plan import Change, Grid, Grids, Plan, Refusal, Striding

__all__ = ["plan"]


def plan(network: Network, striding: Striding) -> Plan:
    """Carry the rates through a network.

    Where branches meet whose maps end at different places behind the last old position, all of them
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
            return Plan(walk.changes, tuple(walk.refusals), walk.grids)
        trims |= walk.to_trim


_NOWHERE = Fraction(0)
# Position by position, whatever the values around are.
_IN_PLACE = {"activation", "batch norm", "identity", "channel shuffle"}
_STARTS_A_MAP = {"convolution", "pool", "pad", "slice", "transposed convolution"}


@dataclass
class _Walk:
    network: Network
    striding: Striding
    trims: frozenset[str]
    to_trim: set[str] = field(default_factory=set)
    changes: dict[str, Change] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    grids: dict[str, tuple[Grids, ...] | None] = field(default_factory=dict)

    def visit(self, layer: Layer) -> None:
        """Find the grids of a layer's results, and what it has to do for them."""
        sources = [self._source(name) for name in layer.inputs]
        if layer.kind == "select":
            which = layer.operation.settings.get("argument_1", 0)
            every = self.grids[layer.inputs[0]] if layer.inputs else None
            self.grids[layer.name] = None if every is None else (every[which],)
            return
        if layer.kind == "input":
            self.grids[layer.name] = (_of_image(layer.shape),)
        elif layer.constant or not layer.inputs:
            self.grids[layer.name] = tuple(_fixed(kind.shape) for kind in layer.results)
        elif any(grids is None for grids in sources):
            self.grids[layer.name] = None
        else:
            known = [grids for grids in sources if grids is not None]
            try:
                first = self._rule(layer)(layer, known)
            except _Refused as refused:
                self._refuse(layer, refused.reason)
                first = refused.grids
            if first is None or len(layer.results) < 2:
                self.grids[layer.name] = None if first is None else (first,)
            else:
                self.grids[layer.name] = tuple(_like(first, r.shape) for r in layer.results)

    def _source(self, name: str) -> Grids | None:
        found = self.grids[name]
        return found[0] if found else None

    def _rule(self, layer: Layer) -> Callable[[Layer, list[Grids]], Grids | None]:
        name, kind = layer.operation.name, layer.kind
        if "adaptive" in name:
            return self._adaptive
        if kind in ("convolution", "pool") or (kind == "unknown" and name.startswith("avg_pool")):
            return self._window
        if kind == "concat" and name in ("stack", "hstack", "vstack"):
            return self._unknown
        if kind in _IN_PLACE:
            return self._in_place
        rules: dict[str, Callable[[Layer, list[Grids]], Grids | None]] = {
            "concat": self._concat,
            "elementwise": self._join,
            "expand": self._expand,
            "linear": self._linear,
            "norm": self._norm,
            "pad": self._pad,
            "permute": self._permute,
            "reduction": self._reduction,
            "reshape": self._reshape,
            "slice": self._slice,
            "softmax": self._softmax,
            "split": self._split,
            "transposed convolution": self._transposed,
            "upsample": self._upsample,
        }
        return rules.get(kind, self._unknown)

    def _refuse(self, layer: Layer, reason: str) -> None:
        # An addition belongs to no module of its own: its name says more than its path.
        own = layer.path and layer.kind not in ("elementwise", "concat")
        self.refusals.append(Refusal(layer.name, layer.path if own else layer.name, reason))

    # Windows

    def _window(self, layer: Layer, sources: list[Grids]) -> Grids:
        old, ceil = _windows(layer)
        grids = sources[0]
        spatial = grids[len(grids) - len(old) :]
        new = []
        for axis, (window, grid) in enumerate(zip(old, spatial, strict=True)):
            stride = self._new_stride(layer, window.stride, grid, axis - len(old))
            trim = layer.name in self.trims
            new.append(DilatedWindow.of(window, grid.rate, stride, ceil=ceil, trim=trim))
        mode = getattr(layer.operation.arithmetic, "padding_mode", "zeros")
        if mode != "zeros" and any(grid.rate > 1 for grid in spatial):
            raise _Refused(f"{mode} padding inside an operation", None)
        if any(window.is_changed for window in new):
            if "indices" in layer.operation.name and _takes_indices(self.network, layer):
                raise _Refused("the indices of a max pool", None)
            self.changes[layer.name] = Change(layer.name, windows=tuple(new))
        after = (
            Grid(
                grid.stride * window.old.stride, window.rate_out, window.output_length(grid.length)
            )
            for grid, window in zip(spatial, new, strict=True)
        )
        return (*_fixed(layer.shape[: len(grids) - len(old)]), *after)

    def _new_stride(self, layer: Layer, stride: int, grid: Grid, axis: int) -> int:
        """The stride that a layer keeps along one axis, counted from the end."""
        if stride == 1:
            return 1
        if self.striding.total is None:
            return 1 if layer.name in self.striding.layers else stride
        total = self.striding.total
        most = total[axis] if len(total) > 1 and -axis <= len(total) else total[0]
        before, after = grid.stride / grid.rate, grid.stride * stride
        if after <= most:
            return stride
        kept = most / before
        if grid.stride == 0 or kept < 1:
            return stride
        if kept.denominator > 1 or (after / most).denominator > 1:
            raise ArgumentError(
                f"output_stride={most} cannot be reached exactly: at {layer.name!r} the stride "
                f"goes from {before} to {after}, and {most} is no divisor between them"
            )
        return int(kept)

    def _transposed(self, layer: Layer, sources: list[Grids]) -> Grids | None:
        spec = layer.operation.arithmetic
        assert isinstance(spec, ConvTranspose)
        grids, dims = sources[0], spec.dims
        spatial = grids[-dims:]
        if all(grid.rate == 1 for grid in spatial):
            after = (
                Grid(grid.stride / s, 1, n)
                for grid, s, n in zip(spatial, spec.stride, layer.shape[-dims:], strict=True)
            )
            return (*_fixed(layer.shape[:-dims]), *after)
        raise _Refused(f"a transposed convolution on a grid of rate {_rates(spatial)}", None)

    def _pad(self, layer: Layer, sources: list[Grids]) -> Grids:
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
                raise _Refused(
                    f"circular padding of {grid.length} positions on a grid of rate {grid.rate}, "
                    f"where {grid.rate * old} would be needed",
                    None,
                )
            if mode not in ("constant", "circular") and high and grid.excess:
                self._cut_at_the_last(layer.inputs[0], layer, f"{mode} padding")
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

    def _slice(self, layer: Layer, sources: list[Grids]) -> Grids:
        settings, grids = layer.operation.settings, sources[0]
        dim = settings.get("dim", 0) % len(grids)
        grid = grids[dim]
        old = layer.operands[0].shape[dim]
        if layer.operation.name == "select":
            if grid.rate > 1:
                raise _Refused(f"one position of a grid of rate {grid.rate}", None)
            return tuple(g for d, g in enumerate(grids) if d != dim)
        if layer.operation.name == "narrow":
            start, step = int(settings["start"]) % old, 1
            end = start + int(settings["length"])
        else:
            step = int(settings.get("step") or 1)
            start, end = _bounds(settings.get("start"), settings.get("end"), old)
        stride = self._new_stride(layer, step, grid, dim - len(grids))
        rate_out = grid.rate * step // stride
        first = grid.rate * start
        last = grid.length if end == old else grid.rate * end
        length = (last - 1 - first) // stride + 1
        if layer.name in self.trims:
            length -= (length - 1) % rate_out
            last = first + (length - 1) * stride + 1
        if grid.rate > 1 or stride != step or layer.name in self.trims:
            if layer.operation.name == "narrow":
                raise _Refused(f"narrow on a grid of rate {grid.rate}", None)
            self.changes[layer.name] = Change(layer.name, cut=(dim, first, last, stride))
        after = list(grids)
        after[dim] = Grid(grid.stride * step, rate_out, length)
        return tuple(after)

    # Positions of several maps side by side

    def _join(self, layer: Layer, sources: list[Grids]) -> Grids:
        dims = len(layer.shape)
        operands: dict[int, Grids] = dict(zip(layer.places, sources, strict=True))
        for number, kind in enumerate(layer.operands):
            operands.setdefault(number, _fixed(kind.shape))
        after = []
        for place in range(1, dims + 1):
            here = [
                (number, grids[-place])
                for number, grids in operands.items()
                if place <= len(grids) and layer.operands[number].shape[-place] != 1
            ] or [(n, grids[-place]) for n, grids in operands.items() if place <= len(grids)]
            after.append(self._common(layer, here))
        return tuple(reversed(after))

    def _concat(self, layer: Layer, sources: list[Grids]) -> Grids:
        dims = len(layer.shape)
        dim = layer.operation.settings.get("dim", 0) % dims
        after = []
        numbers = list(layer.places)
        for place in range(dims):
            here = [(n, grids[place]) for n, grids in zip(numbers, sources, strict=True)]
            for number, kind in enumerate(layer.operands):
                if number not in numbers:
                    here.append((number, _fixed(kind.shape)[place]))
            if place != dim:
                after.append(self._common(layer, here))
                continue
            if any(grid.rate > 1 for _, grid in here):
                raise _Refused("maps put end to end", None)
            after.append(Grid(_NOWHERE, 1, sum(grid.length for _, grid in here)))
        return tuple(after)

    def _common(self, layer: Layer, operands: list[tuple[int, Grid]]) -> Grid:
        """The one grid of several operands that meet along a dimension."""
        stride = max(grid.stride for _, grid in operands)
        rates = {grid.rate for _, grid in operands}
        # A single position in the image meets any other.
        if len(rates) > 1 and max(grid.length for _, grid in operands) > 1:
            raise _Refused(self._unequal(layer, operands), None)
        lengths = {grid.length for _, grid in operands}
        if len(lengths) > 1 and max(rates) > 1:
            for number, _ in operands:
                if number in layer.places:
                    self._cut_at_the_last(
                        layer.inputs[layer.places.index(number)], layer, "maps of unequal length"
                    )
        return Grid(stride, max(rates), min(lengths))

    def _unequal(self, layer: Layer, operands: list[tuple[int, Grid]]) -> str:
        names = dict(zip(layer.places, layer.inputs, strict=True))
        parts = [
            f"rate {grid.rate} from {names.get(number, 'a tensor of the model')!r}"
            for number, grid in operands
        ]
        return f"grids that differ: {' and '.join(dict.fromkeys(parts))}"

    def _cut_at_the_last(self, name: str, layer: Layer, reason: str) -> None:
        """Ask all that start the map of `name` to end it at the last old position."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            one = self.network[waiting.pop()]
            if one.kind in _STARTS_A_MAP or one.operation.name.startswith("avg_pool"):
                found.add(one.name)
            else:
                waiting += one.inputs
        if found <= self.trims:
            raise _Refused(reason, None)
        self.to_trim |= found

    # Everything else

    def _in_place(self, layer: Layer, sources: list[Grids]) -> Grids:
        return sources[0]

    def _split(self, layer: Layer, sources: list[Grids]) -> Grids:
        dim = layer.operation.settings.get("dim", 0) % len(sources[0])
        if sources[0][dim].rate > 1:
            raise _Refused("a map cut in parts", None)
        if layer.operation.name == "unbind":
            return tuple(grid for d, grid in enumerate(sources[0]) if d != dim)
        return tuple(
            Grid(_NOWHERE, 1, grid.length) if d == dim else grid
            for d, grid in enumerate(sources[0])
        )

    def _permute(self, layer: Layer, sources: list[Grids]) -> Grids:
        return tuple(sources[0][d] for d in permutation(layer))

    def _linear(self, layer: Layer, sources: list[Grids]) -> Grids:
        last = sources[0][-1]
        if last.rate > 1 or last.length != layer.operands[0].shape[-1]:
            raise _Refused("a linear layer over the positions of a map", None)
        return (*sources[0][:-1], *_fixed(layer.shape[-1:]))

    def _softmax(self, layer: Layer, sources: list[Grids]) -> Grids:
        dim = layer.operation.settings.get("dim", -1)
        if sources[0][dim].rate > 1:
            raise _Refused(f"softmax over a map of rate {sources[0][dim].rate}", sources[0])
        return sources[0]

    def _norm(self, layer: Layer, sources: list[Grids]) -> Grids:
        name, grids = layer.operation.name, sources[0]
        joined = grids
        if name in ("layer_norm", "native_layer_norm", "rms_norm"):
            joined = grids[-len(layer.operation.settings["normalized_shape"]) :]
        if any(grid.rate > 1 for grid in joined):
            raise _Refused(f"{name.replace('_', ' ')} over a map of rate {_rates(joined)}", grids)
        return grids

    def _reduction(self, layer: Layer, sources: list[Grids]) -> Grids:
        settings, grids = layer.operation.settings, sources[0]
        given = settings.get("dim")
        dims = [given] if isinstance(given, int) else list(given or range(len(grids)))
        joined = {d % len(grids) for d in dims}
        rates = [grids[d].rate for d in joined]
        if len(layer.shape) == len(grids):
            after = tuple(
                Grid(_NOWHERE, 1, layer.shape[d]) if d in joined and n.rate == 1 else n
                for d, n in enumerate(grids)
            )
            if layer.operation.name != "cumsum":
                after = tuple(
                    Grid(_NOWHERE, 1, 1) if d in joined else n for d, n in enumerate(after)
                )
        else:
            after = tuple(n for d, n in enumerate(grids) if d not in joined)
        if max(rates, default=1) > 1:
            pooling = layer.operation.name in ("mean", "amax", "max", "sum", "amin", "min")
            what = "global pooling" if pooling else layer.operation.name
            raise _Refused(f"{what} over a map of rate {max(rates)}", after)
        return after

    def _adaptive(self, layer: Layer, sources: list[Grids]) -> Grids:
        grids = sources[0]
        dims = int(layer.operation.name.rstrip("d_")[-1]) if layer.operation.name else 2
        after = list(_fixed(layer.shape[: len(grids) - dims]))
        for place in range(len(grids) - dims, len(grids)):
            ratio = Fraction(layer.operands[0].shape[place], max(1, layer.shape[place]))
            stride = grids[place].stride * ratio if layer.shape[place] > 1 else _NOWHERE
            after.append(Grid(stride, 1, layer.shape[place]))
        spatial = grids[-dims:]
        if any(grid.rate > 1 for grid in spatial):
            single = prod(layer.shape[-dims:]) == 1
            kind = "global" if single else "adaptive"
            raise _Refused(f"{kind} pooling over a map of rate {_rates(spatial)}", tuple(after))
        return tuple(after)

    def _upsample(self, layer: Layer, sources: list[Grids]) -> Grids:
        grids, dims = sources[0], len(layer.shape) - 2
        scales = layer.operation.settings.get("scale_factors")
        after = list(_fixed(layer.shape[:2]))
        for axis, grid in enumerate(grids[2:]):
            old, new = layer.operands[0].shape[2 + axis], layer.shape[2 + axis]
            stride = grid.stride * Fraction(old, new)
            factor = scales[axis] if scales and grid.rate > 1 else None
            length = new if factor is None else int(grid.length * factor)
            after.append(Grid(stride, 1 if factor is None else grid.rate, length))
        if any(grid.rate > 1 for grid in grids[-dims:]):
            raise _Refused(f"resizing a map of rate {_rates(grids[-dims:])}", tuple(after))
        return tuple(after)

    def _expand(self, layer: Layer, sources: list[Grids]) -> Grids:
        grids = sources[0]
        if len(sources) > 1 and layer.operation.name == "expand_as":
            return sources[1]
        after = list(_fixed(layer.shape))
        old = layer.operands[0].shape
        for place in range(1, len(grids) + 1):
            if old[-place] == layer.shape[-place]:
                after[-place] = grids[-place]
            elif grids[-place].rate > 1:
                raise _Refused("positions repeated", None)
        return tuple(after)

    def _reshape(self, layer: Layer, sources: list[Grids]) -> Grids:
        grids, before, after = sources[0], layer.operands[0].shape, layer.shape
        found = list(_fixed(after))
        kept: set[int] = set()
        for ours, theirs in factor_groups(before, after):
            if len(ours) == len(theirs) == 1:
                found[theirs[0]] = grids[ours[0]]
                kept.add(ours[0])
            elif all(grids[d].length == before[d] for d in ours):
                kept.update(ours)
            elif len(theirs) == 1:
                length = prod(grids[d].length for d in ours)
                found[theirs[0]] = Grid(_NOWHERE, 1, length)
        if lost := [g for d, g in enumerate(grids) if g.length != before[d] and d not in kept]:
            raise _Refused(f"flattening a map of rate {_rates(lost)}", tuple(found))
        return tuple(found)

    def _unknown(self, layer: Layer, sources: list[Grids]) -> Grids | None:
        moved = [grid for grids in sources for grid in grids if grid.rate > 1]
        if moved:
            words = layer.operation.name.replace("_", " ")
            raise _Refused(f"{words} on a map of rate {_rates(moved)}", None)
        same = sources and len(layer.results) == 1 and layer.shape == layer.operands[0].shape
        return sources[0] if same and 0 in layer.places else _fixed(layer.shape)


class _Refused(Exception):
    """The theorem does not hold behind this layer; its grids, where they can be told."""

    def __init__(self, reason: str, grids: Grids | None) -> None:
        super().__init__(reason)
        self.reason, self.grids = reason, grids


def _of_image(shape: Sequence[int]) -> Grids:
    one = Fraction(1) if len(shape) > 2 else _NOWHERE
    return (*_fixed(shape[:2]), *(Grid(one, 1, n) for n in shape[2:]))


def _fixed(shape: Sequence[int]) -> Grids:
    return tuple(Grid(_NOWHERE, 1, n) for n in shape)


def _like(grids: Grids, shape: Sequence[int]) -> Grids:
    """Grids of a result with other lengths along dimensions that are none of the image's."""
    if len(grids) != len(shape):
        return _fixed(shape)
    return tuple(
        grid if grid.stride or grid.rate > 1 else grid._replace(length=n)
        for grid, n in zip(grids, shape, strict=True)
    )


def _windows(layer: Layer) -> tuple[tuple[Window, ...], bool]:
    """The windows of a convolution or pool, and whether their lengths are rounded up."""
    spec, settings = layer.operation.arithmetic, layer.operation.settings
    if isinstance(spec, Conv):
        return spec.windows, False
    # Not every pool has an arithmetic: a divisor of its own, or much padding.
    dims = int(layer.operation.name.split("pool")[1][0])
    kernel = _each(settings["kernel_size"], dims)
    stride = _each(settings["stride"] or kernel, dims)
    padding, dilation = _each(settings["padding"], dims), _each(settings.get("dilation", 1), dims)
    each = zip(kernel, stride, padding, dilation, strict=True)
    return (
        tuple(Window(k, s, (p, p), d) for k, s, p, d in each),
        bool(settings["ceil_mode"]),
    )


def _each(value: Any, dims: int) -> tuple[int, ...]:
    values = [value] if isinstance(value, int) else list(value)
    return tuple(values * dims if len(values) == 1 else values)


def _bounds(start: int | None, end: int | None, length: int) -> tuple[int, int]:
    first, last, _ = slice(start, end).indices(length)
    return first, max(first, last)


def _takes_indices(network: Network, layer: Layer) -> bool:
    return any(
        user.operation.settings.get("argument_1") == 1 for user in network.consumers(layer.name)
    )


def _rates(grids: Sequence[Grid]) -> str:
    rates = sorted({grid.rate for grid in grids if grid.rate > 1})
    return " and ".join(map(str, rates)) or "1"
