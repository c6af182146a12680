"""Random networks of every operation, compared with an oracle that knows none of the rules."""

from __future__ import annotations

import logging

import pytest

import convsmith as cs
from convsmith.network import dependence
from convsmith.network.families import FAMILIES
from tests import grammar
from tests.grammar.draft import STEPS
from tests.thoroughness import NIGHTLY, THOROUGH

# Ten networks per test: each failure names its seed, and the other tests still run.
SEEDS, EACH = (1500 if NIGHTLY else 300 if THOROUGH else 60), 10


@pytest.fixture(autouse=True)
def _quiet(caplog):
    """Drop the trace that torch logs of every export: thousands of lines per failure."""
    caplog.set_level(logging.WARNING, "torch.__trace")


def contradictions(samples):
    """What the oracle contradicts, with the source of each network."""
    return "\n\n".join(
        f"{name}: {failure}\n{sample}"
        for name, sample in samples
        for failure in grammar.check(sample)
    )


@pytest.mark.parametrize("first", range(0, SEEDS, EACH))
def test_what_is_stated_about_random_networks_is_true(first):
    seeds = range(first, first + EACH)
    text = contradictions((f"seed {seed}", grammar.sample(seed)) for seed in seeds)
    assert not text, text


@pytest.mark.parametrize("first", range(20_000, 20_040, EACH))
def test_a_field_that_is_rounded_up_is_a_bound_and_says_so(first, monkeypatch):
    """As if every set of positions were too many products: one that holds them stands for all."""
    monkeypatch.setattr(dependence, "MOST_BOXES", 1)
    seeds = range(first, first + EACH)
    text = contradictions((f"seed {seed}", grammar.sample(seed)) for seed in seeds)
    assert not text, text


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_what_is_stated_about_each_step_alone_is_true(name):
    seeds = range(3 if NIGHTLY else 2)
    text = contradictions((f"seed {seed}", grammar.one_step(name, seed)) for seed in seeds)
    assert not text, text


@pytest.mark.slow
def test_the_grammar_has_every_family():
    kinds = set()
    for name in STEPS:
        sample = grammar.one_step(name)
        kinds |= {layer.kind for layer in cs.trace(sample.model(), sample.image())}
    assert kinds == set(FAMILIES)
