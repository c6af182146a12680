"""Times on a machine that others use: a clock with noise, and choices that do not depend on it."""

from __future__ import annotations

import json
import random
from functools import partial
from itertools import pairwise
from math import exp, sin

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.network import trace
from convsmith.rewrite import Timing
from convsmith.rewrite.lightening.bracket import Bracket
from convsmith.rewrite.lightening.candidates import candidates
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.fit.moments import patch_moments
from convsmith.rewrite.lightening.fit.rewrite import decomposed
from convsmith.rewrite.lightening.forms import forms_named
from convsmith.rewrite.lightening.selector import Selector
from convsmith.rewrite.lightening.stopwatch import settled
from convsmith.rewrite.lightening.target import Target
from tests.rewrite.fakes import chain, macs, pictures, same, weighed

REST = 0.05


class Busy:
    """A processor whose pace drifts by a fifth, and one run in six waits for another process."""

    def __init__(self, seed, bias=1.0):
        self.random, self.bias, self.runs = random.Random(seed), bias, 0
        self.phase = 6.28 * self.random.random()

    def probe(self, ms):
        def run():
            self.runs += 1
            pace = 1 + 0.2 * sin(self.phase + self.runs / 300)
            jitter = exp(self.random.gauss(0, 0.03))
            wait = self.random.uniform(2, 5) if self.random.random() < 1 / 6 else 1
            return ms * pace * jitter * wait

        return run

    def install(self, monkeypatch):
        """Let `Clock` measure on it: a multiply-add takes 1e-4 ms, `bias` times that inside."""
        monkeypatch.setattr(Clock, "reference_probe", lambda _: self.probe(0.3))
        monkeypatch.setattr(
            Clock, "layer_probe",
            lambda _, layer, size: self.probe(1e-4 * macs(layer, torch.zeros(size))),
        )  # fmt: skip
        monkeypatch.setattr(
            Clock, "network_probe", lambda _, model, image: self.probe(self.true(model, image))
        )

    def true(self, model, image):
        return REST + self.bias * 1e-4 * macs(model, image)


def deep():
    """Four convolutions: enough to meet a speed-up within a few percent."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(m, n, 3, padding=1) for m, n in pairwise((2, 12, 12, 16, 16))]
    return nn.Sequential(*(part for conv in layers for part in (conv, nn.ReLU()))).eval()


def selecting(model, images, forms=None):
    network, kinds = trace(model, images[:1]), forms_named(forms)
    free = [c for c in candidates(network, model, None, kinds) if not c.reason]
    weights = {c.path: 1.0 + 0.37 * number for number, c in enumerate(free)}
    return Selector(
        model, network, images[:1], free, kinds, Clock(compiled=False),
        weighed(weights, patch_moments(model, [images], [c.path for c in free])),
        lambda done, of: None,
    )  # fmt: skip


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A new folder for what is measured, each time it is called."""
    folders = iter(range(1000))
    return lambda: monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / str(next(folders))))


@pytest.mark.parametrize("seed", range(12))
def test_a_settled_ratio_is_that_of_the_calls(seed):
    """Medians of the same runs are off by more where a sixth of them waits."""
    busy = Busy(seed)
    found = settled({"one": busy.probe(1.0), "two": busy.probe(0.4), "three": busy.probe(2.5)})
    assert found["two"].ms / found["one"].ms == pytest.approx(0.4, rel=0.03)
    assert found["three"].ms / found["one"].ms == pytest.approx(2.5, rel=0.03)
    assert 32 <= found["one"].runs <= 256


def test_long_calls_are_not_repeated_for_minutes():
    busy = Busy(0)
    assert settled({"one": busy.probe(400.0), "two": busy.probe(900.0)})["one"].runs == 32


@pytest.mark.parametrize(("speedup", "bias"), [(1.5, 1.0), (2.0, 0.7), (2.0, 1.4), (3.0, 1.0)])
def test_the_ratio_is_what_was_asked_for_whatever_disturbs_the_clock(
    monkeypatch, empty, speedup, bias
):
    """Within 5 %, with an empty cache each time, where convolutions in a network are not the
    table's."""
    model, images = deep(), pictures()
    for seed in range(2):
        empty()
        busy = Busy(seed, bias)
        busy.install(monkeypatch)
        selector = selecting(model, images, ["depthwise_pointwise", "spatial"])
        chosen = selector.choose(Target("speedup", speedup)).choices
        light = decomposed(model, selector.replaceable, chosen)
        ratio = busy.true(model, images[:1]) / busy.true(light, images[:1])
        assert ratio == pytest.approx(speedup, rel=0.05), seed


@pytest.mark.parametrize("speedup", [1.45, 2.0])
def test_the_choice_does_not_depend_on_the_noise(monkeypatch, empty, speedup):
    found = []
    for seed in range(6):
        empty()
        Busy(seed).install(monkeypatch)
        selector = selecting(chain(), pictures(), ["depthwise_pointwise"])
        found.append(selector.choose(Target("speedup", speedup)).choices)
    assert all(choices == found[0] for choices in found)
    assert any(found[0].values())


@pytest.mark.slow
def test_with_a_filled_cache_two_runs_are_the_same_bits(monkeypatch, empty):
    """Whole candidates are kept as well as layers: nothing is measured again to decide by."""
    empty()
    lights = []
    for seed in range(3):
        busy = Busy(seed)
        busy.install(monkeypatch)
        light = cs.lighten(deep(), pictures(), 2.0, timing=Timing(compiled=False))
        lights.append((light, busy.runs))
    (first, ran), *others = lights
    assert ran > 0
    for light, runs in others:
        assert same(light.model, first.model)
        assert light.report.predicted_ms == first.report.predicted_ms
        assert light.report.layers == first.report.layers
        assert runs == 0


def test_what_is_kept_says_what_it_holds_for(monkeypatch, empty, tmp_path):
    empty()
    Busy(0).install(monkeypatch)
    clock, layer = Clock(compiled=False), partial(nn.Conv2d, 3, 4, 3)
    clock.layer(("torch.float32",), layer, (1, 3, 9, 9))
    clock.networks({"a": chain(), "b": chain()}, pictures()[:1], ("a network",))
    kept = [json.JSONDecoder().raw_decode(path.read_text())[0] for path in tmp_path.rglob("*.ms")]
    assert len(kept) == 3, "the layer, the reference, and the networks"
    for told in kept:
        assert told["holds"].keys() >= {"processor", "threads", "convsmith", "torch", "compiled"}
    assert any("torch.float32" in told["of"] for told in kept)


def test_a_bracket_closes():
    """Whatever it is told, it ends, and between what it knows."""
    random.seed(0)
    for _ in range(200):
        bracket, room, steps = Bracket(0.0, 4.0), 1.0, 0
        truth = random.uniform(0.01, 3)
        while room is not None:
            slow = room > truth
            bracket.learn(room, room * random.uniform(0.9, 1), slow=slow)
            room = bracket.next(random.uniform(0, 4) if random.random() < 0.5 else float("nan"))
            steps += 1
            assert room is None or bracket.quick < room < bracket.slow
        assert steps < 100
