"""`register`: a user teaches convsmith an operation of their own.

A registration is a `Family` of its own, made from the one that the operation behaves like. The
graph of a network keeps the families it was read with, so registering again does not change it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from threading import Lock
from types import MappingProxyType
from typing import Any

from convsmith.arithmetic import Box, Positions, Window
from convsmith.errors import ArgumentError, kind_and_line, nearest
from convsmith.network.channels import Passage
from convsmith.network.cost import Cost
from convsmith.network.families import FAMILIES, FAMILY_OF, Family, Trait
from convsmith.network.families.family import CostRule, Reads, ReadsRule
from convsmith.network.families.rules import all_or_unknown, axes_in_place, axes_nowhere
from convsmith.network.network import Layer
from convsmith.network.shapes import Axes, whole

__all__ = ["Registered", "register", "registered"]

OwnCost = Callable[[Layer], Cost | tuple[int | None, int | None]]
OwnReads = Callable[[Layer, Box], Mapping[int, Sequence[Any]] | Iterable[tuple[int, Sequence[Any]]]]

# What the multiply-adds of an operation are called that is of no family with some.
_TITLE = "registered operations"
_QUALIFIED = re.compile(r"\w+::\w+")
# Steps are found by trial: the most positions after which a rule is expected to repeat itself.
_PERIOD = 16
# What the rule of a family raises for an operation that has not got the arguments it looks for.
_WRONG = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
# What follows from a rule for reading, and so does not come from the family that it replaces.
_OF_READING = (
    Trait.POINTWISE
    | Trait.WINDOWED
    | Trait.ANY_AXIS
    | Trait.ONE_AXIS
    | Trait.JOINS_AXIS
    | Trait.STATISTICS
    | Trait.MIXES_CHANNELS
    | Trait.MERGES
    | Trait.IN_SERIES
    | Trait.STARTS_MAP
    | Trait.TELLS
)


@dataclass(frozen=True, slots=True)
class Registered:
    """An operation that a user has taught convsmith.

    Attributes:
        family: its rules.
        name: the operation of PyTorch's that it behaves like, else its own qualified name.
        label: what tables call it.
    """

    family: Family
    name: str
    label: str


_LOCK = Lock()
_REGISTERED: Mapping[str, Registered] = MappingProxyType({})


def register(
    op: Any,
    family: str | None = None,
    *,
    cost: OwnCost | None = None,
    reads: Window | Sequence[Window] | OwnReads | None = None,
    name: str | None = None,
) -> None:
    """Teach convsmith an operation of your own: what it costs and what it reads.

    `trace`, `inspect`, receptive fields, holes and `dilate` then know it. Say what it behaves like
    (`family`), or write down its cost and what it reads, or both: what you write down replaces
    what the family says. Registering an operation again replaces what was said of it; networks
    that are traced already keep what they were traced with.

    Args:
        op: the operation's qualified name, such as `"mylib::blur"`, or the operation itself
            (`torch.ops.mylib.blur`, or what `torch.library.custom_op` returned). It need not exist
            yet. One of PyTorch's own (`"aten::special_bessel_j0"`) may be registered too.
        family: what it behaves like: a kind of operation (`Layer.kind`), such as `"activation"`
            or `"elementwise"`, or one of PyTorch's operations, such as `"upsample_nearest2d"`.
            Its arguments are then read by the names that they have in PyTorch's schema
            (`dim`, `stride`), and its tensors by their order.
        cost: a function of the `Layer` (`.operands[i].shape`, `.shape`, `.operation.settings`)
            that returns `(multiply-adds, floating-point operations)`, or a `measure.Cost`.
        reads: what it reads. A `Window`, for all of its spatial axes alike, or one per axis: they
            slide along the last axes of the first operand, all channels of which are read. Or a
            function `reads(layer, positions)`: `positions` holds, for each axis of the result, a
            set of positions (`arithmetic.Positions`, which can `shift`, `scale` and `spread`), and
            the function returns a dict: for each operand that is read, by number, one entry per
            axis of that operand: a set of positions, a number, or None for the whole axis.
            Positions outside the operand are padding; there is no need to clip them.
        name: what tables call it; its own name unless given.

    Raises:
        ArgumentError: for a name without `::`, a family that there is not, or nothing that is
            said of the operation.

    >>> import torch, convsmith as cs
    >>> from convsmith.arithmetic import Window
    >>> @torch.library.custom_op("mylib::blur", mutates_args=())
    ... def blur(x: torch.Tensor) -> torch.Tensor:
    ...     return torch.nn.functional.avg_pool2d(x, 3, 2, 1)
    >>> @blur.register_fake
    ... def _(x):
    ...     return x.new_empty(*x.shape[:2], (x.shape[2] + 1) // 2, (x.shape[3] + 1) // 2)
    >>> cs.register(blur, cost=lambda layer: (0, 9 * layer.numel), reads=Window(3, 2, (1, 1)))
    >>> class Net(torch.nn.Module):
    ...     def forward(self, x):
    ...         return blur(blur(x))
    >>> report = cs.inspect(Net(), (1, 3, 32, 32))
    >>> report.flops, report.status, report.receptive_field.size
    (8640, 'exact', (7, 7))
    """
    qualified = _qualified(op)
    if family is None and cost is None and reads is None:
        raise ArgumentError(f"nothing is said of {qualified!r}: pass family=, cost= or reads=")
    base, like = _base(family)
    if cost is not None:
        if not callable(cost):
            raise ArgumentError(
                f"cost of {qualified!r} must be a function of a layer, not {cost!r}"
            )
        base = replace(base, cost=_cost_rule(qualified, cost), title=base.title or _TITLE)
    if reads is not None:
        base = _reading(qualified, replace(base, arithmetic=None), reads)
    elif family is not None:
        base = _guarded(qualified, family, base)
    entry = Registered(
        family=base,
        name=like or qualified,
        label=name or qualified.partition("::")[2],
    )
    global _REGISTERED
    with _LOCK:  # the mapping itself is never changed, so that reading it needs no lock
        _REGISTERED = MappingProxyType({**_REGISTERED, qualified: entry})


def registered(qualified: str) -> Registered | None:
    """What is registered under a qualified name, such as `mylib::blur`."""
    return _REGISTERED.get(qualified)


def _qualified(op: Any) -> str:
    """The name of an operation with its namespace, whatever stands for it."""
    name = op
    if not isinstance(op, str):
        schema = getattr(op, "_schema", None)
        name = (
            getattr(schema, "name", None)
            or getattr(op, "_qualname", None)
            or getattr(op, "_qualified_op_name", None)
        )
    if not isinstance(name, str) or not _QUALIFIED.fullmatch(name):
        raise ArgumentError(f"an operation is named like 'mylib::blur', not {op!r}")
    return name


def _base(family: str | None) -> tuple[Family, str]:
    """The family that an operation behaves like, and PyTorch's operation where one was named."""
    if family is None:
        return FAMILIES["unknown"], ""
    if family in FAMILY_OF:
        return FAMILIES[FAMILY_OF[family]].of(family), family
    if family in FAMILIES:
        base = FAMILIES[family]
        if base.has(Trait.BY_NAME):
            names = ", ".join(base.names.split()[:3]) or "none"
            raise ArgumentError(
                f"operations of the family {family!r} differ: name the one that yours behaves like "
                f"({names}, …)"
            )
        return replace(base, exceptions=MappingProxyType({})), ""
    hint = nearest(str(family), [*FAMILIES, *FAMILY_OF]) or f", only {', '.join(FAMILIES)}"
    raise ArgumentError(f"there is no family {family!r}{hint}")


def _guarded(op: str, family: str, base: Family) -> Family:
    """The family, saying what is wrong where it does not find the arguments that it needs."""

    def failed(layer: Layer, error: Exception) -> ArgumentError:
        reason = kind_and_line(error)
        return ArgumentError(
            f"{op!r} does not behave like {family!r}, with which it was registered: at "
            f"{layer.name!r}, {reason}; pass reads="
        )

    def reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
        assert base.reads is not None
        try:
            return iter(list(base.reads(layer, box, result, bounded)))
        except _WRONG as error:
            raise failed(layer, error) from error

    def axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
        try:
            return base.axes(layer, sources)
        except _WRONG as error:
            raise failed(layer, error) from error

    def step(layer: Layer, place: int) -> Fraction:
        try:
            return base.step(layer, place)
        except _WRONG as error:
            raise failed(layer, error) from error

    return replace(base, reads=reads if base.reads else None, axes=axes, step=step)


def _cost_rule(op: str, rule: OwnCost) -> CostRule:
    def cost(layer: Layer) -> Cost:
        counted = rule(layer)
        if isinstance(counted, Cost):
            return counted
        try:
            macs, flops = counted
        except (TypeError, ValueError):
            raise ValueError(f"the cost of {op!r} is (macs, flops), not {counted!r}") from None
        return Cost(macs, flops)

    return cost


# What is read


def _reading(op: str, base: Family, reads: Window | Sequence[Window] | OwnReads) -> Family:
    """The family with another rule for reading, and with all that follows from it."""
    traits = base.traits & ~_OF_READING | Trait.TELLS
    if isinstance(reads, Window):
        return _sliding(base, traits, reads, None)
    if isinstance(reads, Sequence) and reads and all(isinstance(w, Window) for w in reads):
        return _sliding(base, traits, None, tuple(reads))
    if not callable(reads):
        raise ArgumentError(f"reads of {op!r} must be a Window or a function, not {reads!r}")
    rule = _reads_rule(op, reads)
    return replace(
        base,
        traits=traits,
        reads=rule,
        axes=lambda layer, sources: _axes(layer, sources, rule),
        carry=all_or_unknown,
        step=lambda layer, place: _moves(layer, rule).get(place, (0, 0, Fraction(1)))[2],
    )


def _sliding(
    base: Family, traits: Trait, each: Window | None, windows: tuple[Window, ...] | None
) -> Family:
    """A family that slides windows along the last axes, and reads all channels there."""

    def along(layer: Layer) -> tuple[Window, ...]:
        if windows is not None:
            return windows
        assert each is not None
        return (each,) * max(0, len(layer.shape) - 2)

    def reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
        spec, shape = along(layer), layer.operands[0].shape
        at = len(box) - len(spec)
        channels = whole(shape[at - 1 : at]) if at > 1 else ()
        space = (window.reads(p) for window, p in zip(spec, box[at:], strict=True))
        yield 0, (*box[: at - len(channels)], *channels, *space)
        for number in range(1, len(layer.operands)):
            yield number, whole(layer.operands[number].shape)

    def step(layer: Layer, place: int) -> Fraction:
        spec = along(layer)
        axis = place - (len(layer.shape) - len(spec))
        return Fraction(spec[axis].stride if axis >= 0 else 1)

    return replace(
        base,
        traits=traits | Trait.WINDOWED,
        reads=reads,
        axes=axes_in_place,
        carry=_every_channel,
        step=step,
    )


def _every_channel(passage: Passage) -> Positions | None:
    return passage.after.channels


def _reads_rule(op: str, rule: OwnReads) -> ReadsRule:
    """The user's function with its answer checked, and in the form that walks take."""

    def reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
        try:
            answer = rule(layer, box)
            parts = list(answer.items() if isinstance(answer, Mapping) else answer)
            return iter([(number, _product(layer, number, axes)) for number, axes in parts])
        except Exception as error:  # the user's own function may raise anything
            reason = kind_and_line(error)
            raise ArgumentError(f"reads of {op!r} failed at {layer.name!r}: {reason}") from error

    return reads


def _product(layer: Layer, number: int, axes: Sequence[Any]) -> Box:
    shape = layer.operands[number].shape
    if len(axes) != len(shape):
        raise ValueError(f"operand {number} has {len(shape)} axes, not {len(axes)}")
    return tuple(map(_positions, axes, shape))


def _positions(value: Any, length: int) -> Positions:
    if value is None:
        return Positions.range(0, length)
    if isinstance(value, Positions):
        return value
    return Positions.of([value] if isinstance(value, int) else value)


def _axes(layer: Layer, sources: Sequence[Axes], rule: ReadsRule) -> Axes:
    """An axis of an operand goes on along a dimension that moves what is read along it."""
    axes = list(axes_nowhere(layer, sources))
    known = dict(zip(layer.places, sources, strict=True))
    for dim, (operand, axis, _) in _moves(layer, rule).items():
        axes[dim] = known[operand][axis] if operand in known else None
    return tuple(axes)


def _moves(layer: Layer, rule: ReadsRule) -> dict[int, tuple[int, int, Fraction]]:
    """For each dimension of a result the operand and axis it moves along, and how far per step."""
    if not layer.results:
        return {}
    middle = [length // 2 for length in layer.shape]
    here = dict(_at(layer, rule, middle))
    found: dict[int, tuple[int, int, Fraction]] = {}
    for dim in range(len(middle)):
        for by in range(1, _PERIOD + 1):
            there = dict(_at(layer, rule, [p + by * (d == dim) for d, p in enumerate(middle)]))
            move = next((m for n in here if n in there for m in _moved(here[n], there[n], n)), None)
            if move is not None:
                operand, axis, far = move
                found[dim] = operand, axis, Fraction(far, by)
                break
    return found


def _at(layer: Layer, rule: ReadsRule, position: Sequence[int]) -> Reads:
    return rule(layer, tuple(Positions.of([p]) for p in position), 0, False)


def _moved(here: Box, there: Box, operand: int) -> list[tuple[int, int, int]]:
    """(operand, axis, how far) where one product is another one moved along a single axis."""
    differ = [axis for axis, positions in enumerate(here) if positions != there[axis]]
    if len(differ) != 1:
        return []
    (axis,) = differ
    far = there[axis].start - here[axis].start
    return [(operand, axis, far)] if far and here[axis].shift(far) == there[axis] else []
