"""Shifted windows over three axes: what is read is cut into many products, and told in few."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convsmith as cs
from convsmith.arithmetic import Positions
from convsmith.measure import true_field
from convsmith.network.dependence import depends_on

SIZE = (9, 10, 13)


class Windows(nn.Module):
    """A block of Video Swin: attention within windows of 4×4×4, shifted by `shift`."""

    def __init__(self, channels, shift):
        super().__init__()
        self.shift, self.width = shift, channels
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x):
        batch, *size, channels = x.shape
        x = F.pad(x, (0, 0, *(side for n in reversed(size) for side in (0, -n % 4))))
        padded = x.shape[1:4]
        if self.shift:
            x = torch.roll(x, (-self.shift,) * 3, (1, 2, 3))
        cut = [part for n in padded for part in (n // 4, 4)]
        x = x.view(batch, *cut, channels).permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, 64, channels)
        q, k, v = self.qkv(x).reshape(len(x), 64, 3, 1, channels).permute(2, 0, 3, 1, 4)
        x = ((q @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).reshape(-1, 64, channels)
        x = self.out(x).view(batch, *(n // 4 for n in padded), 4, 4, 4, channels)
        x = x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(batch, *padded, channels)
        if self.shift:
            x = torch.roll(x, (self.shift,) * 3, (1, 2, 3))
        return x[:, : size[0], : size[1], : size[2]]


class VideoSwin(nn.Module):
    """Residual blocks, every other one shifted, on maps with the channels last."""

    def __init__(self, blocks):
        super().__init__()
        self.first = nn.Conv3d(1, 2, 1)
        self.blocks = nn.ModuleList(Windows(2, 2 * (i % 2)) for i in range(blocks))

    def forward(self, x):
        x = self.first(x).permute(0, 2, 3, 4, 1)
        for block in self.blocks:
            x = x + block(x)
        return x.permute(0, 4, 1, 2, 3)


def pixels(region):
    mask = torch.zeros(SIZE, dtype=torch.bool)
    for box in region:
        axes = (torch.tensor([p for p in axis if 0 <= p < n]) for axis, n in zip(box, SIZE))
        mask[torch.meshgrid(*axes, indexing="ij")] = True
    return mask


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_shifted_windows_are_exact_and_told_in_few_products(blocks):
    torch.manual_seed(0)
    model = VideoSwin(blocks).double()
    network = cs.trace(model, torch.zeros(1, 1, *SIZE, dtype=torch.float64))
    image = torch.rand(1, 1, *SIZE, dtype=torch.float64, requires_grad=True)
    result = model(image)
    for position in ((0, 0, 0), (4, 5, 6), (8, 9, 12)):
        seen = torch.autograd.grad(result[(0, 0, *position)], image, retain_graph=True)[0][0, 0]
        field = true_field(network, network.outputs[0], position)
        assert torch.equal(pixels(field.region), seen != 0)
        assert field.status in ("exact", "whole image")
    middle = tuple(map(Positions.of, ([0], [0], [4], [5], [6])))
    found = depends_on(network, network.outputs[0], [middle])
    assert max(len(region.boxes) for region in found.layers.values()) <= 32


class Biased(nn.Module):
    """Attention within halves of a row, with something added to what they match."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.first = kind, nn.Conv1d(1, 2, 3, padding=1)
        bias = torch.zeros(4, 4)
        if kind == "trained":
            self.bias = nn.Parameter(bias)
        else:
            self.register_buffer("bias", bias)

    def forward(self, x):
        tokens = self.first(x).transpose(1, 2).reshape(1, 2, 4, 2)
        bias = tokens @ tokens.transpose(-2, -1) if self.kind == "computed" else self.bias
        mixed = F.scaled_dot_product_attention(tokens, tokens, tokens, attn_mask=bias)
        return mixed.reshape(1, 8, 2).transpose(1, 2)


@pytest.mark.parametrize("kind", ["trained", "stored", "computed"])
def test_only_a_bias_that_was_trained_is_known_to_hide_nothing(kind):
    field = cs.inspect(Biased(kind), (1, 1, 8)).receptive_field
    # One of them lies in the padding, which a bound does not count.
    assert field.size == ((6,) if kind == "trained" else (5,))
    if kind == "trained":
        assert not field.reason.startswith("taken to read everything")
    else:
        assert field.status == "upper bound" and "scaled_dot_product_attention" in field.reason


@pytest.mark.parametrize("dim", [2, -1])
def test_windows_of_a_view_move_by_their_step(dim):
    class Halo(nn.Module):
        """Overlapping windows as HaloNet cuts them: 4 wide, every second position."""

        def forward(self, x):
            return F.conv2d(x, torch.ones(1, 1, 3, 3), padding=1).unfold(dim, 4, 2).mean(-1)

    report = cs.inspect(Halo(), (1, 1, 20, 20))
    field, axis = report.local_receptive_field, dim % 2
    assert (field.status, field.size[axis], field.stride[axis]) == ("exact", 6, 2)
    assert (field.size[1 - axis], field.stride[1 - axis]) == (3, 1)
    assert report.receptive_field.size == field.size
