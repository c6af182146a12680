"""Pictures of fields, holes, costs and maps, read back from their SVG."""

from __future__ import annotations

import re
from itertools import product
from math import prod
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convsmith.errors import ArgumentError
from convsmith.report import (
    Figure,
    cost_picture,
    field_picture,
    gridding_picture,
    map_picture,
    memory_picture,
)
from convsmith.report.drawing import WIDTH, hatch
from convsmith.report.plane import Plane, as_region
from convsmith.report.style import PICTURE_CSS
from tests.draw.markup import parse

SVG = "{http://www.w3.org/2000/svg}"
RECT = re.compile(r"M(-?[\d.]+) (-?[\d.]+)h([\d.]+)v([\d.]+)h-\3z")


def root_of(svg):
    return ElementTree.fromstring(svg)


def texts(svg):
    return [text.text or "" for text in root_of(svg).iter(f"{SVG}text")]


def rects(element):
    data = element.get("d")
    found = RECT.findall(data)
    assert "".join(f"M{x} {y}h{w}v{h}h-{w}z" for x, y, w, h in found) == data
    return [tuple(map(float, rect)) for rect in found]


def cells(svg):
    """The positions (row, column) drawn as read."""
    (path,) = (e for e in root_of(svg).iter(f"{SVG}path") if "read" in e.get("class").split())
    drawn = [
        (row, column)
        for x, y, w, h in rects(path)
        for row in range(int(y), int(y + h))
        for column in range(int(x), int(x + w))
    ]
    assert len(drawn) == len(set(drawn)), "a position is drawn twice"
    return set(drawn)


def union(products):
    return {position for box in products for position in product(*box)}


AXIS = st.sets(st.integers(-40, 40), min_size=1, max_size=12)
ASPP = [([0], [0]), *(([-r, 0, r], [-r, 0, r]) for r in (6, 12, 18))]
STACK = [(range(0, 13, 2), range(0, 13, 2))]


@settings(deadline=None)
@given(st.lists(st.tuples(AXIS, AXIS), min_size=1, max_size=4), st.none() | st.just((7, 11)))
def test_what_is_drawn_is_the_set(products, image):
    svg = field_picture(products, image=image)
    assert cells(svg) == union(products)
    assert svg == field_picture(reversed(list(products)), image=image)
    assert f"{len(union(products)):,} of" in root_of(svg).find(f"{SVG}desc").text


@settings(deadline=None)
@given(st.lists(st.tuples(AXIS), min_size=1, max_size=3))
def test_one_axis_is_a_strip(products):
    svg = field_picture(products)
    assert {column for _, column in cells(svg)} == {p for (p,) in union(products)}
    assert {row for row, _ in cells(svg)} == {0}


@settings(deadline=None)
@given(st.lists(st.tuples(AXIS, AXIS, AXIS), min_size=1, max_size=3))
def test_of_three_axes_the_middle_slice_is_drawn(products):
    svg = field_picture(products)
    whole = union(products)
    first = sorted({p for p, _, _ in whole})
    middle = (first[0] + first[-1]) / 2
    at = min(first, key=lambda p: (abs(p - middle), p))
    assert cells(svg) == {(row, column) for p, row, column in whole if p == at}
    size = first[-1] - first[0] + 1
    assert f"slice {at - first[0] + 1} of {size} along the first axis" in texts(svg)
    assert f"{len(whole):,} of " in "".join(texts(svg))


@pytest.mark.parametrize(
    ("products", "size", "read", "share", "gaps"),
    [
        (STACK, "13×13", 49, "29.0 %", "1×1"),
        (ASPP, "37×37", 25, "1.8 %", "5×5"),
        ([([0, 1, 2, 9],)], "10", 4, "40.0 %", "6"),
    ],
)
def test_labels(products, size, read, share, gaps):
    svg = field_picture(products)
    every = prod(map(int, size.split("×")))
    assert texts(svg) == [
        f"Field {size}",
        f"{read} of {every:,} positions read ({share})",
        f"{every - read:,} are never read, largest gap {gaps}",
    ]
    assert len(cells(svg)) == read


def test_without_holes_nothing_is_hatched():
    svg = field_picture([(range(5), range(-3, 4))])
    assert "hatch" not in svg.split("</style>")[1]
    assert texts(svg) == ["Field 5×7", "35 of 35 positions read (100.0 %)"]
    assert 'class="hatch"' in field_picture(STACK)


def test_the_field_lies_in_its_image_to_scale():
    root = root_of(field_picture([(range(2, 5), range(-1, 2))], image=(6, 6)))
    shown = {r.get("class"): r for r in root.iter(f"{SVG}rect") if r.get("width") != "14"}
    box, frame = shown["box"], shown["frame"]
    cell = float(box.get("width")) / 3
    assert [float(frame.get(k)) / cell for k in ("width", "height")] == [6, 6]
    assert (float(box.get("x")) - float(frame.get("x"))) / cell == -1
    assert (float(box.get("y")) - float(frame.get("y"))) / cell == 2


def test_a_small_field_in_a_large_image_is_drawn_large_and_placed_aside():
    svg = field_picture([(range(100, 103), range(50, 53))], image=(200, 100))
    assert 'class="s0 place"' in svg and len(cells(svg)) == 9
    root = root_of(svg)
    (place,) = (r for r in root.iter(f"{SVG}rect") if r.get("class") == "s0 place")
    frame = next(r for r in root.iter(f"{SVG}rect") if r.get("class") == "frame")
    high = float(frame.get("height"))
    assert (float(place.get("y")) - float(frame.get("y"))) / high == pytest.approx(0.5, abs=1e-3)
    assert "to the same scale" not in svg


def test_a_field_of_too_many_pieces_is_drawn_in_blocks():
    many = [(range(0, 401, 2), range(0, 401, 2))]
    svg = field_picture(many, image=(300, 300))
    assert "blocks of 6×6, stronger where more is read" in texts(svg)
    assert len(svg) < 200_000
    plane = Plane.of(as_region(many))
    shades = plane.blocks(6, 8)
    assert sum(w * h for shade in shades for _, _, w, h in shade) == 401**2
    # A quarter is read of every whole block: level 2 of 8.
    assert all(w * h < 36 for shade in (*shades[:1], *shades[2:]) for _, _, w, h in shade)


@settings(deadline=None)
@given(
    st.lists(st.tuples(AXIS, AXIS), min_size=1, max_size=3),
    st.integers(1, 9),
    st.sampled_from([1, 8, 81]),
)
def test_blocks_hold_the_share_that_they_show(products, side, levels):
    inside = union(products)
    for level, blocks in enumerate(Plane.of(as_region(products)).blocks(side, levels), 1):
        for x, y, w, h in blocks:
            held = sum((y + i, x + j) in inside for i in range(h) for j in range(w))
            assert level - 1 < levels * held / (w * h) <= level


def test_a_long_strip_is_quick_and_small():
    svg = field_picture([(range(100_000),)], image=(1_000_000,))
    assert "Field 100000" in texts(svg) and len(svg) < 5_000


@pytest.mark.parametrize("image", [None, (5, 5)])
def test_the_picture_of_a_dilated_convolution(image):
    svg = field_picture([([0, 2, 4], [0, 2, 4])], image=image, title="dilation 2")
    body = svg.split("</style>\n")[1].splitlines()
    assert body[0] == '<text class="heading" x="0" y="15">Field 5×5</text>'
    assert body[2:5] == [
        '<g transform="translate(1 27) scale(22 22)">',
        '<path class="s0 read" d="M0 0h1v1h-1zM2 0h1v1h-1zM4 0h1v1h-1zM0 2h1v1h-1zM2 2h1v1h-1z'
        'M4 2h1v1h-1zM0 4h1v1h-1zM2 4h1v1h-1zM4 4h1v1h-1z"/>',
        '<path class="grid" d="M1 0V5M2 0V5M3 0V5M4 0V5M0 1H5M0 2H5M0 3H5M0 4H5"/>',
    ]
    assert body[6] == '<rect class="box" x="1" y="27" width="110" height="110"/>'


def reached(rates, kernel):
    seen = {0}
    rows = [seen]
    for rate in reversed(rates):
        seen = {p + rate * tap for p in seen for tap in range(kernel)}
        rows.append(seen)
    return rows


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 4))
def test_gridding_draws_every_position_and_every_hole(rates, kernel):
    svg = gridding_picture(rates, kernel)
    rows = reached(rates, kernel)
    root = root_of(svg)
    spans = [max(row) + 1 for row in rows]
    if spans[-1] <= (WIDTH - 78) // 7:
        kinds = [rect.get("class") for rect in root.iter(f"{SVG}rect")]
        assert kinds.count("s0") == sum(map(len, rows))
        assert kinds.count("hole") == sum(spans) - sum(map(len, rows))
    assert f"Rates {', '.join(map(str, rates))}: {len(rows[-1])} of {spans[-1]} positions" in svg
    ends = [float(r.get("x")) + float(r.get("width")) for r in root.iter(f"{SVG}rect")]
    assert max(ends, default=0) <= WIDTH


def test_gridding_of_many_positions_merges_into_rows():
    svg = gridding_picture([2**i for i in range(8)] + [300], 2)
    root = root_of(svg)
    assert not list(root.iter(f"{SVG}rect"))
    drawn = [p for p in root.iter(f"{SVG}path") if p.get("class") == "s0"]
    assert len(rects(drawn[-1])) == 2  # the input: two runs of 256
    assert sum(w for _, _, w, _ in rects(drawn[-1])) == pytest.approx(
        512 * (WIDTH - 78) / 556, rel=1e-3
    )


def test_the_repair_stands_below():
    shown = texts(gridding_picture([2, 2, 2], 3, [1, 2, 3]))
    assert [text for text in shown if "ates" in text] == [
        "Rates 2, 2, 2: 7 of 13 positions",
        "Repaired: rates 1, 2, 3: 13 of 13 positions",
    ]
    assert shown[1:8] == ["output", "3 of 5", "rate 2", "5 of 9", "rate 2", "7 of 13", "rate 2"]
    assert [text for text in shown if text.startswith("rate")] == [
        "rate 2", "rate 2", "rate 2", "rate 3", "rate 2", "rate 1",
    ]  # fmt: skip
    alone = root_of(gridding_picture([2, 2, 2]))
    assert sum(rect.get("class") == "hole" for rect in alone.iter(f"{SVG}rect")) == 2 + 4 + 6


def test_costs_stack_what_falls_on_padding():
    svg = cost_picture([("a", 100, 25), ("b", 50, 0), ("c", 10, 0), ("d", 40, 40)], top=2)
    bars = [
        (r.get("class"), r.get("x"), r.get("width"))
        for r in root_of(svg).iter(f"{SVG}rect")
        if "%" in r.get("width") and r.get("class") != "track"
    ]
    assert bars == [
        ("s0", "0", "75.00%"), ("s1", "75.00%", "25.00%"),
        ("s0", "0", "50.00%"),
        ("s0", "0", "10.00%"), ("s1", "10.00%", "40.00%"),
    ]  # fmt: skip
    assert texts(svg) == [
        "on real pixels", "on padding", "a", "100, 50.0 %", "b", "50, 25.0 %",
        "2 others", "50, 25.0 %",
    ]  # fmt: skip
    assert "on padding" not in cost_picture([("a", 1, 0)])
    # One more bar says as much as "1 others".
    assert "others" not in cost_picture([("a", 1, 0), ("b", 2, 0), ("c", 3, 0)], top=2)


def test_memory_is_a_curve_with_its_peak():
    svg = memory_picture([("conv1", 2048), ("relu", 4096), ("add", 4096), ("fc", 0)])
    area, line = root_of(svg).iter(f"{SVG}path")
    assert line.get("d") == "M0 50H1V0H2V0H3V100H4" and area.get("d") == f"{line.get('d')}V100H0z"
    assert texts(svg) == ["peak 4.00 KiB in relu", "conv1", "fc"]
    (marker,) = (e for e in root_of(svg).iter(f"{SVG}line") if e.get("class") == "frame")
    assert marker.get("x1") == marker.get("x2") == "37.50%"
    assert len(memory_picture((f"layer{i}", i) for i in range(100_000))) < 40_000
    assert memory_picture([("only", 0)]).count("<text") == 2


def test_a_map_shows_its_values_by_shade():
    svg = map_picture([[0, 1, 0], [4, 0, 16]], [("left", (0, 2), (-3, 1)), ("all", (0, 2), (0, 3))])
    shades = {p.get("fill-opacity"): rects(p) for p in root_of(svg).iter(f"{SVG}path")}
    assert shades == {"0.25": [(1, 0, 1, 1)], "0.5": [(0, 1, 1, 1)], "1": [(2, 1, 1, 1)]}
    left = next(r for r in root_of(svg).iter(f"{SVG}rect") if r.get("class") == "frame")
    assert (left.get("x"), left.get("width")) == ("1", "22")  # cut at the edge of the map
    assert texts(svg) == ["left", "all"]


def test_a_large_map_is_drawn_in_blocks_of_its_means():
    values = [[float(j >= 200) for j in range(250)] for _ in range(181)]
    svg = map_picture(values)
    drawn = [rect for p in root_of(svg).iter(f"{SVG}path") for rect in rects(p)]
    # 250 positions in blocks of 3: the one from 198 on is two thirds empty.
    assert sum(w * h for _, _, w, h in drawn) == 181 * 52
    assert {p.get("fill-opacity") for p in root_of(svg).iter(f"{SVG}path")} == {"0.625", "1"}
    assert len(texts(map_picture([[1.0] * 5000], [("a", (0, 1), (0, 9))]))) == 1
    assert "<path" not in map_picture([[0.0, 0.0]])


PICTURES = {
    "field": lambda: field_picture(ASPP, image=(64, 64)),
    "blocks": lambda: field_picture([(range(0, 401, 2), range(0, 401, 2))]),
    "strip": lambda: field_picture([(range(9),)], image=(100,)),
    "slice": lambda: field_picture([([0, 2], [0, 2], [0, 2])], image=(3, 3, 3)),
    "gridding": lambda: gridding_picture([2, 2, 2], 3, [1, 2, 3]),
    "costs": lambda: cost_picture([("<b>&", 10, 2), ("x" * 80, 3, 0)], title="<i>"),
    "memory": lambda: memory_picture([("<b>&", 10), ("x" * 80, 3)], title="<i>"),
    "map": lambda: map_picture([[0, 1.5]], [("<b>", (0, 1), (0, 1))]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_accessible_and_ask_for_nothing(name):
    svg = PICTURES[name]()
    assert svg == PICTURES[name]()
    root = root_of(svg)
    assert root.get("role") == "img" and root.get("aria-label")
    assert root[0].tag == f"{SVG}title" and root[0].text
    assert root[1].tag == f"{SVG}desc" and root[1].text
    bare = svg.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|url\(|@import|href|<script|<image| id=", bare)
    assert parse(Figure(svg).html()).find("svg")
    assert "nan" not in svg and "inf" not in svg.lower().replace("info", "")


@pytest.mark.parametrize("name", ["field", "blocks", "strip", "slice", "gridding", "map"])
def test_drawings_of_fixed_width_fit_a_telephone(name):
    root = root_of(PICTURES[name]())
    assert int(root.get("width")) == WIDTH <= 400 - 35
    height = float(root.get("height"))
    for rect in root.iter(f"{SVG}rect"):
        assert float(rect.get("x")) + float(rect.get("width")) <= WIDTH
        assert float(rect.get("y")) + float(rect.get("height")) <= height
    # 13 px letters are some 7 px wide.
    for text in root.iter(f"{SVG}text"):
        assert float(text.get("x")) + 7.2 * len(text.text) <= WIDTH
        assert float(text.get("y")) <= height


@settings(deadline=None)
@given(
    st.tuples(st.integers(-20, 20), st.integers(-20, 20), st.integers(1, 60), st.integers(1, 60)),
    st.sampled_from([4, 5, 6]),
)
def test_hatching_stays_within_its_rectangle(rect, step):
    x, y, w, h = rect
    lines = re.findall(r"M(-?[\d.]+) (-?[\d.]+)L(-?[\d.]+) (-?[\d.]+)", hatch(rect, step))
    for line in lines:
        a, b, c, d = map(float, line)
        assert x <= a < c <= x + w and y <= d < b <= y + h and a + b == c + d
    assert len(lines) == sum(t % step == 0 for t in range(x + y + 1, x + w + y + h))


def test_the_style_closes_every_brace():
    assert PICTURE_CSS.count("{") == PICTURE_CSS.count("}")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: field_picture([]), "no positions"),
        (lambda: field_picture([([], [1])]), "no positions"),
        (lambda: field_picture([([1],) * 4]), "three axes can be drawn, not 4"),
        (lambda: field_picture(STACK, image=(5,)), "2 axes in an image of 1"),
        (lambda: gridding_picture([]), "at least 1"),
        (lambda: gridding_picture([1, 0]), "at least 1"),
        (lambda: cost_picture([]), "at least one bar"),
        (lambda: cost_picture([("a", 1, 2)]), "'a' has 1 multiply-adds, 2"),
        (lambda: memory_picture([]), "needs layers"),
        (lambda: memory_picture([("a", -1)]), "at least 0"),
        (lambda: map_picture([]), "needs values"),
        (lambda: map_picture([[1], [1, 2]]), "as many in each row"),
        (lambda: map_picture([[float("nan")]]), "finite"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, words):
    with pytest.raises(ArgumentError, match=words):
        make()
