"""The words of a scene: its title, the facts under it, and numbers as formulas show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.draw.lettering import shown
from convsmith.draw.words import Text, joined, text
from convsmith.text import times as by

__all__ = ["by", "channel_label", "factor", "facts", "kind_of", "named", "plus", "size_formula"]


def kind_of(layer: Conv | ConvTranspose | Pool) -> str:
    """What a layer is called: the end of a `title.…` key."""
    if isinstance(layer, Pool):
        return layer.kind
    if layer.transposed:
        return "transposed"
    dilated = set(layer.dilation) != {1} and not layer.is_pointwise
    if layer.is_depthwise:
        return "dilated_depthwise" if dilated else "depthwise"
    if layer.groups > 1:
        return "grouped"
    if layer.dims == 1 and layer.padding[0] == (layer.windows[0].extent - 1, 0) != (0, 0):
        return "causal"
    if layer.is_pointwise:
        return "pointwise"
    return "dilated" if dilated else "standard"


def facts(layer: Conv | ConvTranspose | Pool, size: Sequence[int]) -> Text:
    """One line: the parameters that are not the usual ones."""
    window = "fact.window" if isinstance(layer, Pool) else "fact.kernel"
    parts = [text(window, size=by(layer.kernel_size))]
    if not isinstance(layer, Pool) and layer.in_channels * layer.out_channels > 1:
        parts.append(text("fact.channels", ins=layer.in_channels, outs=layer.out_channels))
        if layer.groups > 1:
            parts.append(text("fact.groups", count=layer.groups))
    if set(layer.stride) != {1}:
        parts.append(text("fact.stride", size=_each(layer.stride)))
    if set(layer.dilation) != {1}:
        parts.append(text("fact.dilation", size=_each(layer.dilation)))
    if any(map(any, layer.padding)):
        parts.append(_padding(layer.padding))
        mode = getattr(layer, "padding_mode", "zeros")
        if mode != "zeros":
            parts.append(text(f"fact.{mode}"))
    if isinstance(layer, ConvTranspose) and any(layer.output_padding):
        parts.append(text("fact.output_padding", size=_each(layer.output_padding)))
    return joined(*parts)


def size_formula(layer: Conv | ConvTranspose | Pool, size: Sequence[int]) -> Text:
    """How the output's lengths come from the input's, with the numbers filled in."""
    outputs = layer.output_size(tuple(size))
    formulas = []
    for axis, (window, length, outs) in enumerate(zip(layer.windows, size, outputs, strict=True)):
        low, high = window.padding
        if isinstance(layer, ConvTranspose):
            extra = layer.output_padding[axis]
            terms = f"({length} − 1)·{window.stride}"
            terms += f" − {low} − {high}" if low or high else ""
            terms += f" + {window.extent}" + (f" + {extra}" if extra else "")
        else:
            pads = f" + {low} + {high}" if low or high else ""
            left, right = "⌈⌉" if isinstance(layer, Pool) and layer.ceil_mode else "⌊⌋"
            terms = f"{left}({length}{pads} − {window.extent}) / {window.stride}{right} + 1"
        formulas.append(f"{terms} = {outs}")
    distinct = list(dict.fromkeys(formulas))
    return text("fact.size", formula="; ".join(distinct))


def factor(value: Any) -> str:
    """A number within a product or sum: a negative one in brackets.

    >>> factor(-2)
    '(−2)'
    """
    digits = shown(value)
    return f"({digits})" if digits.startswith("−") else digits


def plus(values: Sequence[Any]) -> str:
    """A sum.

    >>> plus([1, -2])
    '1 + (−2)'
    """
    return " + ".join(map(factor, values))


def channel_label(channel: int, group: int | None = None) -> Text:
    """What a channel is called, and its group where there is more than one of several."""
    label = text("panel.channel", number=channel)
    return label if group is None else joined(text("panel.group", number=group), label)


def named(at: Sequence[int], channel: int | None = None, name: str = "y") -> str:
    """A place in an array as code writes it.

    >>> named((0, 2)), named((0, 2), channel=1)
    ('y[0, 2]', 'y[1, 0, 2]')
    """
    index = (*(() if channel is None else (channel,)), *at)
    return f"{name}[{', '.join(map(str, index))}]"


def _padding(padding: Sequence[tuple[int, int]]) -> Text:
    if all(low == high for low, high in padding):
        return text("fact.padding", size=_each([low for low, _ in padding]))
    if len(padding) == 1:
        return text("fact.sides1", left=padding[0][0], right=padding[0][1])
    if len(padding) == 2:
        (top, bottom), (left, right) = padding
        return text("fact.sides2", top=top, bottom=bottom, left=left, right=right)
    return text("fact.padding", size=", ".join(f"{low}+{high}" for low, high in padding))


def _each(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else by(values)
