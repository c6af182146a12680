"""`lighten` on networks whose answer is known, and everything it must leave alone."""

from __future__ import annotations

import copy
import json
from functools import partial

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError, ModelError
from convsmith.nn import DepthwiseSeparableConv2d
from convsmith.rewrite import Run, Timing, Tuning
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.fit.refit import match_batch_norm, refit
from convsmith.rewrite.lightening.forms import all_forms
from tests.networks import Everything, resnet


def small():
    torch.manual_seed(0)
    return resnet((1, 1), 1, width=8, classes=10)


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(1)
    return torch.rand(96, 3, 24, 24).cumsum(2) / 12


def separable_network():
    """Dense convolutions whose weights are separable with one kernel a channel."""
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 20, (5, 3), stride=2), nn.ReLU()
    )
    with torch.no_grad():
        for conv in (model[0], model[2]):
            n, m, *k = conv.weight.shape
            conv.weight.copy_(torch.einsum("oi,iyx->oiyx", torch.randn(n, m), torch.randn(m, *k)))
    return model


lighten = partial(cs.lighten, timing=Timing(compiled=False))
"""Most tests are not about time: PyTorch's own clock needs no compilation."""


@pytest.fixture
def steady(monkeypatch):
    """A clock on which a layer's time is its number of parameters."""

    def layer(self, key, make, size):
        return 1e-3 * sum(p.numel() for p in make().parameters())

    monkeypatch.setattr(Clock, "layer", layer)


def test_what_is_separable_already_is_found_exactly(images):
    model = separable_network()
    light = lighten(model, images, multiplier=1)
    assert [layer.rank for layer in light.report.layers] == [1, 1]
    with torch.no_grad():
        error = (light.model(images) - model(images)).abs().max() / model(images).abs().max()
    assert error < 1e-5
    assert light.report.lightened.output_error < 1e-10
    assert all(layer.error < 1e-8 for layer in light.report.layers)


def test_more_kernels_lose_less_and_cost_more(images):
    model = small().eval()
    reports = [lighten(model, images, multiplier=t).report for t in (1, 2, 3)]
    errors = [report.lightened.output_error for report in reports]
    assert errors == sorted(errors, reverse=True)
    macs = [report.lightened.macs for report in reports]
    assert macs == sorted(macs) and macs[-1] < reports[0].original.macs


def test_refitting_beats_decomposing(images):
    """The refit is least squares on what the layer is given: no start can have less error."""
    model = small().eval()
    batches = list(images.split(32))
    path = "2.body.0.0"
    light = copy.deepcopy(model)
    plain = DepthwiseSeparableConv2d.from_conv(model.get_submodule(path), 1)
    light.get_submodule("2.body.0")[0] = plain

    def error():
        with torch.no_grad():
            x = model[:2](images)
            wanted, given = model.get_submodule(path)(x), plain(x)
        lost = (given - wanted).transpose(0, 1).flatten(1).var(1).sum()
        return float(lost / wanted.transpose(0, 1).flatten(1).var(1).sum())

    before = error()
    told = refit(light, model, batches, path, ridge=1e-9)
    assert error() < before
    assert told == pytest.approx(error(), rel=1e-3)


def test_a_lost_mean_is_made_good_by_a_bias_where_no_norm_follows(images):
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 6, 3, bias=False))
    light = lighten(model, images, multiplier=1, tuning=Tuning(reconstruct=False)).model
    with torch.no_grad():
        assert torch.allclose(
            light(images).mean((0, 2, 3)), model(images).mean((0, 2, 3)), atol=1e-5
        )


def test_batch_norm_is_matched_to_the_originals_output(images):
    """Whatever comes in, and however far the original's statistics are from the images'."""
    original = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)).eval()
    with torch.no_grad():
        original[1].running_mean.uniform_(-1, 1)
        original[1].running_var.uniform_(0.5, 2)
        light = copy.deepcopy(original)
        light[0].weight.mul_(torch.rand(5, 1, 1, 1) + 0.5)
        light[0].bias.add_(torch.rand(5))
        match_batch_norm(light, original, list(images.split(32)), "1")
        assert torch.allclose(light(images), original(images), atol=1e-4)
        assert light[1].momentum == 0.1


def test_the_mean_is_matched_where_the_spread_cannot_be(images):
    """A response so small that only a negative variance would stretch it: its mean still fits."""
    original = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)).eval()
    with torch.no_grad():
        original[1].running_mean.uniform_(-1, 1)
        light = copy.deepcopy(original)
        light[0].weight.mul_(1e-4)
        match_batch_norm(light, original, [images], "1")
        assert light[1].running_var.min() == 0
        means = [model(images).mean((0, 2, 3)) for model in (light, original)]
    assert torch.allclose(*means, atol=1e-4)


def test_batch_norm_of_an_equal_network_stays(images):
    original = small().eval()
    light = copy.deepcopy(original)
    match_batch_norm(light, original, [images], "2.body.0.1")
    norm, held = light.get_submodule("2.body.0.1"), original.get_submodule("2.body.0.1")
    assert torch.allclose(norm.running_mean, held.running_mean, atol=1e-7)
    assert torch.allclose(norm.running_var, held.running_var, rtol=1e-6)


def test_a_dead_channel_does_not_become_infinite(images):
    original = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.BatchNorm2d(5)).eval()
    with torch.no_grad():
        original[0].bias[2] = -1e4
    light = copy.deepcopy(original)
    match_batch_norm(light, original, [images], "2")
    assert all(bool(torch.isfinite(v).all()) for v in light.state_dict().values())


def test_the_original_is_left_as_it_was(images):
    model = small().train()
    model[0][1].eval()
    state = copy.deepcopy(model.state_dict())
    flags = [module.training for module in model.modules()]
    random = torch.random.get_rng_state()
    light = lighten(model, images, multiplier=1, train=[images[:32]], epochs=1)
    assert flags == [module.training for module in model.modules()]
    for (name, before), after in zip(state.items(), model.state_dict().values()):
        assert torch.equal(before, after), name
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(not module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert not {id(p) for p in model.parameters()} & {id(p) for p in light.model.parameters()}
    assert light.model.training and not light.model[0][1].training


def test_the_same_seed_gives_the_same_model(images):
    labels = torch.arange(96) % 10
    data = [(images[:48], labels[:48]), (images[48:], labels[48:])]
    run = [
        lighten(small(), images, multiplier=1, train=data, epochs=2, run=Run(seed=3))
        for _ in range(2)
    ]
    for a, b in zip(run[0].model.state_dict().values(), run[1].model.state_dict().values()):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_macs_as_a_target(images, steady):
    model = small()
    whole = cs.inspect(model, (1, 3, 24, 24)).macs
    for target in (0.5, whole // 3):
        report = lighten(model, images, macs=target).report
        limit = target * whole if target < 1 else target
        assert report.lightened.macs <= limit
        assert report.original.macs == whole
        after = sum(layer.macs[1] for layer in report.layers)
        assert report.lightened.macs - after == whole - sum(x.macs[0] for x in report.layers)


def test_a_target_that_cannot_be_met_names_the_best(images):
    with pytest.raises(
        ArgumentError, match=r"macs=1000 cannot be met: the lowest achievable is [\d,]+ MACs"
    ):
        lighten(small(), images, macs=1000)
    with pytest.raises(ArgumentError, match=r"speedup=1000 cannot be met: the best here is"):
        lighten(small(), images, speedup=1000)


def test_a_speed_up_of_one_keeps_everything(images):
    report = lighten(small(), images, speedup=0.5).report
    assert not any(layer.form for layer in report.layers)
    assert report.lightened.output_error < 1e-12
    assert report.predicted_ms > 0


def test_what_cannot_change_says_why():
    images = torch.rand(8, 3, 9, 11)
    report = lighten(Everything(), images, multiplier=1).report
    reasons = {layer.path: layer.reason for layer in report.layers}
    assert "shared" in reasons["twice"] and "shared" in reasons["tied"]
    assert "pointwise already" in reasons["weighted"]
    assert "depthwise already" in reasons[""]
    assert reasons["stem"] == "" and reasons["mirror"] == ""
    chosen = {layer.path for layer in report.layers if layer.form}
    assert chosen == {"stem", "mirror", "up"}
    assert report.control is None


def test_a_subclass_that_computes_the_same_is_a_convolution(images):
    class Renamed(nn.Conv2d):
        def __init__(self):
            super().__init__(3, 24, 3)

    class Standardised(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 2

    model = nn.Sequential(Renamed(), nn.ReLU(), Standardised(24, 24, 3))
    layers = lighten(model, images, multiplier=1).report.layers
    assert [layer.rank for layer in layers] == [1, None]
    assert "Standardised, not a plain convolution" in layers[1].reason


def test_a_filter_decides(images):
    report = lighten(
        small(), images, multiplier=1, filter_fn=lambda module, path: path.startswith("3.")
    ).report
    assert {layer.path for layer in report.layers if layer.form} == {
        "3.body.0.0", "3.body.1.0",
    }  # fmt: skip
    with pytest.raises(ArgumentError, match="no convolution of Sequential can become lighter"):
        lighten(small(), images, multiplier=1, filter_fn=lambda module, path: False)
    with pytest.raises(ArgumentError, match="there is none"):
        lighten(nn.Sequential(nn.Flatten(), nn.Linear(1728, 2)), images, multiplier=1)


def test_fine_tuning_lowers_the_loss_and_asks_the_original(images):
    model = small().train()
    with torch.no_grad():  # settle batch norm, which training would otherwise do
        for _ in range(60):
            model(images)
    model.eval()
    light = lighten(model, images, multiplier=1, tuning=Tuning(reconstruct=False))
    tuned = lighten(
        model,
        images,
        multiplier=1,
        train=list(images.split(16)),
        epochs=6,
        tuning=Tuning(learning_rate=0.02),
    )
    assert len(tuned.report.losses) == 6
    assert tuned.report.losses[-1] < tuned.report.losses[0]
    assert tuned.report.lightened.output_error < light.report.lightened.output_error


def test_the_control_has_the_same_shape_and_other_weights(images):
    light = lighten(
        small(), images, multiplier=1, train=[images], epochs=1,
        run=Run(evaluate=lambda model: float(model.training)),
    )  # fmt: skip
    assert [p.shape for p in light.control.parameters()] == [
        p.shape for p in light.model.parameters()
    ]
    row = light.report.to_dict()["control"]
    assert row["params"] == light.report.lightened.params
    assert row.keys() >= {"params", "macs", "accuracy", "latency_ms"}
    assert row["accuracy"] == 0.0, "evaluation happens in evaluation mode"
    assert json.loads(json.dumps(light.report.to_dict()))["report"] == "lighten"


@pytest.mark.slow
def test_networks_are_timed_compiled_when_asked(images):
    light = lighten(small(), images, multiplier=1)
    assert light.report.lightened.compiled is None
    assert "compiled" not in str(light.report.table())
    light = cs.lighten(small(), images, multiplier=1)
    rows = light.report.to_dict()
    assert rows["original"]["compiled_ms"] > 0 < rows["lightened"]["compiled_ms"]
    assert "compiled" in str(light.report.table())


def test_a_loss_that_is_no_number_stops_it(images):
    bad = [images[:8], torch.full_like(images[:8], float("nan"))]
    untrained = lighten(small(), images, multiplier=1, tuning=Tuning(reconstruct=False))
    with pytest.warns(RuntimeWarning, match="the loss is nan in epoch 1"):
        light = lighten(
            small(), images, multiplier=1, train=bad, epochs=1, tuning=Tuning(control=False)
        )
    assert "the loss is nan" in light.report.stopped and not light.report.losses
    for good, kept in zip(untrained.model.parameters(), light.model.parameters()):
        assert torch.equal(good, kept), "the last good weights are kept"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"speedup": 2, "macs": 0.5}, "pass only one target, not 2: speedup, macs"),
        ({"speedup": 0}, "speedup must be positive"),
        ({"multiplier": 1, "epochs": 2}, "epochs=2 needs train"),
        ({"latency_ms": -1.0}, "latency_ms must be positive"),
        ({"max_drop": 2}, "max_drop must be below 1"),
        ({"forms": ["tuckr"]}, "no form is called 'tuckr'"),
        ({"layers": ["3.body.0.9"]}, "has no convolution '3.body.0.9'"),
    ],
)
def test_arguments_that_do_not_fit(images, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        lighten(small(), images, **arguments)


def test_save_and_load(images, tmp_path):
    light = lighten(small(), images, multiplier=2)
    folder = light.save(tmp_path / "light", origin="networks.py:small")
    loaded = cs.load(folder, small())
    assert isinstance(loaded.get_submodule("2.body.0.0"), DepthwiseSeparableConv2d)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(images), light.model.eval()(images))
    assert sorted(path.name for path in folder.iterdir()) == ["model.safetensors", "recipe.json"]
    with pytest.raises(ArgumentError, match="exists"):
        light.save(folder)
    light.save(folder, force=True)
    with pytest.raises(ModelError, match="does not fit Sequential"):
        cs.load(folder, nn.Sequential(nn.Linear(3, 4)))
    with pytest.raises(ModelError, match=r"holds no recipe.json"):
        cs.load(tmp_path, small())
    (folder / "recipe.json").write_text('{"convsmith": "recipe", "version": 99}')
    with pytest.raises(ModelError, match="version 99, expected 1"):
        cs.load(folder, small())
    (folder / "recipe.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        cs.load(folder, small())


def test_a_recipe_cannot_build_what_is_no_layer_of_ours(images, tmp_path):
    folder = lighten(small(), images, multiplier=1).save(tmp_path / "light")
    recipe = json.loads((folder / "recipe.json").read_text())
    next(iter(recipe["layers"].values()))["form"] = "SeparablePair"
    (folder / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(ModelError, match="no layer is called 'SeparablePair'"):
        cs.load(folder, small())


def test_one_dimension_and_three():
    for conv, size in ((nn.Conv1d, (31,)), (nn.Conv3d, (5, 6, 7))):
        torch.manual_seed(0)
        model = nn.Sequential(conv(2, 6, 3, padding="same"), nn.ReLU(), conv(6, 8, 3, dilation=1))
        images = torch.rand(64, 2, *size)
        light = lighten(model, images, multiplier=1)
        assert light.report.layers[1].rank == 1
        assert light.model(images).shape == model(images).shape


@pytest.mark.parametrize("form", [form.name for form in all_forms()])
def test_every_form_is_told_and_loads_again(images, counted, tmp_path, form):
    light = lighten(small(), images, macs=0.98, forms=[form])
    changed = [layer for layer in light.report.to_dict()["layers"] if layer["form"]]
    assert changed and {layer["form"] for layer in changed} == {form}
    for layer in changed:
        assert layer["rank"] and layer["macs"][1] < layer["macs"][0] and layer["reason"] == ""
    loaded = cs.load(light.save(tmp_path / "light"), small())
    with torch.no_grad():
        assert torch.equal(loaded.eval()(images), light.model.eval()(images))


@pytest.mark.slow
def test_the_prediction_is_told_beside_what_was_measured(images, counted):
    report = lighten(small(), images, speedup=1.5).report
    assert report.predicted_ms > 0 < report.predicted_speedup
    assert f"{report.predicted_ms:.3g} ms predicted" in str(report.table())
    assert lighten(small(), images, multiplier=1).report.predicted_ms is None
