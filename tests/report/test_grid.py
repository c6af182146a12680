from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convsmith.report.grid import GAP, fit

COLUMNS = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 40)), min_size=1, max_size=8)


def total(widths):
    return sum(widths) + GAP * (len(widths) - 1)


@given(COLUMNS, st.integers(1, 200))
def test_columns_share_the_width(columns, width):
    least = [low for low, _ in columns]
    natural = [low + more for low, more in columns]
    widths = fit(natural, least, width)
    shown = len(widths)
    assert all(a <= b <= c for a, b, c in zip(least, widths, natural, strict=False))
    assert total(widths) <= width or widths == least[:1]
    # No column goes, and none gives anything, that need not.
    assert shown == len(columns) or total(least[: shown + 1]) > width
    assert total(widths) >= min(width, total(natural[:shown]))
    # Only the widest give way: a column that did is within a cell of every one that still could.
    gave = [own for own, full in zip(widths, natural, strict=False) if own < full]
    could = [own for own, low in zip(widths, least, strict=False) if own > low]
    assert not gave or not could or max(could) <= min(gave) + 1


def test_without_a_width_every_column_is_whole():
    assert fit([90, 80], [1, 1], None) == [90, 80]
