"""Thirty networks against what was counted by hand and what their own gradients show."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import convsmith as cs
from benchmarks.architectures import densenet201, hrnet_w18, resnet50
from benchmarks.probe import seen
from benchmarks.samples import SAMPLES, Sample
from benchmarks.verdicts import _verdict

NAMES = [sample.name for sample in SAMPLES]


def test_there_are_thirty_with_names_of_their_own():
    assert len(set(NAMES)) == len(NAMES) == 30


@pytest.mark.parametrize("sample", SAMPLES, ids=NAMES)
def test_parameters_and_macs_by_hand(sample):
    report = cs.inspect(sample.make(), sample.shape)
    assert (report.params, report.macs) == (sample.params, sample.macs)


@pytest.mark.parametrize("sample", SAMPLES, ids=NAMES)
def test_totals_are_called_exact(sample):
    assert cs.inspect(sample.make(), sample.shape).status == "exact"


@pytest.mark.parametrize("sample", [x for x in SAMPLES if x.has_map], ids=lambda x: x.name)
def test_the_field_is_what_gradients_show(sample):
    report = cs.inspect(sample.make(), sample.shape)
    field = report.field_of(sample.last) if sample.last else report.receptive_field
    read = seen(sample.make(), sample.example(), sample.last)
    places = read.nonzero()
    size = (places.max(0).values - places.min(0).values + 1).tolist()
    assert (list(field.size), field.region.count()) == (size, len(places))


def test_the_probe_on_what_is_known():
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True))
    sample = Sample("", (1, 1, 9, 9), 10, 0, lambda: model)
    read = seen(sample.make(), sample.example())
    assert read.sum() == 16
    assert read[3:7, 3:7].all()
    dilated = Sample("", (1, 1, 9, 9), 10, 0, lambda: nn.Conv2d(1, 1, 3, padding=3, dilation=3))
    read = seen(dilated.make(), dilated.example())
    assert read.nonzero().tolist() == [[i, j] for i in (1, 4, 7) for j in (1, 4, 7)]


@pytest.mark.parametrize(
    ("build", "published"),
    [(resnet50, 25_557_032), (densenet201, 20_013_928), (hrnet_w18, 21_299_004)],
)
def test_published_parameters(build, published):
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in build().parameters()) == published


@pytest.mark.parametrize(
    ("answer", "true", "added", "verdict"),
    [
        ({"figure": 10, "bound": ""}, 10, [], "right"),
        ({"figure": 17, "bound": ""}, 10, [3, 4], "right"),
        ({"figure": 13, "bound": ""}, 10, [3, 4], "right"),
        ({"figure": 15, "bound": ""}, 10, [3, 4], "wrong"),
        ({"figure": 9, "bound": "lower"}, 10, [], "refused"),
        ({"figure": 11, "bound": "lower"}, 10, [], "wrong"),
        ({"figure": 9, "bound": ""}, 10, [], "wrong"),
        ({"figure": [5, 5], "bound": "upper"}, [5, 5], [], "right"),
        ({"figure": [9, 5], "bound": "upper"}, [5, 5], [], "refused"),
        ({"figure": [4, 5], "bound": "upper"}, [5, 5], [], "wrong"),
        ({"figure": [5], "bound": ""}, [5, 7], [], "right"),
        ({"figure": [], "bound": ""}, [5, 7], [], "wrong"),
        ({"refused": "no"}, 10, [], "refused"),
    ],
)
def test_verdicts(answer, true, added, verdict):
    assert _verdict(answer, true, added)["verdict"] == verdict
