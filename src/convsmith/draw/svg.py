"""A picture as SVG that moves by CSS alone: no script, no reference by name, no font of its own.

It pauses while the pointer is over it or it has the focus; with less motion asked for, and in
print, it shows the last step. Only keyframes have names, made from the drawing's own content, so
that several drawings share a page.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from convsmith.draw.markup import colours
from convsmith.draw.palette import STYLES
from convsmith.draw.shapes import Overlay, Picture, Shape
from convsmith.report.drawing import units
from convsmith.report.text import escape, one_line

__all__ = ["HOLD", "to_svg"]

HOLD = 2
"""Steps for which the last one is held longer."""
# The share of a step in which what moves is on its way to the next.
_GLIDE = 0.3
_FONT = (
    "system-ui,-apple-system,'Segoe UI','PingFang SC','Microsoft YaHei','Noto Sans CJK SC',"
    "'WenQuanYi Zen Hei',sans-serif"
)


def to_svg(picture: Picture) -> str:
    """The whole drawing; the same bytes for the same picture."""
    body, rules = _body(picture)
    mark = "k" + sha256(f"{picture.title}{picture.theme}{body}".encode()).hexdigest()[:8]
    wide, high = units(picture.width), units(picture.height)
    css = colours(f".{mark}", picture.theme) + _styles(picture) + _motion(picture, mark, rules)
    language = "zh-Hans" if picture.language == "zh" else picture.language
    name = escape(one_line(picture.title))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="cs-scene {mark}" role="img" '
            f'lang="{language}" aria-label="{name}" width="{wide}" height="{high}" '
            f'viewBox="0 0 {wide} {high}"{_focus(picture)}>',
            f"<title>{name}</title>",
            f"<desc>{escape(one_line(picture.description))}</desc>",
            f"<style>{css}</style>",
            body.replace("@@", mark),
            "</svg>",
        ]
    )


def _focus(picture: Picture) -> str:
    return ' tabindex="0"' if picture.steps > 1 else ""


def _styles(picture: Picture) -> str:
    used = sorted({shape.style for layer in picture.layers for shape in layer.shapes} | {"paper"})
    rules = [
        f".cs-scene{{font-family:{_FONT};max-width:100%;height:auto;display:block;"
        "font-variant-numeric:tabular-nums;print-color-adjust:exact;"
        "-webkit-print-color-adjust:exact}",
        ".cs-scene .m{text-anchor:middle}",
    ]
    for name in used:
        style = STYLES[name]
        parts = [f"fill:var(--{style.fill})" if style.fill else "fill:none"]
        if style.wash != 1:
            parts.append(f"fill-opacity:{units(style.wash)}")
        if style.stroke:
            parts += [f"stroke:var(--{style.stroke})", f"stroke-width:{units(style.width)}"]
        if style.dash:
            parts.append(f"stroke-dasharray:{' '.join(map(units, style.dash))}")
        if style.bold:
            parts.append("font-weight:650")
        rules.append(f".cs-scene .{name}{{{';'.join(parts)}}}")
    return "".join(rules)


def _motion(picture: Picture, mark: str, rules: list[str]) -> str:
    if not rules:
        return ""
    seconds = units((picture.steps + HOLD) * picture.seconds)
    still = ".cs-scene:not(.cs-steps) .a{animation:none!important}"
    return (
        f".{mark} .a{{animation-duration:{seconds}s;animation-iteration-count:infinite;"
        "animation-timing-function:step-end}"
        + "".join(rules).replace("@@", mark)
        + ".cs-scene:not(.cs-steps):hover .a,.cs-scene:not(.cs-steps):focus .a"
        "{animation-play-state:paused}"
        f"@media (prefers-reduced-motion:reduce){{{still}}}"
        f"@media print{{{still}}}"
    )


def _body(picture: Picture) -> tuple[str, list[str]]:
    """The shapes, and the rules that move them; @@ stands for the drawing's own name."""
    wide, high = units(picture.width), units(picture.height)
    parts = [f'<rect class="paper" width="{wide}" height="{high}" rx="8"/>']
    rules: dict[str, str] = {}
    last = picture.steps - 1
    for layer in picture.layers:
        drawn = _shapes(layer.shapes)
        frames = _frames(picture, layer)
        if frames is None:
            parts.append(drawn)
            continue
        name = frames if frames in rules else ""
        name = rules.setdefault(frames, name or f"a{len(rules)}")
        at = layer.at(last)
        rest = ' opacity="0"' if at is None else ""
        if at is not None and any(at):
            rest = f' transform="translate({units(at[0])} {units(at[1])})"'
        parts.append(f'<g class="a {name}"{rest}>{drawn}</g>')
    named = [
        f".@@ .{name}{{animation-name:@@{name}}}@keyframes @@{name}{{{frames}}}"
        for frames, name in rules.items()
    ]
    return "\n".join(parts), named


def _frames(picture: Picture, layer: Overlay) -> str | None:
    """The keyframes of a layer; None where it never changes."""
    steps = range(picture.steps)
    slots = picture.steps + HOLD
    if layer.offsets is not None:
        return _glide([layer.at(step) for step in steps], slots)
    seen = [layer.at(step) is not None for step in steps]
    if all(seen):
        return None
    frames = []
    for step in steps:
        if step == 0 or seen[step] != seen[step - 1]:
            frames.append(f"{_percent(step, slots)}{{opacity:{int(seen[step])}}}")
    frames.append(f"to{{opacity:{int(seen[-1])}}}")
    return "".join(frames)


def _glide(places: list[tuple[float, float] | None], slots: int) -> str | None:
    if all(place == places[0] for place in places) and places[0] is not None:
        return None
    frames = []
    for step, place in enumerate(places):
        state = "opacity:0"
        if place is not None:
            state = f"opacity:1;transform:translate({units(place[0])}px,{units(place[1])}px)"
        after = places[step + 1] if step + 1 < len(places) else place
        moves = place is not None and after is not None and place != after
        if step == 0 or places[step - 1] != place:
            frames.append(f"{_percent(step, slots)}{{{state}}}")
        if moves:
            away = _percent(step + 1 - _GLIDE, slots)
            frames.append(f"{away}{{{state};animation-timing-function:ease-in-out}}")
    state = frames[-1].split("{", 1)[1]
    frames.append("to{" + state)
    return "".join(frames)


def _percent(slot: float, slots: int) -> str:
    return f"{units(100 * slot / slots)}%"


def _shapes(shapes: Iterable[Shape]) -> str:
    return "".join(map(_shape, shapes))


def _shape(shape: Shape) -> str:
    if shape.kind == "rect":
        x, y, wide, high = map(units, shape.place)
        corner = units(min(4.0, shape.place[2] / 5))
        return (
            f'<rect class="{shape.style}" x="{x}" y="{y}" width="{wide}" height="{high}" '
            f'rx="{corner}"/>'
        )
    if shape.kind == "lines":
        p = shape.place
        data = "".join(
            f"M{units(p[i])} {units(p[i + 1])}L{units(p[i + 2])} {units(p[i + 3])}"
            for i in range(0, len(p), 4)
        )
        return f'<path class="{shape.style}" d="{data}"/>'
    if shape.kind == "block":
        x, y, wide, high = map(units, shape.place)
        return (
            f'<rect class="{shape.style}" x="{x}" y="{y}" width="{wide}" height="{high}" '
            'shape-rendering="crispEdges"/>'
        )
    if shape.kind == "image":
        x, y, wide, high = map(units, shape.place)
        return (
            f'<image x="{x}" y="{y}" width="{wide}" height="{high}" preserveAspectRatio="none" '
            f'href="data:image/png;base64,{shape.text}"/>'
        )
    x, y = map(units, shape.place)
    kind = shape.style + (" m" if shape.anchor == "middle" else "")
    return (
        f'<text class="{kind}" x="{x}" y="{y}" font-size="{units(shape.size)}">'
        f"{escape(shape.text)}</text>"
    )
