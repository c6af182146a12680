"""The curve and the bisection, on a run whose networks are numbers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from convsmith.errors import ArgumentError
from convsmith.measure import Latency
from convsmith.rewrite.lightening.report import Step
from convsmith.rewrite.lightening.sweep import curve, within


class Numbers:
    """A run in which a network is its speed-up, and loses by a law.

    Attributes:
        reach: the largest speed-up that is really had; the table promises `promised`.
        lost: a network's loss by its speed-up.
        measure: what of a step is known: `accuracy`, `agreement` or `error`.
    """

    model = 1.0

    def __init__(self, lost, promised=8.0, reach=None, measure="accuracy"):
        self.lost, self.promised, self.reach = lost, promised, reach or promised
        self.measure, self.asked, self.told, self.decisions = measure, [], [], []
        self.fidelity = SimpleNamespace(original=self.near(self.model))
        self.selector = SimpleNamespace(fastest=lambda: self.promised)

    def near(self, speedup):
        value = self.lost(speedup)
        known = {"error": value} if self.measure == "error" else {self.measure: 0.9 - value}
        return Step("a network", **({"error": 0.0} | known))

    def remembered(self, name, decide):
        self.decisions.append(name)
        return decide()

    def choose(self, target):
        self.asked.append(target.value)
        if target.value > self.reach:
            raise ArgumentError("cannot be met")
        return SimpleNamespace(predicted=100 / target.value, speedup=target.value)

    def attempt(self, selection):
        near = self.near(selection.speedup)
        return SimpleNamespace(model=selection.speedup, selection=selection, fidelity=near)

    def progress(self, what, done, of):
        self.told.append((what, done, of))


class Exact:
    def networks(self, models, image):
        times = {name: 100 / speedup for name, speedup in models.items()}
        return {name: Latency(ms, ms, ms, 2) for name, ms in times.items()}


def linear(speedup):
    return 0.01 * (speedup - 1)


@pytest.mark.parametrize("measure", ["accuracy", "agreement", "error"])
@pytest.mark.parametrize("drop", [0.003, 0.01, 0.03, 0.05])
def test_bisection_closes_in_on_the_fastest_within_a_loss(measure, drop):
    run = Numbers(linear, measure=measure)
    found = within(run, drop).model
    best = 1 + drop / 0.01
    # Five halvings of the range, on a scale of factors.
    assert best / 8 ** (1 / 32) <= found <= best * (1 + 1e-9)
    assert len(run.asked) == 5 and run.told[-1] == ("bisecting", 5, 5)


def test_a_loss_that_nothing_has_gives_the_fastest():
    assert within(Numbers(lambda speedup: 0.0), 0.0).model == pytest.approx(8 ** (31 / 32))


def test_more_accurate_than_the_original_is_no_loss():
    assert within(Numbers(lambda speedup: -linear(speedup)), 0.0).model > 7


def test_what_the_network_does_not_keep_of_the_tables_promise_is_left_out():
    run = Numbers(linear, reach=2.0)
    assert 2.0 / 8 ** (1 / 32) <= within(run, 0.05).model <= 2.0


def test_even_the_gentlest_loses_more():
    run = Numbers(lambda speedup: 0.0 if speedup == 1 else 0.2 + linear(speedup))
    with pytest.raises(ArgumentError) as told:
        within(run, 0.1)
    gentlest = 8 ** (1 / 32)
    assert str(told.value) == (
        f"max_drop=0.1 cannot be met: a speed-up of {gentlest:.2f} already loses "
        f"{0.2 + linear(gentlest):.3f}"
    )


def test_no_network_is_faster():
    with pytest.raises(ArgumentError, match=r"max_drop=0\.1 cannot be met: no network is faster"):
        within(Numbers(linear, reach=0.5), 0.1)


def test_a_curve_goes_evenly_from_the_original_to_the_fastest():
    run = Numbers(linear)
    points = curve(run, None, Exact())
    assert [p.speedup for p in points] == pytest.approx([8 ** (i / 6) for i in range(7)])
    assert [p.ms for p in points] == pytest.approx([100 / p.speedup for p in points])
    assert [p.predicted_ms for p in points[1:]] == pytest.approx([p.ms for p in points[1:]])
    assert points[0].predicted_ms is None
    assert [p.accuracy for p in points] == pytest.approx([0.9 - linear(p.speedup) for p in points])
    assert run.decisions == ["the fastest"], "measured once and the same everywhere"
    assert run.told[-1] == ("tracing the curve", 6, 6)


def test_a_curve_ends_where_the_network_does_not_keep_what_the_table_promised():
    points = curve(Numbers(linear, reach=3.0), None, Exact())
    assert [p.speedup for p in points] == pytest.approx([8 ** (i / 6) for i in range(4)])
