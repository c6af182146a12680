from __future__ import annotations

import os
import re
import subprocess
import sys
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.errors import ArgumentError
from convsmith.report import Column, Facts, Figure, Page, Section, Table, bars, count, save_text
from convsmith.report.style import CHART_CSS, PAGE_CSS, SERIES
from tests.draw.markup import parse

HOSTILE = "</title></style><script>alert('x')</script><img src=\"http://a.b/c\" onerror='y'> &amp;"
TABLE = Table(
    [Column("layer", "layer"), Column("macs", "MACs", "right", count)],
    [("conv1", 118013952), ("fc", 512000)],
    title="Cost",
)


def page():
    return Page(
        "ResNet-18",
        [
            Section(None, ["What it costs.", Facts([("parameters", "11.7 M", "11,689,512")])]),
            Section("Time", [Figure(bars([("a", 2), ("b", 1)], "ms"), "Less is better."), "Here."]),
            Section("Layers", TABLE),
        ],
    )


def test_a_page_holds_what_it_was_given():
    tree = parse(page().html())
    (html,) = tree.find("html")
    assert html.attributes["lang"] == "en"
    assert tree.find("title")[0].text == tree.find("h1")[0].text == "ResNet-18"
    assert [h.text for h in tree.find("h2")] == ["Time", "Layers"]
    assert [p.text for p in tree.find("p")] == ["What it costs.", "Here."]
    (facts,) = tree.find("dl")
    assert [(e.tag, e.text) for e in facts.find("div")[0].all()] == [
        ("dt", "parameters"),
        ("dd", "11.7 M"),
        ("dd", "11,689,512"),
    ]
    assert [c.text for c in tree.find("figcaption")] == ["Less is better."]
    assert tree.find("caption")[0].text == "Cost"
    assert len(tree.find("svg")) == 1 and len(tree.find("main")) == 1
    assert {meta.attributes.get("charset") for meta in tree.find("meta")} == {"utf-8", None}


def test_headings_are_in_order():
    levels = [int(level) for level in re.findall(r"<h([1-6])", page().html())]
    assert levels == [1, 2, 2]


def test_a_page_asks_for_nothing():
    html = page().html()
    assert not re.search(r"https?:|//\w|url\(|@import|\bsrc=|\bhref=", html)


def test_the_policy_allows_the_script_of_the_page_and_no_other():
    tree = parse(page().html())
    (policy,) = [
        meta.attributes["content"] for meta in tree.find("meta") if "http-equiv" in meta.attributes
    ]
    (script,) = tree.find("script")
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    (digest,) = re.findall(r"^'sha256-(.+)'$", directives["script-src"])
    assert b64decode(digest) == sha256(script.text.encode()).digest()


def test_a_page_without_a_table_has_no_script():
    assert "<script" not in Page("Empty", []).html()


@given(st.text(st.characters(), max_size=20))
def test_everything_but_our_own_drawings_is_escaped(text):
    name = HOSTILE + text
    table = Table([Column("a", name)], [(name,)], title=name, note=name)
    drawing = Figure(bars([(name, 1)], name, title=name), name)
    made = Page(name, [Section(name, [name, table, drawing, Facts([(name, name, name)])])])
    tree = parse(made.html())
    tags = {element.tag for element in tree.all()}
    assert "img" not in tags and len(tree.find("script")) == 1
    shown = " ".join(tree.find("h1")[0].text.split())
    assert shown.startswith("</title></style><script>alert('x')</script>")
    assert tree.find("h2")[0].text == tree.find("p")[0].text == tree.find("title")[0].text
    for element in tree.all():
        assert not [name for name in element.attributes if name.startswith("on")]


def test_pages_are_the_same_bytes_in_every_process_and_need_no_torch():
    code = (
        "import sys; from tests.report.test_page import page; "
        "sys.stdout.buffer.write(page().html().encode())"
    )
    light = "import sys, convsmith.draw; print(sorted({'torch', 'numpy', 'rich'} & {*sys.modules}))"

    def run(source, seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        root = Path(__file__).parents[2]
        return subprocess.run(
            [sys.executable, "-c", source],
            env=environment,
            cwd=root,
            capture_output=True,
            check=True,
        ).stdout

    assert run(code, "1") == run(code, "2") == page().html().encode()
    assert run(light, "0").strip() == b"[]"


def _contrast(one, other):
    """The ratio of WCAG 2.2 between two colours written #rrggbb."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_oracle_of_contrast():
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_stand_out_as_wcag_aa_asks(scheme):
    roots = re.findall(r":root{([^}]*)}", PAGE_CSS)
    assert len(roots) == 2
    colours = dict(re.findall(r"--(\w+):(#\w{6})", roots[scheme == "dark"]))
    for name in ("ink", "muted", "accent"):
        assert _contrast(colours[name], colours["paper"]) >= 4.5, name
    # In the dark a series keeps its colour unless it is given another.
    light, dark = CHART_CSS.split("prefers-color-scheme:dark")
    series = dict(re.findall(r"\.s(\d){fill:(#\w{6})}", light))
    if scheme == "dark":
        series |= dict(re.findall(r"\.s(\d){fill:(#\w{6})}", dark))
    assert len(series) == SERIES
    for index, colour in series.items():
        assert _contrast(colour, colours["paper"]) >= 3, index


def test_styles_close_every_brace():
    for style in (PAGE_CSS, CHART_CSS):
        depth = 0
        for brace in re.findall("[{}]", style):
            depth += 1 if brace == "{" else -1
            assert 0 <= depth <= 2
        assert depth == 0


def test_other_languages():
    assert '<html lang="zh-Hans">' in Page("卷积", [], language="zh-Hans").html()


def test_repr_is_one_line():
    assert repr(page()) == "Page('ResNet-18', 3 sections)"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Page(" ", []), "needs a title"),
        (lambda: Page("a", [], language='en" onload="x'), "language must be a tag"),
        (lambda: Section("a", [3]), "section 'a': a part is .* not int"),
        (lambda: Facts([("only",)]), r"a fact is \(label, value\)"),
        (lambda: Facts(["ab"]), r"a fact is \(label, value\)"),
    ],
)
def test_bad_pages_are_refused(make, words):
    with pytest.raises(ArgumentError, match=words):
        make()


def test_save_writes_the_page_and_nothing_beside_it(tmp_path):
    path = page().save(tmp_path / "report.html")
    assert path.read_bytes() == page().html().encode()
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_save_replaces_only_when_told(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(ArgumentError, match=r"report\.html' exists; pass force=True"):
        page().save(path)
    assert path.read_text() == "old"
    page().save(str(path), force=True)
    assert path.read_bytes() == page().html().encode()


def test_save_keeps_the_line_ends_of_csv(tmp_path):
    assert save_text(tmp_path / "a.csv", TABLE.to_csv()).read_bytes() == TABLE.to_csv().encode()


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ArgumentError, match=r"report\.html': No space left on device"):
        page().save(path, force=True)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_save_refuses_what_is_no_file(tmp_path):
    with pytest.raises(ArgumentError, match="it is not a file"):
        page().save(tmp_path, force=True)
    with pytest.raises(ArgumentError, match="no folder"):
        page().save(tmp_path / "missing" / "report.html")
