"""Sizes that work and that break, against running the model at each of them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from convsmith.errors import ArgumentError
from convsmith.measure.sizes import sizes
from tests.networks import resnet


class UNet(nn.Module):
    """Two levels down and up again: only multiples of four come back to their own size."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(4, 4, 2, 2), nn.ConvTranspose2d(8, 1, 2, 2)])

    def forward(self, x):
        a = self.down[0](x)
        b = self.up[0](self.down[1](a))
        return torch.cat([x, self.up[1](torch.cat([a, b], 1))], 1)


def works(model, *size):
    try:
        with torch.no_grad():
            model(torch.zeros(1, *size))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (UNet(), (1, 16, 24)),
        (nn.Sequential(nn.Conv2d(1, 1, (7, 3), 2), nn.MaxPool2d(2)), (1, 33, 32)),
        (nn.Sequential(nn.Conv2d(1, 2, 3, 2), nn.Flatten(), nn.Linear(450, 3)), (1, 32, 32)),
        (resnet((1, 1), 1, width=4, classes=3), (3, 32, 40)),
        (nn.Conv1d(1, 1, 3, padding=4, padding_mode="reflect"), (1, 31)),
    ],
    ids=["u-net", "pool", "linear", "resnet", "reflect"],
)  # fmt: skip
def test_sizes_are_those_at_which_the_model_runs(model, size):
    model = model.eval()
    found = sizes(model, (1, *size))
    for axis, length in enumerate(size[1:]):

        def at(n, axis=axis):
            return works(model, *size[: 1 + axis], n, *size[2 + axis :])

        runs = [n for n in range(1, length + found.period[axis] + 1) if at(n)]
        assert found.smallest[axis] == min(runs)
        period = range(length, length + found.period[axis])
        assert set(found.broken[axis]) == {n for n in period if not at(n)}
        assert bool(found.broken[axis]) == bool(found.reasons[axis])


def test_a_u_net_wants_multiples_of_four():
    found = sizes(UNet(), (1, 1, 16, 24))
    assert found.multiple == (4, 4) and found.smallest == (4, 4)
    assert "4" in str(found.table()) and "Sizes of tensors" in found.reasons[0]
    assert found.to_dict()["multiple"] == [4, 4]


def test_what_flooring_drops_is_named():
    found = sizes(nn.Sequential(nn.Conv2d(1, 1, 3, 2), nn.MaxPool2d(2)), (1, 1, 6, 9))
    assert found.dropped == {"0": (1, 0)}
    assert "0 1×0" in str(found.table())


def test_the_model_is_left_as_it_was():
    model = resnet((1, 1), 1, width=4, classes=3).train()
    before = copy.deepcopy(model.state_dict())
    sizes(model, (1, 3, 32, 32))
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_an_input_without_a_map_is_refused():
    with pytest.raises(ArgumentError, match="one input with spatial axes"):
        sizes(nn.Linear(3, 4), (1, 3))
