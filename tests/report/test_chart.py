from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.errors import ArgumentError
from convsmith.report import MISSING, bars, groups, short

SVG = "{http://www.w3.org/2000/svg}"


def read(svg):
    """The texts of a chart in their order, and the length of each bar in per cent."""
    root = ElementTree.fromstring(svg)
    # A shortened label has the whole of it as its title.
    texts = [(e[0].tail if len(e) else e.text) or "" for e in root.iter(f"{SVG}text")]
    rects = [element for element in root.iter(f"{SVG}rect") if element.get("class") != "track"]
    return root, texts, [float(rect.get("width").removesuffix("%")) for rect in rects]


def test_bars_are_in_proportion_and_labelled():
    root, texts, lengths = read(bars({"original": 8.0, "lightened": 2, "none": 0}, "ms"))
    assert texts == ["original", "8.00 ms", "lightened", "2 ms", "none", "0 ms"]
    assert lengths == [100, 25, 0]
    assert root.find(f"{SVG}desc").text == "original: 8.00 ms; lightened: 2 ms; none: 0 ms"


def test_a_maximum_is_the_full_bar():
    assert read(bars([("a", 0.5), ("b", 0.25)], maximum=1))[2] == [50, 25]
    assert read(groups([("g", [1, 2])], ["a", "b"], maximum=4))[2] == [25, 50]


def test_what_is_not_established_has_no_bar():
    _, texts, lengths = read(bars([("a", None), ("b", 3)]))
    assert texts[:2] == ["a", MISSING] and lengths == [0, 100]
    assert read(bars([("a", None)]))[2] == [0]
    assert read(bars([("a", 0)]))[2] == [0]


def test_groups_share_one_scale_and_name_every_bar():
    root, texts, lengths = read(
        groups(
            [("224", (4, 1, 1)), ("1024", (80, 20, None))], ("original", "light", "control"), "ms"
        )
    )
    assert texts[:3] == ["224", "original", "4 ms"]
    assert texts.count("light") == 2 and texts[-2:] == ["control", MISSING]
    assert lengths == [5, 1.25, 1.25, 100, 25, 0]
    classes = [rect.get("class") for rect in root.iter(f"{SVG}rect")]
    assert [name for name in classes if name != "track"] == ["s0", "s1", "s2"] * 2
    assert "1024, light: 20 ms" in root.find(f"{SVG}desc").text


def test_a_format_of_ones_own():
    assert "1.81 GMACs" in read(bars([("a", 1814073344)], format=lambda v: short(v, "MACs")))[1]


def test_title_names_the_chart():
    root, _, _ = read(bars([("a", 1)], title="Latency, less is better"))
    assert root.get("role") == "img" and root.get("aria-label") == "Latency, less is better"
    assert root[0].tag == f"{SVG}title" and root[0].text == "Latency, less is better"
    assert read(bars([("a", 1)], "ms"))[0][0].text == "Bar chart, ms"


@given(
    st.lists(st.tuples(st.text(st.characters(), max_size=50), st.none() | st.floats(0, 1e12))),
    st.text(st.characters(), max_size=8),
)
def test_any_labels_give_a_valid_chart_within_its_frame(items, unit):
    if not items:
        return
    svg = bars(items, unit, title=unit)
    root, texts, lengths = read(svg)
    assert len(texts) == 2 * len(items) and all(0 <= length <= 100 for length in lengths)
    height = int(root.get("height"))
    rects = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") != "track"]
    ends = [int(rect.get("y")) + int(rect.get("height")) for rect in rects]
    assert ends == sorted(set(ends)) and ends[-1] == height
    assert svg == bars(iter(items), unit, title=unit)
    assert not list(root.iter(f"{SVG}script"))


def test_long_labels_lose_their_middle_but_not_their_text():
    name = "features.denseblock3.denselayer24.conv1.weight"
    svg = bars([(name, 1)])
    assert f"<title>{name}</title>" in svg
    assert re.search(r"</title>features\.\w+…[\w.]+\.weight</text>", svg)


def test_charts_ask_for_nothing():
    svg = groups({"a": [1, 2]}, ["x", "y"])
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"url\(|@import|href|<script", svg)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([],), "at least one bar"),
        (([("a", -1)],), "'a' is -1"),
        (([("a", float("nan"))],), "'a' is nan"),
        (([("a", float("inf"))],), "'a' is inf"),
    ],
)
def test_bad_bars_are_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        bars(*arguments)


def test_bad_groups_are_refused():
    with pytest.raises(ArgumentError, match=r"'a' must have 2 values, one per series: \[1\]"):
        groups({"a": [1]}, ["x", "y"])
    with pytest.raises(ArgumentError, match="at least one bar"):
        groups({"a": []}, [])
    with pytest.raises(ArgumentError, match="'b' is 3, above the maximum of 2"):
        bars([("a", 1), ("b", 3)], maximum=2)
    with pytest.raises(ArgumentError, match="maximum must be above 0, not 0"):
        bars([("a", 0)], maximum=0)
