"""What `lighten` may be asked for."""

from __future__ import annotations

import math

import pytest

from convsmith.errors import ArgumentError
from convsmith.rewrite.lightening.target import Target

NAMES = ["speedup", "latency_ms", "macs", "multiplier", "max_drop"]


def test_without_any_it_is_twice_the_speed():
    assert Target.of(**dict.fromkeys(NAMES)) == Target("speedup", 2.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1, -1.0, math.nan, math.inf, -math.inf])
def test_a_value_that_makes_no_sense(name, value):
    with pytest.raises(ArgumentError, match=rf"{name} must be positive, not {value:g}$"):
        Target.of(**{name: value})


@pytest.mark.parametrize("name", NAMES)
def test_nothing_may_be_lost_and_nothing_else_may_be_nothing(name):
    if name == "max_drop":
        assert Target.of(max_drop=0).value == 0
        with pytest.raises(
            ArgumentError, match=r"below 1 \(0\.01 is one percentage point\), not 1"
        ):
            Target.of(max_drop=1)
    else:
        with pytest.raises(ArgumentError, match=f"{name} must be positive"):
            Target.of(**{name: 0})


def test_two_are_one_too_many():
    with pytest.raises(ArgumentError, match="pass only one target, not 2: macs, max_drop"):
        Target.of(macs=0.5, max_drop=0.0)


def test_budgets_and_what_a_cost_would_have_met():
    assert Target("latency_ms", 3.0).budget(10.0) == 3.0
    assert Target("macs", 700).budget(1000) == 700
    for name, cost in (("speedup", 2.5), ("latency_ms", 2.5), ("macs", 400)):
        told = Target(name, 1).of_cost(cost, 1000)
        assert told.startswith(f"{name}=")
        met = Target(name, float(told.partition("=")[2]))
        assert met.budget(1000) == pytest.approx(cost, rel=0.01)


def test_words():
    told = {name: str(Target(name, 0.5 if name in ("macs", "max_drop") else 2)) for name in NAMES}
    assert told == {
        "speedup": "2× faster",
        "latency_ms": "at most 2 ms",
        "macs": "50% of the MACs",
        "multiplier": "2 depthwise kernels per channel",
        "max_drop": "at most 50 points lost",
    }
    assert str(Target("macs", 12345)) == "at most 12,345 MACs"
    assert [Target(n, 1).timed for n in NAMES] == [True, True, False, False, True]
