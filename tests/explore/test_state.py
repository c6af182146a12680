"""A state against PyTorch: what it is called, whether it exists, what comes out, what it costs."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convsmith.explore.code import pytorch_code
from convsmith.explore.formulas import macs_formula, params_formula, ratio_sum, size_formulas
from convsmith.explore.guess import answers, judge
from convsmith.explore.problems import problem
from convsmith.explore.state import LayerState
from tests.explore.states import states


def built(state):
    return eval(pytorch_code(state), {"nn": nn})


def run(state):
    """What PyTorch makes of the line of code, or None where it refuses or gives nothing."""
    try:
        module = built(state)
        out = module(torch.zeros(1, state.in_channels, *state.size))
    except (ValueError, RuntimeError, AssertionError):
        return None
    if not out.numel():
        return None  # what PyTorch answers with an empty map has no output
    return (tuple(out.shape[1:]), sum(p.numel() for p in module.parameters()))


@given(states())
def test_the_code_gives_the_size_and_parameters_that_are_shown(state):
    if problem(state, "en") is None:
        layer = state.layer()
        expected = (state.output_channels(), *layer.output_size(state.size))
        assert run(state) == (expected, layer.params)


@given(states())
def test_a_layer_is_refused_exactly_where_pytorch_refuses_it(state):
    refused = problem(state, "en") is not None
    assert refused == (problem(state, "zh") is not None)
    assert refused == (run(state) is None), (problem(state, "en"), pytorch_code(state))


@given(states())
def test_an_address_says_the_whole_state(state):
    assert LayerState.from_query(state.to_query()) == (state, [])


def value(text):
    """Work a formula out as it is written."""
    plain = text.replace("·", "*").replace("−", "-").replace("⌊", "floor(").replace("⌋", ")")
    plain = plain.replace("⌈", "ceil(").replace("⌉", ")")
    assert re.fullmatch(r"[\d\s*/+()\-a-z]+", plain), plain
    return eval(plain, {"floor": math.floor, "ceil": math.ceil})


@given(states())
def test_every_formula_with_its_numbers_comes_to_its_value(state):
    if problem(state, "en") is not None:
        return
    formulas = size_formulas(state)
    outputs = state.layer().output_size(state.size)
    assert [f.value for f in formulas] == list(outputs[: len(formulas)])
    if len(formulas) == 1:
        assert outputs[0] == outputs[1]
    if not state.is_pool:
        formulas += [params_formula(state), macs_formula(state)]
    for formula in formulas:
        for part in formula.numbers.split(" = "):
            assert value(part) == formula.value


def test_the_ratio_is_that_of_the_lesson():
    written, share = ratio_sum(LayerState(in_channels=3, out_channels=30, kernel=(10, 10)).layer())
    assert written == "1/30 + 1/100" and share == pytest.approx(423 / 9030, rel=0.1)
    assert value(written) == pytest.approx(float(share))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"kernel": "0"}, "kernel=0"),
        ({"kernel": "3x"}, "kernel=3x"),
        ({"kernel": "3x3x3"}, "kernel=3x3x3"),
        ({"in": "-1"}, "in=-1"),
        ({"in": "²"}, "in=²"),
        ({"in": "99999999999"}, "in=99999999999"),
        ({"kind": "dense"}, "kind=dense"),
        ({"padding": "1,2,3"}, "padding=1,2,3"),
        ({"padding": "sane"}, "padding=sane"),
        ({"bias": "yes"}, "bias=yes"),
    ],
)
def test_what_an_address_cannot_mean_is_said_and_left_out(query, said):
    for language in ("en", "zh"):
        state, complaints = LayerState.from_query(query, language)
        assert state == LayerState() and len(complaints) == 1 and said in complaints[0]


@given(st.dictionaries(st.sampled_from(["kernel", "in", "padding", "size", "kind"]), st.text()))
def test_no_address_breaks_it(query):
    state, _ = LayerState.from_query(query)
    assert LayerState.from_query(state.to_query())[0] == state


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (LayerState(size=(4, 4), kernel=(5, 5)), "5 = 1·(5 − 1) + 1"),
        (LayerState(in_channels=4, out_channels=3, groups=2), "2 does not divide 3"),
        (LayerState(padding="same", stride=(2, 2)), "not 2"),
        (LayerState(kind="transposed", output_padding=(1, 1)), "1 is not below 1"),
        (LayerState(kind="max", padding=((2, 2), (2, 2))), "at most half its kernel, 1, not 2"),
        (
            LayerState(padding=((5, 5), (5, 5)), padding_mode="reflect"),
            "only 5 rows: at most 4",
        ),
        (
            LayerState(kind="transposed", size=(1, 1), padding=((2, 2), (2, 2))),
            "(1 − 1)·1 − 2 − 2 + 3 + 0 = -1",
        ),
    ],
)
def test_a_layer_that_does_not_exist_is_told_with_its_numbers(state, words):
    said = problem(state, "en")
    assert words in said and "\n" not in said
    numbers = re.findall(r"\d+", said)
    assert set(re.findall(r"\d+", problem(state, "zh"))) <= set(numbers)


def test_guesses_are_held_against_the_layer():
    state = LayerState(in_channels=3, out_channels=10, size=(128, 128))
    assert answers(state) == {"rows": 126, "columns": 126, "params": 280}
    judged = judge(state, {"rows": 126, "columns": 128, "params": None})
    assert [guess.right for guess in judged] == [True, False, False]
