"""What a caption works out is right, and its numbers are those that are drawn."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import convsmith as cs
from convsmith.arithmetic.window import PADDING_MODES
from convsmith.draw import animate
from convsmith.draw.catalogue import catalogue
from convsmith.draw.lettering import shown
from convsmith.draw.words import LANGUAGES, phrase
from tests.specifications import convolutions, pools, transposed

PICTURES = catalogue().examples
EQUATION = re.compile(r"= ([^=,;:]*(?:\([^=]*\))?[^=,;:]*?) = (-?\(?[-\d.]+)")
POOLS = [
    cs.Pool(kernel, stride, padding, dilation, ceil, kind, dims=dims)
    for dims in (1, 2, 3)
    for kind in ("max", "average")
    for kernel, stride, padding, dilation, ceil in
    ((2, None, 0, 1, False), (3, 2, 1, 1, False), (2, 2, 0, 1, True), (2, 1, 0, 2, False))
    if kind == "max" or dilation == 1
]  # fmt: skip
SCENES = {entry.file: entry.make for entry in PICTURES} | {
    repr(pool): lambda pool=pool: animate(pool, 5) for pool in POOLS
}


def sides(caption):
    """Both sides of each equation in a caption that works something out."""
    plain = caption.replace("−", "-").replace("\u00a0", " ")
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", plain)
    for left, right in EQUATION.findall(plain):
        yield left.strip(), right.strip("()")


def worked_out(formula):
    """The value of a formula as a caption writes it; None for one in letters, such as k²·m."""
    python = formula.replace("·", "*")
    if not re.fullmatch(r"(?:max\()?[-\d.+*/, ()]+", python):
        return None
    return eval(python, {"__builtins__": {}}, {"max": lambda *values: max(values)})


def under_the_window(scene, step):
    """The values that are drawn in the cells which a step reads, by panel; and their roles."""
    for mark in scene.steps[step].marks:
        if mark.role == "window":
            values = scene.values(mark.panel, step)
            roles = {cell.at: cell.role for cell in scene.panel(mark.panel).cells}
            yield [(values[at], roles[at]) for at in mark.cells]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SCENES)
def test_what_a_caption_works_out_is_right(name, language):
    scene = SCENES[name]()
    counted = 0
    for step in scene.steps:
        for formula, value in sides(phrase(step.caption, language)):
            result = worked_out(formula)
            if result is not None:
                assert shown(float(value)) == shown(float(shown(result).replace("−", "-"))), phrase(
                    step.caption, language
                )
                counted += 1
    if {step.caption.key for step in scene.steps} & {
        "caption.formula", "caption.max", "caption.average", "caption.channels", "caption.row",
    }:  # fmt: skip
        assert counted


@pytest.mark.parametrize("name", SCENES)
def test_a_caption_takes_its_numbers_from_the_cells_under_the_window(name):
    scene = SCENES[name]()
    for index, step in enumerate(scene.steps):
        kind = step.caption.key.removeprefix("caption.")
        if kind not in ("max", "average", "formula"):
            continue
        said = Counter(re.findall(r"[−\d.]+", dict(step.caption.parameters)["formula"]))
        cells = [cell for cells in under_the_window(scene, index) for cell in cells]
        values = Counter(shown(value) for value, role in cells if role != "padding")
        assert not values - said, f"step {index}: {values - said} drawn, and not in the caption"
        if kind in ("max", "average"):
            # Whether padding counts depends on the pool; nothing but padding may be added.
            padding = Counter(shown(value) for value, role in cells if role == "padding")
            assert not said - values - padding


@pytest.mark.parametrize("name", SCENES)
def test_a_value_that_a_caption_names_is_the_one_written(name):
    scene = SCENES[name]()
    for step in scene.steps:
        value = dict(step.caption.parameters).get("value")
        written = [shown(write.value) for write in step.writes if write.panel.startswith("output")]
        if value is not None and len(written) == 1:
            assert value.strip("()") == written[0]


def image_of(scene, channels, size):
    """The input that a scene draws, shaped (channels, *size), read from its panels."""
    values = {}
    for panel in scene.panels:
        found = re.fullmatch(r"input(\d+)(?:\.(\d+))?", panel.name)
        if found is None:
            continue
        real = sorted(cell.at for cell in panel.cells if "padding" not in cell.role.split())
        if not real or (found[2] and panel.label is None):
            continue
        depth = dict(panel.label.parameters).get("number", 0) if found[2] else 0
        row, column = real[0]
        for cell in panel.cells:
            at = (int(str(depth).replace("−", "-")), cell.at[0] - row, cell.at[1] - column)
            if "padding" not in cell.role.split():
                values[int(found[1]), *at] = cell.value
    lifted = (*[1] * (3 - len(size)), *size)
    places = [(c, *at) for c in range(channels) for at in product(*map(range, lifted))]
    assume(all(place in values for place in places))
    flat = iter([values[place] for place in places])

    def level(lengths):
        return [level(lengths[1:]) for _ in range(lengths[0])] if lengths else next(flat)

    return level((channels, *size))


QUICK = settings(
    max_examples=25, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


@pytest.mark.parametrize("dims", [1, 2, 3])
@QUICK
@given(data=st.data())
def test_the_usual_numbers_of_a_pool_are_those_that_are_drawn(dims, data):
    layer, size, _ = data.draw(pools(dims))
    scene = animate(layer, size)
    assert scene == animate(layer, size, values=image_of(scene, 1, size))


@pytest.mark.parametrize("dims", [1, 2])
@QUICK
@given(data=st.data())
def test_the_usual_numbers_of_a_convolution_are_those_that_are_drawn(dims, data):
    layer, size = data.draw(convolutions(dims, PADDING_MODES))
    scene = animate(layer, size)
    assert scene == animate(layer, size, values=image_of(scene, layer.in_channels, size))


@pytest.mark.parametrize("dims", [1, 2])
@QUICK
@given(data=st.data())
def test_the_usual_numbers_of_a_transposed_one_are_those_that_are_drawn(dims, data):
    layer, size = data.draw(transposed(dims))
    scene = animate(layer, size)
    assert scene == animate(layer, size, values=image_of(scene, layer.in_channels, size))


@pytest.mark.parametrize("size", [(7,), (4, 6), (3, 3, 2)])
def test_the_usual_image_of_many_channels_begins_with_that_of_one(size):
    from convsmith.draw.scenes.values import default_image

    dims = len(size)
    pool = cs.Pool(2, dims=dims)
    alone, many = animate(pool, size), animate(pool, size, values=default_image((3, *size)))
    for panel in alone.panels:
        assert alone.values(panel.name) == many.values(panel.name)
