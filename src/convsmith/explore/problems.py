"""Why a layer or its output does not exist: one line, with the formula and the numbers."""

from __future__ import annotations

from convsmith.arithmetic.window import Window
from convsmith.errors import ArgumentError
from convsmith.explore.phrases import Language, phrase
from convsmith.explore.state import LayerState

__all__ = ["problem"]


def problem(state: LayerState, language: Language) -> str | None:
    """The line that says why there is no output, else None.

    >>> problem(LayerState(size=(4, 4), kernel=(5, 5)), "en")
    'No output: along the rows the kernel spans 5 = 1·(5 − 1) + 1, but there are only \
4 = 4 + 0 + 0 positions.'
    """
    why = _no_layer(state, language) or _no_output(state, language)
    if why:
        return why
    try:
        state.layer().output_size(state.size)
    except ArgumentError as error:
        return str(error)
    return None


def _no_layer(state: LayerState, language: Language) -> str | None:
    if not state.is_pool:
        for channels in (state.in_channels, state.out_channels):
            if channels % state.groups:
                return phrase("problem groups", language, groups=state.groups, channels=channels)
    if state.padding == "same" and set(state.stride) != {1} and state.kind == "conv":
        return phrase("problem same", language, stride=max(state.stride))
    for axis in (0, 1):
        extra, limit = state.output_padding[axis], max(state.stride[axis], state.dilation[axis])
        if state.kind == "transposed" and extra >= limit:
            return phrase("problem output padding", language, extra=extra, limit=limit)
        # PyTorch's rule, stricter than ours: half the kernel, whatever the dilation.
        if state.is_pool and 2 * max(state.sides[axis]) > state.kernel[axis]:
            return phrase(
                "problem pool padding",
                language,
                limit=state.kernel[axis] // 2,
                padding=max(state.sides[axis]),
            )
    if state.kind == "average" and set(state.dilation) != {1}:
        return phrase("problem pool start", language)
    return None


def _no_output(state: LayerState, language: Language) -> str | None:
    for axis, length in enumerate(state.size):
        low, high = state.sides[axis]
        name = phrase(("rows", "columns")[axis], language)
        window = Window(state.kernel[axis], state.stride[axis], (low, high), state.dilation[axis])
        numbers = {
            "axis": name,
            "span": window.extent,
            "dilation": window.dilation,
            "kernel": window.kernel,
            "length": length,
            "low": low,
            "high": high,
            "stride": window.stride,
        }
        if state.kind == "transposed":
            extra = state.output_padding[axis]
            room = (length - 1) * window.stride - low - high + window.extent + extra
            if room < 1:
                return phrase("problem transposed", language, room=room, extra=extra, **numbers)
            continue
        most = {"reflect": length - 1, "circular": length}.get(state.padding_mode)
        if state.kind == "conv" and most is not None and max(low, high) > most:
            return phrase(
                "problem mode",
                language,
                mode=state.padding_mode,
                padding=max(low, high),
                length=length,
                axis=name,
                limit=most,
            )
        room = length + low + high
        # A last window that is rounded up to may lack less than a stride.
        lacking = window.stride - 1 if state.is_pool and state.ceil_mode else 0
        if room + lacking < window.extent:
            return phrase("problem size", language, room=room, **numbers)
    return None
