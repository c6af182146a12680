"""Multiply-adds against loops that carry out every one of them, on small shapes."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

import convsmith as cs
from tests.loops import Call, loops


def counted(model, *shapes):
    report = cs.inspect(model, list(shapes))
    return report.macs, report.status


@pytest.mark.parametrize("seed", range(24))
def test_convolutions(seed):
    rng = random.Random(seed)
    dims, groups = 1 + seed % 3, rng.choice([1, 2, 3])
    each = lambda low, high: tuple(rng.randint(low, high) for _ in range(dims))  # noqa: E731
    channels, out, kernel, stride = groups * 2, groups * rng.randint(1, 2), each(1, 3), each(1, 2)
    size, batch, transposed = each(5, 7), rng.randint(1, 2), seed % 2
    options = {"stride": stride, "padding": each(0, 1), "groups": groups, "bias": seed % 4 > 1}
    kind = getattr(nn, f"Conv{'Transpose' * transposed}{dims}d")
    layer = kind(channels, out, kernel, dilation=each(1, 2), **options)
    # A transposed convolution lays its kernel down once per input value, the other reads with it
    # once per output value; taps on padding count.
    shape = size if transposed else layer(torch.zeros(batch, channels, *size)).shape[2:]
    pairs = loops(batch, groups, channels // groups, out // groups, *shape, *kernel)
    assert counted(layer, (batch, channels, *size)) == (pairs, "exact")


MATRICES = {
    "vectors": ((5,), (5,), (5,)),
    "matrix and vector": ((3, 5), (5,), (3, 5)),
    "vector and matrix": ((5,), (5, 4), (4, 5)),
    "two matrices": ((3, 5), (5, 4), (3, 4, 5)),
    "a batch and one matrix": ((2, 3, 5), (5, 4), (2, 3, 4, 5)),
    "a matrix and a batch": ((3, 5), (2, 5, 4), (2, 3, 4, 5)),
    "batches that broadcast": ((2, 1, 3, 5), (6, 5, 4), (2, 6, 3, 4, 5)),
    "a batch and a vector": ((2, 3, 5), (5,), (2, 3, 5)),
    "a vector and a batch": ((5,), (2, 5, 4), (2, 4, 5)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_products_of_matrices(name):
    left, right, lengths = MATRICES[name]
    assert counted(Call(torch.matmul), left, right) == (loops(*lengths), "exact")


EINSUMS = {
    "bij,bjk->bik": ((4, 5, 8), (4, 8, 6)),
    "bij,bjk->bik ": ((4, 5, 8), (1, 8, 6)),  # a length of 1 that broadcasts
    " bij,bjk->bik": ((4, 5, 1), (4, 8, 6)),
    "bchw,oc->bohw": ((2, 3, 4, 5), (6, 3)),
    "nhqd,nhkd->nhqk": ((1, 2, 5, 3), (1, 2, 7, 3)),
    "ij,jk": ((3, 4), (4, 5)),
    "ij,kj->ik": ((3, 4), (5, 4)),
    "...ij,jk->...ik": ((2, 3, 4), (4, 5)),
    "...c,c->...": ((2, 3, 4), (4,)),
    "i,i->": ((7,), (7,)),
    "bchw,bc->bchw": ((2, 3, 4, 5), (2, 3)),  # nothing is summed: a product, no multiply-add
    "i,j->ij": ((3,), (4,)),
    "bij->bji": ((2, 3, 4),),
    "bij->b": ((2, 3, 4),),
    "ii->i": ((5, 5),),
}


def contraction(equation, shapes):
    """Multiply-adds of an einsum of one or two operands, every index run through."""
    equation = equation.replace(" ", "")
    terms = equation.split("->")[0].split(",")
    lengths = {}
    for term, shape in zip(terms, shapes):
        # An ellipsis stands for the dimensions that no letter names.
        hidden = len(shape) - len(term.replace("...", ""))
        letters = term.replace("...", "ABCDE"[:hidden]) if "..." in term else term
        for letter, length in zip(letters, shape):
            lengths[letter] = max(length, lengths.get(letter, 1))
    named = "".join(terms).replace(".", "")
    if "->" in equation:
        kept = set(equation.split("->")[1].replace("...", "ABCDE"))
    else:
        kept = {c for c in named if named.count(c) == 1}
    summed = [length for letter, length in lengths.items() if letter not in kept]
    return loops(*lengths.values()) if len(terms) == 2 and summed else 0


@pytest.mark.parametrize("equation", EINSUMS)
def test_einsum(equation):
    shapes = EINSUMS[equation]
    model = Call(lambda *tensors: torch.einsum(equation.replace(" ", ""), *tensors))
    assert counted(model, *shapes) == (contraction(equation, shapes), "exact")


def recurrent(kind, inputs, hidden, layers, directions, projected, steps):
    """Every weight once per step: gates × rows × columns, one loop per matrix."""
    gates, total = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 0
    for layer in range(layers):
        out = projected or hidden
        width = inputs if layer == 0 else out * directions
        total += loops(directions, steps, gates, hidden, width)
        total += loops(directions, steps, gates, hidden, out)
        total += loops(directions, steps, projected, hidden)
    return total


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_recurrent_layers(kind, layers, both, bias):
    layer = getattr(nn, kind)(6, 8, layers, bias=bias, batch_first=True, bidirectional=both)
    expected = recurrent(kind, 6, 8, layers, 1 + both, 0, 2 * 5)
    assert counted(layer, (2, 5, 6)) == (expected, "exact")


@pytest.mark.parametrize("both", [False, True])
def test_an_lstm_with_a_projection(both):
    layer = nn.LSTM(6, 8, 2, batch_first=True, bidirectional=both, proj_size=3)
    expected = recurrent("LSTM", 6, 8, 2, 1 + both, 3, 2 * 5)
    assert counted(layer, (2, 5, 6)) == (expected, "exact")


def test_an_lstm_whose_weight_is_normalised():
    layer = nn.utils.parametrizations.weight_norm(nn.LSTM(6, 8, batch_first=True), "weight_hh_l0")
    assert counted(layer, (2, 5, 6))[0] == recurrent("LSTM", 6, 8, 1, 1, 0, 2 * 5)


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
def test_recurrent_cells(kind):
    layer = getattr(nn, kind)(6, 8)
    expected = recurrent(kind.removesuffix("Cell"), 6, 8, 1, 1, 0, 3)
    assert counted(layer, (3, 6)) == (expected, "exact")


@pytest.mark.parametrize("heads", [1, 2])
def test_attention(heads):
    attend = Call(nn.functional.scaled_dot_product_attention)
    shapes = (2, heads, 5, 4), (2, heads, 7, 4), (2, heads, 7, 3)
    expected = loops(2, heads, 5, 7, 4) + loops(2, heads, 5, 7, 3)
    assert counted(attend, *shapes) == (expected, "exact")


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (2, 3, 4, 5)])
def test_linear_layers(shape):
    assert counted(nn.Linear(5, 4), shape) == (loops(*shape, 4), "exact")
