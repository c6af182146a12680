"""The SVG of a scene, read back: its form, its motion, its bytes, and the page around it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import convsmith as cs
from convsmith.draw import animate
from convsmith.draw.fonts import font
from convsmith.draw.palette import COLOURS, STYLES
from convsmith.draw.picture import picture
from convsmith.draw.svg import HOLD
from convsmith.draw.words import phrase
from convsmith.errors import ArgumentError
from tests.draw.markup import parse
from tests.draw.test_scene import EVERY, SCENES, scene_of

WRITTEN = ("standard", "causal", "output_padding")
SVG = "{http://www.w3.org/2000/svg}"
GOLDEN = Path(__file__).parent / "golden"
FRAME = re.compile(r"([\d.]+%|to)\{([^}]*)\}")


def write_golden():
    for name in WRITTEN:
        scene_of(name).save(GOLDEN / f"{name}.svg", force=True)


def root_of(svg):
    return ElementTree.fromstring(svg)


def style_of(svg):
    return root_of(svg).find(f"{SVG}style").text


def keyframes(svg):
    """{class: [(share of the time, declarations)]} of everything that moves."""
    css = style_of(svg)
    names = dict(re.findall(r"\.(a\d+)\{animation-name:(\w+)\}", css))
    found = {}
    for name, animation in names.items():
        start = css.index(f"@keyframes {animation}{{")
        end = css.index("}}", start)
        frames = FRAME.findall(css[start : end + 1].split("{", 1)[1])
        found[name] = [(1.0 if at == "to" else float(at[:-1]) / 100, rule) for at, rule in frames]
    return found


def seen_at(frames, share):
    """The declarations in force at a share of the time, where nothing glides."""
    return [rule for at, rule in frames if at <= share + 1e-9][-1]


def numbers_at(svg, step, steps):
    """Every text that is visible in the middle of a step, as a browser would show it."""
    moving = keyframes(svg)
    share = (step + 0.4) / (steps + HOLD)
    shown = []
    for element in root_of(svg):
        if element.tag == f"{SVG}text":
            shown.append(element.text)
        if element.tag == f"{SVG}g":
            rule = seen_at(moving[element.get("class").split()[1]], share)
            if "opacity:0" not in rule:
                shown += [text.text for text in element.iter(f"{SVG}text")]
    return sorted(shown)


@EVERY
def test_each_moment_shows_the_numbers_of_its_step(name):
    scene = scene_of(name)
    made, svg = picture(scene, "en"), scene.svg()
    for step in range(made.steps):
        wanted = sorted(s.text for s in made.frame(step) if s.kind == "text")
        assert numbers_at(svg, step, made.steps) == [w.replace("\u00a0", " ") for w in wanted]


@EVERY
def test_at_rest_it_is_the_last_step(name):
    scene = scene_of(name)
    made, root = picture(scene, "en"), root_of(scene.svg())
    groups = [g for g in root.iter(f"{SVG}g") if g.get("opacity") == "0"]
    hidden = {id(e) for g in groups for e in g.iter()}
    shown = sorted(e.text for e in root.iter(f"{SVG}text") if id(e) not in hidden)
    wanted = sorted(s.text for s in made.frame(made.steps - 1) if s.kind == "text")
    assert shown == [w.replace("\u00a0", " ") for w in wanted]
    css = style_of(scene.svg())
    if made.steps > 1:
        assert "@media (prefers-reduced-motion:reduce)" in css and "@media print" in css


@EVERY
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_form(name, language):
    svg = scene_of(name).svg(language=language)
    root = root_of(svg)
    assert parse(svg).children[0].tag == "svg"
    assert root[0].tag == f"{SVG}title" and root[0].text
    assert root[1].tag == f"{SVG}desc" and root[1].text.count(
        "gives" if language == "en" else "得到"
    )
    assert root.get("role") == "img" and root.get("lang") == {"en": "en", "zh": "zh-Hans"}[language]
    assert not re.search(r'\bid="|href|url\(|<script|http(?!://www.w3.org/2000/svg)', svg)
    styled = set(re.findall(r"\.cs-scene \.([\w-]+)\{", style_of(svg))) | {"a"}
    moving = set(keyframes(svg))
    used = {c for e in root.iter() for c in (e.get("class") or "").split()[:9]}
    assert used - styled - moving <= {root.get("class").split()[0], root.get("class").split()[1]}
    left, top, wide, high = map(float, root.get("viewBox").split())
    assert (left, top) == (0, 0)
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x")) <= wide and 0 <= float(text.get("y")) <= high


def test_it_is_small_and_the_same_every_time():
    first, second = (animate(cs.Conv(1, 1, 3), 5).svg().encode() for _ in range(2))
    assert first == second
    assert len(first) <= 60_000


def test_drawings_on_one_page_do_not_share_their_motion():
    names = [
        set(re.findall(r"@keyframes (\w+)", style_of(animate(*SCENES[name]).svg(**options))))
        for name in ("standard", "dilated")
        for options in ({}, {"language": "zh"}, {"theme": "dark"})
    ]
    assert all(names) and sum(map(len, names)) == len(set.union(*names))


def test_themes():
    scene = scene_of("standard")
    auto, light, dark = (style_of(scene.svg(theme=theme)) for theme in ("auto", "light", "dark"))
    assert "prefers-color-scheme:dark" in auto
    assert "prefers-color-scheme" not in light + dark
    assert COLOURS["paper"][0] in light and COLOURS["paper"][1] in dark
    assert COLOURS["paper"][1] not in light and COLOURS["paper"][0] not in dark
    with pytest.raises(ArgumentError, match="theme must be one of"):
        scene.svg(theme="sepia")


def luminance(code):
    parts = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_text_and_outlines_stand_out_from_their_ground(theme):
    grounds = [name for name in COLOURS if name.endswith("-wash")] + ["paper"]
    for ground in grounds:
        assert contrast(COLOURS["ink"][theme], COLOURS[ground][theme]) >= 7
    assert contrast(COLOURS["muted"][theme], COLOURS["paper"][theme]) >= 4.5
    for name, style in STYLES.items():
        # The places between taps are to be faint.
        if style.stroke and name != "gap":
            assert contrast(COLOURS[style.stroke][theme], COLOURS["paper"][theme]) >= 3, name


def test_what_colour_tells_form_tells_too():
    marks = ("window", "current", "stamped", "active", "kept", "source")
    cells = ("input", "padding", "gap", "extra")
    for group in (marks, cells):
        forms = {(STYLES[n].width, STYLES[n].dash, bool(STYLES[n].fill)) for n in group}
        # What is read and what is added to are never in one panel.
        assert len(forms) >= len(group) - 1


def test_a_strip_shows_every_step_and_the_last_first():
    scene = scene_of("strided")
    svg = scene.svg(strip=True)
    root = root_of(svg)
    assert not list(root.iter(f"{SVG}g")) and "@keyframes" not in svg
    outputs = [t for t in root.iter(f"{SVG}text") if re.match(r"y\[", t.text)]
    said = [t.text.split(" ")[0] + t.text.split(" ")[1] for t in outputs]
    assert said == ["y[1,1]", "y[0,0]", "y[0,1]", "y[1,0]", "y[1,1]"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: cs.draw.stage([cs.Conv(1, 1, 3)] * 2, 6).scene(),
        lambda: animate(cs.Conv(8, 8, 3, groups=4), 4, weight=[[[[-0.0314] * 3] * 3] * 2] * 8),
        lambda: animate(cs.Pool(2, kind="max"), 4, values=[[-9999, 1000, -1, 0]] * 4),
    ],
)
def test_numbers_stay_clear_of_the_edges_of_their_cells(make):
    pytest.importorskip("PIL")
    scene = make()
    sides = {panel.side for panel in scene.panels}
    assert len(sides) == 1
    drawn = {
        shape
        for layer in picture(scene, "en").layers
        for shape in layer.shapes
        if shape.kind == "text" and shape.style in ("text", "quiet")
        and re.fullmatch(r"−?[\d.]+|−∞", shape.text)
    }  # fmt: skip
    assert any(len(shape.text) > 2 for shape in drawn)
    for shape in drawn:
        # In a hundred times the size, so that the hints of small letters do not count.
        wide = font(False, round(100 * shape.size)).getlength(shape.text) / 100
        assert wide <= 0.9 * (min(sides) - 2), shape


def test_what_a_group_adds_stands_under_that_group():
    layer = cs.Conv(8, 8, 3, groups=4, bias=True)
    scene = animate(layer, 4, bias=list(range(8)))
    for g, channel in enumerate((0, 2, 4, 6)):
        bias, rest = scene.panel(f"bias{channel}"), scene.panel(f"rest{g}")
        first = scene.panel(f"input{channel}")
        assert bias.y == rest.y > first.y + first.height
        assert g == 3 or bias.y + bias.height < scene.panel(f"input{channel + 2}").y


def test_facts_break_between_one_another():
    scene = cs.draw.cone([cs.Conv(1, 1, 3)] * 3)
    facts = [phrase(note, "en") for note in scene.notes]
    lines = [
        shape.text
        for layer in picture(scene, "en").layers
        for shape in layer.shapes
        if shape.kind == "text" and shape.style == "quiet"
    ]
    assert any(" · " in fact for fact in facts)
    assert "dilations 1, 1, 1" in lines and not any(line.endswith("·") for line in lines)


@pytest.mark.parametrize("name", WRITTEN)
def test_golden(name):
    """After a change to how drawings look: write these again (`write_golden`), and look at them."""
    assert (GOLDEN / f"{name}.svg").read_text(encoding="utf-8") == scene_of(name).svg() + "\n"


def test_the_page():
    scene = scene_of("standard", language="zh")
    page = scene.html()
    tree = parse(page.replace("<!doctype html>", ""))
    assert len(tree.find("button")) == 3 and len(tree.find("svg")) == 1
    assert "播放" in page and "第 # 步" in page and "http-equiv" in page
    assert page == scene.html()
    assert not re.search(r"src=|href=|url\(|https?://(?!www.w3.org/2000/svg)", page)


def test_saving(tmp_path):
    scene = scene_of("standard")
    target = scene.save(tmp_path / "a.svg")
    assert target.read_text(encoding="utf-8") == scene.svg() + "\n"
    with pytest.raises(ArgumentError, match=r"a\.svg' exists; pass force=True"):
        scene.save(target)
    assert scene.save(target, force=True, language="zh").read_text("utf-8") != scene.svg() + "\n"
    assert scene.save(tmp_path / "a.HTML").read_text("utf-8") == scene.html()
    for name, said in (
        ("a.pdf", r"\.svg, \.gif, \.png, \.mp4, \.html, not as 'a\.pdf'"),
        ("a", "not as 'a'"),
        ("no/a.svg", "no folder"),
        ("no/a.gif", "no folder"),
    ):
        with pytest.raises(ArgumentError, match=said):
            scene.save(tmp_path / name)
    with pytest.raises(ArgumentError, match="a strip is still"):
        scene.save(tmp_path / "b.gif", strip=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.HTML", "a.svg"]


def test_notebooks():
    scene = scene_of("standard")
    assert scene._repr_svg_() == scene.svg() and scene.svg() in scene._repr_html_()
    assert repr(scene) == "Scene('standard', 3 panels, 9 steps)"
