"""Separable layers, costs, fields, tiles, bands and cards: each number against torch or a count."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import product

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional as F

import convsmith as cs
from convsmith.arithmetic import Chain, Positions, Region, Window
from convsmith.arithmetic.window import PADDING_MODES
from convsmith.draw import (
    bands,
    card,
    cone,
    cost_areas,
    effective_over,
    field_over,
    halo,
    mixing,
    paths,
    separable,
)
from convsmith.draw.lettering import shown
from convsmith.draw.palette import STYLES
from convsmith.draw.picture import picture
from convsmith.draw.words import LANGUAGES, phrase
from convsmith.errors import ArgumentError
from convsmith.report.pixels import png_of
from tests.arithmetic.test_against_torch import CONV, integers, torch_conv
from tests.specifications import convolutions
from tests.thoroughness import examples

seeds = st.integers(0, 2**31)
PIXELS = [[(7 * r + 11 * c) % 256 for c in range(20)] for r in range(16)]

SCENES = {
    "separable": lambda **o: separable(cs.Conv(3, 4, 3), 5, **o),
    "separable_large": lambda **o: separable(cs.Conv(5, 10, 3, padding=1), 64, **o),
    "separable_line": lambda **o: separable(cs.Conv(2, 3, 3, dims=1), 6, **o),
    "mixing": lambda **o: mixing(6, 3, **o),
    "cost_areas": lambda **o: cost_areas(cs.Conv(64, 128, 3), **o),
    "cone": lambda **o: cone([cs.Conv(1, 1, 3, dilation=2), cs.Pool(2), cs.Conv(1, 1, 3)], **o),
    "cone_wide": lambda **o: cone([cs.Conv(1, 1, 3, dilation=d) for d in (1, 2, 4, 8)], **o),
    "paths": lambda **o: paths([2, 2, 2], repair=[1, 2, 3], **o),
    "field_over": lambda **o: field_over(
        PIXELS, {"a": [([2, 3, 4], [5, 6])], "b": [([0, 2, 4], [-3, 0, 3])]}, **o
    ),
    "effective_over": lambda **o: effective_over(PIXELS, PIXELS, name="conv1", **o),
    "halo": lambda **o: halo([cs.Conv(1, 1, 3, padding=1)] * 2, 8, (4, 5), **o),
    "bands": lambda **o: bands([Window(3, 2, (1, 1)), Window(3, 1, (1, 1))], 12, band=2, **o),
    "card": lambda **o: card({"params": 9030, "cats": 3}, {"params": 423, "cats": 4}, **o),
}
EVERY = pytest.mark.parametrize("name", SCENES)


@EVERY
def test_the_same_bytes_and_geometry_in_both_languages(name):
    make = SCENES[name]
    assert make().svg() == make().svg()
    english, chinese = make(), make(language="zh", theme="dark")
    assert (english.panels, english.symbols) == (chinese.panels, chinese.symbols)
    assert english.steps == chinese.steps
    one, other = picture(english, "en"), picture(english, "zh")
    assert (one.width, one.height, one.steps) == (other.width, other.height, other.steps)
    assert chinese.svg() == make().svg(language="zh", theme="dark") != english.svg()


@EVERY
def test_words_are_of_one_language_with_the_same_numbers(name):
    scene = SCENES[name]()
    said = [scene.title, *scene.notes, *(step.caption for step in scene.steps)]
    said += [panel.label for panel in scene.panels if panel.label is not None]
    for words in said:
        english, chinese = (phrase(words, language) for language in LANGUAGES)
        numbers = [sorted(re.findall(r"\d+(?:\.\d+)?", each)) for each in (english, chinese)]
        # "1/8.41" says what "8.41 times fewer" does.
        assert set(numbers[0]) | {"1"} == set(numbers[1]) | {"1"}, (english, chinese)
        assert not re.search(r"[\u2e80-\uffef]", english)
        known = ("conv", "max", "cats", "im", "col", "MACs", "FLOPs")
        left = [w for w in re.findall(r"[A-Za-z]{2,}", chinese) if w not in known]
        assert not left, chinese


@EVERY
def test_everything_is_within_its_panel_and_has_a_look(name):
    scene = SCENES[name]()
    panels = {panel.name: panel for panel in scene.panels}
    assert len(panels) == len(scene.panels)
    for panel in scene.panels:
        roles = [panel.role] * (panel.tone is None)
        roles += [cell.role.split()[0] for cell in panel.cells if cell.role not in ("", "unread")]
        assert set(roles) <= set(STYLES), panel.name
        for cell in panel.cells:
            assert all(a >= 0 and a + s <= n for a, s, n in zip(cell.at, cell.span, panel.size))
    for step in scene.steps:
        for mark in step.marks:
            assert mark.role in STYLES
        places = [(mark.panel, at) for mark in step.marks for at in mark.cells]
        places += [(write.panel, write.at) for write in step.writes]
        places += [end for link in step.links for end in (link.start, link.end)]
        for name_, at in places:
            assert all(0 <= a < n for a, n in zip(at, panels[name_].size)), (name_, at)


@examples(100)
@given(data=st.data(), seed=seeds, dims=st.sampled_from([1, 2]))
def test_separable(data, seed, dims):
    drawn, size = data.draw(convolutions(dims, PADDING_MODES))
    layer = cs.Conv(
        drawn.in_channels, drawn.out_channels, drawn.kernel_size, drawn.stride, drawn.padding,
        drawn.dilation, padding_mode=drawn.padding_mode, dims=dims,
    )  # fmt: skip
    m, n = layer.in_channels, layer.out_channels
    image = integers(seed, m, *size)
    each, mix = integers(seed, m, 1, *layer.kernel_size), integers(seed, n, m, *[1] * dims)
    scene = separable(layer, size, values=image, depthwise=each, pointwise=mix)
    middle = torch_conv(layer.depthwise(), image[None], each)
    wanted = {"middle": middle[0], "output": CONV[dims](middle, mix)[0]}
    seen = 0
    for panel in scene.panels:
        for kind, tensor in wanted.items():
            if panel.name.startswith(kind):
                channel = tensor[int(panel.name.removeprefix(kind))].reshape(
                    *[1] * (2 - dims), *tensor.shape[1:]
                )
                for at, value in scene.values(panel.name).items():
                    assert value == channel[at]
                    seen += 1
    assert seen > 1
    cost = [phrase(note, "en") for note in scene.notes][1]
    numbers = list(map(int, re.findall(r"\d+", cost)))
    assert numbers == [layer.taps * m, m * n, layer.taps * m + m * n, layer.taps * m * n]


@pytest.mark.parametrize(("m", "n", "k"), [(3, 10, 3), (64, 128, 3), (7, 1, 5), (3, 30, 10)])
def test_areas_are_to_one_scale(m, n, k):
    layer = cs.Conv(m, n, k)
    scene = cost_areas(layer)
    area = {
        panel.name: panel.cells[0].span[0] * panel.cells[0].span[1] * panel.side**2
        for panel in scene.panels
        if panel.cells
    }
    for half, count in (("depthwise", k * k), ("pointwise", n)):
        named = scene.panel(f"{half}_name")
        assert phrase(named.label, "en") == f"{half}: {count}"
        assert named.y + named.height <= scene.panel("pointwise").y + 6
    ratio = (area["depthwise"] + area["pointwise"]) / area["standard"]
    assert ratio == pytest.approx(float(layer.cost_ratio()), rel=1e-12)
    assert layer.cost_ratio() == Fraction(1, n) + Fraction(1, k * k)
    assert f"{k * k * m * n:,}" in phrase(scene.steps[0].caption, "en")
    if (n, k) == (128, 3):
        assert "8.41 times fewer" in phrase(scene.steps[-1].caption, "en")


@pytest.mark.parametrize(("channels", "groups"), [(4, 2), (6, 3), (6, 2), (8, 8), (5, 1)])
def test_which_channels_mix(channels, groups):
    scene = mixing(channels, groups, 3)
    for kind, count in (("standard", 1), ("grouped", groups), ("depthwise", channels)):
        weight = torch.nn.Conv2d(channels, channels, 3, groups=count, bias=False).weight
        held = [v for v in scene.values(f"{kind}.weight").values() if v is not None]
        assert sum(held) == weight.numel()
        each = channels // count
        joined = {
            (link.start[1][0], link.end[1][0])
            for link in scene.steps[-1].links
            if link.start[0] == f"{kind}.in"
        }
        assert joined == {
            (i, o) for i, o in product(range(channels), repeat=2) if i // each == o // each
        }


@st.composite
def stacks(draw):
    layers = []
    for _ in range(draw(st.integers(1, 4))):
        kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        rate, pad = draw(st.integers(1, 3)), draw(st.integers(0, 2))
        layers.append(cs.Conv(1, 1, kernel, stride, pad, rate, dims=1))
    return layers


@examples(80)
@given(layers=stacks())
def test_the_paths_of_a_cone_are_the_gradient_of_ones(layers):
    field = Chain(*layers).receptive_field()
    assume(field.span <= 120)
    scene = cone(layers)
    # Far from the borders, the gradient of one output by the input counts the ways to it.
    image = torch.zeros(1, 1, 400, dtype=torch.float64, requires_grad=True)
    value, at, jump, start = image, 40, 1, 0
    for layer in layers:
        window = layer.windows[0]
        start += -window.padding[0] * jump
        jump *= window.stride
        weight = torch.ones(1, 1, window.kernel, dtype=torch.float64)
        value = F.conv1d(value, weight, None, window.stride, 0, window.dilation)
    at = value.shape[-1] // 2
    value[0, 0, at].backward()
    gradient = image.grad.ravel()
    found = {int(i): int(gradient[i]) for i in gradient.nonzero()}
    first = min(found)
    values = scene.values("map0")
    cells = scene.panel("map0").cells
    assert [cell.role == "hole unread" for cell in cells] == [
        first + i not in found for i in range(len(cells))
    ]
    assert len(cells) == field.span
    if any(v is not None for v in values.values()):
        assert {c: v for (_, c), v in values.items() if v is not None} == {
            i - first: n for i, n in found.items()
        }
    assert f"reached in {sum(found.values())} ways" in phrase(scene.steps[-1].caption, "en")


@examples(40)
@given(
    rates=st.lists(st.integers(1, 3), min_size=1, max_size=3), kernel=st.sampled_from([1, 2, 3, 4])
)
def test_the_paths_to_each_pixel_are_the_gradient_of_ones(rates, kernel):
    scene = paths(rates, kernel)
    value = image = torch.zeros(1, 1, 80, 80, dtype=torch.float64, requires_grad=True)
    for rate in rates:
        ones = torch.ones(1, 1, kernel, kernel, dtype=torch.float64)
        value = F.conv2d(value, ones, dilation=rate)
    value[0, 0, 3, 3].backward()
    size = scene.panel("rates").size
    gradient = image.grad[0, 0, 3 : 3 + size[0], 3 : 3 + size[1]]
    assert gradient.sum() == image.grad.sum()
    holes = {cell.at for cell in scene.panel("rates").cells if cell.role == "hole unread"}
    assert holes == {(r, c) for r, c in product(range(size[0]), range(size[1]))
                     if not gradient[r, c]}  # fmt: skip
    for at, number in scene.values("rates").items():
        assert number == (int(gradient[at]) or None)


def test_the_gridding_of_the_lesson_and_its_repair():
    scene = paths([2, 2, 2], repair=[1, 2, 3])
    assert scene.panel("rates").size == scene.panel("repair").size == (13, 13)
    assert sum(v is not None for v in scene.values("rates").values()) == 49
    assert None not in scene.values("repair").values()
    linear = [cone([cs.Conv(1, 1, 3)] * depth).panel("map0").size[1] for depth in (1, 2, 3)]
    assert linear == [3, 5, 7]
    grown = [cone([cs.Conv(1, 1, 3, dilation=2**i) for i in range(depth)]) for depth in (1, 2, 3)]
    assert [scene.panel("map0").size[1] for scene in grown] == [3, 7, 15]


def test_fields_over_an_image_are_to_scale():
    region = Region([(Positions.of([2, 4, 6]), Positions.of([1, 2, 3, 4]))])
    scene = field_over(PIXELS, {"near": [([8, 9], [7, 8, 9])], "far": region})
    (photo,) = scene.photos
    view = scene.panel("view")
    assert view.size == (16, 20) and (photo.x, photo.y) == (0, 0)
    assert (photo.width, photo.height) == pytest.approx((view.width, view.height))
    outlines = [mark.cells for step in scene.steps for mark in step.marks if mark.role == "field"]
    assert outlines == [((8, 7), (9, 9)), ((2, 1), (6, 4))]
    veiled = [at for mark in scene.steps[1].marks if "veil" in mark.role for at in mark.cells]
    assert sorted(veiled) == [(r, c) for r in (1, 3) for c in range(4)]
    said = phrase(scene.steps[1].caption, "en")
    assert said == "far: field 5×4, 12 of 20 positions read (60.0 %)"


def test_a_field_larger_than_the_image_goes_beyond_it():
    scene = field_over(PIXELS, [(range(-100, 100), range(-2, 25))])
    assert scene.panel("view").size == (16 * 3, 27)
    (photo,) = scene.photos
    assert photo.y == pytest.approx(16 * scene.panel("view").side)


def test_an_image_is_the_png_that_was_given():
    from io import BytesIO

    from PIL import Image

    grey = Image.open(BytesIO(png_of(PIXELS)))
    assert [list(grey.crop((0, r, 20, r + 1)).tobytes()) for r in range(16)] == PIXELS
    colour = [[[r, c, 9] for c in range(5)] for r in range(4)]
    opened = Image.open(BytesIO(png_of(torch.tensor(colour))))
    assert [[list(opened.getpixel((c, r))) for c in range(5)] for r in range(4)] == colour
    scene = field_over(colour, [([1], [1])])
    assert scene.svg().count("data:image/png;base64,") == 1
    assert "img-src data:" in scene.html() and "img-src" not in SCENES["cone"]().html()


def test_how_much_of_the_weight_lies_where():
    heat = [[0.0] * 20 for _ in range(16)]
    heat[3][4], heat[3][5], heat[10][10] = 6.0, 3.0, 1.0
    scene = effective_over(PIXELS, heat)
    assert phrase(scene.steps[0].caption, "en") == "60.0 % of the weight lies in 0.3 % of the image"
    assert (
        phrase(scene.steps[-1].caption, "en") == "50.0 % of the weight lies in 0.3 % of the image"
    )
    clear = set(product(range(16), range(20)))
    for mark in scene.steps[0].marks:
        clear -= set(mark.cells)
    assert clear == {(3, 4)}


@examples(60)
@given(data=st.data(), seed=seeds)
def test_tiles_with_their_halo_agree_and_without_it_do_not(data, seed):
    kernels = data.draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=3))
    pads = [data.draw(st.integers(0, k // 2)) for k in kernels]
    layers = [cs.Conv(1, 1, k, padding=p) for k, p in zip(kernels, pads, strict=True)]
    size = data.draw(st.tuples(st.integers(7, 12), st.integers(7, 12)))
    tile = data.draw(st.tuples(st.integers(2, 5), st.integers(2, 5)))
    image = integers(seed, *size)
    weights = [integers(seed + i, k, k) for i, k in enumerate(kernels)]
    scene = halo(layers, size, tile, values=image, weights=weights)

    def run(part):
        value = part[None, None]
        if not part.numel():
            return torch.zeros(0, 0)
        for weight, pad in zip(weights, pads, strict=True):
            if min(value.shape[2:]) + 2 * pad < weight.shape[0]:
                return torch.zeros(0, 0)
            value = F.conv2d(value, weight[None, None], padding=pad)
        return value[0, 0]

    whole = run(image)
    assert scene.values("output") == {
        at: whole[at] for at in product(range(whole.shape[0]), range(whole.shape[1]))
    }
    errors = scene.values("seam")
    wrong = 0
    for (row, column), off in errors.items():
        top, left = row // tile[0] * tile[0], column // tile[1] * tile[1]
        last = [
            n if start + t >= o else start + t
            for start, t, o, n in zip((top, left), tile, whole.shape, size, strict=True)
        ]
        alone = run(image[top : last[0], left : last[1]])
        at = (row - top, column - left)
        if at[0] < alone.shape[0] and at[1] < alone.shape[1]:
            assert off == abs(alone[at] - whole[row, column])
            wrong += off > 0
        else:
            assert off == "–"
            wrong += 1
    assert f"without the halo {wrong} of {len(errors)}" in phrase(scene.steps[-1].caption, "en")
    # What a tile is said to need is what its values depend on.
    for step in scene.steps[:-1]:
        marks = {(mark.panel, mark.role): mark.cells for mark in step.marks}
        (a, c), (b, d) = marks["output", "tile"]
        source = image.clone().requires_grad_()
        ones = source[None, None]
        for weight, pad in zip(weights, pads, strict=True):
            ones = F.conv2d(ones, torch.ones_like(weight)[None, None], padding=pad)
        ones[0, 0, a : b + 1, c : d + 1].sum().backward()
        assert sorted(marks["input", "window"]) == [
            tuple(at) for at in source.grad.nonzero().tolist()
        ]


@examples(80)
@given(data=st.data())
def test_a_ring_holds_what_a_band_reads(data):
    windows = [
        Window(k, data.draw(st.integers(1, 2)), (k // 2 * rate, k // 2 * rate), rate)
        for k in data.draw(st.lists(st.sampled_from([1, 3]), min_size=1, max_size=3))
        for rate in [data.draw(st.integers(1, 2))]
    ]
    rows, band = data.draw(st.integers(7, 20)), data.draw(st.integers(1, 4))
    lengths = [rows]
    for window in windows:
        lengths.append(window.output_length(lengths[-1]))
    scene = bands(windows, rows, band=band)
    computed = [set() for _ in lengths]
    for index, step in enumerate(scene.steps):
        marks = {(mark.panel, mark.role): {r for r, _ in mark.cells} for mark in step.marks}
        outputs = set(range(index * band, min((index + 1) * band, lengths[-1])))
        need = outputs
        for level in range(len(windows), -1, -1):
            name = f"map{level}"
            ready = marks[name, "fresh"] | marks[name, "held"]
            assert need <= ready
            # Nothing is computed twice, and nothing that is read was overwritten.
            assert not marks[name, "fresh"] & computed[level]
            computed[level] |= marks[name, "fresh"]
            assert not need & marks[name, "gone"]
            if 0 < level < len(windows):
                ring = scene.values(f"ring{level}", index)
                assert {r for r in ready if r in ring.values()} == ready
            if level:
                window = windows[level - 1]
                reads = {
                    o * window.stride - window.padding[0] + t * window.dilation
                    for o in marks[name, "fresh"]
                    for t in range(window.kernel)
                }
                need = {r for r in reads if 0 <= r < lengths[level - 1]}
    assert computed[-1] == set(range(lengths[-1]))


def test_a_card_tells_both_figures_and_the_factor():
    scene = card({"params": 9030, "accuracy": 0.912}, {"params": 423, "accuracy": 0.905})
    said = [phrase(panel.label, "en") for panel in scene.panels if panel.label]
    assert {"before 9.03 k", "after 423", "21.3 times less", "−0.7 points"} <= set(said)
    lengths = {panel.name: panel.cells[0].span[1] for panel in scene.panels if panel.cells}
    assert lengths["params.after"] == round(lengths["params.before"] * 423 / 9030)
    assert shown(lengths["accuracy.after"]) == shown(round(240 * 0.905 / 0.912))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: separable(cs.Conv(4, 4, 3, groups=2), 5), "a Conv of one group"),
        (lambda: separable(cs.Conv(600, 4, 3), 5), "at most 512 input channels"),
        (lambda: separable(cs.Conv(3, 4, 3), 2), "no output: 3 taps"),
        (lambda: mixing(12), "2 to 8 channels can be drawn, not 12"),
        (lambda: mixing(6, 4), "groups must divide"),
        (lambda: cost_areas(cs.Pool(2)), "a Conv of one group"),
        (lambda: cone([]), "1 to 12 layers, not 0"),
        (lambda: cone([cs.ConvTranspose(1, 1, 3)]), "convolutions and pools"),
        (lambda: cone([cs.Conv(1, 1, 3)], axis=2), "axis 2"),
        (lambda: cone([cs.Conv(1, 1, 3, 2)] * 7), "a field of 255 positions is too wide"),
        (lambda: paths([]), "1 to 12 rates"),
        (lambda: paths([2, 0]), "rate must be an integer of at least 1"),
        (lambda: paths([9, 9, 9]), "a field of 55×55 is too large"),
        (lambda: field_over([], [([0], [0])]), r"shaped \(rows, columns\)"),
        (lambda: field_over([[300]], [([0], [0])]), "from 0 to 255"),
        (lambda: field_over([[1, 2], [3]], [([0], [0])]), "shaped"),
        (lambda: field_over(PIXELS, []), "no positions"),
        (lambda: field_over(PIXELS, {}), "1 to 60 fields"),
        (lambda: field_over(PIXELS, [([0],)]), "two axes, not 1"),
        (lambda: effective_over(PIXELS, [[1.0]]), "shaped 16×20"),
        (lambda: effective_over([[1]], [[0.0]]), "somewhere more"),
        (lambda: halo([], 8, 4), "one channel, two axes"),
        (lambda: halo([cs.Conv(2, 2, 3)], 8, 4), "one channel, two axes"),
        (lambda: halo([cs.Conv(1, 1, 3)], 40, 4), "too large to draw tiles on"),
        (lambda: halo([cs.Conv(1, 1, 3)], 8, 4, weights=[None, None]), "1 weights, not 2"),
        (lambda: bands([], 8), "1 to 4 fused layers"),
        (lambda: bands([Window(3)], 99), "rows are too many"),
        (lambda: bands([Window(3)], 2), "no output"),
        (lambda: card({"a": 1}, {"b": 1}), "the same 1 to 10 figures"),
        (lambda: card({"a": -1}, {"a": 1}), "a figure is a number of at least 0"),
        (lambda: card({"a": "1"}, {"a": 1}), "a figure is a number of at least 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(call, said):
    with pytest.raises(ArgumentError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


@EVERY
@pytest.mark.parametrize("option", ["language", "theme"])
def test_an_unknown_language_or_theme_is_refused(name, option):
    with pytest.raises(ArgumentError, match=f"{option} must be one of"):
        SCENES[name](**{option: "none"})
