from __future__ import annotations

import csv
import io
import re
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from convsmith.errors import ArgumentError
from convsmith.report import Column, Table, count, percent, shape
from convsmith.report.text import in_cell
from tests.draw.markup import parse

COLUMNS = [
    Column("layer", "layer"),
    Column("output", "output", format=shape),
    Column("params", "parameters", "right", count),
    Column("macs", "MACs", "right", count),
    Column("share", "share of MACs", "right", share=True),
]
ROWS = [
    ("conv1", (1, 64, 112, 112), 9408, 118013952, 118013952 / 124936192),
    ("layer3.0.downsample.0", (1, 256, 14, 14), 32768, 6422528, 6422528 / 124936192),
    {"layer": "fc", "output": (1, 1000), "params": 513000, "macs": 512000},
]
TABLE = Table(
    COLUMNS,
    ROWS,
    title="ResNet-18, in part",
    footer={"layer": "total", "params": 555176, "macs": 124948480},
    note="A MAC is one multiply-add.",
)
GOLDEN = """\
ResNet-18, in part

layer                  output        parameters         MACs  share of MACs
───────────────────────────────────────────────────────────────────────────
conv1                  1×64×112×112       9,408  118,013,952         94.5 %
layer3.0.downsample.0  1×256×14×14       32,768    6,422,528          5.1 %
fc                     1×1000           513,000      512,000              –
───────────────────────────────────────────────────────────────────────────
total                                   555,176  124,948,480

A MAC is one multiply-add."""
NARROW = """\
ResNet-18, in part

layer           output        parameters
────────────────────────────────────────
conv1           1×64×112×112       9,408
layer3…ample.0  1×256×14×14       32,768
fc              1×1000           513,000
────────────────────────────────────────
total                            555,176

not shown: MACs, share of MACs
A MAC is one multiply-add."""
HOSTILE = '<script>alert(\'x\')</script>" onload="y" & \x1b[31m'


def test_golden_text():
    assert str(TABLE) == TABLE.to_text() == GOLDEN


def test_golden_text_where_space_is_short():
    assert TABLE.to_text(40) == NARROW
    assert TABLE.to_text(75) == GOLDEN


def test_headings_break_before_names_lose_anything():
    assert "layer3.0.downsample.0" in TABLE.to_text(74)
    assert TABLE.to_text(74).splitlines()[2].split() == ["share"]
    assert "layer3.0.downsample.0" in TABLE.to_text(68)
    assert "layer3.0.downsample.0" not in TABLE.to_text(67)


@pytest.mark.parametrize("width", [24, 40, 52, 80])
def test_names_stay_different(width):
    names = [f"features.denseblock{i}.denselayer{j}.conv1" for i in (1, 2) for j in (1, 2, 13)]
    table = Table(
        [Column("layer", ""), Column("n", "n", "right")], [(n, i) for i, n in enumerate(names)]
    )
    shown = [""] * len(names)
    current = -1
    for line in table.to_text(width).splitlines()[2:]:
        name, number = re.fullmatch(r"(\S*)(?: +(\d+))?", line).groups()
        current = current if number is None else int(number)
        shown[current] += name
    assert len(set(shown)) == len(names)
    assert width < 52 or shown == names


def test_names_take_up_to_half_the_width_before_they_are_broken():
    names = [f"features.denseblock{i}.denselayer{j}.conv1" for i in (1, 2) for j in (1, 13)]
    columns = [COLUMNS[0], *(Column(str(i), "figure", "right", count) for i in range(4))]
    table = Table(columns, [(name, *[10**9] * 4) for name in names])
    lines = table.to_text(80).splitlines()
    assert [line.split()[0] for line in lines[2:6]] == names
    assert lines[-1] == "not shown: figure, figure"


def test_a_wrapped_column():
    columns = [Column("what", "what"), Column("how", "how it was made", wrap=True)]
    table = Table(columns, [("light", "decomposed, then\nfine-tuned"), ("control", None)])
    assert table.to_text(24) == (
        "what     how it was made\n"
        "────────────────────────\n"
        "light    decomposed,\n"
        "         then fine-tuned\n"
        "control  –"
    )


def test_repr_is_one_line():
    assert repr(TABLE) == "Table('ResNet-18, in part', 3 rows × 5 columns)"
    assert repr(Table([Column("a", "a")], [])) == "Table(0 rows × 1 columns)"


def test_a_table_without_rows():
    table = Table(COLUMNS[:2], [])
    assert str(table) == "layer  output\n─────────────"
    assert table.to_csv() == "layer,output\r\n"
    parse(table.to_html())


def test_a_table_is_a_value():
    assert Table(COLUMNS, ROWS) == Table(tuple(COLUMNS), iter(ROWS))
    assert Table(COLUMNS, ROWS) != TABLE
    assert hash(Table(COLUMNS, ROWS)) == hash(Table(COLUMNS, ROWS))


# Letters only in names and headings, so that whatever has a digit is a figure.
NAMES = st.text("abcxyz._ é卷积", max_size=70)
TITLES = st.text("abcxyz éMA卷", max_size=30)
FIGURES = st.integers(-(10**12), 10**12) | st.none()


@st.composite
def tables(draw):
    extra = draw(st.lists(TITLES, max_size=8))
    columns = [Column("name", draw(TITLES), wrap=draw(st.booleans()))]
    columns += [Column(str(i), title, "right", count) for i, title in enumerate(extra)]
    row = st.tuples(NAMES, *(FIGURES for _ in extra))
    note, title = draw(st.none() | NAMES), draw(st.none() | NAMES)
    return Table(columns, draw(st.lists(row, max_size=8)), title, draw(st.none() | row), note)


@given(tables(), st.integers(40, 160))
def test_no_line_is_longer_than_the_width_and_every_number_is_whole(table, width):
    text = table.to_text(width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    shown = len(table.columns)
    for fewer in range(len(table.columns)):
        left_out = ", ".join(" ".join(c.title.split()) for c in table.columns[fewer + 1 :])
        if "".join(f"not shown: {left_out}".split()) in "".join(text.split()):
            shown = fewer + 1
            break
    rows = [*table.rows, *([table.footer] if table.footer else [])]
    expected = Counter(count(v) for row in rows for v in row[1:shown] if v is not None)
    found = Counter(re.findall(r"[-\d,]*\d[\d,]*", text))
    assert found == expected


@given(tables(), st.integers(1, 39))
def test_a_name_fits_any_width(table, width):
    only = Table(table.columns[:1], [row[:1] for row in table.rows])
    widest = max(map(cell_len, only.to_text(width).splitlines()))
    # Nothing can be done about a wide character in a single cell.
    assert widest <= max(width, 2)


@given(tables(), st.integers(40, 120))
def test_rich_shows_the_same_text(table, width):
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(table)
    lines = [line.rstrip() for line in file.getvalue().split("\n")]
    assert lines == [*(line.rstrip() for line in table.to_text(width).split("\n")), ""]


def test_rich_marks_head_and_footer_and_reads_no_markup_in_names():
    file = io.StringIO()
    table = Table(COLUMNS[:1], [("[red]conv[/red]",)], footer=("total",))
    Console(file=file, width=80, force_terminal=True, color_system="standard").print(table)
    output = file.getvalue()
    assert "[red]conv[/red]" in output
    assert "\x1b[1mlayer\x1b[0m" in output and "\x1b[1mtotal\x1b[0m" in output


def test_csv_has_raw_values_and_no_totals():
    assert TABLE.to_csv() == (
        "layer,output,params,macs,share\r\n"
        f"conv1,1x64x112x112,9408,118013952,{118013952 / 124936192!r}\r\n"
        f"layer3.0.downsample.0,1x256x14x14,32768,6422528,{6422528 / 124936192!r}\r\n"
        "fc,1x1000,513000,512000,\r\n"
    )


@given(
    st.lists(
        st.tuples(
            st.text(st.characters()),
            st.integers(),
            st.floats(allow_nan=False),
            st.none() | st.integers(),
        ),
        max_size=6,
    )
)
def test_csv_round_trip(rows):
    keys = ['a "quoted", key', "integer", "float", "maybe"]
    table = Table([Column(key, key.upper()) for key in keys], rows)
    head, *body = csv.reader(io.StringIO(table.to_csv(), newline=""), strict=True)
    assert head == keys
    assert len(body) == len(rows)
    for (text, integer, decimal, maybe), row in zip(body, rows, strict=True):
        assert (text, int(integer), float(decimal)) == (in_cell(row[0]), *row[1:3])
        assert (int(maybe) if maybe else None) == row[3]


FORMULAS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


@given(st.text(st.characters()), st.sampled_from(["", *FORMULAS, "\t=", " @", "\r+"]))
@example("1+1", "=")
@example("2", "-")
def test_a_cell_is_never_a_formula_or_a_command(text, start):
    table = Table([Column(start + text, "name")], [(start + text,)])
    head, line, end = table.to_csv().split("\r\n")
    assert end == ""
    for cell in (*next(csv.reader([head])), *next(csv.reader([line]), [""])):
        assert cell.replace("\u200c", "").replace("\u200d", "").isprintable()
        assert not cell.lstrip().startswith(FORMULAS) or is_number(cell)


def is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_html_is_a_semantic_table():
    tree = parse(TABLE.to_html())
    (table,) = tree.find("table")
    assert [child.tag for child in table.children if not isinstance(child, str)] == [
        "caption",
        "thead",
        "tbody",
        "tfoot",
    ]
    assert table.find("caption")[0].text == "ResNet-18, in part"
    heads = table.find("thead")[0].find("th")
    assert [head.text for head in heads] == [column.title for column in COLUMNS]
    assert {head.attributes["scope"] for head in heads} == {"col"}
    body = table.find("tbody")[0].find("tr")
    assert [[cell.text for cell in row.all()] for row in body] == [
        ["conv1", "1×64×112×112", "9,408", "118,013,952", "94.5 %"],
        ["layer3.0.downsample.0", "1×256×14×14", "32,768", "6,422,528", "5.1 %"],
        ["fc", "1×1000", "513,000", "512,000", "–"],
    ]
    assert {row.all()[0].attributes["scope"] for row in body} == {"row"}
    assert tree.find("figcaption")[0].text == "A MAC is one multiply-add."
    for row in body:
        classes = [(cell.attributes.get("class") or "").split() for cell in row.all()]
        assert ["cs-number" in names for names in classes] == [False, False, True, True, True]
    assert [row.all()[3].attributes["data-value"] for row in body] == [
        "118013952",
        "6422528",
        "512000",
    ]


def test_bars_are_in_proportion_to_the_largest_share():
    column = Column("share", "share", "right", share=True)
    table = Table([column], [(0.4,), (0.1,), (0.0,), (None,), (-0.2,)], footer=(0.5,))
    cells = parse(table.to_html()).find("td")
    assert [cell.attributes.get("style") for cell in cells] == [
        "--share:100.00%",
        "--share:25.00%",
        "--share:0.00%",
        None,
        "--share:0.00%",
        None,
    ]
    assert cells[1].text == percent(0.1)


@given(st.text(st.characters(), max_size=20))
def test_html_escapes_every_text(text):
    name = HOSTILE + text
    column = Column("c", name, wrap=True)
    table = Table([column], [(name,)], title=name, footer=(name,), note=name)
    tree = parse(table._repr_html_())
    expected = " ".join(table.columns[0].text(name).split())
    for tag in ("caption", "figcaption"):
        assert " ".join(tree.find(tag)[0].text.split()) == expected
    assert [" ".join(cell.text.split()) for cell in tree.find("th")] == [expected] * 3
    assert not tree.find("script")
    for element in tree.all():
        assert not [name for name in element.attributes if name.startswith("on")]


def test_a_notebook_gets_a_style_that_touches_nothing_else():
    style = parse(TABLE._repr_html_()).find("style")[0].text
    selectors = re.findall(r"([^{}]+){", style)
    assert selectors
    assert all(one.strip().startswith(".cs-table") for s in selectors for one in s.split(","))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([], []), "different keys"),
        (([Column("a", "A"), Column("a", "B")], []), r"not \['a', 'a'\]"),
        ((COLUMNS[:2], [("conv1",)]), "row 0 must have 2 values"),
        ((COLUMNS[:2], ["ab"]), "row 0 must have 2 values"),
        ((COLUMNS, [{}, {"parms": 3}]), "row 1: no column 'parms'; did you mean 'params'?"),
        ((COLUMNS, [], None, {"sum": 3}), "the footer: no column 'sum'"),
    ],
)
def test_bad_tables_are_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        Table(*arguments)


def test_bad_columns_and_widths_are_refused():
    with pytest.raises(ArgumentError, match=r"align of column 'a'.*'middle'"):
        Column("a", "A", align="middle")
    with pytest.raises(ArgumentError, match="width must be at least 1"):
        TABLE.to_text(0)
