"""Receptive fields against the gradient probe, and published ones to the unit."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.measure.receptive import local_field, true_field
from tests import networks, probe
from tests.thoroughness import thinned

# 40 seeds of 3 networks of each dimension: 360.
CASES = [(dims, seed) for dims in (1, 2, 3) for seed in range(40)]
SIZES = {1: (5, 29), 2: (4, 13), 3: (3, 7)}


@pytest.mark.parametrize(("dims", "seed"), thinned(CASES, 4))
def test_the_true_field_is_what_the_gradient_shows(dims, seed):
    rng = random.Random(1000 * dims + seed)
    torch.manual_seed(seed)
    for _ in range(3):
        size = tuple(rng.randint(*SIZES[dims]) for _ in range(dims))
        model = probe.network(rng, dims, size)
        image = torch.rand(1, 2, *size, dtype=torch.float64) + 0.5
        net = cs.trace(model, image)
        shape = net[net.outputs[0]].shape
        for _ in range(2):
            position = tuple(rng.randrange(n) for n in shape[2:])
            expected = probe.seen(model, image, position)
            found = true_field(net, net.outputs[0], position)
            ours = np.zeros(size, dtype=bool)
            for box in found.region:
                ours[np.ix_(*map(list, box))] = True
            assert np.array_equal(ours, expected), f"{model}\n{position}\n{ours}\n{expected}"


def report(*layers, size=(1, 1, 64, 64)):
    with torch.device("meta"):
        return cs.inspect(nn.Sequential(*layers), size)


PUBLISHED = {
    "resnet18": (networks.resnet18, 435, 32, 217),
    "resnet50": (networks.resnet50, 427, 32, 213),
    "vgg16": (networks.vgg16, 212, 32, 90),
    "alexnet": (networks.alexnet_features, 195, 32, 66),
    "mobilenet_v1": (networks.mobilenet_v1, 315, 32, 157),
    "mobilenet_v2": (networks.mobilenet_v2, 491, 32, 245),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_to_the_unit(name):
    build, size, stride, padding = PUBLISHED[name]
    with torch.device("meta"):
        found = cs.inspect(build(), (1, 3, 224, 224))
    field = found.local_receptive_field
    assert (field.size, field.stride, field.padding) == (
        (size, size), (stride, stride), (padding, padding),
    )  # fmt: skip
    if name != "alexnet":  # the others pool the whole map in the end
        assert found.receptive_field.status == "whole image"
        assert found.receptive_field.size == (224, 224)


@pytest.mark.parametrize(
    ("rates", "size", "covered", "coverage", "gap"),
    [
        ((2, 2, 2), 13, 7, 29.0, 1),
        ((1, 2, 5), 17, 17, 100.0, 0),
        ((1, 2, 9), 25, 21, 70.6, 2),
        ((1, 2, 4, 8), 31, 31, 100.0, 0),
        ((2, 4, 8), 29, 15, 26.8, 1),
    ],
)
def test_gridding(rates, size, covered, coverage, gap):
    field = report(*[nn.Conv2d(1, 1, 3, dilation=d) for d in rates]).receptive_field
    assert field.size == (size, size) and field.mask().shape == field.size
    assert field.mask().any(0).sum() == covered
    assert round(100 * field.coverage, 1) == coverage
    assert field.gaps == (gap, gap)
    assert field.mask().mean() == pytest.approx(field.coverage)


def test_parallel_dilated_branches_touch_25_positions():
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            rates = (1, 6, 12, 18)
            self.branches = nn.ModuleList(
                nn.Conv2d(4, 4, 1 if d == 1 else 3, padding=0 if d == 1 else d, dilation=d)
                for d in rates
            )
            self.pooled = nn.AdaptiveAvgPool2d(1)

        def forward(self, x):
            return torch.cat([*(b(x) for b in self.branches), self.pooled(x).expand_as(x)], 1)

    found = cs.inspect(Pyramid(), (1, 4, 65, 65))
    local = found.local_receptive_field
    assert local.mask().sum() == 25 and local.size == (37, 37)
    assert "pooled" in local.reason
    assert found.receptive_field.status == "whole image"


def test_stride_and_pool_multiply_what_comes_after():
    field = report(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2), nn.Conv2d(1, 1, (3, 5))).receptive_field
    assert field.size == (8, 12) and field.stride == (2, 2)
    assert field.centre_of((0, 0)) == (3.5, 5.5) and field.centre_of((1, 2)) == (5.5, 9.5)


def test_upsampling_tells_its_phases_apart():
    field = report(nn.ConvTranspose2d(1, 1, 3, 2)).local_receptive_field
    assert field.stride == (0.5, 0.5)
    widths = [phase.hull for phase in field.phases]
    assert field.size == (2, 2) and widths == [((0, 1), (-1, 1)), ((-1, 1), (0, 1))]
    level = report(nn.Conv2d(1, 1, 3, 2, 1), nn.Upsample(scale_factor=2)).local_receptive_field
    assert level.stride == (1, 1) and len(level.phases) == 2


def test_interpolation_by_no_whole_factor_varies():
    field = report(nn.Upsample(size=(100, 100), mode="bilinear")).local_receptive_field
    assert field.status in ("exact", "varies") and field.size[0] <= 2
    corners = report(
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    ).local_receptive_field
    assert corners.status == "varies" and "not the same at every position" in corners.reason


def test_one_and_three_dimensions():
    causal = report(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(1, 1, 3, dilation=2), size=(1, 1, 31))
    field = causal.receptive_field
    assert (field.size, field.padding) == ((5,), (4,)), "it sees the past alone"
    volume = report(nn.Conv3d(1, 1, (1, 3, 5), padding=(0, 1, 2)), size=(1, 1, 9, 9, 9))
    assert volume.receptive_field.size == (1, 3, 5)


def test_what_has_no_map_has_no_field():
    found = cs.inspect(nn.Linear(3, 4), (1, 3))
    assert found.receptive_field is None and found.local_receptive_field is None
    with pytest.raises(cs.ConvsmithError, match="takes no maps"):
        found.field_table()


def test_an_operation_without_a_rule_is_an_upper_bound():
    class Strange(nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    found = cs.inspect(Strange(), (1, 1, 16, 16))
    assert found.receptive_field.status == "upper bound"
    assert found.receptive_field.size == (16, 16)


def test_the_table_of_fields():
    text = str(report(nn.Conv2d(1, 1, 3, dilation=2), nn.ReLU(), nn.Conv2d(1, 1, 3)).field_table())
    lines = text.splitlines()
    assert lines[4].split()[:6] == ["0", "convolution", "3×3,", "dilation", "2", "5×5"]
    assert "36.0 %" in lines[4] and "7×7" in lines[5] and "100.0 %" in lines[5]


def test_a_second_image_is_not_mixed_into_the_field_of_the_first():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.near, self.far = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 9, padding=4)

        def forward(self, x, y):
            return self.near(x) + self.far(y)

    found = cs.inspect(Two(), [(1, 1, 16, 16), (1, 1, 16, 16)])
    assert found.local_receptive_field.size == (3, 3)
    assert {field.size for field in found.fields().values()} == {(3, 3)}


def test_batch_norm_without_stored_statistics_reads_the_whole_map():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    network = cs.trace(model, (2, 2, 12, 12))
    assert true_field(network, "1").status == "whole image"
    assert local_field(network, "1").size == (3, 3)
    assert "left out: 1" in local_field(network, "1").reason


def test_bounds_of_a_clamp_that_are_computed_are_seen():
    class Clamped(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 5, padding=2)

        def forward(self, x):
            return torch.clamp(self.a(x), min=self.b(x))

    network = cs.trace(Clamped(), (1, 2, 17, 17))
    assert local_field(network, "clamp").size == true_field(network, "clamp").size == (5, 5)


def test_a_counter_without_axes_does_not_matter():
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(2, 2, 3)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return self.a(x)

    field = cs.inspect(Counted(), (1, 2, 9, 9)).receptive_field
    assert (field.size, field.status) == ((3, 3), "exact")
