"""A layer as the line of PyTorch that makes it."""

from __future__ import annotations

from convsmith.explore.state import LayerState, Pair

__all__ = ["pytorch_code"]

_PADS = {
    "zeros": "ZeroPad2d",
    "reflect": "ReflectionPad2d",
    "replicate": "ReplicationPad2d",
    "circular": "CircularPad2d",
}


def pytorch_code(state: LayerState) -> str:
    """The module, as a line of code that needs `from torch import nn`.

    >>> pytorch_code(LayerState(in_channels=3, out_channels=10, padding="same"))
    "nn.Conv2d(3, 10, 3, padding='same')"
    >>> pytorch_code(LayerState(padding=((0, 1), (0, 1)), kernel=(2, 2)))
    'nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 1, 2))'
    """
    if state.is_pool:
        return _pool(state)
    uneven = state.padding_form == "sides"
    words = [str(state.in_channels), str(state.out_channels), _pair(state.kernel)]
    words += _named("stride", state.stride, 1)
    if not uneven and state.padding != "valid":
        words += _padding(state)
    if state.kind == "transposed":
        words += _named("output_padding", state.output_padding, 0)
    words += _named("dilation", state.dilation, 1)
    words += [f"groups={state.groups}"] * (state.groups > 1)
    words += ["bias=False"] * (not state.bias)
    padded = state.padding == "same" or any(map(any, state.sides))
    if state.kind == "conv" and state.padding_mode != "zeros" and padded and not uneven:
        words.append(f"padding_mode={state.padding_mode!r}")
    name = "ConvTranspose2d" if state.kind == "transposed" else "Conv2d"
    line = f"nn.{name}({', '.join(words)})"
    if not uneven:
        return line
    (top, bottom), (left, right) = state.sides
    pad = f"nn.{_PADS[state.padding_mode]}(({left}, {right}, {top}, {bottom}))"
    return f"nn.Sequential({pad}, {line})"


def _pool(state: LayerState) -> str:
    words = [_pair(state.kernel), *_named("stride", state.stride, state.kernel)]
    words += _padding(state)
    if state.kind == "max":
        words += _named("dilation", state.dilation, 1)
    words += ["ceil_mode=True"] * state.ceil_mode
    return f"nn.{'Max' if state.kind == 'max' else 'Avg'}Pool2d({', '.join(words)})"


def _padding(state: LayerState) -> list[str]:
    if isinstance(state.padding, str):
        return [f"padding={state.padding!r}"] if state.padding == "same" else []
    (top, _), (left, _) = state.sides
    return _named("padding", (top, left), 0)


def _named(name: str, value: Pair, usual: int | Pair) -> list[str]:
    usual = (usual, usual) if isinstance(usual, int) else usual
    return [] if value == usual else [f"{name}={_pair(value)}"]


def _pair(value: Pair) -> str:
    return str(value[0]) if value[0] == value[1] else str(value)
