"""What is lost by each form of a layer, against layers that are really replaced."""

from __future__ import annotations

import copy

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from convsmith.network import trace
from convsmith.rewrite.lightening import trials
from convsmith.rewrite.lightening.candidates import candidates
from convsmith.rewrite.lightening.fit.alone import fit_alone
from convsmith.rewrite.lightening.fit.moments import patch_moments
from convsmith.rewrite.lightening.fit.rewrite import rewrite
from convsmith.rewrite.lightening.forms import all_forms
from convsmith.rewrite.lightening.trials import tried
from tests.rewrite.fakes import chain, pictures


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


class Around(nn.Module):
    """A network, and something that its answer goes through."""

    def __init__(self, inner, end):
        super().__init__()
        self.inner, self.end = inner, end

    def forward(self, x):
        return self.end(self.inner(x))


@pytest.fixture
def images():
    torch.manual_seed(5)
    return torch.randn(512, 3, 6, 6)


@pytest.fixture
def model():
    torch.manual_seed(4)
    return Branches().eval()


def losses(model, images, paths=None, cost=None, told=None):
    """By path, what each form loses; a form costs its multiply-adds unless `cost` says else."""
    network = trace(model, images[:1])
    free = [c for c in candidates(network, model, None) if not c.reason]
    free = [c for c in free if paths is None or c.path in paths]
    moments = patch_moments(model, [images], [c.path for c in free])
    offered = [
        (c, {o: c.macs(o) if cost is None else cost(c, o) for o in c.choices(all_forms())})
        for c in free
    ]
    told = [] if told is None else told
    found = tried(
        model, network, [images], moments, offered, lambda done, of: told.append((done, of))
    )
    return {c.path: losses for c, losses in zip(free, found)}


def lost(given, wanted):
    """The share of the variance."""
    moved, spread = (given - wanted).square().sum(), (wanted - wanted.mean(0)).square().sum()
    return float(moved / spread)


def test_nothing_comes_of_a_branch_that_is_dead(model, images):
    found = losses(model, images, ["dead"])["dead"]
    assert found and set(found.values()) == {0.0}


def test_a_branch_that_counts_for_more_loses_more(model, images):
    found = losses(model, images, ["loud", "middle", "soft"])
    for choice in set.intersection(*map(set, found.values())):
        soft, middle, loud = (found[path][choice] for path in ("soft", "middle", "loud"))
        assert soft < middle < loud


def test_the_outputs_of_several_are_compared_together(model, images):
    two = Around(model, lambda y: {"a": y, "b": [y.relu(), y.argmax(1)]}).eval()
    found = losses(two, images, ["inner.last"])["inner.last"]
    for choice, alone in losses(model, images, ["last"])["last"].items():
        assert alone / 2 < found[choice] < 1.5 * alone


def test_indices_and_masks_beside_the_output_count_for_nothing(model, images):
    """Their variance is that of numbers, and would drown what is computed."""
    detector = Around(
        model, lambda y: (y, {"best": 1000 * y.argmax(1, keepdim=True), "seen": y > 0})
    ).eval()
    paths = ["loud", "last"]
    beside = losses(detector, images, [f"inner.{path}" for path in paths])
    assert [*beside.values()] == [*losses(model, images, paths).values()]


def tried_and_replaced(model, images, few):
    """What each form of each layer is said to lose, and loses with the layer refitted in place."""
    network = trace(model, images[:1])
    for c in candidates(network, model, None):
        moments = patch_moments(model, [images], [c.path])
        for choice, told in losses(model, images, [c.path])[c.path].items():
            light = copy.deepcopy(model)
            rewrite(
                light, model, network, [c], {c.path: choice}, moments, [images], lambda *_: None
            )
            with torch.no_grad():
                yield (c.path, choice), told, lost(light(few), model(few))


@pytest.mark.slow
def test_it_is_what_replacing_the_layer_does(images, model, monkeypatch):
    """With the layer refitted in its place, by the path that rewriting takes."""
    monkeypatch.setattr(
        trials, "fit_alone", lambda layer, seen, rounds: fit_alone(layer, seen, rounds=4 * rounds)
    )
    compared = 0
    for form, told, seen in tried_and_replaced(model, images, images[:64]):
        assert told == pytest.approx(seen, rel=0.02, abs=1e-6), form
        compared += told > 0.01
    assert compared > 10, "forms that lose nothing would show nothing"


@pytest.mark.slow
def test_an_error_with_a_pattern_counts_for_what_it_does_behind_a_mean():
    """White noise as large would be averaged away over the places."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip
    images = torch.rand(128, 4, 16, 16) + torch.rand(128, 4, 1, 1)
    _, told, seen = zip(*tried_and_replaced(model, images, images))
    assert len(seen) > 20
    assert spearmanr(told, seen).statistic > 0.9


def test_what_is_clearly_worse_than_something_cheaper_is_not_tried(model, images):
    def cost(c, o):
        return c.macs(o) * (1 if o.form.name == "spatial" else 1e6)

    found = losses(model, images, ["loud"], cost=cost)["loud"]
    spatial = {o: loss for o, loss in found.items() if o.form.name == "spatial"}
    assert spatial and len(found) < len(losses(model, images, ["loud"])["loud"])
    others = [found[o] for o in found.keys() - spatial.keys()]
    assert max(others, default=0.0) < 2 * min(spatial.values())


def test_the_cheapest_of_all_is_always_tried():
    model, images = chain(), pictures()
    for path, found in losses(model, images).items():
        network = trace(model, images[:1])
        (c,) = (c for c in candidates(network, model, None) if c.path == path)
        choices = c.choices(all_forms())
        assert min(map(c.macs, choices)) == min(map(c.macs, found))


def test_progress_is_told_from_nothing_to_all(model, images):
    told: list[tuple[int, int]] = []
    losses(model, images, ["loud", "last"], told=told)
    (total,) = {of for _, of in told}
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[0] == (0, total) and told[-1] == (total, total) and total > 10


def test_the_network_and_random_numbers_are_as_they_were(images):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    first = losses(model, images)
    assert losses(model, images) == first
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(module.training for module in model.modules())
    assert not model[0]._forward_hooks
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("count", [1, 2])
def test_from_one_image_it_is_still_a_number(model, images, count):
    for found in losses(model, images[:count], ["loud", "last"]).values():
        assert found and all(value >= 0 for value in found.values()), found


def test_a_perfect_fit_is_worth_trying():
    """Of few places a form explains all, and by rounding a little more."""
    choices = [object() for _ in range(3)]
    costs = dict(zip(choices, (1, 2, 3)))
    assert trials._front(costs, dict(zip(choices, (-1e-16, 0.5, -2e-16))), 1.25) == choices[::2]
    assert trials._front(costs, dict(zip(choices, (0.0, 0.0, 0.5))), 1.25) == choices[:2]


def test_an_output_that_is_always_the_same_goes_by_the_layers_own_error(images):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten())
    with torch.no_grad():
        model[2].weight.zero_()
    found = losses(model, images)["0"]
    assert any(value > 0.01 for value in found.values())
