"""Groups of dimensions that a reshape keeps together."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from hypothesis import given
from hypothesis import strategies as st

from convsmith.network.shapes import factor_groups

LENGTHS = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes of one tensor: factors in the same order, multiplied in other groups."""
    factors = draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=6))

    def shape() -> tuple[int, ...]:
        cuts = sorted(draw(st.sets(st.integers(1, len(factors) - 1)))) if len(factors) > 1 else []
        ends = [0, *cuts, len(factors)]
        return tuple(prod(factors[a:b]) for a, b in pairwise(ends))

    return shape(), shape()


@given(shapes=reshapes())
def test_groups_are_of_one_size(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    _check(*shapes)


@given(one=LENGTHS, other=LENGTHS, place=st.integers(0, 4), elsewhere=st.integers(0, 4))
def test_nothing_is_reshaped(
    one: tuple[int, ...], other: tuple[int, ...], place: int, elsewhere: int
) -> None:
    """An empty tensor has any shape with a length of 0."""
    _check((*one[:place], 0, *one[place:]), (*other[:elsewhere], 0, *other[elsewhere:]))


def _check(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    groups = factor_groups(before, after)
    for side, shape in enumerate((before, after)):
        grouped = [d for group in groups for d in group[side]]
        assert grouped == [d for d, length in enumerate(shape) if length != 1]
    for ours, theirs in groups:
        assert ours
        assert theirs
        assert prod(before[d] for d in ours) == prod(after[d] for d in theirs)
