"""Families that a user describes: a count and what is read, put in place of those of a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic import Box, Positions, Window
from convsmith.errors import ArgumentError, kind_and_line
from convsmith.network.channels import Passage
from convsmith.network.cost import Cost
from convsmith.network.families.family import Family, Reads, ReadsRule, Trait
from convsmith.network.families.rules import all_or_unknown, axes_in_place, axes_nowhere
from convsmith.network.shapes import Axes, whole

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["OwnCost", "OwnReads", "counted", "guarded", "reading"]

OwnCost = Callable[["Layer"], Cost | tuple[int | None, int | None]]
"""A user's count of a layer: (multiply-adds, floating-point operations), or a `Cost`."""

OwnReads = Callable[
    ["Layer", Box], Mapping[int, Sequence[Any]] | Iterable[tuple[int, Sequence[Any]]]
]
"""A user's rule for what a layer reads; see `register`."""

# What the multiply-adds of an operation are called that is of no family with some.
_TITLE = "registered operations"
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


def guarded(op: str, family: str, base: Family) -> Family:
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


def counted(op: str, base: Family, rule: OwnCost) -> Family:
    """The family with the user's own count."""
    if not callable(rule):
        raise ArgumentError(f"cost of {op!r} is a function of a layer, not {rule!r}")

    def cost(layer: Layer) -> Cost:
        answer = rule(layer)
        if isinstance(answer, Cost):
            return answer
        try:
            macs, flops = answer
        except (TypeError, ValueError):
            raise ValueError(f"the cost of {op!r} is (macs, flops), not {answer!r}") from None
        return Cost(macs, flops)

    return replace(base, cost=cost, title=base.title or _TITLE)


# What is read


def reading(op: str, base: Family, reads: Window | Sequence[Window] | OwnReads) -> Family:
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
