"""The explorer's controls: marimo elements made from a state, and read back into one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from convsmith.explore.guess import QUESTIONS
from convsmith.explore.phrases import Language, phrase
from convsmith.explore.stack import StackLayer
from convsmith.explore.state import KINDS, MODES, Kind, LayerState, Pair, Sides

__all__ = [
    "PADDING_FORMS",
    "extent_of",
    "fields_of",
    "form_of",
    "guess_of",
    "kind_of",
    "of_kind",
    "read_extent",
    "read_fields",
    "read_stack",
    "stack_rows",
]

PADDING_FORMS = ("number", "same", "valid", "sides")

_CHANNELS = (*range(1, 17), 20, 24, 30, 32, 48, 64, 96, 100, 128, 192, 256, 384, 512)
_SIZES = (*range(1, 33), 40, 48, 56, 64, 96, 112, 128, 160, 192, 224, 256, 384, 512)
_STEPS: dict[str, tuple[int, ...]] = {
    "in": _CHANNELS,
    "out": _CHANNELS,
    "groups": _CHANNELS,
    "size": _SIZES,
    "kernel": tuple(range(1, 12)),
    "stride": tuple(range(1, 9)),
    "dilation": tuple(range(1, 13)),
    "padding": tuple(range(0, 13)),
    "output_padding": tuple(range(0, 8)),
}
_SIDES = ("top", "bottom", "left", "right")
# The numbers of a layer of a stack: the least, and the largest that is offered.
_ROW = (("kernel", 1, 15), ("stride", 1, 8), ("dilation", 1, 32), ("padding", 0, 32))


def kind_of(mo: Any, state: LayerState, language: Language) -> Any:
    """Which kind of layer."""
    kinds = {phrase(f"kind {kind}", language): kind for kind in KINDS}
    return mo.ui.dropdown(
        kinds, value=_key(kinds, state.kind), label=phrase("kind", language), full_width=True
    )


def form_of(mo: Any, state: LayerState, language: Language) -> Any:
    """What decides which fields there are: how the padding is given, rows and columns apart."""
    elements: dict[str, Any] = {}
    if state.kind == "conv":
        forms = {phrase(f"padding {form}", language): form for form in PADDING_FORMS}
        elements["padding"] = mo.ui.dropdown(
            forms, value=_key(forms, state.padding_form), label=phrase("pad", language),
            full_width=True,
        )  # fmt: skip
    elements["apart"] = mo.ui.switch(state.apart, label=phrase("apart", language))
    return _batch(mo, elements, [("", list(elements))])


def of_kind(state: LayerState, kind: Kind) -> LayerState:
    """The state as another kind of layer; what that kind has no control for is as usual.

    >>> of_kind(LayerState(padding="same"), "max").padding
    ((0, 0), (0, 0))
    """
    if kind != "conv":
        plain = state.padding_form == "number"
        state = replace(
            state,
            padding=state.padding if plain else LayerState().padding,
            padding_mode="zeros",
            dilation=(1, 1) if kind == "average" else state.dilation,
        )
    return replace(state, kind=kind)


def fields_of(mo: Any, state: LayerState, form: Mapping[str, Any], language: Language) -> Any:
    """A control for every parameter that a layer of this kind has.

    Args:
        mo: marimo.
        state: the values to begin with.
        form: the values of `form_of`.
        language: of the labels.
    """
    apart, padding_form = form["apart"], form.get("padding", "number")
    elements: dict[str, Any] = {}

    def slider(name: str, value: int, steps: str, label: str) -> None:
        choices = sorted({*_STEPS[steps], value})
        elements[name] = mo.ui.slider(
            steps=choices, value=value, label=label, show_value=True, full_width=True
        )

    def pair(name: str, value: Pair) -> list[str]:
        label = phrase(name, language)
        if not apart:
            slider(name, value[0], name, label)
            return [name]
        for axis, side in enumerate(("rows", "columns")):
            slider(f"{name}_{side}", value[axis], name, phrase(f"{side} of", language, name=label))
        return [f"{name}_rows", f"{name}_columns"]

    groups = [("group map", pair("size", state.size))]
    kernel = pair("kernel", state.kernel) + pair("stride", state.stride)
    if state.kind != "average":
        kernel += pair("dilation", state.dilation)
    groups.append(("group kernel", kernel))
    edges: list[str] = []
    if padding_form == "number":
        edges += pair("padding", (state.sides[0][0], state.sides[1][0]))
    elif padding_form == "sides":
        for name, value in zip(_SIDES, (n for pair in state.sides for n in pair), strict=True):
            slider(name, value, "padding", phrase(name, language))
        edges += _SIDES
    if state.kind == "conv":
        modes = {phrase(f"mode {mode}", language): mode for mode in MODES}
        elements["mode"] = mo.ui.dropdown(
            modes, value=_key(modes, state.padding_mode), label=phrase("mode", language),
            full_width=True,
        )  # fmt: skip
        edges.append("mode")
    if state.kind == "transposed":
        edges += pair("output_padding", state.output_padding)
    if state.is_pool:
        elements["ceil"] = mo.ui.switch(state.ceil_mode, label=phrase("ceil", language))
        edges.append("ceil")
    groups.append(("group edges", edges))
    if state.is_pool:
        slider("in", state.in_channels, "in", phrase("channels", language))
        groups.append(("group channels", ["in"]))
    else:
        slider("in", state.in_channels, "in", phrase("in", language))
        slider("out", state.out_channels, "out", phrase("out", language))
        slider("groups", state.groups, "groups", phrase("groups", language))
        elements["bias"] = mo.ui.switch(state.bias, label=phrase("bias", language))
        groups.append(("group channels", ["in", "out", "groups", "bias"]))
    return _batch(
        mo, elements, [(phrase(title, language), names) for title, names in groups if names]
    )


def read_fields(
    state: LayerState, form: Mapping[str, Any], values: Mapping[str, Any]
) -> LayerState:
    """The state with the values of `form_of` and `fields_of` in it."""
    padding_form = form.get("padding", "number")

    def pair(name: str, old: Pair) -> Pair:
        if name in values:
            return (values[name], values[name])
        if f"{name}_rows" in values:
            return (values[f"{name}_rows"], values[f"{name}_columns"])
        return old

    padding: Any = state.padding
    if padding_form in ("same", "valid"):
        padding = padding_form
    elif padding_form == "sides":
        numbers = [values[name] for name in _SIDES]
        padding = cast(Sides, (tuple(numbers[:2]), tuple(numbers[2:])))
    else:
        rows, columns = pair("padding", (state.sides[0][0], state.sides[1][0]))
        padding = ((rows, rows), (columns, columns))
    return replace(
        state,
        in_channels=values.get("in", state.in_channels),
        out_channels=values.get("out", state.out_channels),
        groups=values.get("groups", state.groups),
        bias=values.get("bias", state.bias),
        size=pair("size", state.size),
        kernel=pair("kernel", state.kernel),
        stride=pair("stride", state.stride),
        dilation=pair("dilation", state.dilation),
        output_padding=pair("output_padding", state.output_padding),
        padding=padding,
        padding_mode=values.get("mode", state.padding_mode),
        ceil_mode=values.get("ceil", state.ceil_mode),
    )


def guess_of(mo: Any, guessed: Mapping[str, int | None], language: Language) -> Any:
    """A number for every question, with what was guessed before."""
    elements = {
        name: mo.ui.number(
            step=1, value=guessed.get(name), label=phrase(f"guess {name}", language),
            full_width=True,
        )
        for name in QUESTIONS
    }  # fmt: skip
    cells = "".join(f"<div>{{{name}}}</div>" for name in elements)
    return mo.Html(f'<div class="cs-guesses">{cells}</div>').batch(**elements)


def extent_of(mo: Any, extent: int | None, language: Language) -> Any:
    """The size of a stack's input; nothing stands for one that fits."""
    label = phrase("stack extent", language)
    return mo.ui.number(step=1, value=extent, label=label, full_width=True)


def read_extent(value: float | None) -> int | None:
    """The size that was given; None where it can be none.

    >>> read_extent(9), read_extent(0), read_extent(None)
    (9, None, None)
    """
    return int(value) if value and 1 <= value <= 4096 else None


def stack_rows(mo: Any, stack: Iterable[StackLayer], language: Language) -> Any:
    """One row of controls per layer of the stack."""
    kinds = {
        phrase("kind conv", language): "conv",
        phrase("kind max", language): "pool",
        phrase("kind transposed", language): "transposed",
    }
    elements: dict[str, Any] = {}
    rows = []
    for index, part in enumerate(stack):
        elements[f"kind_{index}"] = mo.ui.dropdown(
            kinds,
            value=_key(kinds, part.kind),
            full_width=True,
            label=phrase("stack number", language, number=index + 1),
        )
        for name, least, most in _ROW:
            elements[f"{name}_{index}"] = mo.ui.number(
                least, max(most, getattr(part, name)), 1, value=getattr(part, name),
                label=phrase(f"stack {name}", language), full_width=True,
            )  # fmt: skip
        cells = "".join(
            f'<div class="{name}">{{{name}_{index}}}</div>'
            for name in ("kind", *(name for name, _, _ in _ROW))
        )
        rows.append(f'<div class="cs-row">{cells}</div>')
    return mo.Html(f'<div class="cs-stack">{"".join(rows)}</div>').batch(**elements)


def read_stack(values: Mapping[str, Any]) -> tuple[StackLayer, ...]:
    """The layers that the rows say."""
    count = sum(name.startswith("kind_") for name in values)
    return tuple(
        StackLayer(
            values[f"kind_{index}"],
            int(values[f"kernel_{index}"] or 1),
            int(values[f"stride_{index}"] or 1),
            1 if values[f"kind_{index}"] == "pool" else int(values[f"dilation_{index}"] or 1),
            int(values[f"padding_{index}"] or 0),
        )
        for index in range(count)
    )


def _batch(mo: Any, elements: dict[str, Any], groups: list[tuple[str, list[str]]]) -> Any:
    parts = []
    for title, names in groups:
        head = f"<legend>{title}</legend>" if title else ""
        parts.append(f"<fieldset>{head}{''.join(f'<div>{{{n}}}</div>' for n in names)}</fieldset>")
    return mo.Html(f'<div class="cs-controls">{"".join(parts)}</div>').batch(**elements)


def _key(choices: Mapping[str, str], value: str) -> str:
    return next(key for key, known in choices.items() if known == value)
