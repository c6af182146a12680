"""The sliding window: MONAI's windows, weights and order, but out of core."""

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convsmith as cs
from convsmith.tiling.windows import importance, starts
from tests.tiling.nets import UNet, shaken


def sliding(model, image, window, overlap, blend):
    """An independent sliding window, on the whole image in memory."""
    size = image.shape[1:]
    lacks = [max(0, w - n) for w, n in zip(window, size)]
    sides = [side for lack in reversed(lacks) for side in (lack // 2, lack - lack // 2)]
    padded = F.pad(image, sides)
    weights = torch.ones(window)
    if blend == "gaussian":
        axes = [
            torch.exp(-0.5 * ((torch.arange(w) - (w - 1) / 2) / (0.125 * w)) ** 2) for w in window
        ]
        weights = axes[0]
        for axis in axes[1:]:
            weights = weights[..., None] * axis
        weights = weights.clamp(min=max(float(weights.min()), 1e-3))
    total = count = 0
    places = []
    for w, n in zip(window, padded.shape[1:]):
        step = max(1, int(w * (1 - overlap)))
        places.append(sorted({min(s, n - w) for s in range(0, n - w + step, step)}))
    for corner in product(*places):
        at = tuple(slice(s, s + w) for s, w in zip(corner, window))
        with torch.no_grad():
            result = model(padded[(slice(None), *at)][None])[0]
        if isinstance(total, int):
            total = torch.zeros(result.shape[0], *padded.shape[1:])
            count = torch.zeros(padded.shape[1:])
        total[(slice(None), *at)] += result * weights
        count[at] += weights
    found = total / count
    return found[(slice(None), *(slice(s, s + n) for s, n in zip(sides[::-1][1::2], size)))].numpy()


@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize(("size", "window"), [((70, 50), 32), ((20, 90), 32), ((150, 140), 24)])
def test_equal_to_an_independent_one(blend, overlap, size, window):
    model = shaken(UNet())
    image = torch.rand(3, *size)
    tiled = cs.tile(model, (1, 3, 8, 8), tile=window, mode="window", overlap=overlap, blend=blend)
    found = tiled.run(image.numpy()).array
    expected = sliding(model, image, (window, window), overlap, blend)
    assert abs(found - expected).max() < 1e-5


def test_other_scales_of_the_output():
    for model in (nn.Upsample(scale_factor=2, mode="nearest"), nn.AvgPool2d(2)):
        tiled = cs.tile(model, (1, 3, 8, 8), tile=16, mode="window", overlap=0.5)
        image = torch.rand(3, 40, 48)
        expected = model(image[None])[0].numpy()
        assert abs(tiled.run(image.numpy()).array - expected).max() < 1e-5
    with pytest.raises(cs.ConvsmithError, match="do not fall on whole positions"):
        cs.tile(nn.AvgPool2d(2), (1, 3, 8, 8), tile=15, mode="window").run(
            np.zeros((3, 40, 40), "float32")
        )


def test_a_window_has_a_length():
    with pytest.raises(cs.ConvsmithError, match="needs tile="):
        cs.tile(UNet(), (1, 3, 8, 8), mode="window")


def test_windows_cover_an_axis():
    for length, window in product(range(1, 40), range(1, 20)):
        for overlap in (0.0, 0.25, 0.7):
            places = starts(length, window, overlap)
            covered = {p for s in places for p in range(s, s + window)}
            assert covered >= set(range(length)) and places == sorted(set(places))


def test_no_weight_is_nothing():
    assert importance((64, 3, 5), "gaussian").min() >= 1e-3


def test_global_layers_are_not_in_the_way_of_windows():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.InstanceNorm2d(4))
    tiled = cs.tile(model, (1, 3, 8, 8), tile=16, mode="window")
    assert tiled.plan((3, 64, 64)).verdict == "window"
    assert tiled.run(np.random.rand(3, 40, 40).astype("float32")).array.shape == (4, 40, 40)


def test_the_seam_meter():
    model = shaken(UNet())
    image = np.random.default_rng(0).random((3, 96, 96), dtype=np.float32)
    tiled = cs.tile(model, (1, 3, 8, 8), tile=40)
    seams = tiled.compare(image, window=32, overlap=0.25)
    whole = tiled.run(image).array
    blended = cs.tile(model, (1, 3, 8, 8), tile=32, mode="window").run(image).array
    assert seams.largest == pytest.approx(abs(whole - blended).max(), rel=1e-3)
    assert seams.mean == pytest.approx(abs(whole - blended).mean(), rel=1e-3)
    assert seams.changed == pytest.approx((whole.argmax(0) != blended.argmax(0)).mean())
    assert seams.map.max() == pytest.approx(seams.largest)
    assert seams.picture().startswith("<svg") and "seams" in str(seams)
    one = tiled.compare(image, window=96)
    assert one.largest < 1e-5


@pytest.mark.slow
def test_the_order_of_sums_does_not_depend_on_units(tmp_path):
    """Streamed in strips, in small units or in one: the same windows are added in one order."""
    model = shaken(UNet())
    image = np.random.default_rng(0).random((3, 130, 170), dtype=np.float32)
    results = []
    for memory in ("300KB", "700KB", "2GB"):
        tiled = cs.tile(model, (1, 3, 8, 8), tile=32, mode="window", overlap=0.6, memory=memory)
        results.append((tiled.plan(image), tiled.run(image).array))
    assert [plan.unit for plan, _ in results] == [(32, 32), (96, 96), (130, 170)]
    assert results[0][0].recompute > results[2][0].recompute > 0
    for _, result in results[1:]:
        assert (result == results[0][1]).all()


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_memory_bounds_what_is_summed(dims, monkeypatch):
    """What is summed stays below what the plan says, and that below memory."""
    from convsmith.tiling.blend import Blend

    alive, longer = [], Blend._longer

    def counting(self, *args, **kwargs):
        sums = longer(self, *args, **kwargs)
        alive.append(sums.numel() * sums.element_size())
        return sums

    monkeypatch.setattr(Blend, "_longer", counting)
    model, side = shaken(UNet(dims, channels=1, classes=8)), {1: 4000, 2: 200, 3: 50}[dims]
    window, memory = {1: (64, 2e6), 2: (32, 2e6), 3: (16, 6e6)}[dims]
    image = np.random.default_rng(0).random((1, *[side] * dims), dtype=np.float32)
    tiled = cs.tile(model, (1, 1, *[8] * dims), tile=window, mode="window", memory=int(memory))
    plan = tiled.plan(image, reduce="argmax")
    assert plan.peak_bytes <= memory and max(plan.unit) > window
    tiled.run(image, reduce="argmax")
    assert 2 * max(alive) <= plan.peak_bytes
    # A strip is as high as a window and as wide as a unit, whatever the image.
    assert max(alive) <= 4 * 8 * window * np.prod(plan.unit[1:])


def test_a_window_that_is_too_large_says_so():
    tiled = cs.tile(shaken(UNet()), (1, 3, 8, 8), tile=64, mode="window", memory="100KB")
    plan = tiled.plan((3, 200, 200))
    assert any("a window of 64×64 needs" in note for note in plan.notes)
