"""Random einsums against what PyTorch really multiplies and adds."""

from __future__ import annotations

import random

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import convsmith as cs
from convsmith.network.families.einsum import contraction


def random_einsum(rng):
    lengths = {letter: rng.randint(2, 5) for letter in "abcde"}
    terms = ["".join(rng.sample("abcde", rng.randint(1, 3))) for _ in range(rng.randint(1, 4))]
    shapes = [[lengths[letter] for letter in term] for term in terms]
    if rng.random() < 0.3:  # an ellipsis, shorter in some operands
        hidden = [2, 3][: rng.randint(1, 2)]
        for term, shape in enumerate(shapes):
            kept = hidden[rng.randint(0, len(hidden)) :]
            terms[term] = "..." + terms[term]
            shapes[term] = [*kept, *shape]
    equation = ",".join(terms)
    if rng.random() < 0.3:
        return equation, shapes
    letters = sorted(set(equation) - set(",."))
    out = "".join(rng.sample(letters, rng.randint(0, min(3, len(letters)))))
    return f"{equation}->{'...' * ('.' in equation)}{out}", shapes


def random_path(rng, count):
    path = []
    for left in range(count, 1, -1):
        path += rng.sample(range(left), 2)
    return path or None


@pytest.mark.parametrize("seed", range(8))
def test_multiply_adds_are_those_that_torch_carries_out(seed):
    rng = random.Random(seed)
    for _ in range(150):
        equation, shapes = random_einsum(rng)
        path = random_path(rng, len(shapes)) if rng.random() < 0.5 else None
        counter = FlopCounterMode(display=False)
        with counter:
            torch.ops.aten.einsum(equation, [torch.rand(shape) for shape in shapes], path=path)
        macs, flops = contraction(equation, shapes, path)
        assert 2 * macs == counter.get_total_flops(), (equation, shapes, path)
        assert flops >= 2 * macs


class Three(torch.nn.Module):
    def __init__(self, path=None):
        super().__init__()
        self.path = path

    def forward(self, *tensors):
        return torch.ops.aten.einsum("ij,jk,kl->il", tensors, path=self.path)


def test_the_order_of_several_operands_is_the_one_that_the_graph_records():
    shapes = [(2, 3), (3, 4), (4, 5)]
    first, last = cs.inspect(Three([0, 1, 0, 1]), shapes), cs.inspect(Three([1, 2, 0, 1]), shapes)
    assert (first.macs, first.status) == (2 * 3 * 4 + 2 * 4 * 5, "exact")
    assert (last.macs, last.status) == (3 * 4 * 5 + 2 * 3 * 5, "exact")
    unknown = cs.inspect(Three(), shapes)
    assert (unknown.macs, unknown.status) == (first.macs, "upper bound")
