"""Scenes drawn at random: what their captions work with is what stands in the cells."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st

import convsmith as cs
from convsmith.arithmetic.window import PADDING_MODES
from convsmith.draw import animate, im2col, matrix, separable
from convsmith.draw.lettering import shown
from convsmith.draw.words import LANGUAGES, Text, phrase
from tests.draw.test_captions import sides, under_the_window, worked_out
from tests.specifications import convolutions, pools, transposed
from tests.thoroughness import examples

# By kind; together 500 in CI.
SOME = examples(105, 5, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])


def whole(rng, *shape):
    return rng.integers(-9, 10, shape).tolist()


def layer_of(data, kind):
    """A layer that a kind of scene draws, and the size of its input."""
    dims = data.draw(st.integers(1, 3 if kind in ("conv", "pool") else 2))
    if kind == "pool":
        return data.draw(pools(dims))[:2]
    if kind in ("scatter", "zeros", "transposed matrix"):
        return data.draw(transposed(dims))
    return data.draw(convolutions(dims, PADDING_MODES if kind == "conv" else ("zeros",)))


def scene_of(data, kind, given_numbers):
    """A scene of a kind, with numbers of its own or with the usual ones."""
    layer, size = layer_of(data, kind)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    numbers = {}
    if given_numbers:
        numbers["values"] = whole(rng, getattr(layer, "in_channels", 1), *size)
        if kind not in ("pool", "separable"):
            numbers["weight"] = whole(rng, *layer.weight_shape)
    if given_numbers and kind in ("conv", "scatter", "zeros") and layer.bias:
        numbers["bias"] = whole(rng, layer.out_channels)
    if kind == "separable":
        assume(layer.groups == 1)
    draw = {
        "scatter": lambda: animate(layer, size, view="scatter", **numbers),
        "zeros": lambda: animate(layer, size, view="zeros", **numbers),
        "matrix": lambda: matrix(layer, size, **numbers),
        "transposed matrix": lambda: matrix(layer, size, **numbers),
        "im2col": lambda: im2col(layer, size, **numbers),
        "separable": lambda: separable(layer, size, **numbers),
    }.get(kind, lambda: animate(layer, size, **numbers))
    try:
        return draw()
    except cs.ArgumentError:  # too large a kernel, or a layer that this kind does not draw
        assume(False)


def innermost(caption):
    """The caption within one that only numbers it."""
    inner = dict(caption.parameters).get("said")
    return innermost(inner) if isinstance(inner, Text) else caption


def figures(words):
    return re.findall(r"−?\d[\d.]*|−∞", words)


def marked(scene, step, role, prefix):
    """The values of the cells that a step marks, panel by panel in reading order."""
    return [
        scene.values(mark.panel, step).get(at)
        for mark in scene.steps[step].marks
        if mark.role == role and mark.panel.startswith(prefix)
        for at in sorted(mark.cells)
    ]


def written(scene, step, *prefixes):
    return [w.value for w in scene.steps[step].writes if w.panel.startswith(prefixes)]


def filled(scene, name, step, row=None):
    """The values of a panel in reading order, without its bare cells."""
    values = scene.values(name, step)
    return [v for at, v in sorted(values.items()) if v is not None and row in (None, at[0])]


def matrix_of(scene):
    return any(panel.name == "matrix" for panel in scene.panels)


def cropped(scene):
    return any(note.key == "fact.crop" for note in scene.notes)


def stamps(scene):
    return [panel.name for panel in scene.panels if panel.name.startswith("stamp")]


def factors(scene, step):
    """What a caption multiplies, in the order of its products."""
    names = [panel.name for panel in scene.panels]
    if "matrix" in names:
        (row,) = {at[0] for m in scene.steps[step].marks if m.panel == "y" for at in m.cells}
        drawn = scene.values("matrix", step)
        columns = [c for r, c in sorted(drawn) if r == row and drawn[r, c] is not None]
        x = scene.values("x", step)
        return [drawn[row, c] for c in columns], [x[0, c] for c in columns]
    if "patches" in names:
        return filled(scene, "weights", step), marked(scene, step, "window", "patches")
    active = [mark.panel for mark in scene.steps[step].marks if mark.role == "active"]
    kernels = [name for name in active or names if name.startswith("kernel")]
    taps = [value for name in kernels for value in filled(scene, name, step)]
    return marked(scene, step, "window", "input"), taps


def check(scene, step, language):
    """The numbers of a caption against the cells of its step."""
    caption = innermost(scene.steps[step].caption)
    words, key = phrase(caption, language), caption.key.removeprefix("caption.")
    parameters = dict(caption.parameters)
    biases = [
        shown(value)
        for panel in scene.panels
        if panel.name.startswith("bias")
        for value in filled(scene, panel.name, step)
    ]
    results = written(scene, step, "output", "product", "middle", "y")
    if matrix_of(scene) and not results:
        assert not filled(scene, "x", step), words  # a large one has no numbers at all
    elif key == "formula":
        formula, _, value = parameters["formula"].rpartition(" =\u00a0")
        terms = [figures(term) for term in formula.split(" + ")]
        products = [tuple(term) for term in terms if len(term) == 2]
        expected = [tuple(map(shown, pair)) for pair in zip(*factors(scene, step), strict=True)]
        if not matrix_of(scene):
            assert products == expected, words
        elif filled(scene, "matrix", step):  # the cells of a large matrix have no numbers
            assert cropped(scene) or products == expected, words
            assert not Counter(expected) - Counter(products), words
        assert all(term[0] in biases for term in terms if len(term) == 1), words
        assert figures(value) == [shown(results[0])], words
    elif key == "channels":
        said = Counter(figures(parameters["formula"].rpartition(" =\u00a0")[0]))
        parts = Counter(map(shown, written(scene, step, "partial", "rest")))
        assert not parts - said and not said - parts - Counter(biases), words
    elif key in ("values", "depthwise", "pointwise"):
        said = [figures(value)[0] for value in re.findall(r" = ([^\s,]+)", parameters["values"])]
        seen = marked(scene, step, "window", "input") if stamps(scene) else results
        assert said and said == list(map(shown, seen))[: len(said)], words
    elif key == "stamp":
        assert figures(parameters["value"]) == list(
            map(shown, marked(scene, step, "window", "input"))
        ), words
    elif key in ("max", "average"):
        said = Counter(re.findall(r"[−\d.]+", parameters["formula"]))
        cells = [cell for cells in under_the_window(scene, step) for cell in cells]
        values = Counter(shown(value) for value, role in cells if role != "padding")
        padding = Counter(shown(value) for value, role in cells if role == "padding")
        # Whether padding counts depends on the pool.
        assert not values - said and not said - values - padding, words
        assert figures(parameters["value"]) == [shown(results[0])], words
    elif key == "products":
        assert figures(parameters["value"]) == [shown(results[0])], words
    for name in stamps(scene) if key in ("values", "stamp") else ():
        product = [w.value for w in scene.steps[step].writes if w.panel == name]
        if product:  # of a group that has this output
            (read,) = {
                (mark.panel.removeprefix("input"), scene.values(mark.panel, step)[mark.cells[0]])
                for mark in scene.steps[step].marks
                if mark.role == "window"
                and f"kernel{mark.panel.removeprefix('input')}.{name.removeprefix('stamp')}"
                in [panel.name for panel in scene.panels]
            }
            kernel = filled(scene, f"kernel{read[0]}.{name.removeprefix('stamp')}", step)
            assert product == [read[1] * weight for weight in kernel], words
    for formula, value in sides(words):
        result = worked_out(formula)
        if result is not None:
            assert shown(float(value)) == shown(float(shown(result).replace("−", "-"))), words
    return key


KINDS = ("conv", "pool", "scatter", "zeros", "matrix", "transposed matrix", "im2col", "separable")


@pytest.mark.parametrize("kind", KINDS)
@SOME
@given(data=st.data())
def test_captions_work_with_what_is_drawn(kind, data):
    scene = scene_of(data, kind, data.draw(st.booleans()))
    for step in range(len(scene.steps)):
        keys = {check(scene, step, language) for language in LANGUAGES}
        assert len(keys) == 1
