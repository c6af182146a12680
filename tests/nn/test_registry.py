"""A form is one class that names itself: chosen, kept in recipes and found by what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.nn import Factored, TuckerConv, forms
from convsmith.nn.factored import forget, form_names, former_names, layer_named, layers_of
from convsmith.nn.plain import ORDINARY, TRANSPOSED
from convsmith.rewrite import Timing
from convsmith.rewrite.lightening.forms import all_forms, forms_named
from convsmith.rewrite.recipe import load, save
from tests.rewrite.fakes import counted

__all__ = ["counted"]

METHODS = ("reason", "full_rank", "ranks", "errors", "parts", "from_conv")
LAYERS = [(form, layer) for form in form_names() for layer in layers_of(form)]


@pytest.mark.parametrize(("form", "layer"), LAYERS, ids=lambda x: getattr(x, "__name__", x))
def test_every_layer_answers_every_question(form, layer):
    """The base answers none: a form that forgets one is found here, by its name."""
    for method in METHODS:
        base = getattr(Factored, method).__func__
        assert getattr(layer, method).__func__ is not base, f"{layer.__name__}.{method}"
    assert layer.last is not Factored.last and layer.body is not Factored.body
    assert layer_named(layer.__name__) is layer


@pytest.mark.parametrize("form", form_names())
def test_no_convolution_has_two_layers_of_a_form(form):
    kinds = [kind for layer in layers_of(form) for kind in layer.stands_for()]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == {*ORDINARY, *TRANSPOSED}


def test_a_shell_can_type_every_name():
    assert form_names() == ("cp", "depthwise_pointwise", "pointwise_depthwise", "spatial", "tucker")
    assert all(re.fullmatch("[a-z_]+", name) for name in form_names())
    assert former_names() == {
        "depthwise → pointwise": "depthwise_pointwise",
        "pointwise → depthwise": "pointwise_depthwise",
    }
    for old, new in former_names().items():
        assert forms_named([old]) == forms_named([new])


def test_every_file_of_the_folder_is_a_form():
    names = {path.stem for path in Path(forms.__path__[0]).glob("[!_]*.py")}
    assert names >= set(form_names())
    homes = {layer.__module__.rpartition(".")[2] for _, layer in LAYERS}
    assert homes == names


@pytest.fixture
def narrow():
    """A form of one's own, in the test alone: Tucker's, of Conv2d, at half the channels."""

    class Narrow(TuckerConv, form="narrow", formerly="slim"):
        @classmethod
        def stands_for(cls):
            return (nn.Conv2d,)

        @classmethod
        def ranks(cls, conv):
            inner, outer = cls.full_rank(conv)
            return [(max(1, inner // 2), max(1, outer // 2))]

    yield Narrow
    forget(Narrow)


def test_one_class_is_a_form_everywhere(narrow, counted, tmp_path):
    assert "narrow" in [form.name for form in all_forms()]

    def build():
        return nn.Sequential(nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3))

    model = build().eval()
    images = torch.rand(16, 16, 9, 9)
    light = cs.lighten(model, images, macs=0.9, forms=["slim"], timing=Timing(compiled=False))
    assert {layer.form for layer in light.report.layers} <= {"narrow", ""}
    assert any(isinstance(module, narrow) for module in light.model.modules())
    again = cs.load(light.save(tmp_path / "light"), build()).eval()
    with torch.no_grad():
        assert torch.equal(again(images), light.model.eval()(images))


def test_what_a_form_is_not_for_says_so(narrow):
    (form,) = forms_named(["narrow"])
    conv = nn.Conv1d(8, 8, 3)
    assert form.reason(conv) == "narrow has no layer for Conv1d" and form.ranks(conv) == ()
    with pytest.raises(ArgumentError, match="narrow has no layer for Conv1d"):
        form.full_rank(conv)
    assert form.reason(nn.Conv2d(8, 8, 3)) == ""


def test_forgotten_it_is_gone(tmp_path):
    class Passing(TuckerConv, form="passing", formerly="fleeting"):
        pass

    layer = Passing.from_conv(nn.Conv2d(8, 8, 3), (4, 4))
    folder = save(nn.Sequential(layer), tmp_path, ["0"])
    forget(Passing)
    assert "passing" not in form_names() and "fleeting" not in former_names()
    with pytest.raises(cs.ConvsmithError, match="no layer is called 'Passing'"):
        load(folder, nn.Sequential(nn.Conv2d(8, 8, 3)))


@pytest.mark.parametrize("name", ["depthwise → pointwise", "Spatial", "two words", "1st", "a-b"])
def test_names_that_a_shell_would_trip_over_are_refused(name):
    with pytest.raises(ArgumentError, match="must be lower case letters"):

        class Bad(Factored, form=name):
            pass


def test_a_second_layer_of_a_name_is_refused():
    with pytest.raises(ArgumentError, match="has registered a layer of this name already"):
        type(Factored)("TuckerConv", (Factored,), {"__module__": "elsewhere"}, form="other")
    assert "other" not in form_names()


def test_a_subclass_that_names_no_form_is_none():
    before = form_names(), layer_named("Quiet")

    class Quiet(TuckerConv):
        pass

    assert (form_names(), layer_named("Quiet")) == before
