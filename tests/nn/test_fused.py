"""`use_fused_`: kernels where nothing is lost, plain PyTorch everywhere else."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from convsmith.nn import (
    DepthwiseSeparableConv1d,
    DepthwiseSeparableConv2d,
    DepthwiseSeparableConvTranspose2d,
    use_fused_,
)


def layer(kind=DepthwiseSeparableConv2d, **settings):
    torch.manual_seed(0)
    norms = {"norm": nn.BatchNorm2d, "mid_norm": nn.BatchNorm2d, "activation": nn.ReLU}
    made = kind(6, 20, 3, padding=1, **norms, **settings)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return made


def pair(**settings):
    plain = layer(**settings).eval()
    return plain, use_fused_(copy.deepcopy(plain))


def is_compiled(fused):
    return fused._fusion._compiled is not None


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"stride": 2}, {"dilation": 2}, {"multiplier": 2}, {"groups": 2},
        {"padding_mode": "reflect"}, {"kind": DepthwiseSeparableConvTranspose2d, "stride": 2},
    ],
    ids=str,
)  # fmt: skip
def test_like_plain(settings):
    plain, fused = pair(**settings)
    for shape in [(2, 6, 9, 13), (1, 6, 16, 5)]:
        x = torch.randn(shape)
        with torch.no_grad():
            torch.testing.assert_close(fused(x), plain(x), rtol=1e-4, atol=1e-5)
    assert is_compiled(fused)
    assert list(fused.state_dict()) == list(plain.state_dict())


def test_an_output_size_is_plain():
    plain, fused = pair(kind=DepthwiseSeparableConvTranspose2d, stride=2)
    x = torch.randn(1, 6, 5, 5)
    with torch.no_grad():
        assert torch.equal(fused(x, output_size=(10, 10)), plain(x, output_size=(10, 10)))
    assert not is_compiled(fused)


def test_other_dimensions_types_and_wrappers_are_plain():
    sequence = use_fused_(DepthwiseSeparableConv1d(6, 20, 3).eval())
    with torch.no_grad():
        assert sequence(torch.zeros(1, 6, 9)).shape == (1, 20, 7)
    plain, fused = pair()
    plain, fused = plain.double(), fused.double()
    x = torch.randn(1, 6, 9, 9, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(plain(x), fused(x))
    assert not is_compiled(fused)


def test_gradients_are_plain_ones():
    plain, fused = pair()
    for train in (True, False):
        for model in (plain.train(train), fused.train(train)):
            model.zero_grad()
            model(torch.ones(2, 6, 9, 9)).square().sum().backward()
        for mine, theirs in zip(fused.parameters(), plain.parameters()):
            assert torch.equal(mine.grad, theirs.grad)
    for parameter in fused.parameters():
        parameter.requires_grad_(False)
    x = torch.randn(1, 6, 9, 9, requires_grad=True)
    assert fused(x).requires_grad
    assert not is_compiled(fused)
    assert not fused(x.detach()).requires_grad
    assert is_compiled(fused)


def test_new_weights_count():
    plain, fused = pair()
    x = torch.randn(2, 6, 9, 13)

    def agree():
        with torch.no_grad():
            torch.testing.assert_close(fused(x), plain(x), rtol=1e-4, atol=1e-5)

    agree()
    for model in (plain, fused):
        optimizer = torch.optim.SGD(model.train().parameters(), 0.1)
        model(torch.ones(2, 6, 9, 9)).square().sum().backward()
        optimizer.step()
        model.eval()
    agree()
    weight = torch.randn_like(plain.pointwise.weight)
    for model in (plain, fused):
        model.pointwise.weight = nn.Parameter(weight.clone())
    agree()
    for model in (plain, fused):
        model.norm = nn.Identity()
    agree()


def test_a_hook_on_a_part_sees_its_values():
    _, fused = pair()
    seen = []
    fused.depthwise.register_forward_hook(lambda *a: seen.append(a[2].shape))
    with torch.no_grad():
        fused(torch.randn(1, 6, 9, 9))
    assert seen == [(1, 6, 9, 9)]


def test_copies_saved_models_and_turning_it_off():
    plain, fused = pair()
    x = torch.randn(1, 6, 9, 9)
    with torch.no_grad():
        fused(x)
        copied = copy.deepcopy(fused)
        assert not is_compiled(copied)
        file = io.BytesIO()
        torch.save(fused, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        for other in (copied, loaded):
            assert torch.equal(other(x), fused(x))
        assert torch.equal(use_fused_(fused, on=False)(x), plain(x))


def test_within_a_model_and_under_export():
    model = nn.Sequential(layer(), nn.ReLU()).eval()
    wanted = model(torch.ones(1, 6, 8, 8)).detach()
    assert use_fused_(model) is model
    with torch.no_grad():
        torch.testing.assert_close(model(torch.ones(1, 6, 8, 8)), wanted, rtol=1e-4, atol=1e-5)
    program = torch.export.export(model, (torch.ones(1, 6, 8, 8),))
    assert not any("convsmith" in str(node.target) for node in program.graph.nodes)
