"""What a convolution costs against its separable form, as areas."""

from __future__ import annotations

from convsmith.arithmetic import Conv
from convsmith.draw.layout import GAP, LABEL
from convsmith.draw.scene import At, Cell, Mark, Panel, Scene, Step
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.scenes.facts import by
from convsmith.draw.words import text
from convsmith.errors import ArgumentError
from convsmith.report.formats import count, number

__all__ = ["cost_areas"]

_WIDE, _HIGH = 430.0, 190.0


def cost_areas(layer: Conv, *, language: str = "en", theme: str = "auto") -> Scene:
    """Draw the multiplications of a convolution and of its separable form as areas to one scale.

    For each input channel and position the standard form takes k·k·n multiplications: a rectangle
    of k·k rows and n columns. The depthwise half takes k·k, one of its columns, the pointwise one
    n, one of its rows; so the ratio is 1/n + 1/(k·k) (Howard et al. 2017, arXiv:1704.04861).

    Args:
        layer: a `Conv` of one group.
        language: `en` or `zh`.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: no convolution of one group.

    >>> import convsmith as cs
    >>> cost_areas(cs.Conv(64, 128, 3))
    Scene('cost_areas', 3 panels, 4 steps)
    """
    check_dress(language, theme)
    if not isinstance(layer, Conv) or layer.groups > 1:
        raise ArgumentError(f"areas are drawn for a Conv of one group, not {layer!r}")
    m, n, taps = layer.in_channels, layer.out_channels, layer.taps
    # Rows are made so many times higher that the rectangle is one to look at.
    tall = max(1, round(n * _HIGH / _WIDE / taps))
    broad = max(1, round(tall * taps * _WIDE / _HIGH / n / 2))
    side = round(min(_WIDE / (n * broad), _HIGH / (taps * tall)), 3)
    high, wide = taps * tall, n * broad
    top = LABEL
    below = top + high * side + LABEL + GAP / 2
    panels = (
        Panel("standard", "kernel", (high, wide), (Cell((0, 0), None, "", (high, wide)),),
              0.0, top, text("panel.area", rows=taps, columns=n), side),
        Panel("depthwise", "input", (high, broad), (Cell((0, 0), None, "", (high, broad)),),
              0.0, below, None, side),
        Panel("pointwise", "output", (tall, wide), (Cell((0, 0), None, "", (tall, wide)),),
              0.0, below + high * side + 4, text("panel.both", rows=taps, columns=n), side,
              label_below=True),
    )  # fmt: skip
    whole, each, mix = taps * m * n, taps * m, m * n
    ratio = layer.cost_ratio()
    ends: dict[str, tuple[At, At]] = {
        "standard": ((0, 0), (high - 1, wide - 1)),
        "depthwise": ((0, 0), (high - 1, broad - 1)),
        "pointwise": ((0, 0), (tall - 1, wide - 1)),
    }
    said = [
        text("caption.cost_standard", taps=taps, ins=m, outs=n, value=count(whole)),
        text("caption.cost_depthwise", taps=taps, ins=m, value=count(each)),
        text("caption.cost_pointwise", ins=m, outs=n, value=count(mix)),
        text("caption.cost_ratio", sum=count(each + mix), whole=count(whole), outs=n, taps=taps,
             ratio=number(ratio), times=number(1 / ratio)),
    ]  # fmt: skip
    steps = [
        Step(caption, (Mark(name, "active", ends[name]),))
        for caption, name in zip(said, ends, strict=False)
    ]
    steps.append(Step(said[3]))
    title = text("title.cost_areas")
    described = text("describe.cost_areas", title=title, layer=repr(layer), whole=count(whole),
                     sum=count(each + mix))  # fmt: skip
    notes = (
        text("fact.cost", size=by(layer.kernel_size), ins=m, outs=n),
        text("fact.cost_ratio", ratio=number(ratio), times=number(1 / ratio)),
    )
    return dressed(
        Scene("cost_areas", title, described, panels, tuple(steps), notes), language, theme
    )
