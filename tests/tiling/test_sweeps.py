"""Sweeps: statistics of the whole image, exact, whatever it is cut into."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convsmith as cs
from tests import networks
from tests.tiling.nets import Attention, Squeeze, differs, shaken, whole

EXACT = 3e-6


class Pyramid(nn.Module):
    """Pooled maps made large again, as in PSPNet, DeepLab and LR-ASPP."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.branches = nn.ModuleList(nn.Conv2d(6, 2, 1) for _ in range(4))
        self.out = nn.Conv2d(14, 3, 3, padding=1)

    def forward(self, x):
        x = self.stem(x)
        parts = [x]
        for size, branch in zip((1, 2, 3, 6), self.branches):
            pooled = F.relu(branch(F.adaptive_avg_pool2d(x, size)))
            parts.append(F.interpolate(pooled, x.shape[2:], mode="bilinear", align_corners=False))
        return self.out(torch.cat(parts, 1))


def norms(*layers):
    return nn.Sequential(
        *(
            part
            for n, layer in enumerate(layers)
            for part in (nn.Conv2d(3 if not n else 4, 4, 3, padding=1), layer)
        ),
        nn.Conv2d(4, 2, 3),
    )


@pytest.mark.parametrize(
    ("model", "sweeps"),
    [
        (Squeeze(), 2),
        (Pyramid(), 2),
        (norms(nn.InstanceNorm2d(4, affine=True)), 2),
        (norms(nn.InstanceNorm2d(4), nn.GroupNorm(1, 4)), 3),
        (
            norms(
                nn.GroupNorm(2, 4), nn.ReLU(), nn.InstanceNorm2d(4, affine=True), nn.GroupNorm(4, 4)
            ),
            4,
        ),
    ],
)
@pytest.mark.parametrize("size", [(64, 64), (150, 97), (131, 407)])
def test_sweeps_give_the_whole_images_result(model, sweeps, size):
    tiled = cs.tile(model, (1, 3, 8, 8), tile=16, passes=True, memory=400_000)
    plan = tiled.plan((3, *size))
    assert plan.verdict == f"exact in {sweeps} sweeps"
    ramp = torch.linspace(0, 1, size[1]).expand(3, *size).clone()
    for image in (ramp, torch.rand(3, *size)):
        assert differs(model.eval(), image, tile=16, passes=True, memory=400_000) < EXACT


def test_a_constant_image_has_no_variance():
    model = norms(nn.InstanceNorm2d(4, affine=True), nn.GroupNorm(1, 4)).eval()
    assert differs(model, torch.full((3, 50, 60), 0.3), tile=16, passes=True) < EXACT


def test_a_large_mean_does_not_swallow_a_small_variance():
    model = nn.GroupNorm(2, 4).double()
    image = 1e6 + torch.rand(4, 200, 100, dtype=torch.float64)
    tiled = cs.tile(model, image[None], tile=32, passes=True, memory="1MB").run(image.numpy())
    assert abs(tiled.array - whole(model, image)).max() < 1e-6


def test_the_order_is_fixed_so_threads_change_nothing():
    model = Squeeze().eval()
    image = np.random.default_rng(0).random((3, 90, 70), dtype=np.float32)
    runs = [
        cs.tile(model, (1, 3, 8, 8), tile=16, passes=True).run(image, workers=n).array
        for n in (1, 2, 1)
    ]
    assert (runs[0] == runs[2]).all()
    assert abs(runs[0] - runs[1]).max() < 1e-6


def test_a_classifier_of_an_image_of_any_size():
    model = shaken(networks.resnet18())
    assert differs(model, torch.rand(3, 210, 330), passes=True) < 1e-5


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "std", "var"])
@pytest.mark.parametrize("dims", [(2, 3), (2,), (1, 2, 3)])
@pytest.mark.parametrize("keepdim", [False, True])
def test_reductions(name, dims, keepdim):
    class Reduced(nn.Module):
        def forward(self, x):
            y = getattr(x, name)(dims, keepdim=keepdim)
            return x - (y if keepdim else y.reshape(1, -1, 1, y.shape[-1] if dims == (2,) else 1))

    image = torch.rand(3, 37, 53)
    assert differs(Reduced(), image, tile=16, passes=True, memory=10_000) < 1e-5


def test_attention_is_refused_whatever_is_asked_for():
    for passes in (False, True):
        plan = cs.tile(Attention(), (1, 4, 8, 8), passes=passes).plan((4, 32, 32))
        assert not plan.possible
        reasons = " ".join(str(o) for o in plan.obstacles)
        assert "norm (group_norm)" in reasons and "attention reads the whole map" in reasons


def test_each_image_of_a_batch_has_statistics_of_its_own():
    model = Squeeze().eval()
    images = torch.rand(3, 3, 40, 50) * torch.tensor([1.0, 5.0, 0.1]).reshape(3, 1, 1, 1)
    tiled = cs.tile(model, (1, 3, 8, 8), tile=16, passes=True).run(images.numpy()).array
    with torch.no_grad():
        expected = model(images).numpy()
    assert abs(tiled - expected).max() < 1e-5
