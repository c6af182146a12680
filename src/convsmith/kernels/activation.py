"""Activations as Halide expressions, for the end of a kernel: all that kernels have, in one table.

A NaN has to come through as it does in eager PyTorch. Halide takes float arithmetic to be free of
NaNs unless told otherwise, so comparisons are `strict_float`; only these: the sums of products
before them may be fused and are not touched. They are `<` and `>`, for Halide takes `a <= b` to be
`!(b < a)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, inf, log, nan, pi, sqrt
from typing import Any

import halide as hl

from convsmith.errors import ArgumentError
from convsmith.kernels.kernel import is_nan

__all__ = ["ACTIVATIONS", "Activation", "activate", "is_learnt", "kernel_name", "limits"]

Settings = Mapping[str, Any]

_SQRT_HALF = sqrt(0.5)
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_EXP_MOST = 88.72283172607422  # the exponential of what is above is above the largest number
_SMALLEST, _LARGEST = 2.0**-126, 3.4028234663852886e38
_HALF_ROOT = 0x3F3504F3  # the bits of the root of a half
_LOG_2 = 355 / 512
_SIXTH = 1365 / 2**13
_TANH_GELU = sqrt(2 / pi)
_TANH_MOST = 7.90531110763549805
_TANH_ODD = (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
    1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
)  # fmt: skip
_TANH_EVEN = (
    1.19825839466702e-06,
    1.18534705686654e-04,
    2.26843463243900e-03,
    4.89352518554385e-03,
)


def _nothing(settings: Settings) -> tuple[str | float, ...]:
    return ()


@dataclass(frozen=True)
class Activation:
    """One activation.

    Attributes:
        compute: the result for a value, a Halide expression of float32, and the parameters.
        parameters: these, from the settings of PyTorch's operation; None where no kernel has such.
        learnt: whether it takes a number for each channel, after the value.
        limits: from the parameters, the two numbers between which values are left as they are, and
            to which others are moved; None where it does something else.
    """

    compute: Callable[..., Any]
    parameters: Callable[[Settings], tuple[str | float, ...] | None] = _nothing
    learnt: bool = False
    limits: Callable[..., tuple[float, float]] | None = None


def kernel_name(operation: str, settings: Settings) -> str:
    """The name by which kernels know one of PyTorch's activations, or '' where they have none.

    Args:
        operation: the name in `torch.ops.aten`.
        settings: its arguments by their names in PyTorch's schema.

    >>> kernel_name("hardtanh", {"min_val": -1, "max_val": 2.5})
    'hardtanh:-1.0:2.5'
    """
    activation = ACTIVATIONS.get(operation)
    parameters = None if activation is None else activation.parameters(settings)
    if parameters is None:
        return ""
    return ":".join((operation, *(p if isinstance(p, str) else repr(p) for p in parameters)))


def is_learnt(name: str) -> bool:
    """Whether an activation, by its name in kernels, takes a number for each channel.

    >>> is_learnt("prelu"), is_learnt("leaky_relu:0.01")
    (True, False)
    """
    activation = ACTIVATIONS.get(name.split(":")[0])
    return activation is not None and activation.learnt


def limits(name: str) -> tuple[float, float] | None:
    """Between which numbers an activation keeps values, if that is all that it does.

    >>> limits("relu6"), limits("clamp:-inf:2.5"), limits("tanh")
    ((0, 6), (-inf, 2.5), None)
    """
    operation, *parameters = name.split(":")
    found = ACTIVATIONS[operation].limits
    return None if found is None else found(*map(float, parameters))


def activate(name: str, value: Any, slope: Any = None) -> Any:
    """The activation of a value.

    Args:
        name: a key of `ACTIVATIONS`, then its parameters if any, as in `clamp:-1.0:2.5`.
        value: a Halide expression of float32.
        slope: the number of its channel, for an activation that has one.

    Raises:
        ArgumentError: for another name.
    """
    operation, *parameters = name.split(":")
    if operation not in ACTIVATIONS:
        raise ArgumentError(f"no kernel has an activation {name!r}: {', '.join(ACTIVATIONS)}")
    learnt = [slope] if ACTIVATIONS[operation].learnt else []
    return ACTIVATIONS[operation].compute(value, *learnt, *map(_parameter, parameters))


def _parameter(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _clamp(value: Any, low: float, high: float) -> Any:
    # A comparison with NaN is false, so that the value itself is left.
    above = hl.select(value > hl.f32(high), hl.f32(high), value)
    return hl.strict_float(hl.select(value < hl.f32(low), hl.f32(low), above))


def _relu(value: Any) -> Any:
    return hl.strict_float(hl.select(value < hl.f32(0), hl.f32(0), value))


def _sigmoid(value: Any) -> Any:
    # Halide's exponential is made from bits: it is right for numbers that are not too large.
    result = hl.f32(1) / (hl.f32(1) + hl.exp(-_clamp(value, -90, 90)))
    return hl.strict_float(hl.select(is_nan(value), value, result))


def _hardsigmoid(value: Any) -> Any:
    # A sixth in two parts, the first of few bits. Rounded as one number it is too large by 3e-8 of
    # itself, which adds up from layer to layer, where other errors average out.
    sixths = _clamp(value + hl.f32(3), 0, 6)
    return hl.strict_float(sixths * hl.f32(_SIXTH) + sixths * hl.f32(1 / 6 - _SIXTH))


def _tanh(value: Any) -> Any:
    # A quotient of polynomials keeps small numbers exact to the last bits, where 2·sigmoid(2x) - 1
    # would lose them; it is Eigen's. Beyond 9.02 tanh rounds to 1.
    x = _clamp(value, -_TANH_MOST, _TANH_MOST)
    odd, even = hl.f32(_TANH_ODD[0]), hl.f32(_TANH_EVEN[0])
    for factor in _TANH_ODD[1:]:
        odd = odd * (x * x) + hl.f32(factor)
    for factor in _TANH_EVEN[1:]:
        even = even * (x * x) + hl.f32(factor)
    flat = hl.select(value > hl.f32(9.02), hl.f32(1), x * odd / even)
    return hl.strict_float(hl.select(value < hl.f32(-9.02), hl.f32(-1), flat))


def _gelu(value: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        inner = hl.f32(_TANH_GELU) * (value + hl.f32(0.044715) * value * value * value)
        # (1 + tanh(x)) / 2 = sigmoid(2x), and nothing is lost where tanh is close to -1.
        return value * _sigmoid(hl.f32(2) * inner)
    return value * hl.f32(0.5) * (hl.f32(1) + hl.erf(_clamp(value * hl.f32(_SQRT_HALF), -4, 4)))


def _exp(value: Any) -> Any:
    """The exponential of what is not above 88; Halide's own gives 0 for results below 1e-38."""
    far = value < hl.f32(-60)
    shifted = hl.exp(_clamp(value, -150, 88) + hl.select(far, hl.f32(40), hl.f32(0)))
    return hl.strict_float(shifted * hl.select(far, hl.f32(exp(-40)), hl.f32(1)))


def _exponential(value: Any) -> Any:
    # Close to what is infinite as `_exp` does it close to zero.
    far = value > hl.f32(80)
    within = hl.select(far, value - hl.f32(40), value)
    result = _exp(within) * hl.select(far, hl.f32(exp(40)), hl.f32(1))
    large = hl.select(value > hl.f32(_EXP_MOST), hl.f32(inf), result)
    return hl.strict_float(hl.select(is_nan(value), value, large))


def _sign(value: Any) -> Any:
    below = hl.select(value < hl.f32(0), hl.f32(-1), hl.f32(0))
    return hl.strict_float(hl.select(value > hl.f32(0), hl.f32(1), below))


def _log(value: Any, scale: float = 1.0) -> Any:
    # A number is m · 2^e with m about 1, whose logarithm is 2 artanh of a small s: a series.
    small = value < hl.f32(_SMALLEST)
    bits = hl.reinterpret(hl.Int(32), hl.select(small, value * hl.f32(2**24), value))
    shifted = bits - hl.i32(_HALF_ROOT)
    whole = hl.f32(shifted >> 23) - hl.select(small, hl.f32(24), hl.f32(0))
    m = hl.reinterpret(hl.Float(32), (shifted & hl.i32(0x7FFFFF)) + hl.i32(_HALF_ROOT))
    s = (m - hl.f32(1)) / (m + hl.f32(1))
    square = s * s
    series = hl.f32(2 / 11)
    for odd in range(9, 2, -2):
        series = series * square + hl.f32(2 / odd)
    # The logarithm of 2 in two parts, of which the first times any exponent is exact.
    f, low = m - hl.f32(1), whole * hl.f32(log(2) - _LOG_2)
    half = hl.f32(0.5) * f * f
    result = whole * hl.f32(_LOG_2) + (f - (half - (s * (half + square * series) + low)))
    result = result if scale == 1 else result * hl.f32(scale)
    result = hl.select(value > hl.f32(_LARGEST), value, result)
    result = hl.select(value < hl.f32(0), hl.f32(nan), result)
    zero = hl.reinterpret(hl.UInt(32), value) << 1 == hl.u32(0)
    result = hl.select(zero, hl.f32(-inf), result)
    return hl.strict_float(hl.select(is_nan(value), value, result))


def _mish(value: Any) -> Any:
    # tanh(log(1 + e)) as a quotient, which loses nothing where e is small; from 20 on it is 1.
    e = _exp(_clamp(value, -150, 20))
    top = e * (e + hl.f32(2))
    return hl.strict_float(value * (top / (top + hl.f32(2))))


def _leaky_relu(value: Any, slope: float) -> Any:
    return _prelu(value, hl.f32(slope))


def _prelu(value: Any, slope: Any) -> Any:
    return hl.strict_float(hl.select(value > hl.f32(0), value, value * slope))


def _elu(value: Any, alpha: float, scale: float = 1.0, inner: float = 1.0) -> Any:
    # exp(x) - 1 = 2t / (1 - t) with t = tanh(x / 2), which keeps small numbers exact.
    t = _tanh(value * hl.f32(0.5 * inner))
    below = hl.f32(alpha * scale) * (hl.f32(2) * t / (hl.f32(1) - t))
    above = value if scale == 1 else value * hl.f32(scale)
    return hl.strict_float(hl.select(value > hl.f32(0), above, below))


def _selu(value: Any) -> Any:
    return _elu(value, _SELU_ALPHA, _SELU_SCALE)


def _hardshrink(value: Any, bound: float) -> Any:
    outside = (value < hl.f32(-bound)) | (value > hl.f32(bound)) | is_nan(value)
    return hl.strict_float(hl.select(outside, value, hl.f32(0)))


def _softshrink(value: Any, bound: float) -> Any:
    below = hl.select(value < hl.f32(-bound), value + hl.f32(bound), hl.f32(0))
    result = hl.select(value > hl.f32(bound), value - hl.f32(bound), below)
    return hl.strict_float(hl.select(is_nan(value), value, result))


def _threshold(value: Any, bound: float, other: float) -> Any:
    above = (value > hl.f32(bound)) | is_nan(value)
    return hl.strict_float(hl.select(above, value, hl.f32(other)))


def _power(value: Any, exponent: float) -> Any:
    if exponent < 0:
        return hl.strict_float(hl.f32(1) / _power(value, -exponent))
    if exponent == 0.5:
        return hl.strict_float(hl.sqrt(value))
    return value * value * value if exponent == 3 else value * value if exponent == 2 else value


def _softplus(value: Any, beta: float, threshold: float) -> Any:
    z = value * hl.f32(beta)
    e = _exp(-hl.abs(z))
    # log(1 + e) = 2 artanh(e / (2 + e)), whose argument is at most a third: a short series.
    s = e / (e + hl.f32(2))
    series = hl.f32(2 / 17)
    for odd in range(15, 0, -2):
        series = series * (s * s) + hl.f32(2 / odd)
    # Not s · series: half of what is below 1e-38 has a bit less.
    result = (_relu(z) + e * (series / (e + hl.f32(2)))) / hl.f32(beta)
    return hl.strict_float(hl.select(z > hl.f32(threshold), value, result))


def _numbers(*names: str) -> Callable[[Settings], tuple[float, ...] | None]:
    """Numbers by their names in the settings."""

    def parameters(settings: Settings) -> tuple[float, ...] | None:
        values = [settings.get(name) for name in names]
        if not all(isinstance(value, (int, float)) for value in values):
            return None
        return tuple(map(float, values))  # type: ignore[arg-type]

    return parameters


def _alpha(settings: Settings) -> tuple[float, ...] | None:
    """Of an ELU; with its scales, unless both are 1."""
    alpha, *scales = (settings.get(key, 1) for key in ("alpha", "scale", "input_scale"))
    return (float(alpha), *map(float, scales if scales != [1, 1] else ()))


def _inverse(settings: Settings) -> tuple[float, ...] | None:
    """Of a CELU, which is an ELU whose values are divided by its `alpha` first."""
    alpha = float(settings.get("alpha", 1))
    return (alpha, 1.0, 1 / alpha) if alpha else None


def _mean_slope(settings: Settings) -> tuple[float, ...] | None:
    """Of an RReLU, whose slope is drawn in training alone."""
    low, high = (float(settings.get(key, n)) for key, n in (("lower", 1 / 8), ("upper", 1 / 3)))
    return None if settings.get("training") else ((low + high) / 2,)


def _exponent(settings: Settings) -> tuple[float, ...] | None:
    """Those that kernels compute as torch does, and not by a logarithm."""
    exponent = settings.get("exponent")
    return (float(exponent),) if exponent in (-2, -1, -0.5, 0.5, 1, 2, 3) else None


def _whole(settings: Settings) -> tuple[str | float, ...] | None:
    """Of a rounding: to whole numbers."""
    return None if settings.get("decimals") else ()


def _form(settings: Settings) -> tuple[str, ...]:
    return ("tanh",) if settings.get("approximate") == "tanh" else ()


def _bounds(low: str, high: str) -> Callable[[Settings], tuple[float, ...] | None]:
    """Two numbers in order, by their names in the settings; one of them may be left out."""

    def parameters(settings: Settings) -> tuple[float, ...] | None:
        given = [settings.get(name) for name in (low, high)]
        if not all(n is None or isinstance(n, (int, float)) for n in given) or given == [None] * 2:
            return None
        bounds = [end if n is None else float(n) for n, end in zip(given, (-inf, inf), strict=True)]
        return tuple(bounds) if bounds[0] <= bounds[1] else None

    return parameters


def _both(low: float, high: float) -> tuple[float, float]:
    return low, high


ACTIVATIONS: dict[str, Activation] = {
    "abs": Activation(lambda value: hl.abs(value)),
    "ceil": Activation(lambda value: hl.ceil(value)),
    "celu": Activation(_elu, _inverse),
    "clamp": Activation(_clamp, _bounds("min", "max"), limits=_both),
    "clamp_max": Activation(_clamp, _bounds("", "max"), limits=_both),
    "clamp_min": Activation(_clamp, _bounds("min", ""), limits=_both),
    "elu": Activation(_elu, _alpha),
    "erf": Activation(lambda value: hl.erf(_clamp(value, -4, 4))),
    "exp": Activation(_exponential),
    "floor": Activation(lambda value: hl.floor(value)),
    "gelu": Activation(_gelu, _form),
    "hardshrink": Activation(_hardshrink, _numbers("lambd")),
    "hardsigmoid": Activation(_hardsigmoid),
    "hardswish": Activation(lambda value: value * _hardsigmoid(value)),
    "hardtanh": Activation(_clamp, _bounds("min_val", "max_val"), limits=_both),
    "identity": Activation(lambda value: value),
    "leaky_relu": Activation(_leaky_relu, _numbers("negative_slope")),
    "log": Activation(_log),
    "log2": Activation(lambda value: _log(value, 1 / log(2))),
    "log10": Activation(lambda value: _log(value, 1 / log(10))),
    "log_sigmoid": Activation(lambda value: -_softplus(-value, 1, inf)),
    "mish": Activation(_mish),
    "pow": Activation(_power, _exponent),
    "prelu": Activation(_prelu, learnt=True),
    "reciprocal": Activation(lambda value: _power(value, -1)),
    "relu": Activation(_relu, limits=lambda: (0, inf)),
    "relu6": Activation(lambda value: _clamp(value, 0, 6), limits=lambda: (0, 6)),
    "round": Activation(lambda value: hl.round(value), _whole),
    "rrelu": Activation(_leaky_relu, _mean_slope),
    "rsqrt": Activation(lambda value: _power(value, -0.5)),
    "selu": Activation(_selu),
    "sigmoid": Activation(_sigmoid),
    "sign": Activation(_sign),
    "silu": Activation(lambda value: value * _sigmoid(value)),
    "softplus": Activation(_softplus, _numbers("beta", "threshold")),
    "softshrink": Activation(_softshrink, _numbers("lambd")),
    "sqrt": Activation(lambda value: _power(value, 0.5)),
    "square": Activation(lambda value: _power(value, 2)),
    "tanh": Activation(_tanh),
    "threshold": Activation(_threshold, _numbers("threshold", "value")),
    "trunc": Activation(lambda value: hl.trunc(value)),
}
"""By the name of the operation in `torch.ops.aten`. To add one is to add an entry here."""
