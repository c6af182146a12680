# ruff: noqa: RUF001, RUF002
"""The formulas of a layer, in letters and with its own numbers in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from convsmith.arithmetic import Conv
from convsmith.explore.state import LayerState
from convsmith.report import count

__all__ = ["Formula", "macs_formula", "params_formula", "ratio_sum", "size_formulas"]

_MARK = "′"


@dataclass(frozen=True)
class Formula:
    """One formula: what it is of, in letters, with the numbers in, and what comes out."""

    name: str
    letters: str
    numbers: str
    value: int

    def lines(self) -> Iterator[str]:
        """The formula as it is written: the letters, then the numbers."""
        yield f"{self.name} = {self.letters}"
        yield f"= {self.numbers} = {count(self.value)}"


def size_formulas(state: LayerState) -> list[Formula]:
    """The formula of the output's rows and of its columns; one of both where they are alike.

    >>> for line in size_formulas(LayerState(size=(7, 7), stride=(2, 2)))[0].lines():
    ...     print(line)
    h′ = ⌊(h + p₁ + p₂ − d·(k − 1) − 1) / s⌋ + 1
    = ⌊(7 + 0 + 0 − 1·(3 − 1) − 1) / 2⌋ + 1 = ⌊4 / 2⌋ + 1 = 3
    """
    outputs = state.layer().output_size(state.size)
    formulas = [_along(state, axis, outputs[axis]) for axis in (0, 1)]
    return formulas if formulas[0].numbers != formulas[1].numbers else formulas[:1]


def _along(state: LayerState, axis: int, value: int) -> Formula:
    letter = "hw"[axis]
    name = f"{letter}{_MARK}"
    length, (low, high) = state.size[axis], state.sides[axis]
    k, s, d = state.kernel[axis], state.stride[axis], state.dilation[axis]
    if state.kind == "transposed":
        o = state.output_padding[axis]
        return Formula(
            name,
            f"({letter} − 1)·s − p₁ − p₂ + d·(k − 1) + 1 + o",
            f"({length} − 1)·{s} − {low} − {high} + {d}·({k} − 1) + 1 + {o}",
            value,
        )
    room = length + low + high - d * (k - 1) - 1
    left, right = "⌈⌉" if state.ceil_mode and state.is_pool else "⌊⌋"
    letters = f"{left}({letter} + p₁ + p₂ − d·(k − 1) − 1) / s{right} + 1"
    filled = f"{left}({length} + {low} + {high} − {d}·({k} − 1) − 1) / {s}{right} + 1"
    short = f"{left}{room} / {s}{right} + 1"
    # The last window of a pool that rounds up may not begin in the padding.
    rounded = (-(-room // s) if left == "⌈" else room // s) + 1
    if rounded != value:
        letters, short = f"{letters} − 1", f"{short} − 1"
        filled = f"{filled} − 1"
    return Formula(name, letters, f"{filled} = {short}", value)


def params_formula(state: LayerState) -> Formula:
    """Weights and biases.

    >>> list(params_formula(LayerState(in_channels=3, out_channels=10)).lines())[1]
    '= 3·3·3·10 + 10 = 280'
    """
    layer = state.layer()
    letters, numbers = _product(state)
    bias = state.bias and not state.is_pool
    return Formula(
        "params",
        letters + " + n" * bias,
        numbers + f" + {state.out_channels}" * bias,
        layer.params,
    )


def macs_formula(state: LayerState) -> Formula:
    """Multiply-adds on one image; a transposed convolution's are counted over its input.

    >>> list(macs_formula(LayerState(in_channels=3, out_channels=10)).lines())[1]
    '= 3·3·3·10·3·3 = 2,430'
    """
    layer = state.layer()
    letters, numbers = _product(state)
    places = state.size if state.kind == "transposed" else layer.output_size(state.size)
    mark = "" if state.kind == "transposed" else _MARK
    return Formula(
        "MACs",
        f"{letters}·h{mark}·w{mark}",
        f"{numbers}·{places[0]}·{places[1]}",
        layer.macs(state.size),
    )


def _product(state: LayerState) -> tuple[str, str]:
    k, m, n = state.kernel, state.in_channels, state.out_channels
    if state.groups == 1:
        return "k·k·m·n", f"{k[0]}·{k[1]}·{m}·{n}"
    return "k·k·(m/g)·n", f"{k[0]}·{k[1]}·({m}/{state.groups})·{n}"


def ratio_sum(layer: Conv) -> tuple[str, Fraction]:
    """What a depthwise separable form costs of this layer: the sum written out, and its value.

    >>> ratio_sum(Conv(3, 30, kernel_size=10))
    ('1/30 + 1/100', Fraction(13, 300))
    """
    return f"{layer.groups}/{layer.out_channels} + 1/{layer.taps}", layer.cost_ratio()
