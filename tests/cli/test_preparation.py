"""Images are prepared as the network wants them, whatever form they come in."""

from __future__ import annotations

import pytest
import torch

from convsmith.cli.data import Images
from convsmith.cli.preparation import PRESETS, preparation
from convsmith.errors import ArgumentError


def prepared(images, *words):
    return preparation(*words, None, None).of(Images(images, None, (), "test")).images


@pytest.mark.parametrize(
    ("mean", "std"),
    [("0.5", "0.25"), ("0.5", None), (None, "2"), ("0.1,0.2,0.3", "1,2,4"), ("0.1,0.2,0.3", "2")],
)
def test_a_mean_is_taken_off_before_the_deviation_divides(mean, std):
    images = torch.rand(5, 3, 4, 4)
    mine = [
        [float(x) for x in (text or usual).split(",")] for text, usual in ((mean, "0"), (std, "1"))
    ]
    means, deviations = (torch.tensor(values * (3 // len(values))) for values in mine)
    found = prepared(images, mean, std, None)
    for which in (2, slice(1, 4), [0, 3]):
        expected = torch.stack(
            [(images[..., c, :, :] - means[c]) / deviations[c] for c in range(3)], -3
        )[which]
        assert torch.allclose(found[which], expected)
    assert len(found) == 5 and found.shape == (5, 3, 4, 4)


def test_without_any_images_are_what_they_were():
    images = torch.rand(5, 3, 4, 4)
    assert prepared(images, None, None, None) is images


def test_the_preset_is_what_torchvision_takes_for_imagenet():
    preset = PRESETS["imagenet"]
    assert (preset.mean, preset.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (preset.size, preset.channels) == (224, 3)
    own = preparation("0.5", None, "imagenet", 32, None)
    assert (own.mean, own.std, own.size, own.channels) == ((0.5,), preset.std, 32, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a", None, None), "--mean 'a': expected numbers such as"),
        ((None, "1,,2", None), "--std '1,,2': expected numbers such as"),
        ((None, "1,0,2", None), "--std must be positive, not 1,0,2"),
        ((None, "nan", None), "--std must be positive"),
        ((None, None, "cifar"), "--preset must be imagenet, not 'cifar'"),
        (("1,2", None, None), "--mean has 2 numbers, and the images 3 channels"),
        ((None, "1,2", None), "--std has 2 numbers, and the images 3 channels"),
    ],
)
def test_what_does_not_fit_is_one_line(words, message):
    with pytest.raises(ArgumentError) as caught:
        prepared(torch.rand(2, 3, 4, 4), *words)
    assert message in str(caught.value) and "\n" not in str(caught.value)
