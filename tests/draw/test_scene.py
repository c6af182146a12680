"""Scenes as plain data: the lesson's examples, what is marked, both languages, crops, errors."""

from __future__ import annotations

import json
import re
from itertools import product
from string import Formatter

import pytest

import convsmith as cs
from convsmith.draw import animate
from convsmith.draw.lettering import shown
from convsmith.draw.picture import picture
from convsmith.draw.words import LANGUAGES, WORDS, joined, phrase, text
from convsmith.errors import ArgumentError
from tests.thoroughness import thinned

IMAGE = [[4, 1, 7, 5], [4, 4, 2, 5], [7, 7, 2, 4], [1, 0, 2, 4]]
STAMP = [[1, 2, 1], [2, 1, 2], [1, 1, 2]]

SCENES = {
    "standard": (cs.Conv(1, 1, 3), 5),
    "channels": (cs.Conv(3, 2, 3), 5),
    "grouped": (cs.Conv(4, 4, 3, groups=2), 5),
    "depthwise": (cs.Conv(3, 3, 3, groups=3), 5),
    "multiplier": (cs.Conv(2, 4, 3, groups=2), 4),
    "pointwise": (cs.Conv(3, 4, 1), 4),
    "dilated": (cs.Conv(1, 1, 3, dilation=2), 7),
    "dilated_depthwise": (cs.Conv(3, 3, 3, padding=2, dilation=2, groups=3), 5),
    "strided": (cs.Conv(1, 1, 3, stride=2), 6),
    "same": (cs.Conv(1, 1, 2, padding="same"), 4),
    "asymmetric": (cs.Conv(1, 1, (3, 2), stride=(1, 2)), (5, 6)),
    "reflect": (cs.Conv(1, 1, 3, padding=1, padding_mode="reflect"), 4),
    "circular": (cs.Conv(1, 1, 3, padding=1, padding_mode="circular"), 4),
    "replicate": (cs.Conv(1, 1, 3, padding=1, padding_mode="replicate"), 4),
    "line": (cs.Conv(1, 1, 3, padding=1, dims=1), 8),
    "lines": (cs.Conv(2, 3, 3, padding=1, dims=1), 8),
    "causal": (cs.Conv(1, 1, 3, padding=((4, 0),), dilation=2, dims=1), 9),
    "volume": (cs.Conv(1, 1, 2, dims=3), 3),
    "max": (cs.Pool(2), 6),
    "average": (cs.Pool(3, stride=2, padding=1, kind="average"), 5),
    "transposed": (cs.ConvTranspose(1, 1, 3), 2),
    "output_padding": (cs.ConvTranspose(1, 1, 3, stride=2, padding=1, output_padding=1), 3),
    "transposed_groups": (cs.ConvTranspose(4, 4, 2, stride=2, groups=2), 2),
    "large": (cs.Conv(64, 128, 3, padding=1), 224),
}
EVERY = pytest.mark.parametrize("name", SCENES)


def scene_of(name, **options):
    return animate(*SCENES[name], **options)


def cells(scene, role, panel="input0"):
    return {cell.at for cell in scene.panel(panel).cells if role in cell.role.split()}


def test_the_convolution_by_hand():
    scene = animate(
        cs.Conv(1, 1, 2, padding="same", bias=False), 4, values=IMAGE, weight=[[1, 0], [2, 1]]
    )
    expected = [[16, 11, 16, 15], [25, 20, 10, 13], [9, 9, 10, 12], [1, 0, 2, 4]]
    assert scene.values("output0") == {(r, c): expected[r][c] for r in range(4) for c in range(4)}
    # An even kernel pads at the bottom and at the right only, and the drawing says so.
    assert cells(scene, "padding") == {at for at in product(range(5), range(5)) if 4 in at}
    assert "0 above, 1 below, 0 left, 1 right" in phrase(scene.notes[0], "en")
    assert phrase(scene.steps[0].caption, "en") == "y[0, 0] = 4·1 + 1·0 + 4·2 + 4·1 =\u00a016"


def test_the_stamp_of_55():
    scene = animate(cs.ConvTranspose(1, 1, 3), 2, values=[[55, 1], [2, 3]], weight=STAMP)
    first = scene.values("output0", 0)
    assert {at: v for at, v in first.items() if v is not None} == {
        (r, c): 55 * STAMP[r][c] for r in range(3) for c in range(3)
    }
    assert scene.values("stamp0", 0) == {at: first[at] for at in product(range(3), range(3))}
    # The second stamp overlaps the first, and they add up.
    assert scene.values("output0", 1)[0, 1] == 55 * 2 + 1 * 1
    assert len(scene.values("output0")) == 16


@EVERY
@pytest.mark.parametrize("theme", thinned(["auto", "dark"], 2))
def test_both_languages_have_one_geometry_and_the_same_numbers(name, theme):
    scene = scene_of(name)
    english, chinese = (picture(scene, language, theme) for language in LANGUAGES)
    assert (english.width, english.height, english.steps) == (
        chinese.width,
        chinese.height,
        chinese.steps,
    )
    for step in range(english.steps):
        one, other = (
            sorted(
                (shape.kind, shape.style, shape.place, shape.size, numbers(shape.text))
                for shape in made.frame(step)
                # Lines of words begin at one place and may be fewer in one language.
                if shape.anchor == "middle"
            )
            for made in (english, chinese)
        )
        assert one == other
    assert [sorted(numbers(c)) for c in english.captions] == [
        sorted(numbers(c)) for c in chinese.captions
    ]


def numbers(words):
    return re.findall(r"−?\d+(?:\.\d+)?", words)


@EVERY
def test_nothing_is_left_in_the_other_language(name):
    scene = scene_of(name)
    said = [scene.title, *scene.notes, *(step.caption for step in scene.steps)]
    said += [panel.label for panel in scene.panels if panel.label is not None]
    for words in said:
        assert not re.search(r"[A-Za-z]{2,}", phrase(words, "zh").replace("max", ""))
        assert not re.search(r"[\u2e80-\uffef]", phrase(words, "en"))


def test_both_languages_take_the_same_parameters():
    for key, (english, chinese) in WORDS.items():
        fields = [
            {name for _, name, _, _ in Formatter().parse(words) if name}
            for words in (english, chinese)
        ]
        assert fields[0] == fields[1], key
    assert phrase(joined(text("fact.stride", size=2), text("fact.groups", count=3)), "zh") == (
        "步幅 2 · 3 组"
    )
    with pytest.raises(ArgumentError, match=r"no text 'titel.max'; did you mean 'title.max'"):
        text("titel.max")


@EVERY
def test_marks_and_writes_are_within_their_panels(name):
    scene = scene_of(name)
    sizes = {panel.name: panel.size for panel in scene.panels}
    assert len(sizes) == len(scene.panels)
    for step in scene.steps:
        places = [(mark.panel, at) for mark in step.marks for at in mark.cells]
        places += [(write.panel, write.at) for write in step.writes]
        places += [end for link in step.links for end in (link.start, link.end)]
        for panel, (row, column) in places:
            assert 0 <= row < sizes[panel][0] and 0 <= column < sizes[panel][1]


@EVERY
def test_panels_do_not_overlap(name):
    panels = scene_of(name).panels
    for one, other in product(panels, panels):
        if one.name < other.name:
            apart = (
                one.x + one.width <= other.x
                or other.x + other.width <= one.x
                or one.y + one.height <= other.y
                or other.y + other.height <= one.y
            )
            assert apart, (one.name, other.name)


@EVERY
@pytest.mark.parametrize("language", LANGUAGES)
def test_each_step_shows_the_values_of_its_cells(name, language):
    scene = scene_of(name)
    made = picture(scene, language)
    # The cells of a panel are drawn in order, all panels one after another.
    (ground, *_) = made.layers
    rects = iter([s.place for s in ground.shapes if s.kind == "rect"])
    middles = {
        (panel.name, cell.at): (x + wide / 2, y + high / 2)
        for panel in scene.panels
        for cell in panel.cells
        for x, y, wide, high in [next(rects)]
    }
    steps = range(made.steps)
    for step in sorted({steps[0], steps[len(steps) // 2], steps[-1]}):
        texts = {s.place: s.text for s in made.frame(step) if s.kind == "text"}
        for panel in scene.panels:
            for at, value in scene.values(panel.name, step).items():
                x, y = middles[panel.name, at]
                near = [t for (tx, ty), t in texts.items() if tx == x and abs(ty - y) < 8]
                assert near == ([] if value is None else [shown(value, 5)])


def test_zeros_between_values_are_told_from_padding():
    layer = cs.ConvTranspose(1, 1, 3, stride=2, padding=1)
    scene = animate(layer, 3, values=[[1, 2, 3], [4, 5, 6], [7, 8, 9]], view="zeros")
    # One ring of padding, then the values two apart.
    spread = {(1 + 2 * r, 1 + 2 * c): 3 * r + c + 1 for r in range(3) for c in range(3)}
    inside = set(product(range(1, 6), range(1, 6)))
    assert cells(scene, "gap") == inside - spread.keys()
    assert cells(scene, "padding") == set(product(range(7), range(7))) - inside
    values = scene.values("input0")
    assert values == {at: spread.get(at, 0) for at in values}


def test_what_flooring_drops_is_marked():
    assert cells(scene_of("strided"), "unread") == {
        at for at in product(range(6), range(6)) if 5 in at
    }
    # A stride larger than the kernel leaves holes in the middle too.
    gaps = cells(animate(cs.Conv(1, 1, 2, stride=3), 5), "unread")
    assert gaps == {at for at in product(range(5), range(5)) if 2 in at}
    assert not cells(scene_of("standard"), "unread")


@pytest.mark.parametrize(
    ("mode", "source"), [("reflect", (2, 2)), ("replicate", (1, 1)), ("circular", (4, 4))]
)
def test_where_the_border_comes_from_is_shown(mode, source):
    scene = scene_of(mode)
    copied = {at for m in scene.steps[0].marks if m.role == "source" for at in m.cells}
    # The corner of the border shows what its source does.
    assert source in copied
    values = scene.values("input0")
    assert values[0, 0] == values[source]
    assert not any(m.cells for s in scene_of("same").steps for m in s.marks if m.role == "source")


def test_two_sizes_that_one_output_padding_tells_apart():
    scene = scene_of("output_padding")
    assert "makes 3 of 5 and of 6; output padding 1 means\u00a06" in phrase(scene.notes[2], "en")
    conv = cs.Conv(1, 1, 3, stride=2, padding=1)
    assert conv.output_size(5) == conv.output_size(6) == (3, 3)


def test_large_maps_are_a_crop_that_says_so():
    scene = scene_of("large")
    notes = [phrase(note, "en") for note in scene.notes]
    assert "a crop: 7×7 of 224×224" in notes
    assert "shown: 4 of 64 → 3 of 128 channels" in notes
    assert max(max(panel.size) for panel in scene.panels) <= 14
    assert len(scene.steps) <= 150
    assert len(animate(cs.Conv(1, 1, 3), 5).notes) == 2


def test_links_join_what_is_read_to_what_is_computed():
    scene = scene_of("causal")
    assert [link.start[1] for link in scene.steps[0].links] == [(0, 0), (0, 2), (0, 4)]
    assert {link.end for link in scene.steps[3].links} == {("output0", (0, 3))}


@EVERY
def test_a_scene_is_plain_data(name):
    scene = scene_of(name)
    data = json.loads(json.dumps(scene.to_dict(), allow_nan=False))
    assert len(data["steps"]) == len(scene.steps) and data["kind"] == scene.kind
    assert scene == scene_of(name) and hash(scene) == hash(scene_of(name))


def test_numbers_as_they_are_shown():
    assert [shown(v) for v in (0, -3, 12.0, 1 / 3, 1234.5, 1e9, float("-inf"))] == [
        "0", "−3", "12", "0.333", "1234", "1000000000", "−∞",
    ]  # fmt: skip
    fitted = [shown(v, 5) for v in (-0.01834, -1.2345, 0.00001234, -123.456, 99.99)]
    assert all(len(text.lstrip("−")) <= 5 for text in fitted)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: animate(cs.Conv(1, 1, 5), 3), r"no output: 5 taps .* 3 input positions"),
        (lambda: animate(cs.ConvTranspose(1, 1, 1, padding=2), 2), r"no output: \(2 - 1\)·1 - 2"),
        (lambda: animate(cs.Conv(1, 1, 3), (5, 5, 5)), "size must be an int or 2 ints"),
        (lambda: animate("conv", 5), "Conv, ConvTranspose or Pool can be drawn, not 'conv'"),
        (lambda: animate(cs.Conv(1, 1, 3), 5, language="fr"), "'en', 'zh', not 'fr'"),
        (lambda: animate(cs.Conv(1, 1, 3), 5, theme="blue"), "not 'blue'"),
        (lambda: animate(cs.Conv(1, 1, 3), 5, view="zeros"), "view is for transposed"),
        (lambda: animate(cs.ConvTranspose(1, 1, 3), 5, view="zero"), "did you mean 'zeros'"),
        (lambda: animate(cs.Pool(2), 4, weight=[[1]]), "neither weight nor bias"),
        (lambda: animate(cs.Conv(1, 1, 3), 5, values=IMAGE), r"shaped 1×5×5, not 4×4"),
        (lambda: animate(cs.Conv(1, 1, 2), 2, values=[[1, 2], [3]]), "ragged"),
        (lambda: animate(cs.Conv(1, 1, 2), 2, values=[[1, "2"], [3, 4]]), "must hold numbers"),
        (lambda: animate(cs.Conv(1, 1, 2), 2, values=[[1, None], [3, 4]]), "must hold numbers"),
        (lambda: animate(cs.Conv(1, 2, 2), 4, weight=[[1, 0], [2, 1]]), "shaped 2×1×2×2, not 2×2"),
        (lambda: animate(cs.Conv(1, 2, 2), 4, bias=[1]), "bias must have 2 values, not 1"),
        (lambda: animate(cs.Conv(1, 1, 27), 40), "spans 27 positions is too large to draw"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(call, said):
    with pytest.raises(ArgumentError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


PAPER = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
KERNEL = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (cs.Conv(1, 1, 3), [[12, 12, 17], [10, 17, 19], [9, 6, 14]]),
        (cs.Conv(1, 1, 3, stride=2, padding=1), [[6, 17, 3], [8, 17, 13], [6, 4, 4]]),
        (cs.Pool(3, stride=1), [[3, 3, 3], [3, 3, 3], [3, 2, 3]]),
        (
            cs.Pool(3, stride=1, kind="average"),
            [[1.7, 1.7, 1.7], [1.0, 1.2, 1.8], [1.1, 0.8, 1.3]],
        ),
    ],
)
def test_the_numbers_of_dumoulin_and_visin(layer, expected):
    """Figures 1.1 to 1.6 of arXiv:1603.07285, means rounded as printed there."""
    weight = KERNEL if isinstance(layer, cs.Conv) else None
    scene = animate(layer, 5, values=PAPER, weight=weight)
    values = {at: round(value, 1) for at, value in scene.values("output0").items()}
    assert values == {(r, c): expected[r][c] for r in range(3) for c in range(3)}


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "output"),
    [
        (4, 3, 1, 0, 2),
        (5, 4, 1, 2, 6),
        (5, 3, 1, 1, 5),
        (5, 3, 1, 2, 7),
        (5, 3, 2, 0, 2),
        (5, 3, 2, 1, 3),
        (6, 3, 2, 1, 3),
    ],
)
def test_the_sizes_of_dumoulin_and_visin_and_back(size, kernel, stride, padding, output):
    """No, arbitrary, half and full padding; strides; an odd rest: each also transposed."""
    conv = cs.Conv(1, 1, kernel, stride, padding)
    scene = animate(conv, size)
    assert scene.panel("output0").size == (output, output)
    rest = (size + 2 * padding - kernel) % stride
    back = cs.ConvTranspose(1, 1, kernel, stride, padding, output_padding=rest)
    for view in ("scatter", "zeros"):
        panel = animate(back, output, view=view).panel("output0")
        kept = [cell for cell in panel.cells if cell.role != "cropped"]
        assert len(kept) == size**2


def test_a_panel_that_is_not_there_is_told_with_those_that_are():
    scene = animate(cs.Conv(1, 1, 3), 5)
    names = ", ".join(panel.name for panel in scene.panels)
    with pytest.raises(ArgumentError, match=f"^no panel 'output1'; there are {names}$"):
        scene.values("output1")


@pytest.mark.parametrize(("channels", "groups"), [((4, 4), 2), ((6, 3), 3), ((4, 8), 2)])
def test_every_group_has_a_sum_of_its_own(channels, groups):
    scene = animate(cs.Conv(*channels, 2, groups=groups), 3)
    panels = {panel.name: panel for panel in scene.panels}
    inputs = sorted(n for n in panels if n.startswith("input"))
    each = len(inputs) // groups
    sums = sorted(symbol.y for symbol in scene.symbols if symbol.sign == "Σ")
    assert len(sums) == groups
    for group, y in enumerate(sums):
        first, last = (panels[inputs[i]] for i in (group * each, group * each + each - 1))
        assert first.y < y < last.y + last.height
    notes = [phrase(note, "zh") for note in scene.notes]
    assert any("按通道拼接，不相加" in note for note in notes)  # noqa: RUF001
    # Nothing overlaps within a column.
    for one, other in product(scene.panels, repeat=2):
        if one.name < other.name and one.x == other.x:
            assert one.y + one.height <= other.y or other.y + other.height <= one.y
