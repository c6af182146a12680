"""Both languages phrase the same: the same keys, the same figures, in every panel."""

from __future__ import annotations

import re
import string
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given

from convsmith.draw.words import WORDS as TERMS
from convsmith.errors import ArgumentError
from convsmith.explore import pages, panels
from convsmith.explore.examples import LAYERS, STACKS
from convsmith.explore.phrases import PHRASES, as_language, phrase
from convsmith.explore.problems import problem
from convsmith.explore.stack import stack_of
from tests.explore.states import states

CHINESE = re.compile(r"[\u4e00-\u9fff]")
# Half-width marks between Chinese characters: a slip of the keyboard.
SLIP = re.compile(r"[\u4e00-\u9fff][,;:!?]|[,;!?][\u4e00-\u9fff]|\([^()]*[\u4e00-\u9fff][^()]*\)")


def fields(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


@pytest.mark.parametrize("key", PHRASES)
def test_a_text_has_the_same_places_in_both_languages(key):
    english, chinese = PHRASES[key]
    assert set(fields(english)) == set(fields(chinese))
    assert english.strip() == english and chinese.strip() == chinese
    assert not CHINESE.search(english) and not SLIP.search(chinese), chinese


def test_the_terms_are_those_of_the_pictures():
    for kind, term in (("conv", "standard"), ("transposed", "transposed"), ("max", "max")):
        assert PHRASES[f"kind {kind}"] == TERMS[f"title.{term}"]
    everything = "".join(chinese for _, chinese in PHRASES.values())
    for other in ("膨胀", "反卷积", "步长", "扩张", "感知野", "可分卷积"):
        assert other not in everything, f"{other}: the glossary has another word"


def test_every_text_is_used():
    folder = Path(pages.__file__).parent
    source = "".join(f.read_text("utf-8") for f in folder.rglob("*.py") if f.name != "words.py")
    for key in PHRASES:
        family = key.split()[0]
        assert (
            f'"{key}"' in source
            or f'f"{family} {{' in source
            or f"f'{family} {{" in source
            or ('f"{side} of"' in source and key.endswith(" of"))
        ), f"{key!r} is never shown"


def test_unknown_texts_and_languages_are_refused():
    with pytest.raises(ArgumentError, match="no text 'kernal'; did you mean 'kernel'"):
        phrase("kernal", "en")
    for bad in ("de", "", None):
        with pytest.raises(ArgumentError):
            as_language(bad)


def figures(html):
    # What the eye reads: without styles, without pictures, without tags.
    text = re.sub(r"<style.*?</style>|<desc>.*?</desc>|<title>.*?</title>", "", html, flags=re.S)
    return sorted(re.findall(r"\d[\d,.]*\d|\d", unescape(re.sub(r"<[^>]*>", " ", text))))


@given(states())
def test_panels_show_the_same_figures_in_both_languages(state):
    if problem(state, "en") is not None:
        return
    for panel in (panels.summary_panel, panels.size_panel, panels.cost_panel, panels.code_panel):
        assert figures(panel(state, "en")) == figures(panel(state, "zh"))


@pytest.mark.parametrize("name", LAYERS)
def test_pages_of_the_examples_show_the_same_figures(name):
    state = LAYERS[name]
    assert problem(state, "en") is None
    for page in (pages.numbers_panel, pages.scene_panel, pages.question_panel):
        assert figures(page(state, "en")) == figures(page(state, "zh"))
    assert CHINESE.search(pages.scene_panel(state, "zh"))


@pytest.mark.parametrize("name", STACKS)
def test_stacks_show_the_same_figures(name):
    stack = stack_of(STACKS[name])
    english, chinese = (pages.stack_page(stack, language) for language in ("en", "zh"))
    assert figures(english) == figures(chinese)
    text = re.sub(r"<style.*?</style>|<[^>]*>", " ", chinese, flags=re.S)
    assert not re.search(r"[A-Za-z]{2,}", text), text


def test_the_cost_panel_says_what_the_lesson_says():
    from convsmith.explore.state import LayerState

    html = panels.cost_panel(LayerState(in_channels=3, out_channels=30, kernel=(10, 10),
                                        size=(32, 32)), "en")  # fmt: skip
    assert "9,030" in html and "423" in html and "1/30 + 1/100" in html
    html = panels.cost_panel(LayerState(in_channels=3, out_channels=30, kernel=(10, 10),
                                        size=(32, 32), groups=3), "en")  # fmt: skip
    assert "3,030" in html and "1/3" in html
