"""`lighten` from end to end by a clock that counts: targets, loops, going on, and what is wrong."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError, ConvsmithError, ModelError
from convsmith.measure import inspect
from convsmith.network import trace
from convsmith.nn.factored import form_names, layers_of
from convsmith.rewrite import Run, Timing, Tuning
from convsmith.rewrite.lightening.candidates import Choice, candidates
from convsmith.rewrite.lightening.fit.moments import patch_moments
from convsmith.rewrite.lightening.fit.rewrite import decomposed, rewrite
from convsmith.rewrite.lightening.forms import all_forms
from tests.draw.markup import parse
from tests.rewrite.fakes import chain, labelled, pictures, same

lighten = partial(cs.lighten, timing=Timing(compiled=False))


class Interrupt:
    """A progress report during which the user presses Ctrl-C."""

    def __init__(self, stage, after):
        self.stage, self.after = stage, after

    def __call__(self, what, done, of):
        if what == self.stage and done == self.after:
            raise KeyboardInterrupt


def kernels(model):
    """An accuracy that falls with every kernel that is lost: the share of the weights kept."""
    held = sum(p.numel() for p in chain().parameters())
    return sum(p.numel() for p in model.parameters()) / held


MODES = {
    "speedup": {"speedup": 1.6},
    "latency": {"latency_ms": 3.0},
    "macs": {"macs": 0.6},
    "multiplier": {"multiplier": 1},
    "drop": {"max_drop": 0.3},
    "sweep": {"speedup": 1.5, "run": Run(sweep=True)},
    "trained": {"speedup": 1.6, "epochs": 1, "tuning": Tuning(features=0.1)},
    "trained sweep": {"max_drop": 0.5, "run": Run(sweep=True), "epochs": 1},
}


@pytest.mark.parametrize("mode", MODES)
def test_the_original_keeps_every_bit(counted, mode):
    model, images, held = chain().train(), pictures(), chain().train()
    random = torch.random.get_rng_state()
    more = {"train": labelled(images)} if "epochs" in MODES[mode] else {}
    light = lighten(model, images, **MODES[mode], **more)
    assert same(model, held)
    assert all(module.training for module in model.modules())
    assert all(module.training for module in light.model.modules())
    assert torch.equal(random, torch.random.get_rng_state())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    mine = {p.data_ptr() for p in model.parameters()}
    assert not mine & {p.data_ptr() for p in light.model.parameters()}
    assert any(layer.form for layer in light.report.layers)
    assert (light.control is not None) == bool(more)


def test_what_is_said_is_what_was_built(counted):
    light = lighten(chain(), pictures(), speedup=1.8)
    report = light.report
    for layer in report.layers:
        module = light.model.get_submodule(layer.path)
        assert sum(p.numel() for p in module.parameters()) == layer.params[1]
    assert report.lightened.macs == inspect(light.model, (1, 2, 8, 8)).macs
    saved = sum(layer.macs[0] - layer.macs[1] for layer in report.layers)
    assert report.original.macs - report.lightened.macs == saved
    image = pictures()[:1]
    assert report.predicted_ms == pytest.approx(counted.rest + counted.of(light.model, image))
    assert [step.name for step in report.steps] == ["decomposed", "whitened", "refitted"]
    assert report.steps[-1].error == pytest.approx(report.lightened.output_error)
    assert report.steps[-1].error <= report.steps[0].error


def test_milliseconds_as_a_target(counted):
    image = pictures()[:1]
    before = counted.rest + counted.of(chain(), image)
    light = lighten(chain(), pictures(), latency_ms=0.6 * before)
    assert counted.rest + counted.of(light.model, image) <= 0.6 * before
    with pytest.raises(ArgumentError, match=r"latency_ms=0.1 cannot be met: the best here is lat"):
        lighten(chain(), pictures(), latency_ms=0.1)


def test_a_batch_is_timed_together(counted):
    seen = []
    measure = counted.networks
    counted.networks = lambda clock, models, image, key=(): (
        seen.append(len(image)) or measure(clock, models, image)
    )
    report = lighten(
        chain(), pictures(9), speedup=1.5, timing=Timing(compiled=False, batch=20)
    ).report
    assert set(seen) == {20} and report.batch == 20
    assert "ms for 20 images" in str(report)
    with pytest.raises(ArgumentError, match="batch is at least 1, not 0"):
        lighten(chain(), pictures(), timing=Timing(batch=0))


@pytest.mark.parametrize("name", [form.name for form in all_forms()])
def test_only_the_forms_that_are_named(counted, name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 12, 3))
    report = lighten(model, pictures(channels=12), macs=0.7, forms=[name]).report
    assert {layer.form for layer in report.layers} - {""} == {name}
    assert name in str(report.layer_table())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": ["1"]}, "Sequential has no convolution '1'"),
        ({"layers": ["0", "4"]}, "4 cannot become lighter: pointwise already"),
        ({"layers": ["5"]}, "5 cannot become lighter: depthwise already"),
        ({"forms": ["spatail"]}, "no form is called 'spatail'; did you mean 'spatial'"),
        ({"epochs": 1}, "epochs=1 needs train"),
        ({"epochs": -1, "train": [torch.zeros(1)]}, "epochs is at least 0, not -1"),
        ({"epochs": 1, "train": torch.zeros(9, 2, 8, 8)}, "train is batches, as "),
        ({"epochs": 1, "train": []}, "nothing to train on: 0 batches"),
        ({"epochs": 1, "train": [pictures()], "learning_rate": 0.0}, "learning_rate must be pos"),
        ({"epochs": 1, "train": [pictures()], "precision": "16"}, "precision is 'float32' or"),
        ({"speedup": math.nan}, "speedup must be positive, not nan"),
    ],
)
def test_arguments_that_do_not_fit(counted, arguments, message):
    model = nn.Sequential(
        *chain()[:4], nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, groups=8), *chain()[4:]
    )
    with pytest.raises(ArgumentError, match=message) as told:
        lighten(model, pictures(), **arguments)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("count", [1, 7])
def test_too_few_images(count):
    with pytest.raises(ArgumentError, match=f"^{count} images?: at least 8 are needed"):
        lighten(chain(), pictures(count))
    with pytest.raises(ArgumentError, match="there are no images"):
        lighten(chain(), pictures()[:0])


@pytest.mark.parametrize("shape", [(16, 3, 8, 8), (16, 2, 8), (16, 2), (16, 8, 8, 2)])
def test_images_of_a_wrong_shape(shape):
    with pytest.raises(ConvsmithError) as told:
        lighten(chain(), torch.rand(shape))
    assert "\n" not in str(told.value)


def test_images_one_by_one(counted):
    """Nothing has a spread within a batch of one."""
    together = lighten(chain(), pictures(), speedup=1.6).report
    single = lighten(chain(), list(pictures().split(1)), speedup=1.6).report
    assert single.images == 16 and math.isfinite(single.lightened.output_error)
    assert single.lightened.output_error < 3 * together.lightened.output_error + 0.02


# Loss and its limits.


@pytest.mark.slow
def test_the_fastest_network_within_a_loss(counted):
    """By bisection: within it, and not much slower than the fastest that is."""
    model, images = chain(), pictures()
    image = images[:1]
    before = counted.rest + counted.of(model, image)
    drop = 0.35
    light = lighten(model, images, max_drop=drop, run=Run(evaluate=kernels))
    assert light.report.original.accuracy - light.report.lightened.accuracy <= drop
    reached = before / (counted.rest + counted.of(light.model, image))
    assert reached > 1.05
    for speedup in (1.2 * reached, 1.5 * reached):
        try:
            faster = lighten(model, images, speedup=speedup, run=Run(evaluate=kernels)).report
        except ArgumentError:
            continue
        assert faster.original.accuracy - faster.lightened.accuracy > drop


def test_a_loss_that_every_network_exceeds(counted):
    def untouched(model):
        return float(all(isinstance(model[i], nn.Conv2d) for i in (0, 2)))

    reason = r"max_drop=0\.001 cannot be met: a speed-up of 1\.\d+ already loses 1\.000"
    with pytest.raises(ArgumentError, match=reason):
        lighten(chain(), pictures(), max_drop=0.001, run=Run(evaluate=untouched))


def test_nothing_is_faster_here(counted):
    layers = [layer.__name__ for form in form_names() for layer in layers_of(form)]
    counted.slow = dict.fromkeys(layers, 50.0)
    light = lighten(chain(), pictures(), max_drop=0.0)
    assert not any(layer.form for layer in light.report.layers)
    assert same(light.model, chain())
    assert "slower here" in light.report.layers[1].reason


# The curve.


def test_a_curve_over_the_range(counted):
    report = lighten(chain(), pictures(), speedup=1.5, run=Run(sweep=True, evaluate=kernels)).report
    curve = report.curve
    assert len(curve) >= 4 and curve[0].predicted_ms is None and curve[0].error < 1e-12
    asked, ms = [p.speedup for p in curve], [p.ms for p in curve]
    assert asked == sorted(asked) and asked[0] == 1.0
    assert ms == sorted(ms, reverse=True)
    accuracy = [p.accuracy for p in curve]
    assert accuracy == sorted(accuracy, reverse=True)
    for point in curve[1:]:
        assert point.ms == pytest.approx(point.predicted_ms)
        assert point.ms <= ms[0] / point.speedup * 1.0201
    svg = parse(report.curve_picture())
    assert len(list(svg.find("circle"))) == len(curve)
    page = report.to_html()
    assert "The whole range" in page and page.count('class="line"') == 1
    assert len(report.to_dict()["curve"]) == len(curve)
    assert len(report.curve_table().rows) == len(curve)


def test_without_a_sweep_there_is_no_picture(counted):
    with pytest.raises(
        ArgumentError, match=r"there is no curve: call lighten with run=Run\(sweep=True\)"
    ):
        lighten(chain(), pictures(), multiplier=1).report.curve_picture()


# The user's own loop.


def test_a_loop_of_ones_own_is_called_with_both_networks_and_for_the_control(counted):
    seen = []

    def train(student, teacher):
        student.train()
        seen.append((student, teacher, float(torch.rand(()))))
        with torch.no_grad():
            student[6].bias.add_(1.0)

    model, images = chain(), pictures()
    plain = lighten(model, images, speedup=1.6)
    light = lighten(model, images, speedup=1.6, train=train)
    assert [student for student, _, _ in seen] == [light.model, light.control]
    with torch.no_grad():
        assert all(torch.equal(teacher(images), model(images)) for _, teacher, _ in seen)
    assert seen[0][2] == seen[1][2], "the same random numbers for both"
    assert torch.equal(light.model[6].bias, plain.model[6].bias + 1)
    assert light.report.steps[-1].name == "fine-tuned" and not light.report.losses
    assert not light.model.training, "as the original is"
    alone = lighten(model, images, speedup=1.6, train=train, tuning=Tuning(control=False))
    assert alone.control is None and len(seen) == 3


def test_a_loop_that_leaves_no_numbers_is_undone(counted):
    def train(student, teacher):
        with torch.no_grad():
            student[6].weight[0, 0] = math.nan

    plain = lighten(chain(), pictures(), speedup=1.6)
    with pytest.warns(RuntimeWarning, match="train left values in 6.weight that are not numbers"):
        light = lighten(chain(), pictures(), speedup=1.6, train=train, tuning=Tuning(control=False))
    assert same(light.model, plain.model)
    assert light.report.stopped.startswith("train left values in 6.weight")


def test_a_control_that_diverges_says_so(counted):
    calls = []

    def loss(outputs, labels):
        calls.append(1)  # two batches of the network itself, then those of the control
        return outputs.sum() * (math.nan if len(calls) > 2 else 0.0)

    images = pictures()
    with pytest.warns(RuntimeWarning, match="control stopped: the loss is nan"):
        light = lighten(
            chain(), images, speedup=1.6, train=labelled(images), epochs=1, tuning=Tuning(loss=loss)
        )
    assert light.report.stopped.startswith("control stopped") and len(light.report.losses) == 1


# Going on.


@pytest.mark.parametrize("stage", ["fine-tuning", "control"])
@pytest.mark.parametrize("after", [1, 3, 4])
def test_an_interrupted_run_goes_on_to_the_same_bits(counted, tmp_path, stage, after):
    images = pictures()
    options = {"speedup": 1.6, "train": labelled(images), "epochs": 3}
    seeded = Run(seed=4)
    whole = lighten(chain(), images, **options, run=seeded)
    folder = tmp_path / "run"
    run = replace(seeded, checkpoint=folder, progress=Interrupt(stage, after))
    with pytest.raises(KeyboardInterrupt):
        lighten(chain(), images, **options, run=run)
    calls = counted.calls["layer"]
    told = []
    run = replace(seeded, checkpoint=folder, progress=lambda *step: told.append(step))
    again = lighten(chain(), images, **options, run=run)
    assert same(again.model, whole.model) and same(again.control, whole.control)
    assert again.report.losses == whole.report.losses
    assert counted.calls["layer"] == calls, "what was decided is not measured again"
    assert [step for step in told if step[0] == "control"] == [
        ("control", i, 6) for i in range(1, 7)
    ]
    third = lighten(chain(), images, **options, run=replace(seeded, checkpoint=folder))
    assert same(third.model, whole.model)


@pytest.mark.slow
def test_a_sweep_with_training_goes_on_as_well(counted, tmp_path):
    """Each network of the curve has its own place in the checkpoint."""
    images = pictures()
    options = {
        "max_drop": 0.3, "train": labelled(images), "epochs": 2, "tuning": Tuning(control=False),
    }  # fmt: skip
    sweeping = Run(evaluate=kernels, sweep=True)
    whole = lighten(chain(), images, **options, run=sweeping)
    stop = Interrupt("tracing the curve", 3)
    run = replace(sweeping, checkpoint=tmp_path, progress=stop)
    with pytest.raises(KeyboardInterrupt):
        lighten(chain(), images, **options, run=run)
    again = lighten(chain(), images, **options, run=replace(sweeping, checkpoint=tmp_path))
    assert same(again.model, whole.model)
    assert again.report.curve == whole.report.curve


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"run": Run(seed=1)}, "its seed is 0, not 1"),
        ({"speedup": 1.7}, "its target is '1.6× faster', not '1.7× faster'"),
        ({"tuning": Tuning(schedule="wsd")}, "its schedule is None, not 'wsd'"),
        ({"forms": ["spatial"]}, "its forms is "),
        ({"tuning": Tuning(features=0.5)}, "its features is 0.0, not 0.5"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(counted, tmp_path, changed, message):
    images = pictures()
    options = {"speedup": 1.6, "train": labelled(images), "epochs": 1}
    options["run"] = Run(checkpoint=tmp_path)
    lighten(chain(), images, **options)
    if "run" in changed:
        changed = {"run": replace(changed["run"], checkpoint=tmp_path)}
    with pytest.raises(ArgumentError, match=message):
        lighten(chain(), images, **options | changed)
    other = chain()
    with torch.no_grad():
        other[0].bias[0] += 1
    with pytest.raises(ArgumentError, match="its network is "):
        lighten(other, images, **options)


@pytest.mark.parametrize("content", ["{", "[]", "{\"for Target(name='speedup', value=1.6)\": 3}"])
def test_damaged_choices(counted, tmp_path, content):
    lighten(chain(), pictures(), speedup=1.6, run=Run(checkpoint=tmp_path))
    (tmp_path / "choices.json").write_text(content)
    with pytest.raises(ModelError, match=r"choices\.json.* cannot be read"):
        lighten(chain(), pictures(), speedup=1.6, run=Run(checkpoint=tmp_path))


def test_a_damaged_stage(counted, tmp_path):
    images = pictures()
    options = {
        "speedup": 1.6, "train": labelled(images), "epochs": 1,
        "tuning": Tuning(control=False), "run": Run(checkpoint=tmp_path),
    }  # fmt: skip
    lighten(chain(), images, **options)
    (path,) = tmp_path.rglob("fine-tuning.pt")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ModelError, match=r"fine-tuning\.pt cannot be read"):
        lighten(chain(), images, **options)


# Full rank.


class Mixed(nn.Module):
    """Grouped, strided, dilated, transposed and plain convolutions, with norms and a shortcut."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, (3, 5), 2, (1, 2), bias=False), nn.BatchNorm2d(8))
        self.grouped = nn.Sequential(nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2), nn.ReLU())
        self.same = nn.Conv2d(8, 8, (1, 3), padding="same", padding_mode="reflect")
        self.up = nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1)
        self.head = nn.Conv2d(6, 5, 2)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        return self.head(self.up(x + self.same(self.grouped(x))))


@pytest.mark.parametrize("refitted", [False, True])
@pytest.mark.parametrize("form", all_forms(), ids=lambda form: form.name)
def test_at_full_rank_the_network_is_the_original(form, refitted):
    torch.manual_seed(6)
    model = Mixed().double()
    images = torch.randn(48, 3, 11, 13).double()
    model(images)  # gives batch norm something to hold
    model.eval()
    network = trace(model, images[:1])
    free = [c for c in candidates(network, model, None, (form,)) if not c.reason]
    assert len(free) >= 3
    choices = {c.path: Choice(form, form.full_rank(c.conv)) for c in free}
    moments = patch_moments(model, [images], list(choices))
    if refitted:
        light = copy.deepcopy(model)
        batches = list(images.split(16))
        errors = rewrite(
            light, model, network, free, choices, moments, batches, lambda done, of: None
        )
        assert max(errors.values()) < 1e-9
    else:
        light = decomposed(model, free, choices, moments)
    assert all(isinstance(light.get_submodule(c.path), form.layer(c.conv))
               for c in free)  # fmt: skip
    unseen = torch.randn(5, 3, 11, 13).double()
    with torch.no_grad():
        wanted, given = model(unseen), light(unseen)
    assert (given - wanted).abs().max() < (1e-5 if refitted else 1e-10) * wanted.abs().max()


def test_a_form_is_looked_up_before_anything_is_traced(monkeypatch):
    monkeypatch.setattr("convsmith.rewrite.lightening.lighten.trace", None)
    with pytest.raises(ArgumentError, match="no form is called 'tuker'; did you mean 'tucker'"):
        lighten(chain(), pictures(), forms=["tuker"])
