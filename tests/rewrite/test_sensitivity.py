"""How much the output suffers from an error in a layer, against layers that are really replaced."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from convsmith.rewrite.lightening.fit.moments import patch_moments
from convsmith.rewrite.lightening.forms import Form
from convsmith.rewrite.lightening.sensitivity import sensitivities
from convsmith.rewrite.surgery import inputs, replace


class Branches(nn.Module):
    """Three convolutions side by side, of which the output takes more and less, or nothing."""

    def __init__(self):
        super().__init__()
        self.loud = nn.Conv2d(3, 6, 3)
        self.middle = nn.Conv2d(3, 6, 3)
        self.soft = nn.Conv2d(3, 6, 3)
        self.dead = nn.Conv2d(3, 6, 3)
        self.last = nn.Conv2d(6, 5, 4)

    def forward(self, x):
        mixed = self.loud(x) + 0.4 * self.middle(x) + 0.1 * self.soft(x) + 0 * self.dead(x)
        return self.last(mixed).flatten(1)


@pytest.fixture
def images():
    torch.manual_seed(5)
    return torch.randn(512, 3, 6, 6)


@pytest.fixture
def model():
    torch.manual_seed(4)
    return Branches().eval()


def test_nothing_comes_of_a_branch_that_is_dead(model, images):
    assert sensitivities(model, images, ["dead"]) == {"dead": 0.0}


def test_the_last_layer_passes_its_error_on(model, images):
    (found,) = sensitivities(model, images, ["last"]).values()
    assert found == pytest.approx(1, rel=0.1)


def test_the_output_of_several_is_theirs_together(model, images):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return {"a": self.inner(x), "b": [self.inner(x)]}

    (found,) = sensitivities(Two().eval(), images, ["inner.last"]).values()
    assert found == pytest.approx(1, rel=0.1)


def test_indices_and_masks_beside_the_output_count_for_nothing(model, images):
    """Their variance is that of numbers, and would drown what is computed."""

    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            scores = self.inner(x)
            return scores, {"best": 1000 * scores.argmax(1, keepdim=True), "seen": scores > 0}

    paths = ["loud", "middle", "soft", "last"]
    alone = sensitivities(model, images, paths)
    beside = sensitivities(Detector().eval(), images, [f"inner.{path}" for path in paths])
    assert [*beside.values()] == [*alone.values()]


def lost(given, wanted):
    """The share of the variance, of each channel's places together."""
    axes = [axis for axis in range(wanted.ndim) if axis != 1]
    spread = wanted.var(axes, correction=0).sum()
    return float((given - wanted).square().mean(axes).sum() / spread)


def test_it_foretells_what_replacing_each_layer_does(model, images):
    """Each convolution takes a form that loses some, and the output is compared."""
    paths = ["soft", "loud", "middle", "last"]
    moments = patch_moments(model, [images], paths)
    told = sensitivities(model, images, paths)
    seen = {}
    with torch.no_grad():
        wanted = model(images)
        mixed = inputs(model, "last", lambda: model(images))[0]
        for path in paths:
            light, conv = copy.deepcopy(model), model.get_submodule(path)
            layer = Form("depthwise_pointwise").make(conv, 2, moments[path].covariance)
            replace(light, path, layer)
            given = mixed if path == "last" else images
            error = lost(layer(given), conv(given))
            assert error > 0.01, "a form that loses nothing would show nothing"
            seen[path] = lost(light(images), wanted) / error
    branches = ["soft", "middle", "loud"]
    assert sorted(branches, key=told.get) == sorted(branches, key=seen.get) == branches
    for path in paths:
        # White noise is averaged away by what follows more than an error with a pattern is.
        assert told[path] == pytest.approx(seen[path], rel=0.6), path


def test_the_network_and_random_numbers_are_as_they_were(images):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    first = sensitivities(model, images, ["0"])
    assert sensitivities(model, images, ["0"]) == first
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(module.training for module in model.modules())
    assert not model[0]._forward_hooks
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("count", [1, 2])
def test_from_one_image_it_is_still_a_number(model, images, count):
    found = sensitivities(model, images[:count], ["loud", "last"])
    assert all(value >= 0 for value in found.values()), found


def test_an_output_that_is_always_the_same_takes_all_layers_alike(images):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten())
    with torch.no_grad():
        model[2].weight.zero_()
    assert sensitivities(model, images, ["0", "2"]) == {"0": 1.0, "2": 1.0}
