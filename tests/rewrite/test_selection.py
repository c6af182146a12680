"""The set of forms that is chosen: the least loss within a budget, by a clock that counts."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn

from convsmith.errors import ArgumentError
from convsmith.network import trace
from convsmith.nn.factored import form_names, layers_of
from convsmith.rewrite.lightening.candidates import candidates
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.fit.moments import patch_moments
from convsmith.rewrite.lightening.fit.rewrite import decomposed
from convsmith.rewrite.lightening.forms import forms_named
from convsmith.rewrite.lightening.knapsack import least_cost
from convsmith.rewrite.lightening.selector import Selector
from convsmith.rewrite.lightening.target import Target
from tests.rewrite.fakes import chain, macs, pictures, same, weighed

WEIGHTS = {"0": 1.0, "2": 0.3, "4": 2.0}


def three():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, (3, 5), padding=1, stride=2),
        nn.ReLU(), nn.ConvTranspose2d(8, 6, 3),
    ).eval()  # fmt: skip


def selecting(model, images, forms=None, weights=None):
    kinds = forms_named(forms)
    network = trace(model, images[:1])
    free = [c for c in candidates(network, model, None, kinds) if not c.reason]
    moments = patch_moments(model, [images], [c.path for c in free])
    told = []
    selector = Selector(
        model, network, images[:1], free, kinds, Clock(compiled=False),
        weighed(WEIGHTS if weights is None else weights, moments),
        lambda done, of: told.append((done, of)),
    )  # fmt: skip
    selector.told = told
    return selector


def cost_and_error(selector, selection):
    """Of the options that make up a selection."""
    cost = error = 0.0
    for c, options in zip(selector.replaceable, selector._measured()):
        (option,) = (o for o in options if o.choice == selection.choices[c.path])
        cost, error = cost + option.cost, error + option.error
    return cost, error


def least_error(options, room):
    """By trying every combination."""
    tried = (
        (sum(o.cost for o in picks), sum(o.error for o in picks)) for picks in product(*options)
    )
    return min(error for cost, error in tried if cost <= room)


@pytest.mark.parametrize("speedup", [1.0, 1.3, 2.0, 2.7, 3.5])
def test_the_choice_is_the_best_of_all_combinations(counted, speedup):
    counted.rest = 0.02
    model, images = three(), pictures()
    selector = selecting(model, images)
    selection = selector.choose(Target("speedup", speedup))
    total = counted.rest + counted.of(model, images[:1])
    cost, error = cost_and_error(selector, selection)
    room = total / speedup - counted.rest
    assert cost <= room * (1 + 1e-6)
    options = selector._measured()
    assert error >= least_error(options, room * (1 + 1e-6)) * (1 - 1e-9)
    # Costs are rounded up, each by less than a step of what there is to decide.
    step = (room - least_cost(options)) / 4096
    assert error <= least_error(options, room - len(options) * step) * (1 + 1e-9)
    assert selector.told[-1][0] == selector.told[-1][1]


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.8])
def test_multiply_adds_are_within_their_budget_and_best(counted, fraction):
    model, images = three(), pictures()
    selector = selecting(model, images)
    selection = selector.choose(Target("macs", fraction))
    light = decomposed(model, selector.replaceable, selection.choices)
    whole = macs(model, images[:1])
    assert selection.predicted == macs(light, images[:1]) <= fraction * whole
    _, error = cost_and_error(selector, selection)
    options = selector._measured()
    # On this clock a multiply-add takes 1e-4 ms.
    room = 1e-4 * fraction * whole
    step = (room - least_cost(options)) / 4096
    assert error <= least_error(options, room - len(options) * step) * (1 + 1e-9)


@pytest.mark.parametrize("target", [Target("speedup", 2.0), Target("latency_ms", 2.5)])
def test_a_budget_is_held_and_the_prediction_is_right_where_the_table_is(counted, target):
    model, images = chain(), pictures()
    selector = selecting(model, images)
    selection = selector.choose(target)
    light = decomposed(model, selector.replaceable, selection.choices)
    ms = counted.rest + counted.of(light, images[:1])
    assert ms <= target.budget(counted.rest + counted.of(model, images[:1])) * 1.0001
    assert selection.predicted == pytest.approx(ms, rel=1e-9)
    assert any(selection.choices.values())


def test_an_option_costs_what_its_layer_takes(counted):
    selector = selecting(three(), pictures())
    for c, options in zip(selector.replaceable, selector._measured()):
        assert options[0].choice is None and options[0].error == 0
        for option in options[1:]:
            image = torch.zeros(1, c.spec.in_channels, *c.size)
            made = option.choice.form.make(c.conv, option.choice.rank)
            assert option.cost == pytest.approx(counted.of(made, image))
            assert 0 <= option.error <= 1.0001 * WEIGHTS[c.path]


def test_a_network_is_measured_once_for_as_many_targets_as_are_asked(counted):
    selector = selecting(chain(), pictures())
    selector.choose(Target("speedup", 1.5))
    count = counted.calls["layer"]
    selector.choose(Target("speedup", 2.0))
    selector.choose(Target("macs", 0.5))
    assert counted.calls["layer"] == count


def test_a_form_that_is_slower_here_is_refused_however_few_its_multiply_adds(counted):
    slow = ("CPConv", "PointwiseFirstConv", "SpatiallySeparableConv", "TuckerConv")
    counted.slow = dict.fromkeys(slow, 20.0)
    for target in (Target("speedup", 1.6), Target("macs", 0.6)):
        selector = selecting(chain(), pictures())
        selection = selector.choose(target)
        names = {choice.form.name for choice in selection.choices.values() if choice}
        assert names == {"depthwise_pointwise"}
        refused = {choice.form.name for choice in selection.refused["2"]}
        assert refused == {"cp", "spatial", "pointwise_depthwise"}, "few channels are no tucker's"
        taken = {option.choice for options in selector._measured() for option in options}
        assert not taken & {choice for found in selection.refused.values() for choice in found}


def test_as_slow_as_the_convolution_is_refused_too(counted, monkeypatch):
    monkeypatch.setattr(Clock, "layer", lambda *_: 0.1)
    selector = selecting(chain(), pictures())
    assert selector.fastest() == pytest.approx(1)
    assert not any(selector.choose(Target("speedup", 1.0)).choices.values())
    with pytest.raises(ArgumentError, match=r"speedup=2 cannot be met: the best here is speedup=1"):
        selector.choose(Target("speedup", 2.0))


@pytest.mark.parametrize("name", ["speedup", "latency_ms", "macs"])
def test_what_cannot_be_reached_names_what_can_which_can_be(counted, name):
    model, images = chain(), pictures()
    selector = selecting(model, images)
    with pytest.raises(ArgumentError, match=f"{name}=.* cannot be met: the ") as told:
        selector.choose(Target(name, 500.0 if name == "speedup" else 0.001))
    what = "lowest achievable" if name == "macs" else "best here"
    best = float(str(told.value).partition(f"the {what} is {name}=")[2].partition(",")[0])
    # As far as the figures that are shown tell it.
    gentler = best * (0.99 if name == "speedup" else 1.01)
    assert any(selector.choose(Target(name, gentler)).choices.values())
    if name != "macs":
        share = counted.rest / (counted.rest + least_cost(selector._measured()))
        assert f"as {share:.0%} of its time lies outside" in str(told.value)


@pytest.mark.parametrize("target", [Target("speedup", 500.0), Target("macs", 0.001)], ids=str)
def test_what_cannot_be_reached_is_said_before_forms_are_tried(counted, target):
    selector = selecting(chain(), pictures())
    selector.losses = None  # to look for them would be an error
    with pytest.raises(ArgumentError, match="cannot be met"):
        selector.choose(target)


def test_that_every_form_is_slower_here_is_said(counted):
    slow = [layer.__name__ for form in form_names() for layer in layers_of(form)]
    counted.slow = dict.fromkeys(slow, 50.0)
    selector = selecting(chain(), pictures())
    for target in (Target("macs", 0.9), Target("speedup", 2.0)):
        with pytest.raises(ArgumentError, match="cannot be met") as told:
            selector.choose(target)
        assert "every lighter form of 2 of 2 convolutions is slower here" in str(told.value)
    counted.slow = {}
    with pytest.raises(ArgumentError, match="cannot be met") as told:
        selecting(chain(), pictures()).choose(Target("macs", 0.01))
    assert "slower" not in str(told.value)


@pytest.mark.parametrize("bias", [0.6, 1.0, 1.4, 2.5])
@pytest.mark.parametrize("speedup", [1.3, 2.0])
def test_a_biased_table_is_corrected_until_the_budget_is_met(counted, bias, speedup):
    """Within the network every convolution takes `bias` times what it takes alone."""
    model, images = three(), pictures()
    counted.bias, counted.rest = bias, 0.3
    selector = selecting(model, images)
    selection = selector.choose(Target("speedup", speedup))
    light = decomposed(model, selector.replaceable, selection.choices)
    times = [counted.rest + bias * counted.of(net, images[:1]) for net in (model, light)]
    assert times[1] <= times[0] / speedup * 1.0201
    assert any(selection.choices.values())


def test_a_prediction_is_what_was_promised_and_not_what_was_measured(counted):
    """From a table that is wrong, a wrong figure: it is there to be compared."""
    counted.bias, counted.rest = 0.5, 0.3
    model, images = three(), pictures()
    selector = selecting(model, images, ["depthwise_pointwise"])  # few options: far apart
    selection = selector.choose(Target("speedup", 1.5))
    light = decomposed(model, selector.replaceable, selection.choices)
    ms = counted.rest + counted.bias * counted.of(light, images[:1])
    assert abs(selection.predicted / ms - 1) > 0.01


def test_choosing_does_not_touch_the_network(counted):
    model, images = chain(), pictures()
    before = chain()
    selecting(model, images).choose(Target("speedup", 2.0))
    assert same(model, before)


def test_a_multiplier_is_that_of_depthwise_kernels(counted):
    selector = selecting(chain(), pictures(), forms=["spatial", "depthwise_pointwise"])
    choices = selector.choose(Target("multiplier", 2)).choices
    assert {str(choice) for choice in choices.values()} == {"depthwise_pointwise, 2"}
    with pytest.raises(ArgumentError, match="multiplier needs the form 'depthwise_pointwise'"):
        selecting(chain(), pictures(), forms=["tucker"]).choose(Target("multiplier", 2))
    assert counted.calls == {"layer": 0, "network": 0}
