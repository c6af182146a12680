"""A clock that counts instead of measuring, and networks small enough to try everything on."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from convsmith.measure import Latency, latency
from convsmith.rewrite.lightening import attempts
from convsmith.rewrite.lightening import fidelity as figures
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.fit.adapt import Effort
from convsmith.rewrite.lightening.fit.moments import covariance
from convsmith.rewrite.lightening.fit.reconstruct import reconstruct


def macs(model, image):
    """Multiply-adds of the convolutions of a model, counted while it runs."""
    found, handles = [], []

    def count(conv, given, result):
        places = given[0] if conv.transposed else result
        found.append(places.numel() * conv.weight[0].numel())

    ran = copy.deepcopy(model).eval()
    for module in ran.modules():
        if isinstance(module, _ConvNd):
            handles.append(module.register_forward_hook(count))
    with torch.no_grad():
        ran(image)
    return sum(found)


class Counted:
    """What the fake clock goes by.

    Attributes:
        rest: milliseconds of a network outside its convolutions.
        bias: how much slower convolutions are within a network than alone.
        slow: the class names of layers that are slower here than their multiply-adds say.
        calls: how often a layer and a network were timed.
    """

    def __init__(self):
        self.rest, self.bias, self.slow, self.calls = 0.5, 1.0, {}, {"layer": 0, "network": 0}

    def layer(self, clock, key, make, size):
        self.calls["layer"] += 1
        made = make()
        return self.of(made, torch.zeros(size, dtype=next(made.parameters()).dtype))

    def networks(self, clock, models, image, key=()):
        self.calls["network"] += len(models)
        times = {name: self.rest + self.bias * self.of(m, image) for name, m in models.items()}
        return {name: Latency(ms, ms, ms, 2) for name, ms in times.items()}

    def of(self, model, image):
        slow = [f for m in model.modules() if (f := self.slow.get(type(m).__name__))]
        return 1e-4 * macs(model, image) * max(slow, default=1.0)


@pytest.fixture
def counted(monkeypatch):
    """A clock on which a convolution's time is its multiply-adds."""
    found = Counted()
    monkeypatch.setattr(Clock, "layer", lambda *arguments: found.layer(*arguments))
    monkeypatch.setattr(Clock, "networks", lambda *arguments: found.networks(*arguments))
    return found


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Reports are timed by the least number of runs, and blocks stay as they are refitted."""
    none = partial(reconstruct, effort=Effort(steps=0))
    monkeypatch.setattr(attempts, "reconstruct", none)
    monkeypatch.setattr(figures, "latency", lambda calls, seconds: latency(calls, seconds=0))


def chain(classes=4):
    """Two convolutions in a row and a head."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes),
    ).eval()  # fmt: skip


def pictures(count=16, channels=2, size=8):
    """Smooth images."""
    torch.manual_seed(1)
    return torch.rand(count, channels, size, size).cumsum(2) / size


def labelled(images, classes=4, batch=8):
    """Batches with labels."""
    labels = torch.arange(len(images)) % classes
    return list(zip(images.split(batch), labels.split(batch)))


def weighed(weights, moments):
    """What forms lose: their own error before any refit, times a number for each layer."""

    def losses(offered):
        found = []
        for c, costs in offered:
            errors = {
                o: o.form.error(c.conv, [o.rank], covariance(moments, c.path))[0] for o in costs
            }
            found.append({o: weights[c.path] * error for o, error in errors.items()})
        return found

    return losses


def same(a, b):
    """Whether two networks have the same bits."""
    mine, theirs = a.state_dict(), b.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)
