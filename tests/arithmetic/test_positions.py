"""Sets of positions against Python's own sets, and windows against brute force."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convsmith.arithmetic import Positions, Window

sets = st.frozensets(st.integers(-60, 60), max_size=20)
windows = st.builds(
    Window,
    kernel=st.integers(1, 7),
    stride=st.integers(1, 5),
    padding=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    dilation=st.integers(1, 5),
)


def taps(window, output):
    first = output * window.stride - window.padding[0]
    return {first + j * window.dilation for j in range(window.kernel)}


@given(sets, sets, st.integers(-70, 70), st.integers(1, 9))
def test_positions_are_a_set_of_integers(a, b, by, factor):
    left, right = Positions.of(a), Positions.of(b)
    assert set(left) == a and len(left) == len(a) and bool(left) == bool(a)
    assert list(left) == sorted(a)
    assert set(left | right) == a | b
    assert set(left.plus(right)) == {p + q for p in a for q in b}
    assert set(left & right) == a & b
    assert set(left - right) == a - b
    assert (left <= right) == (a <= b)
    assert (by in left) == (by in a)
    assert set(left.shift(by)) == {p + by for p in a}
    assert set(left.scale(factor)) == {p * factor for p in a}
    assert set(left.divide(factor)) == {p // factor for p in a if p % factor == 0}
    assert set(left.spread(factor, 3)) == {p + 3 * j for p in a for j in range(factor)}
    assert set(left.clip(-5, by)) == {p for p in a if -5 <= p < by}
    assert (left == right) == (a == b)
    if a:
        assert (left.start, left.stop, left.span) == (min(a), max(a) + 1, max(a) - min(a) + 1)
        steps = [q - p - 1 for p, q in zip(sorted(a), sorted(a)[1:])]
        assert left.largest_gap == max(steps, default=0)


@given(windows, sets)
def test_reads_and_readers_are_each_others_reverse(window, positions):
    exact = Positions.of(positions)
    assert set(window.reads(exact)) == set().union(*(taps(window, o) for o in positions))
    near = range(-200, 200)
    readers = {o for o in near if taps(window, o) & positions}
    assert set(window.readers(exact)) == readers


@given(windows, st.integers(-30, 30), st.integers(1, 20))
def test_ranges_are_the_hulls_of_the_exact_sets(window, start, length):
    block = Positions.range(start, start + length)
    reads = window.reads(block)
    assert window.input_range(start, start + length) == (reads.start, reads.stop)
    first, last = window.output_range(start, start + length)
    spans = {
        o for o in range(-200, 200)
        if min(taps(window, o)) < start + length and max(taps(window, o)) >= start
    }  # fmt: skip
    assert set(range(first, last)) == spans
    assert window.readers(block) <= Positions.range(first, last)
    assert window.input_range(start, start) == (window.input_range(start, start + 1)[0],) * 2


@given(windows, st.integers(1, 40))
def test_dropped_positions_are_those_past_the_last_window(window, length):
    if length + sum(window.padding) < window.extent:
        return
    outputs = window.output_length(length)
    last = max(taps(window, outputs - 1))
    assert window.dropped(length) == len([p for p in range(length) if p > last])
    assert window.real_taps(length, outputs) == sum(
        0 <= p < length for o in range(outputs) for p in taps(window, o)
    )
