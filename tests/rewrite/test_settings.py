"""The settings of `lighten`: what they refuse, and how a call may be written."""

from __future__ import annotations

import math
import warnings
from dataclasses import FrozenInstanceError, fields, replace
from inspect import Parameter, signature

import pytest
import torch

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.rewrite import Run, Timing, Tuning
from convsmith.rewrite.lightening.keywords import FORMER, Keywords, Request
from convsmith.rewrite.lightening.target import Target
from tests.rewrite.fakes import chain, labelled, pictures, same

SETTINGS = (Tuning, Timing, Run)
OTHER = {
    "learning_rate": 0.5, "loss": lambda outputs, labels: outputs.sum(), "features": 0.25,
    "control": False, "control_learning_rate": 0.125, "batch": 3,
    "compiled": False, "remeasure": True, "evaluate": lambda model: 1.0, "sweep": True,
    "checkpoint": "folder", "seed": 7, "progress": lambda what, done, of: None,
    "train": [torch.zeros(1)], "epochs": 2, "reconstruct": True,
    "reconstruct_seconds": 5.0, "precision": "bf16", "schedule": "wsd",
    "distil": "maps", "on_epoch": lambda epoch: None, "log": "folder",
}  # fmt: skip


class Launched:
    """As much of a Fabric as is looked for."""

    world_size, global_rank = 1, 0

    def all_reduce(self, data):
        return data


OTHER["fabric"] = Launched()
FIELDS = [(kind, field) for kind in SETTINGS for field in fields(kind)]


def asked(**keywords):
    """The request of a call with these keywords."""
    names = ("speedup", "train", "epochs", "tuning", "timing", "run")
    own = {name: keywords.pop(name, None) for name in names}
    return Request.of(**own, keywords=keywords)


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=lambda x: getattr(x, "name", None))
def test_every_field_is_checked_and_documented(kind, field):
    """A field that takes anything would fail somewhere deep inside, hours later."""
    with pytest.raises(ArgumentError, match=field.name) as told:
        kind(**{field.name: object()})
    assert "\n" not in str(told.value)
    assert f"        {field.name}: " in kind.__doc__
    settings = kind(**{field.name: OTHER[field.name]})
    assert getattr(settings, field.name) is OTHER[field.name]
    with pytest.raises(FrozenInstanceError):
        setattr(settings, field.name, None)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Tuning, {"epochs": -1}, "epochs is at least 0, not -1"),
        (Tuning, {"epochs": 1.5}, "epochs must be an integer, not 1.5"),
        (Tuning, {"epochs": True}, "epochs must be an integer"),
        (Tuning, {"train": torch.zeros(9, 2, 8, 8)}, "train is batches, as "),
        (Tuning, {"train": 3}, "train must be batches or a function, not 3"),
        (Tuning, {"learning_rate": 0.0}, "learning_rate must be positive, not 0.0"),
        (Tuning, {"learning_rate": math.inf}, "learning_rate must be a number, not inf"),
        (Tuning, {"learning_rate": "0.1"}, "learning_rate must be a number, not '0.1'"),
        (Tuning, {"control_learning_rate": -1}, "control_learning_rate must be positive, not -1"),
        (Tuning, {"features": -0.5}, "features is at least 0, not -0.5"),
        (Tuning, {"precision": "16"}, "precision is '32' or 'bf16', not '16'"),
        (Tuning, {"reconstruct": 1}, "reconstruct must be True or False, not 1"),
        (Tuning, {"reconstruct_seconds": 0}, "reconstruct_seconds must be positive, not 0"),
        (Timing, {"batch": 0}, "batch is at least 1, not 0"),
        (Timing, {"batch": "8"}, "batch must be an integer, not '8'"),
        (Timing, {"precision": "32"}, "^precision is 'float32' or 'bf16', not '32'$"),
        (Timing, {"precision": "bf16", "compiled": False}, "^precision='bf16' is that of compiled"),
        (Timing, {"compiled": 1}, "compiled must be True or False, not 1"),
        (Run, {"seed": 0.5}, "seed must be an integer, not 0.5"),
        (Run, {"checkpoint": 3}, "checkpoint must be a folder, not 3"),
        (Run, {"progress": "bar"}, "progress must be a function, not 'bar'"),
    ],
)
def test_what_makes_no_sense_is_one_line(kind, values, message):
    with pytest.raises(ArgumentError, match=message):
        kind(**values)


def test_a_call_has_few_parameters():
    """Model and images, and about eight more."""
    own = signature(cs.lighten).parameters
    assert len(own) <= 11
    assert [p.kind for p in own.values()][-1] is Parameter.VAR_KEYWORD
    for name in (*Keywords.__annotations__, *own):
        if name not in FORMER:
            assert f"{name}" in cs.lighten.__doc__


def test_former_keywords_are_all_fields_of_today():
    """No field of the first edition was lost, and none is under another name by mistake."""
    assert FORMER.keys() <= Keywords.__annotations__.keys()
    new = {(Tuning, "train"), (Tuning, "epochs")}  # these are still parameters
    new |= {(Tuning, "reconstruct"), (Tuning, "reconstruct_seconds")}
    new |= {(Tuning, "schedule"), (Tuning, "distil"), (Run, "on_epoch"), (Run, "log")}
    new |= {(Timing, "precision"), (Tuning, "precision")}  # `precision` is now what runs
    homes = {(kind, field.name) for kind, field in FIELDS}
    assert {(kind, name) for kind, name in FORMER.values()} == homes - new


@pytest.mark.parametrize("name", FORMER)
def test_a_former_keyword_does_what_it_did_and_says_what_it_is_now(name):
    kind, word = FORMER[name]
    with pytest.warns(DeprecationWarning, match="is now lighten") as told:
        request = asked(**{name: OTHER[name]})
    assert f"{kind.__name__.lower()}={kind.__name__}({word}=…)" in str(told[0].message)
    settings = getattr(request, kind.__name__.lower())
    assert settings == replace(kind(), **{word: OTHER[name]})


def test_the_warning_points_at_the_call(counted):
    with pytest.warns(DeprecationWarning, match="is now lighten") as told:
        cs.lighten(chain(), pictures(), multiplier=1, compiled=False, seed=1)
    # An untrained network gives one class for all images, which is another warning.
    told = [each for each in told if each.category is DeprecationWarning]
    assert len(told) == 1 and told[0].filename == __file__
    assert str(told[0].message) == (
        "lighten(compiled=, seed=) is now lighten(timing=Timing(compiled=…), run=Run(seed=…))"
    )


def test_classes_and_former_keywords_give_the_same_network(counted):
    images = pictures()
    data = {"speedup": 1.6, "train": labelled(images), "epochs": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        new = cs.lighten(
            chain(), images, 1.6, tuning=Tuning(train=labelled(images), epochs=1, features=0.1),
            timing=Timing(compiled=False, batch=2), run=Run(seed=3),
        )  # fmt: skip
    with pytest.warns(DeprecationWarning, match="is now lighten"):
        old = cs.lighten(chain(), images, **data, features=0.1, compiled=False, batch=2, seed=3)
    assert same(new.model, old.model) and same(new.control, old.control)


def test_shorthand_completes_the_settings():
    request = asked(train=[torch.zeros(1)], epochs=3, tuning=Tuning(learning_rate=0.1))
    assert (request.tuning.epochs, request.tuning.learning_rate) == (3, 0.1)
    assert asked(train=[torch.zeros(1)], tuning=Tuning(epochs=2)).tuning.epochs == 2
    assert asked().target == Target("speedup", 2.0)
    assert asked(macs=0.5, layers=["0"]).layers == ("0",)


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"epochs": 3, "tuning": Tuning(epochs=2)}, ArgumentError, "epochs is given twice"),
        ({"batch": 3, "timing": Timing(batch=2)}, ArgumentError, "batch is given twice"),
        ({"epochs": 3}, ArgumentError, "epochs=3 needs train"),
        ({"tuning": Tuning(epochs=3)}, ArgumentError, "epochs=3 needs train"),
        ({"timing": {"batch": 3}}, ArgumentError, "timing must be a Timing, not {'batch': 3}"),
        ({"run": Timing()}, ArgumentError, "run must be a Run, not Timing"),
        ({"layers": "0"}, ArgumentError, "layers must be a list of paths, not '0'"),
        ({"spedup": 2}, TypeError, r"lighten\(\) got an unexpected keyword argument 'spedup'"),
        ({"mac": 0.5}, TypeError, "did you mean 'macs'"),
        ({"speedup": 2, "macs": 0.5}, ArgumentError, "pass only one target, not 2: speedup, macs"),
    ],
)
def test_calls_that_do_not_fit(keywords, error, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=message):
            asked(**keywords)
