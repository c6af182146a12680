"""The table of crops: complete, and what stands in the way of a tile is named."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convsmith as cs
from convsmith.network.families import FAMILIES
from convsmith.tiling.crops import CROPS
from tests.tiling.nets import TOLERANCE, Attention, Squeeze, UNet, differs


def test_every_kind_has_an_entry():
    assert set(CROPS) == set(FAMILIES)


class Unknown(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


class Spatial(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x)


@pytest.mark.parametrize(
    ("model", "layer", "reason"),
    [
        (Attention(), "scaled_dot_product_attention", "attention reads the whole map"),
        (Unknown(), "special_bessel_j0", "what it reads is not known"),
        (nn.Sequential(nn.Conv2d(4, 2, 1), nn.Flatten()), "1", "joins an axis of the map"),
        (nn.BatchNorm2d(4, track_running_stats=False), "batch_norm", "statistics of the batch"),
        (Spatial(lambda x: x.softmax(3)), "softmax", "softmax runs over an axis"),
        (Spatial(lambda x: x @ x.transpose(2, 3)), "matmul", "positions of an axis"),
        (Spatial(lambda x: x.cumsum(2)), "cumsum", "cumsum runs over the whole map"),
        (Spatial(lambda x: x * torch.rand_like(x)), "rand_like", "its values are random"),
        (Spatial(lambda x: torch.nn.functional.glu(x, 2)), "glu", "it halves an axis of the map"),
        (Spatial(lambda x: x.topk(2, 3).values), "topk", "computed indices"),
        (Spatial(lambda x: torch.fft.fft2(x).real), "fft_fft2", "transforms whole axes"),
    ],
)
def test_what_no_tile_can_compute_is_named(model, layer, reason):
    for passes in (False, True):
        tiled = cs.tile(model, (1, 4, 8, 8), passes=passes)
        plan = tiled.plan((4, 32, 32))
        assert not plan.possible
        assert any(o.layer.startswith(layer) and reason in o.reason for o in plan.obstacles), plan
        with pytest.raises(cs.ConvsmithError, match="cannot be tiled exactly.*" + reason):
            tiled.run(np.zeros((4, 32, 32), np.float32))


RANDOM = {
    "dropout": lambda x: F.dropout(x, 0.5, True),
    "feature_dropout": lambda x: F.dropout2d(x, 0.5, True),
    "alpha_dropout": lambda x: F.alpha_dropout(x, 0.5, True),
    "rrelu": lambda x: F.rrelu(x - 0.5, training=True),
    "randn_like": lambda x: x + torch.randn_like(x),
    "rand": lambda x: x * torch.rand(1, 4, 1, 1),
    "uniform": lambda x: x + torch.empty_like(x).uniform_(),
    "bernoulli": lambda x: x * torch.bernoulli(x),
}
"""What draws random numbers, by the operation that is named."""


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("backend", ["torch", "compiled"])
def test_random_values_are_never_exact(name, backend):
    tiled = cs.tile(Spatial(RANDOM[name]), (1, 4, 8, 8), tile=8, backend=backend)
    with pytest.raises(cs.ConvsmithError, match=f"{name}.*its values are random"):
        tiled.run(np.zeros((4, 32, 32), np.float32))


def test_a_dropout_that_is_off_is_no_obstacle():
    model = Spatial(lambda x: F.dropout(F.rrelu(x - 0.5), 0.5, False) + F.dropout(x, 0.0, True))
    assert differs(model, torch.rand(4, 32, 32), tile=8) < TOLERANCE


@pytest.mark.parametrize(
    "model", [Squeeze(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4))]
)
def test_what_sweeps_would_help_says_so(model):
    with pytest.raises(cs.ConvsmithError, match="passes=True"):
        cs.tile(model, (1, 3, 8, 8)).run(np.zeros((3, 32, 32), np.float32))


def test_whatever_runs_on_what_no_tile_cuts_is_allowed():
    """Attention over pooled channels joins no axis of the map."""

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)

        def forward(self, x):
            y = self.conv(x)
            tokens = y.mean((2, 3)).reshape(1, 2, 4)
            gate = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
            return y * gate.reshape(1, 8, 1, 1)

    assert differs(Pooled(), torch.rand(3, 33, 21), tile=8, passes=True) < TOLERANCE


def test_several_inputs_and_unknown_outputs_are_refused():
    class Two(nn.Module):
        def forward(self, x):
            return x, x + 1

    assert (
        cs.tile(Two(), (1, 3, 8, 8), output=1).run(np.zeros((3, 9, 9), "float32")).array.max() == 1
    )
    with pytest.raises(cs.ConvsmithError, match="has 2 outputs; there is no output 2"):
        cs.tile(Two(), (1, 3, 8, 8), output=2).run(np.zeros((3, 9, 9), "float32"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "blend"}, "mode must be one of"),
        ({"blend": "hann"}, "blend must be one of"),
        ({"backend": "cuda"}, "backend must be one of"),
        ({"overlap": 1.0}, "overlap must be"),
        ({"memory": "lots"}, "memory must be bytes"),
        ({"memory": -1}, "memory must be bytes"),
    ],
)
def test_settings_that_cannot_be_right(settings, message):
    with pytest.raises(cs.ConvsmithError, match=message):
        cs.tile(UNet(), (1, 3, 8, 8), **settings)


def test_a_tile_that_is_none():
    for tile in (0, -3, 1.5, True, (8,), (8, 0)):
        with pytest.raises(cs.ConvsmithError, match="tile must be a length"):
            cs.tile(UNet(), (1, 3, 8, 8), tile=tile).run(np.zeros((3, 32, 32), "float32"))


def test_no_tile_fits():
    with pytest.raises(cs.ConvsmithError, match="no tile of UNet fits memory=1000"):
        cs.tile(UNet(), (1, 3, 8, 8), memory=1000).run(np.zeros((3, 64, 64), "float32"))
