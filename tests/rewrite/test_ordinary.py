"""`lighten` with networks, data and calls as users have them: kinds, not instances."""

from __future__ import annotations

import itertools
import re
import warnings
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, IterableDataset

from convsmith.errors import ArgumentError
from convsmith.rewrite import Run, Tuning, form_names, lighten
from convsmith.rewrite.lightening.forms import forms_named
from convsmith.rewrite.lightening.tune.batches import Replayed
from convsmith.rewrite.lightening.tune.modes import Examiner
from convsmith.rewrite.lightening.tune.schedule import Schedule
from convsmith.rewrite.lightening.tune.teacher import Teacher
from convsmith.rewrite.surgery import replace

torch.manual_seed(0)
IMAGES = torch.rand(32, 3, 8, 8)
LABELS = torch.arange(32) % 4
SILENT = Run(progress=False)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip


# Modes


class Head(nn.Module):
    """Returns one thing in training and another in evaluation, in a way of its own."""

    def __init__(self, kind):
        super().__init__()
        self.body, self.kind, self.drop = network(), kind, nn.Dropout(0.5)
        self.aux = nn.Linear(16, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        y = self.norm(self.body(x))
        if self.kind == "sigmoid":
            return y if self.training else y.sigmoid()
        if self.kind == "softmax" and not self.training:
            return y.softmax(1)
        if self.kind == "classes" and not self.training:
            return F.one_hot(y.argmax(1), 4).float()
        if self.kind in ("tuple", "dict") and self.training:
            second = self.aux(self.body[:3](x).mean((2, 3)))
            return (y, second) if self.kind == "tuple" else {"out": y, "aux": second}
        return self.drop(y)


DIFFER = ["sigmoid", "softmax", "classes", "tuple", "dict"]


@pytest.mark.parametrize("kind", DIFFER)
def test_a_teacher_is_asked_as_in_training_where_that_differs(kind):
    model = Head(kind).eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    examiner = Examiner(model, IMAGES[:4])
    assert examiner.differs
    with examiner.asking() as teacher:
        first, second = teacher(IMAGES[:4]), teacher(IMAGES[:4])
    values = [v if isinstance(v, torch.Tensor) else next(iter(
        v.values() if isinstance(v, dict) else v)) for v in (first, second)]  # fmt: skip
    assert torch.equal(*values)  # no noise
    expected = model.norm(model.body(IMAGES[:4]))
    assert torch.allclose(values[0], expected, atol=1e-6)  # and statistics of evaluation
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", DIFFER)
def test_an_untouched_student_has_nothing_to_learn(kind):
    model = Head(kind).eval()
    student = Head(kind).eval()
    for module in student.modules():  # its flag alone: no noise, the statistics of evaluation
        module.training = isinstance(module, Head)
    teacher = Teacher(model, student, Schedule(1, soft=1.0))
    assert teacher.grade(student, IMAGES[:8], None).item() < 1e-6


def test_noise_alone_is_no_other_mode():
    assert not Examiner(Head("none").eval(), IMAGES[:4]).differs

    class Path(nn.Module):
        def forward(self, x):
            return x * (torch.rand(1) < 0.5) if self.training else x

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.path = network(), Path()

        def forward(self, x):
            return self.path(self.body(x))

    assert not Examiner(Own().eval(), IMAGES[:4]).differs


@pytest.mark.parametrize("kind", ["sigmoid", "tuple", "dict"])
@pytest.mark.parametrize("loss", [None, "own"])
def test_such_networks_are_fine_tuned(kind, loss):
    def own(outputs, labels):
        first = outputs if isinstance(outputs, torch.Tensor) else next(iter(
            outputs.values() if isinstance(outputs, dict) else outputs))  # fmt: skip
        return F.cross_entropy(first, labels)

    model = Head(kind).eval()
    found = lighten(
        model, IMAGES, multiplier=1, train=[(IMAGES, LABELS)], epochs=2, run=SILENT,
        tuning=Tuning(control=False, learning_rate=0.002, loss=own if loss else None),
    )  # fmt: skip
    assert len(found.report.losses) == 2


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = network()

    def forward(self, x, targets=None):
        if self.training and targets is None:
            raise ValueError("targets are needed")
        return self.body(x)


def test_what_cannot_be_trained_on_images_is_refused_before_any_work():
    def untouched_batches():
        pytest.fail("the batches were asked for")
        yield

    with pytest.raises(ArgumentError, match=r"Detector cannot be trained.*targets are needed"):
        lighten(
            Detector().eval(), IMAGES, multiplier=1, train=untouched_batches(), epochs=1, run=SILENT
        )
    assert lighten(Detector().eval(), IMAGES, multiplier=1, run=SILENT).report.lightened.params


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_frozen_network_is_rewritten_but_not_trained(epochs):
    model = network().eval().requires_grad_(False)
    batches = [(IMAGES, LABELS)]
    if epochs:
        with pytest.raises(ArgumentError, match=r"all parameters of Sequential are frozen"):
            lighten(model, IMAGES, multiplier=1, train=batches, epochs=epochs, run=SILENT)
    else:
        light = lighten(model, IMAGES, multiplier=1, train=batches, epochs=epochs, run=SILENT)
        assert not any(p.requires_grad for p in light.model.parameters())


def test_what_is_frozen_stays_as_it_is_in_training():
    model = network()
    model[-1].requires_grad_(False)
    light = lighten(model, IMAGES, multiplier=1, train=[(IMAGES, LABELS)], epochs=1, run=SILENT)
    for name, value in model[-1].state_dict().items():
        assert torch.equal(light.model[-1].state_dict()[name], value)


# Data


class Endless(IterableDataset):
    def __iter__(self):
        return iter(list(zip(IMAGES, LABELS, strict=True)))


def batches_of(kind):
    halves = [(IMAGES[:16], LABELS[:16]), (IMAGES[16:], LABELS[16:])]
    if kind == "iterable data set":
        return DataLoader(Endless(), batch_size=16)
    if kind == "generator":
        return (pair for pair in halves)
    if kind == "generator of dicts":
        return ({"label": y, "image": x} for x, y in halves)
    if kind == "dicts":
        return [{"target": y, "pixel_values": x} for x, y in halves]
    if kind == "map":
        return map(list, halves)
    return halves


KINDS = ["list", "iterable data set", "generator", "generator of dicts", "dicts", "map"]


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_every_kind_train(kind):
    found = lighten(network(), IMAGES, multiplier=1, train=batches_of(kind), epochs=2, run=SILENT)
    assert len(found.report.losses) == 2 and found.control is not None
    assert found.report.control is not None


def test_batches_of_an_iterator_are_never_all_in_memory():
    alive = weakref.WeakSet()
    most = 0

    def batches():
        nonlocal most
        for _ in range(12):
            x = IMAGES.clone()
            alive.add(x)
            most = max(most, len(alive))
            yield x

    lighten(network(), IMAGES, multiplier=1, train=batches(), epochs=2, run=SILENT)
    assert most <= 4


def test_replayed_batches_are_the_same():
    once = Replayed(iter([{"image": IMAGES, "name": "a"}, (LABELS, None, 3)]))
    first = next(iter(once))
    for _ in range(2):
        one, two = once
        assert torch.equal(one["image"], first["image"]) and one["name"] == "a"
        assert torch.equal(two[0], LABELS) and two[1:] == (None, 3)


def test_a_dict_without_images_is_refused():
    with pytest.raises(ArgumentError, match="'a', 'b'"):
        lighten(
            network(), IMAGES, multiplier=1, epochs=1, run=SILENT,
            train=[{"a": IMAGES, "b": LABELS}],
        )  # fmt: skip


# Agreement


def test_agreement_is_of_the_images_that_accuracy_is_of():
    torch.manual_seed(3)
    held = torch.rand(40, 3, 8, 8) * torch.linspace(0.1, 3, 40).view(-1, 1, 1, 1)
    labels = network().eval()(held).argmax(1)

    def evaluate(model):
        return float((model(held).argmax(1) == labels).double().mean())

    found = lighten(network(), IMAGES, multiplier=1, run=Run(evaluate=evaluate, progress=False))
    # Where the labels are the original's answers, agreement is accuracy.
    assert found.report.original.accuracy == found.report.original.agreement == 1
    assert found.report.lightened.agreement == pytest.approx(found.report.lightened.accuracy)


def test_a_network_that_gives_one_class_alone_is_warned_of():
    model = network()
    with torch.no_grad():
        model[-1].bias += torch.tensor([100.0, 0, 0, 0])
    with pytest.warns(UserWarning, match="the same class for all images"):
        lighten(model, IMAGES, multiplier=1, run=SILENT)


# Networks


def test_a_compiled_network_is_taken_for_what_it_is():
    found = lighten(torch.compile(network()), IMAGES, multiplier=1, run=SILENT)
    assert list(found.model.state_dict()) == list(
        lighten(network(), IMAGES, multiplier=1, run=SILENT).model.state_dict()
    )


@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, IMAGES)])
def test_torchscript_is_refused_in_words(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = make(network().eval())
    with pytest.raises(ArgumentError, match="TorchScript"):
        lighten(scripted, IMAGES, multiplier=1, run=SILENT)


def in_form(model, name, path):
    """The model with one convolution in a form, whatever a clock says of it."""
    form = forms_named([name])[0]
    conv = model.get_submodule(path)
    replace(model, path, form.make(conv, form.ranks(conv, (8, 8))[0]))
    return model.eval()


@pytest.mark.parametrize("form", form_names())
def test_the_result_can_be_scripted(form):
    model = in_form(network(), form, "2")
    expected, keys = model(IMAGES), list(model.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(model)
    assert torch.allclose(scripted(IMAGES), expected, atol=1e-6)
    assert list(scripted.state_dict()) == keys == list(model.state_dict())


class Asking(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.more = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3)

    def forward(self, x):
        x = x.to(self.conv.weight.dtype).to(self.more.weight.device)
        return self.more(self.conv(x)) + self.more.bias.sum() * 0


@pytest.mark.parametrize("form", form_names())
def test_a_forward_may_ask_a_layer_for_its_type(form):
    model = in_form(Asking(), form, "more")
    assert type(model.more) is not nn.Conv2d and model(IMAGES).shape == (32, 16, 4, 4)


def test_a_network_that_asks_is_rewritten():
    found = lighten(Asking(), IMAGES, multiplier=1, run=SILENT).model
    assert type(found.conv) is not nn.Conv2d and found(IMAGES).shape == (32, 16, 4, 4)


SEEN = []


def test_hooks_are_kept_and_see_nothing_of_the_work():
    model, inside = network(), []
    model[2].register_forward_hook(lambda *args: SEEN.append(args[2]))
    model[2].register_forward_pre_hook(lambda *args: inside.append(1))
    model[0].register_forward_hook(lambda m, args, kw, out: SEEN.append(kw), with_kwargs=True)
    SEEN.clear()
    found = lighten(model, IMAGES, multiplier=1, run=SILENT)
    assert not any("Fake" in type(x).__name__ for x in SEEN)
    assert found.model[2] is not model[2]
    SEEN.clear()
    inside.clear()
    found.model(IMAGES)
    assert len(SEEN) == 2 and SEEN[0] == {} and inside == [1]
    model(IMAGES)
    assert len(SEEN) == 4


def test_hooks_that_change_the_result_count():
    model = network()
    model[2].register_forward_hook(lambda m, args, out: out * 3)
    found = lighten(model, IMAGES, multiplier=1, run=SILENT)
    assert type(found.model[2]) is nn.Conv2d  # what it is refitted to would be changed twice
    reasons = {layer.path: layer.reason for layer in found.report.layers}
    assert "hook" in reasons["2"] and not reasons["0"]


@pytest.mark.parametrize("how", ["prune", "weight_norm", "parametrized"])
def test_computed_weights_do_no_harm(how):
    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "prune":
            prune.l1_unstructured(model[2], "weight", 0.5)
        elif how == "weight_norm":
            nn.utils.weight_norm(model[2])
        else:
            nn.utils.parametrizations.weight_norm(model[2])
    before = model(IMAGES)
    found = lighten(model, IMAGES, multiplier=1, run=SILENT)
    assert torch.isfinite(found.model(IMAGES)).all()
    assert torch.equal(model(IMAGES), before)


# Messages


@pytest.mark.slow
def test_what_is_said_to_be_the_best_can_be_had():
    for asked in (0.01, 10):
        with pytest.raises(ArgumentError, match="cannot be met") as error:
            lighten(network(), IMAGES, macs=asked, run=SILENT)
        best = re.search(r"lowest achievable is (?:macs=)?([\d.,]+)", str(error.value))[1]
        best = float(best.replace(",", ""))
        assert (best < 1) == (asked < 1)
        assert "0%" not in str(error.value)
        assert lighten(network(), IMAGES, macs=best, run=SILENT).report.lightened.macs


def test_progress_begins_at_once(capsys):
    lighten(network(), IMAGES, multiplier=1, train=[IMAGES], epochs=1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "tracing"
    stages = [name for name, _ in itertools.groupby(line.partition(":")[0] for line in lines)]
    assert stages.index("rewriting") < stages.index("fine-tuning") < stages.index("measuring")
    lighten(network(), IMAGES, multiplier=1, run=SILENT)
    assert capsys.readouterr().err == ""
