"""Numbers of scenes drawn at random: each stays within its cell, and loses nothing by its sign."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st

import convsmith as cs
from convsmith.draw import animate, im2col, matrix
from convsmith.draw.lettering import shown
from convsmith.draw.picture import picture
from tests.draw.stages import random_stage
from tests.draw.test_random_captions import layer_of
from tests.thoroughness import examples

SOME = examples(60, 6, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
NUMBER = re.compile(r"−?[\d.]+(e[-+−]?\d+)?|−?∞")
# How large the numbers of a picture may be: weights of a network, pixels, what overflows.
SCALES = st.sampled_from([1e-5, 0.003, 0.02, 0.5, 9, 60, 255, 4e3, 9e5, 3e8])


def numbers(rng, scale, *shape):
    values = scale * rng.uniform(-1, 1, shape)
    return (values.round() if scale > 1 and rng.random() < 0.5 else values).tolist()


def scene_of(data, kind):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    scale, small = data.draw(SCALES), data.draw(SCALES)
    if kind == "stage":
        stage = random_stage(random.Random(data.draw(st.integers(0, 2**32 - 1))))
        assume(len(stage.size) < 3 and not any(stage.activations))
        values = numbers(rng, scale, len(stage.values), *stage.size)
        return cs.draw.stage(
            stage.layers, stage.size, values=values, weights=stage.weights, biases=stage.biases
        ).scene()
    layer, size = layer_of(data, kind)
    more = {"values": numbers(rng, scale, getattr(layer, "in_channels", 1), *size)}
    if kind != "pool":
        more["weight"] = numbers(rng, small, *layer.weight_shape)
    if kind in ("conv", "scatter", "zeros") and layer.bias:
        more["bias"] = numbers(rng, small, layer.out_channels)
    draw = {
        "scatter": lambda: animate(layer, size, view="scatter", **more),
        "zeros": lambda: animate(layer, size, view="zeros", **more),
        "matrix": lambda: matrix(layer, size, **more),
        "transposed matrix": lambda: matrix(layer, size, **more),
        "im2col": lambda: im2col(layer, size, **more),
    }.get(kind, lambda: animate(layer, size, **more))
    return draw()


@pytest.mark.parametrize(
    "kind",
    ["conv", "pool", "scatter", "zeros", "matrix", "transposed matrix", "im2col", "stage"],
)
@SOME
@given(st.data())
def test_numbers_stay_within_their_cells(kind, data):
    fonts = pytest.importorskip("convsmith.draw.fonts")
    try:
        scene = scene_of(data, kind)
    except cs.ArgumentError:  # too large for a picture
        assume(False)
    sides = {panel.side for panel in scene.panels}
    drawn = picture(scene, "en")
    boxes = [
        shape.place
        for layer in drawn.layers
        for shape in layer.shapes
        if shape.kind == "rect" and shape.place[2] <= max(sides)
    ]
    cells = np.array(boxes)
    seen = set()
    for layer in drawn.layers:
        for shape in layer.shapes:
            if shape.kind != "text" or not NUMBER.fullmatch(shape.text) or shape in seen:
                continue
            seen.add(shape)
            x, y = shape.place
            # Within which cell its middle lies; a number elsewhere is a label.
            middle = y - 0.36 * shape.size
            holds = (
                (cells[:, 0] <= x) & (x <= cells[:, 0] + cells[:, 2])
                & (cells[:, 1] <= middle) & (middle <= cells[:, 1] + cells[:, 3])
            )  # fmt: skip
            if not holds.any():
                continue
            left, top, wide, high = cells[holds][0]
            # In a hundred times the size, so that the hints of small letters do not count.
            half = fonts.font(False, round(100 * shape.size)).getlength(shape.text) / 200
            assert left + 0.5 <= x - half and x + half <= left + wide - 0.5, (shape, wide)
            assert top <= middle - shape.size / 2 and middle + shape.size / 2 <= top + high, shape
    assume(seen)  # in the smallest cells no number is written


@given(st.floats(allow_nan=False), st.integers(3, 12))
def test_a_negative_number_shows_the_digits_of_the_positive_one(value, room):
    positive = shown(abs(value), room)
    assert shown(-abs(value), room) in (f"−{positive}", positive if not value else "")
