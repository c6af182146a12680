"""Data as it comes: streams that are read as they are needed, several inputs, several outputs."""

from __future__ import annotations

import gc
import weakref
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.measure import image_batches
from convsmith.rewrite import Run, Timing, Tuning
from convsmith.rewrite.lightening.packed import one_input, packed_names, unpacked
from convsmith.rewrite.lightening.tune.batches import parts
from tests.rewrite.fakes import same

torch.manual_seed(0)
IMAGES = torch.rand(32, 3, 8, 8)
LABELS = torch.arange(32) % 4
SILENT = Run(progress=False)
lighten = partial(cs.lighten, timing=Timing(compiled=False))


@pytest.fixture(autouse=True)
def _quick(counted):
    """A clock that counts: what is measured here is not time."""


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    ).eval()  # fmt: skip


# How far ahead, and how much at once.


class Watched:
    """A stream that notes how many batches it has given, and how many of them are still alive."""

    def __init__(self, count, make):
        self.count, self.make = count, make
        self.given, self.alive, self.most = 0, weakref.WeakSet(), 0

    def __iter__(self):
        for number in range(self.count):
            x = torch.rand(8, 3, 8, 8)
            self.alive.add(x)
            self.given += 1
            gc.collect(0)
            self.most = max(self.most, len(self.alive))
            yield self.make(x, torch.arange(8) % 4, number)


BATCHES = {
    "pair": lambda x, y, n: (x, y),
    "images": lambda x, y, n: x,
    "dict": lambda x, y, n: {"label": y, "pixel_values": x},
    "as WebDataset": lambda x, y, n: {"__key__": f"{n:06}", "cls": y, "jpg": x},
}


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("once", [False, True])
def test_a_stream_is_read_as_it_is_trained_on(kind, once):
    """Not one batch ahead, and never more at a time than are worked on."""
    stream = Watched(30, BATCHES[kind])
    ahead = []

    def progress(what, done, of):
        if what == "fine-tuning":
            # An iterator comes once: its first epoch is the only one that reads it.
            expected = min(done, 30) if once else done
            ahead.append(stream.given - expected)

    tuning = Tuning(control=False)
    lighten(
        network(), IMAGES, multiplier=1, train=iter(stream) if once else stream, epochs=2,
        tuning=tuning, run=Run(progress=progress),
    )  # fmt: skip
    assert len(ahead) == 60 and set(ahead) == {0}
    assert stream.most <= 3


def test_an_endless_stream_of_images_is_read_for_as_many_as_are_used():
    def endless():
        while True:
            read.append(1)
            yield {"label": LABELS, "image": IMAGES}

    read = []
    batches = image_batches(endless())
    assert sum(map(len, batches)) == 1024 and len(read) == 32
    assert torch.equal(batches[0], IMAGES)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_iterable_data_set_of_a_loader(workers):
    class Images(IterableDataset):
        def __iter__(self):
            return iter(list(zip(IMAGES, LABELS, strict=True)))

    loader = DataLoader(Images(), batch_size=8, num_workers=workers)
    light = lighten(
        network(), loader, multiplier=1, train=loader, epochs=2, run=SILENT,
        tuning=Tuning(control=False),
    )  # fmt: skip
    assert len(light.report.losses) == 2 and light.report.images == 32 * max(1, workers)


@pytest.mark.parametrize(
    ("batch", "inputs", "expected"),
    [
        ({"image": 1, "label": 2, "id": 3}, (), (1, 2)),
        ({"jpg": 1, "cls": 2, "__key__": 3}, (), (1, 2)),
        ({"anything": 1}, (), (1, None)),
        (("a", "b"), (), ("a", "b")),
        (("a", "b"), ("l", "r"), (("a", "b"), None)),
        (("a", "b", "y"), ("l", "r"), (("a", "b"), "y")),
        ((("a", "b"), "y"), ("l", "r"), (("a", "b"), "y")),
        (({"l": 1, "r": 2}, "y"), ("l", "r"), ({"l": 1, "r": 2}, "y")),
        ({"r": 2, "l": 1, "y": 3, "z": 4}, ("l", "r"), ({"l": 1, "r": 2}, 3)),
        ({"x": 1, "y": 2, "target": 3}, ("x", "y"), ({"x": 1, "y": 2}, 3)),
    ],
)
def test_images_and_labels_of_a_batch(batch, inputs, expected):
    assert parts(batch, inputs) == expected


@pytest.mark.parametrize(
    ("batch", "inputs", "message"),
    [
        ({"a": 1, "b": 2}, (), "a batch has the keys 'a', 'b': its images must be called 'image'"),
        ({}, (), "a batch has the keys"),
        ({"l": 1, "y": 2}, ("l", "r"), "a batch has 'l', 'y', and no 'r'"),
        ((1, 2, 3), (), "not 3 parts"),
        ((1,), ("l", "r"), "a batch is 2 inputs, and labels if there are any, not 1 parts"),
        ((1, 2, 3, 4), ("l", "r"), "not 4 parts"),
    ],
)
def test_what_is_no_batch(batch, inputs, message):
    with pytest.raises(ArgumentError, match=message):
        parts(batch, inputs)


# Several inputs.


class Deep(nn.Module):
    """Colour and depth, each with layers of its own (Eitel et al. 2015)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.colour = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.depth = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(20, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 1))

    def forward(self, colour, depth, gain=None):
        both = torch.cat([self.colour(colour), self.depth(depth)], 1)
        return self.head(both if gain is None else gain * both)


COLOUR, DEPTH = torch.rand(24, 3, 8, 8), torch.rand(24, 1, 8, 8)
PLACES = torch.arange(24 * 64).reshape(24, 8, 8) % 4
FORMS = {
    "tuple": (COLOUR, DEPTH),
    "list": [COLOUR, DEPTH],
    "dict": {"depth": DEPTH, "colour": COLOUR},
    "arrays": (COLOUR.numpy(), DEPTH.numpy()),
    "batches": list(zip(COLOUR.split(8), DEPTH.split(8), strict=True)),
    "labelled": [((c, d), y) for c, d, y in zip(*(x.split(8) for x in (COLOUR, DEPTH, PLACES)))],
    "flat": list(zip(*(x.split(8) for x in (COLOUR, DEPTH, PLACES)))),
    "dicts": [{"depth": d, "y": 0, "colour": c} for c, d in zip(COLOUR.split(8), DEPTH.split(8))],
    "generator": None,
}


def of_form(form):
    return iter(FORMS["batches"]) if form == "generator" else FORMS[form]


@pytest.mark.parametrize("form", FORMS)
def test_inputs_in_every_form_give_the_same_network(form):
    model = Deep()
    held = {name: value.clone() for name, value in model.state_dict().items()}
    light = lighten(model, of_form(form), multiplier=1, run=SILENT)
    assert light.report.images == 24 and type(model) is Deep and model.training
    assert all(torch.equal(value, held[name]) for name, value in model.state_dict().items())
    assert type(light.model) is Deep and light.model.training
    assert {layer.path for layer in light.report.layers if layer.form} >= {"colour.0", "head.0"}
    found = light.model.eval()(COLOUR, DEPTH)
    assert torch.equal(light.model(depth=DEPTH, colour=COLOUR), found)
    reference = lighten(model, FORMS["tuple"], multiplier=1, run=SILENT).model.eval()
    assert torch.allclose(found, reference(COLOUR, DEPTH), atol=1e-5)


def test_inputs_side_by_side_are_the_inputs():
    """What is traced and fitted computes what the user's model does, however it is called."""
    model = Deep().eval()
    packed, batches = one_input(model, FORMS["tuple"])
    expected = model(COLOUR, DEPTH)
    assert packed_names(packed) == ("colour", "depth") and not packed_names(model)
    assert [tuple(x.shape) for x in batches] == [(24, 4, 8, 8)]
    for found in (
        packed(torch.cat(batches)), packed(COLOUR, DEPTH), packed((COLOUR, DEPTH)),
        packed(FORMS["dict"]), packed(COLOUR, depth=DEPTH),
    ):  # fmt: skip
        assert torch.equal(found, expected)
    assert torch.equal(packed(COLOUR, DEPTH, gain=2.0), model(COLOUR, DEPTH, gain=2.0))
    assert list(packed.state_dict()) == list(model.state_dict())
    assert packed.head[0].weight is model.head[0].weight
    assert type(unpacked(packed)) is Deep and type(unpacked(model)) is Deep
    alone, _ = one_input(network(), IMAGES)
    assert type(alone) is nn.Sequential and not packed_names(alone)


@pytest.mark.parametrize("form", ["labelled", "flat", "dicts", "generator"])
def test_networks_of_several_inputs_are_fine_tuned(form):
    train = of_form(form)
    seen = []

    def own(outputs, labels):
        seen.append(outputs.shape)
        return F.cross_entropy(outputs, labels)

    light = lighten(
        Deep(), FORMS["tuple"], multiplier=1, train=train, epochs=2, run=SILENT,
        tuning=Tuning(loss=own if form in ("labelled", "flat") else None, features=0.1),
    )  # fmt: skip
    assert len(light.report.losses) == 2 and type(light.control) is Deep
    assert light.model(COLOUR, DEPTH).shape == (24, 4, 8, 8)
    assert set(seen) <= {(8, 4, 8, 8)}


def test_functions_of_the_users_call_such_networks_as_ever():
    calls = []

    def evaluate(model):
        calls.append("evaluate")
        return float((model(COLOUR, depth=DEPTH).argmax(1) == PLACES).double().mean())

    def train(student, teacher):
        calls.append("train")
        distance = cs.distil_loss(teacher(COLOUR, DEPTH), student(COLOUR, DEPTH))
        distance.backward()

    run = Run(progress=False, evaluate=evaluate)
    light = lighten(Deep(), FORMS["dict"], multiplier=1, train=train, run=run)
    assert {"evaluate", "train"} <= set(calls) and light.report.lightened.accuracy is not None


def test_such_networks_are_kept_and_exported(tmp_path):
    light = lighten(Deep(), FORMS["tuple"], multiplier=1, run=SILENT)
    again = cs.load(light.save(tmp_path / "light"), Deep()).eval()
    assert same(again, light.model)
    assert torch.equal(again(COLOUR, DEPTH), light.model.eval()(COLOUR, DEPTH))
    with pytest.raises(ArgumentError, match="which input"):
        light.export(tmp_path / "light.onnx")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (COLOUR, r"Deep takes 2 inputs \(colour, depth\): pass a tuple .*, not Tensor"),
        ((COLOUR, DEPTH[:, :, :4]), r"images of one size .*, not \(24, 3, 8, 8\) of torch.float32"),
        ((COLOUR, DEPTH[:5]), "as many of each"),
        ((COLOUR, DEPTH.double()), r"torch\.float64"),
        ((COLOUR, torch.rand(24, 5)), r"not .*\(24, 5\)"),
        ({"colour": COLOUR}, "Deep needs depth, but a batch has 'colour'"),
        ([{"colour": COLOUR, "x": DEPTH}], "Deep needs depth, but a batch has 'colour', 'x'"),
        ([(COLOUR, DEPTH), (DEPTH, COLOUR)], r"one number of channels each, not .*\(1, 3\)"),
        (3, "pass a tuple with images for each, .*, not int"),
        ([], "there are no images"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_one_line(images, message):
    with pytest.raises(ArgumentError, match=message) as told:
        lighten(Deep(), images, multiplier=1, run=SILENT)
    assert "\n" not in str(told.value)


def test_an_output_stride_of_several_inputs_is_refused():
    with pytest.raises(ArgumentError, match="output_stride takes networks of one input, not col"):
        lighten(Deep(), FORMS["tuple"], multiplier=1, output_stride=1, run=SILENT)


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = network()

    def forward(self, left, right):
        return F.cosine_similarity(self.encoder(left), self.encoder(right))


def test_of_a_siamese_network_the_encoder_is_lightened():
    """Its layers are called twice: they can change where they are called once."""
    model = Siamese().eval()
    with pytest.raises(ArgumentError, match="shared by several calls"):
        lighten(model, (IMAGES, IMAGES.flip(0)), multiplier=1, run=SILENT)
    model.encoder = lighten(model.encoder, IMAGES, multiplier=1, run=SILENT).model
    assert model(IMAGES, IMAGES.flip(0)).shape == (32,)


# Several outputs.


class Heads(nn.Module):
    """As detectors have them: maps of two sizes, or boxes beside classes."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(2)
        self.kind = kind
        self.body = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU())
        self.near, self.far = nn.Conv2d(12, 6, 1), nn.Conv2d(16, 6, 1)

    def forward(self, x):
        near = self.body(x)
        maps = [self.near(near), self.far(self.down(near))]
        if self.kind == "list":
            return maps
        if self.kind == "tuple":
            return tuple(maps)
        if self.kind == "dict":
            return {"near": maps[0], "far": maps[1]}
        if self.kind == "with indices":
            return [*maps, maps[0].flatten(1).argmax(1)]
        classes, boxes = zip(*(m.flatten(2).mT.split([2, 4], 2) for m in maps))
        return {"classes": torch.cat(classes, 1), "boxes": torch.cat(boxes, 1)}


def leaves(outputs):
    values = outputs.values() if isinstance(outputs, dict) else outputs
    return [x for x in values if x.is_floating_point()]


@pytest.mark.parametrize("kind", ["list", "tuple", "dict", "anchors", "with indices"])
@pytest.mark.parametrize("loss", [None, "own"])
def test_networks_of_several_outputs_are_lightened_and_trained(kind, loss):
    modes = []

    def own(outputs, labels):
        modes.append(all(x.requires_grad for x in leaves(outputs)))
        return sum((x.mean() - labels.float().mean()).square() for x in leaves(outputs))

    model = Heads(kind)
    model.body[1].momentum = None  # as if trained: its statistics are those of the images
    model(IMAGES)
    light = lighten(
        model.eval(), IMAGES, multiplier=1, epochs=8, run=SILENT,
        train=[(IMAGES[:16], LABELS[:16]), (IMAGES[16:], LABELS[16:])],
        tuning=Tuning(loss=own if loss else None, control=False, learning_rate=0.001),
    )  # fmt: skip
    losses = light.report.losses
    model.eval()
    light.model.eval()
    assert losses[-1] < losses[0] and all(modes) and bool(modes) == bool(loss)
    with torch.no_grad():
        expected, found = leaves(model(IMAGES)), leaves(light.model(IMAGES))
    assert [x.shape for x in found] == [x.shape for x in expected]
    steps = {step.name: step.error for step in light.report.steps}
    assert loss or steps["fine-tuned"] < steps["refitted"]
    assert cs.distil_loss(model(IMAGES), light.model(IMAGES), kind="values") >= 0
