"""`dilate` certifies what was asked for, or says what is left: kinds of networks, not instances."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

import convsmith as cs
from convsmith.errors import ArgumentError

SIZE = 64


class Between(nn.Module):
    """Two strided convolutions, with something between them."""

    def __init__(self, between, channels=8):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(channels, 8, 3, 2, 1)
        self.norm = nn.LayerNorm(8)
        self.between = between

    def forward(self, x):
        return self.b(self.between(self, self.a(x)))


def windows(net, x):
    n, c, h, w = x.shape
    y = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, 4, 4) * 2
    y = y.view(n, h // 4, w // 4, c, 4, 4).permute(0, 3, 1, 4, 2, 5)
    return y.reshape(n, c, h, w)


def class_token(net, x):
    tokens = x.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens[:, :1] * 0, tokens], 1)[:, 1:]
    return net.norm(tokens).transpose(1, 2).reshape(x.shape)


def unfolded(net, x):
    patches = F.unfold(x, 2, stride=2)
    return F.fold(patches * 2, x.shape[-2:], 2, stride=2)


def space_to_depth(net, x):
    n, c, h, w = x.shape
    y = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4)
    return y.reshape(n, 4 * c, h // 2, w // 2)


KEEP = {  # the map is as large as before
    "flatten": lambda net, x: (x.flatten(2) * 2).view(x.shape),
    "layer norm": lambda net, x: (
        net.norm(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)
    ),
    "softmax": lambda net, x: x.flatten(2).softmax(-1).view(x.shape),
    "class token": class_token,
    "windows": windows,
    "unfold": unfolded,
    "attention": lambda net, x: (
        F.scaled_dot_product_attention(*[x.flatten(2).transpose(1, 2)] * 3)
        .transpose(1, 2)
        .reshape(x.shape)
    ),
    "channels last": lambda net, x: (net.norm(x.permute(0, 2, 3, 1)) * 2).permute(0, 3, 1, 2),
}
HALVE = {  # the map is half as large, by something that has no stride to lose
    "interpolate": (lambda net, x: F.interpolate(x, scale_factor=0.5), 8),
    "pixel unshuffle": (lambda net, x: F.pixel_unshuffle(x, 2), 32),
    "space to depth": (space_to_depth, 32),
    "adaptive pool": (lambda net, x: F.adaptive_avg_pool2d(x, 16), 8),
    "unfold": (lambda net, x: F.unfold(x, 2, stride=2).view(1, 32, 16, 16), 32),
}


def stride_of(model, size=SIZE):
    with torch.no_grad():
        return size / model(torch.zeros(1, 3, size, size)).shape[-1]


@pytest.mark.parametrize("kind", KEEP)
def test_a_map_that_was_tokens_is_as_coarse_as_before(kind):
    model = Between(KEEP[kind]).eval()
    assert stride_of(model) == 4
    found = cs.dilate(model, (1, 3, SIZE, SIZE), output_stride=2)
    assert found.certificate.exact and found.certificate.changes
    assert stride_of(found.model) == 2
    assert found.certificate.before.stride == (4, 4)
    assert found.certificate.after.stride == (2, 2)
    with pytest.warns(UserWarning, match="nothing was changed"):
        same = cs.dilate(model, (1, 3, SIZE, SIZE), output_stride=4)
    assert stride_of(same.model) == 4 and "nothing was changed" in same.certificate.notes[0]


@pytest.mark.parametrize("kind", HALVE)
def test_a_step_that_nothing_can_take_is_named(kind):
    between, channels = HALVE[kind]
    model = Between(between, channels).eval()
    assert stride_of(model) == 8
    with pytest.raises(ArgumentError, match=r"output stride.*: b: a stride of 4 is left"):
        cs.dilate(model, (1, 3, SIZE, SIZE), output_stride=2)
    with pytest.warns(UserWarning, match="b: a stride of 4 is left"):
        found = cs.dilate(model, (1, 3, SIZE, SIZE), output_stride=2, strict=False)
    assert not found.certificate.exact and stride_of(found.model) == 4
    assert found.certificate.coarse == ("b: a stride of 4 is left",)
    assert found.certificate.to_dict()["coarse"] == ["b: a stride of 4 is left"]
    found = cs.dilate(model, (1, 3, SIZE, SIZE), output_stride=4)
    assert found.certificate.exact and stride_of(found.model) == 4


class Last(nn.Module):
    """The step that nothing can take is the last one."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x):
        return F.pixel_unshuffle(self.a(x), 2)


def test_what_is_judged_is_measured_too():
    with pytest.raises(ArgumentError, match="a stride of 4 is left"):
        cs.dilate(Last(), (1, 3, SIZE, SIZE), output_stride=2)


class Merging(nn.Module):
    """Every other token, as Swin merges patches, after windows."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x):
        return windows(self, self.a(x))[:, :, ::2, ::2]


def test_a_slice_that_steps_counts():
    model = Merging().eval()
    found = cs.dilate(model, (1, 3, SIZE, SIZE), output_stride=2)
    assert found.certificate.exact and found.model(torch.zeros(1, 3, 64, 64)).shape[-1] == 32


def test_images_without_a_batch_lose_both_strides():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)).eval()
    found = cs.dilate(model, (3, SIZE, SIZE), output_stride=2)
    assert found.certificate.exact
    assert found.model(torch.zeros(3, SIZE, SIZE)).shape[-2:] == (32, 32)


# Features of networks whose decoders cannot run on the finer map


class Decoder(nn.Module):
    def __init__(self, act, end):
        super().__init__()
        torch.manual_seed(0)
        self.e1, self.p = nn.Conv2d(3, 8, 3, 1, 1), nn.MaxPool2d(2)
        self.e2, self.act = nn.Conv2d(8, 8, 3, 1, 1), act
        self.up, self.end = nn.ConvTranspose2d(8, 8, 2, 2), end

    def forward(self, x):
        a = self.e1(x)
        y = self.act(self.up(self.act(self.e2(self.p(a)))))
        return self.end(torch.cat([y, a], 1))


ACTS = [nn.Identity(), nn.ReLU(), nn.ReLU(inplace=True), nn.Hardtanh(-0.1, 0.1, inplace=True)]


@pytest.mark.parametrize("features", ["e2", "p", ["p", "e2"]], ids=str)
@pytest.mark.parametrize("act", ACTS, ids=str)
def test_a_network_that_ends_at_its_features_gives_the_new_ones(act, features):
    model = Decoder(act, nn.ReLU(inplace=True)).eval()
    found = cs.dilate(model, (1, 3, 32, 32), output_stride=1, features=features)
    assert found.certificate.exact
    assert not found.certificate.coarse
    with torch.no_grad():
        got = found.model(torch.zeros(1, 3, 32, 32))
    for one in got if isinstance(got, tuple) else [got]:
        assert one.shape[-1] == 32


class Guarded(nn.Module):
    """Refuses a finer map, with or without words."""

    def __init__(self, words):
        super().__init__()
        self.c, self.d, self.words = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), words

    def forward(self, x):
        y = self.c(x)
        if self.words is None:
            assert y.shape[-1] <= 32
        elif y.shape[-1] > 32:
            raise ValueError(self.words)
        return self.d(y)


@pytest.mark.parametrize("words", [None, "", "\n", "too fine"])
def test_a_forward_that_refuses_the_finer_map(words):
    model = Guarded(words).eval()
    with pytest.raises(ArgumentError, match="cannot run when it is dilated") as error:
        cs.dilate(model, (1, 3, SIZE, SIZE), output_stride=1)
    assert "\n" not in str(error.value)
    assert cs.dilate(model, (1, 3, SIZE, SIZE), output_stride=1, features="d").certificate.exact


# Advice that is printed works

_ADVICE = re.compile(r"pass (features='[^']+'|strict=False|an example of \d+(?:×\d+)+)")


def circular():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, padding_mode="circular"),
        nn.Conv2d(8, 8, 3, 2, 1, padding_mode="circular"),
    )


def pooled():
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
    head = [("pool", nn.AdaptiveAvgPool2d(1)), ("flat", nn.Flatten()), ("fc", nn.Linear(8, 4))]
    return nn.Sequential(OrderedDict([("stem", stem), *head]))


def attentive():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.Flatten(2), nn.Linear(256, 4), nn.Unflatten(2, (2, 2))
    )


REFUSED = {
    "circular": (circular, 31, 1),
    "pooled": (pooled, 32, 2),
    "flattened": (attentive, 32, 1),
    "decoder": (lambda: Decoder(nn.ReLU(), nn.Identity()), 32, 1),
    "decoder in place": (lambda: Decoder(nn.ReLU(inplace=True), nn.Identity()), 32, 1),
    "guarded": (lambda: Guarded(None), SIZE, 1),
    "unshuffled": (lambda: Between(*HALVE["pixel unshuffle"]), SIZE, 2),
    "group norm": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8)), 32, 1
    ),
    "resized": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Upsample(scale_factor=2)), 32, 1
    ),
    "resized to a size": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Upsample(size=(32, 32))), 32, 1
    ),
}  # fmt: skip


def dilated(model, size, output_stride, **asked):
    """What `dilate` makes of it, or its message; without warnings."""
    shape = size if isinstance(size, tuple) else (1, 3, size, size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return cs.dilate(model, shape, output_stride=output_stride, **asked)
    except ArgumentError as error:
        return str(error)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind", REFUSED)
def test_every_advice_works(kind, strict):
    build, size, output_stride = REFUSED[kind]
    torch.manual_seed(0)
    model = build().eval()
    message = dilated(model, size, output_stride, strict=strict)
    if not isinstance(message, str):
        assert not strict and not message.certificate.exact
        return
    advice = _ADVICE.findall(message)
    assert advice and message.count("pass ") == len(advice)
    for one in advice:
        if one == "strict=False":
            found = dilated(model, size, output_stride, strict=False)
            assert not isinstance(found, str)
        elif one.startswith("features"):
            found = dilated(model, size, output_stride, features=one.split("'")[1])
            assert found.certificate.exact
        else:
            other = tuple(map(int, one.split()[-1].split("×")))
            assert dilated(model, other, output_stride).certificate.exact


# Weights that are computed


def pruned(conv):
    prune.l1_unstructured(conv, "weight", 0.5)


def pruned_twice(conv):
    prune.random_unstructured(conv, "weight", 0.3)
    prune.ln_structured(conv, "weight", 0.25, n=2, dim=0)
    prune.random_unstructured(conv, "bias", 0.3)


def weight_norm(conv):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(conv)


def spectral_norm(conv):
    nn.utils.spectral_norm(conv)


def parametrized(conv):
    nn.utils.parametrizations.weight_norm(conv)


@pytest.mark.parametrize("how", [pruned, pruned_twice, weight_norm, spectral_norm, parametrized])
def test_computed_weights_are_copied(how, tmp_path):
    def build():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        how(model[2])
        model(torch.zeros(2, 3, 32, 32))
        return model

    model = build()
    keys = list(model.state_dict())
    weight = model[2].weight
    found = cs.dilate(model, (1, 3, 32, 32), output_stride=2)
    assert found.certificate.exact
    assert list(model.state_dict()) == keys and model.training
    if how is not parametrized:
        assert model[2].weight is weight
    x = torch.randn(1, 3, 32, 32)
    model.eval()
    found.model.eval()
    assert torch.allclose(found.model(x)[..., ::2, ::2], model(x), atol=1e-5)
    if not found.fixed:
        found.save(tmp_path / "fine")
        loaded = cs.load(tmp_path / "fine", build()).eval()
        assert torch.equal(loaded(x), found.model(x))


# Names


@pytest.mark.parametrize("inner", [nn.Identity(), nn.Sequential(nn.Identity()), nn.Dropout(0.5)])
def test_an_identity_stands_for_what_it_passes_on(inner):
    model = nn.Sequential()
    model.a, model.fc = nn.Conv2d(3, 8, 3, 2, 1), inner
    model.end = nn.GroupNorm(2, 8)
    found = cs.dilate(model, (1, 3, 32, 32), output_stride=1, features="fc")
    assert found.certificate.exact
    assert found.certificate.equalities[0].name == "fc"


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.Identity()

    def forward(self, x):
        return self.fc(self.conv(x) * 2)


def test_an_identity_after_bare_operations_is_called_what_it_is():
    with pytest.raises(ArgumentError, match=r"'fc' in Bare computes nothing \(Identity\)"):
        cs.dilate(Bare(), (1, 3, 32, 32), output_stride=1, features="fc")


class Stages(nn.Module):
    """A functional pool between stages: only the graph can be changed."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU())
        self.layer4 = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
        self.unused = nn.Dropout()

    def forward(self, x):
        return self.layer4(F.max_pool2d(self.stem(x), 2))


def test_an_exported_graph_keeps_names_and_says_that_hooks_are_gone():
    model = Stages().eval()
    found = cs.dilate(model, (1, 3, 32, 32), output_stride=1)
    assert found.fixed and "nor are their hooks" in found.certificate.notes[0]
    for path, _ in model.named_modules():
        found.model.get_submodule(path)
    assert found.model.state_dict().keys() == model.state_dict().keys()
    with pytest.raises(ArgumentError, match="part of an exported graph"):
        found.model.unused(torch.zeros(1))
