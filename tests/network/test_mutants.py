"""Rules that are wrong on purpose: the grammar finds each of them."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from convsmith.arithmetic import Positions
from convsmith.network import families
from convsmith.network.families import FAMILIES
from convsmith.network.families.rules import everything
from convsmith.network.shapes import whole
from tests import grammar

TURNS = 12


def without(*operands):
    """A rule that forgets operands."""
    return lambda parts, layer: [part for part in parts if part[0] not in operands]


def shifted(by):
    """A rule that is off by some positions along the last dimension."""
    return lambda parts, layer: [(n, (*box[:-1], box[-1].shift(by))) for n, box in parts]


def cut(parts, layer):
    """A rule that forgets the last position of what is read."""
    return [(n, (*box[:-1], box[-1].clip(0, max(1, box[-1].stop - 1)))) for n, box in parts]


def first_place(parts, layer):
    """A rule that takes the first position of each dimension for all of it."""
    return [(n, tuple(p and Positions.of([p.start]) for p in box)) for n, box in parts]


def all_of_it(parts, layer):
    """A rule that reads everything, and calls it exact."""
    return [(n, whole(layer.operands[n].shape)) for n, _ in parts]


MUTANTS = {
    # kind, operation (or '' for the family), what becomes of its rule, steps that meet it
    "a convolution misses its last tap": ("convolution", "", cut, ["padded_convolution"]),
    "a convolution reads everything": ("convolution", "", all_of_it, ["padded_convolution"]),
    "a transposed convolution is off": (
        "transposed convolution", "", shifted(1), ["transposed_convolution"],
    ),
    "a pool is off by one": ("pool", "", shifted(-1), ["average_pool", "max_pool"]),
    "a sum forgets its second operand": ("elementwise", "", without(1), ["add", "multiply"]),
    "a mean reads one value": ("reduction", "", first_place, ["squeeze_and_excite", "strip_pool"]),
    "a running sum misses its last": ("reduction", "cumsum", cut, ["cumulative"]),
    "a joined map forgets the second": ("concat", "", without(1), ["concatenate"]),
    "a stack forgets the first": ("concat", "stack", without(0), ["stack_and_sum"]),
    "a write keeps the old values": ("write", "", without(1), ["add_into_channels"]),
    "a slice begins one later": ("slice", "", shifted(1), ["strided_slice", "narrow"]),
    "a roll goes too far": ("roll", "", shifted(1), ["roll"]),
    "padding is not taken off": ("pad", "", shifted(1), ["pad"]),
    "interpolation misses a neighbour": ("upsample", "", cut, ["linear_interpolation"]),
    "attention reads its queries alone": ("attention", "", without(1, 2), ["attention"]),
    "a product ignores its right": ("matmul", "", without(1), ["attention_by_hand", "baddbmm"]),
    "a linear layer ignores its weights": ("linear", "", without(1), ["computed_linear"]),
    "a softmax reads one value": ("softmax", "", first_place, ["softmax_of_space"]),
    "a norm reads one value": ("norm", "", first_place, ["group_norm", "layer_norm_of_space"]),
    "a pixel shuffle is off by one": ("pixel shuffle", "", shifted(1), ["pixel_shuffle"]),
    "a sort ignores what it sorts": ("index", "", without(0), ["sort", "topk"]),
}  # fmt: skip


def mutated(kind, operation, change):
    family = FAMILIES[kind]

    def wrong(one):
        rule = one.reads or everything
        return replace(
            one,
            reads=lambda layer, box, result, bounded: iter(
                change(list(rule(layer, box, result, bounded)), layer)
            ),
        )

    names = [operation] if operation else [*family.exceptions]
    exceptions = dict(family.exceptions) | {n: wrong(family.of(n)) for n in names}
    base = family if operation else wrong(family)
    return {**FAMILIES, kind: replace(base, exceptions=MappingProxyType(exceptions))}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_rule_is_found(name, monkeypatch):
    kind, operation, change, steps = MUTANTS[name]
    monkeypatch.setattr(families, "FAMILIES", mutated(kind, operation, change))
    turns = ((step, seed) for seed in range(TURNS) for step in steps)
    assert any(grammar.check(grammar.one_step(*turn)) for turn in turns), "no network tells"
