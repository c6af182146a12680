"""Regions against sets of tuples."""

from __future__ import annotations

from itertools import combinations, pairwise, product

from hypothesis import given
from hypothesis import strategies as st

from convsmith.arithmetic import Chain, Conv, Positions, Region
from convsmith.arithmetic.region import joined, shortened

axis = st.frozensets(st.integers(-4, 6), max_size=6)


def boxes(dims):
    return st.lists(st.tuples(*[axis] * dims), max_size=6)


def points(sets):
    return {point for box in sets for point in product(*box)}


@given(st.data(), st.integers(1, 3))
def test_a_region_is_a_set_of_positions(data, dims):
    left, right = data.draw(boxes(dims)), data.draw(boxes(dims))
    a, b = (Region(tuple(map(Positions.of, box)) for box in sets) for sets in (left, right))
    assert {p for box in a for p in product(*box)} == points(left)
    assert a.count() == len(points(left)) and bool(a) == bool(points(left))
    assert (a | b).count() == len(points(left) | points(right))
    for point in product(range(-5, 7, 3), repeat=dims):
        assert (point in a) == (point in points(left))
    for i in range(dims):
        seen = {point[i] for point in points(left)}
        assert set(a.along(i)) == seen
        assert a.project([i]).count() == len(seen)
        if seen:
            assert a.hull[i] == (min(seen), max(seen) + 1)


@given(st.data(), st.integers(1, 3))
def test_joined_products_are_the_same_set_and_no_two_of_them_could_be_one(data, dims):
    drawn = data.draw(boxes(dims))
    found = joined([tuple(map(Positions.of, box)) for box in drawn])
    assert {p for box in found for p in product(*box)} == points(drawn)
    for one, other in combinations(found, 2):
        assert sum(a != b for a, b in zip(one, other)) > 1


def test_a_grid_of_products_in_any_order_is_one():
    cuts = [(0, 3, 4, 9), (0, 2, 5), (-3, 1, 2, 8, 9)]
    ranges = [[Positions.range(*ends) for ends in pairwise(cut)] for cut in cuts]
    cells = list(product(*ranges))
    for step in (1, 5, 7):  # coprime to the number of cells
        found = joined(cells[i * step % len(cells)] for i in range(len(cells)))
        assert found == [tuple(Positions.range(cut[0], cut[-1]) for cut in cuts)]


@given(st.data(), st.integers(1, 3), st.integers(1, 4))
def test_a_shortened_union_is_the_same_or_one_product_around_it(data, dims, most):
    drawn = data.draw(boxes(dims))
    region, rounded = shortened([tuple(map(Positions.of, box)) for box in drawn], most)
    found = {p for box in region for p in product(*box)}
    assert len(region.boxes) <= most
    if rounded:
        (box,) = region.boxes
        assert [set(axis) for axis in box] == [{p[i] for p in points(drawn)} for i in range(dims)]
    else:
        assert found == points(drawn)


def test_parallel_dilated_branches_stay_exact():
    """ASPP {1×1, 6, 12, 18} touches 25 positions; a product of per-axis sets claims 49."""
    branches = [Conv(1, 1, 1), *(Conv(1, 1, 3, padding=d, dilation=d) for d in (6, 12, 18))]
    fields = [tuple(b.reads(i, Positions.of([0])) for i in range(2)) for b in branches]
    region = Region(fields)
    assert region.count() == 25
    assert len(region.along(0)) * len(region.along(1)) == 49


def test_coverage_of_serial_rates():
    def share(*rates):
        stack = Chain(*[Conv(1, 1, 3, dilation=d) for d in rates])
        box = tuple(stack.receptive_field(i) for i in range(2))
        return Region([box]).count() / box[0].span ** 2

    assert [
        round(100 * share(*rates), 1) for rates in ((2, 2, 2), (1, 2, 5), (1, 2, 9), (2, 4, 8))
    ] == [29.0, 100.0, 70.6, 26.8]
