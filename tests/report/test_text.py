from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from convsmith.report.text import cells, clean, pad, shorten, wrap

# What rich, the oracle, measures the same way: it knows no marks beyond the combining ones.
TEXT = st.text("abcXYZ.019 é×…–卷积ｗ한\u0301", max_size=60)


@given(TEXT)
def test_cells_are_those_of_rich(text):
    assert cells(text) == cell_len(text)


@given(TEXT, st.integers(1, 50))
def test_a_shortened_text_fits_and_keeps_both_ends(text, width):
    short = shorten(text, width)
    assert cell_len(short) <= width
    if cell_len(text) <= width:
        assert short == text
    else:
        head, _, tail = short.partition("…") if "…" not in text else ("", "", "")
        assert text.startswith(head) and text.endswith(tail)
        # A wide character at the cut may leave one cell free.
        narrow = all(cell_len(character) == 1 for character in text)
        assert cell_len(short) >= (width if narrow else width - 1)


@given(TEXT, st.integers(2, 50))
def test_wrapped_lines_fit_and_lose_nothing_but_spaces(text, width):
    lines = wrap(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
    words = [word for word in text.split() if cell_len(word) <= width]
    kept = [word for line in lines for word in line.split()]
    assert all(word in kept for word in words), "a word that fits is not broken"


@given(st.text(st.characters(), max_size=30))
def test_clean_text_cannot_drive_a_terminal(text):
    shown = clean(text)
    assert all(c.isprintable() or c in "\u200c\u200d" for c in shown)
    assert clean(shown) == shown
    shown.encode("utf-8")


def test_clean_shows_what_it_found():
    assert clean("\x1b[2J") == r"\x1b[2J"
    assert clean("a\nb\tc") == r"a\nb\tc"
    assert clean("\u202egnp.exe") == r"\u202egnp.exe"
    assert clean("file\udcff") == r"file\udcff"
    assert clean("\u0646\u200c\u062e 卷积") == "\u0646\u200c\u062e 卷积"


def test_pad_counts_cells():
    assert pad("卷积", 6, "left") == "卷积  "
    assert pad("12", 4, "right") == "  12"
