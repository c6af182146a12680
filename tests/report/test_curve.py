"""A curve through points: where they lie, what is said of them, and the numbers at the axes."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.errors import ArgumentError
from convsmith.report import curve
from convsmith.report.curve import _ticks
from convsmith.report.formats import percent

SVG = "{http://www.w3.org/2000/svg}"
POINTS = [(4.0, 0.95), (1.0, 0.70), (2.0, 0.90)]


def read(svg):
    """The root, the places of the points, and the texts."""
    root = ElementTree.fromstring(svg)
    circles = list(root.iter(f"{SVG}circle"))
    places = [(float(c.get("cx")), float(c.get("cy"))) for c in circles]
    return root, places, [text.text for text in root.iter(f"{SVG}text")]


def test_points_lie_in_proportion_from_left_to_right():
    root, places, texts = read(curve(POINTS, "ms", "accuracy"))
    (ax, ay), (bx, by), (cx, cy) = places
    assert ax < bx < cx and ay > by > cy
    assert (cx - bx) / (bx - ax) == pytest.approx(2, rel=1e-3)
    assert (by - cy) / (ay - by) == pytest.approx(0.05 / 0.2, rel=1e-3)
    (line,) = root.iter(f"{SVG}path")
    drawn = re.findall(r"(-?[\d.]+) (-?[\d.]+)", line.get("d"))
    assert [(float(x), float(y)) for x, y in drawn] == places
    assert texts[0] == "accuracy" and "ms" in texts
    assert root.find(f"{SVG}desc").text.startswith("1.00 ms: 0.700; ")
    assert root.find(f"{SVG}title").text == "accuracy against ms"


def test_a_points_place_agrees_with_the_axes():
    """By the numbers beside the rules, a point can be read off."""
    root, places, _ = read(curve(POINTS, "ms", "accuracy"))
    rules = [float(line.get("y1")) for line in root.iter(f"{SVG}line")]
    values = [float(t.text) for t in root.iter(f"{SVG}text") if t.get("text-anchor") == "end"
              and re.fullmatch(r"[\d.]+", t.text)]  # fmt: skip
    assert len(rules) == len(values) >= 3
    scale = (values[-1] - values[0]) / (rules[-1] - rules[0])
    for (_, y), (_, value) in zip(places, sorted(POINTS)):
        assert values[0] + (y - rules[0]) * scale == pytest.approx(value, abs=1e-3)


def test_words_are_escaped_and_formatted():
    svg = curve([(1, 0.5), (2, 0.75)], "<ms>", "a&b", title='"t"', format=percent)
    root, _, texts = read(svg)
    assert texts[0] == "a&b" and "75.0 %" in root.find(f"{SVG}desc").text
    assert root.find(f"{SVG}title").text == '"t"'


@pytest.mark.parametrize(
    "points", [[], [(1.0, math.nan)], [(math.inf, 1.0)], [(1, 2), (-math.inf, 0)]]
)
def test_there_must_be_something_to_draw(points):
    with pytest.raises(ArgumentError, match="a curve needs finite points"):
        curve(points, "x", "y")


values = st.floats(-1e9, 1e9).map(lambda v: v if abs(v) > 1e-9 else 0.0)


@given(st.lists(st.tuples(st.floats(1e-6, 1e6), values), min_size=1, max_size=9))
def test_everything_lies_within_the_plane(points):
    root, places, _ = read(curve(points, "x", "y"))
    *_, width, height = map(float, root.get("viewBox").split())
    assert len(places) == len(points)
    for x, y in places:
        assert 58 - 1e-3 <= x <= width - 14 + 1e-3 and 26 - 1e-3 <= y <= height - 42 + 1e-3


@given(values, values)
def test_ticks_are_few_even_and_hold_the_range(a, b):
    low, high = min(a, b), max(a, b)
    ticks = _ticks(low, high)
    assert 2 <= len(ticks) <= 7
    slack = 1e-6 * max(1e-9, ticks[-1] - ticks[0])
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack
    steps = [d - c for c, d in pairwise(ticks)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)
    digit = float(f"{steps[0]:.3e}".partition("e")[0])
    assert any(digit == pytest.approx(nice, rel=1e-2) for nice in (1, 2, 5, 10))
