"""What each operation costs: multiply-adds, floating-point operations, bytes.

Conventions, the same for every layer:

- A MAC is one multiply-add of a convolution, a linear layer, a matrix product or attention.
  Those on zero padding count: every runtime executes them.
- FLOPs are two a MAC, plus every other addition, multiplication, comparison or elementary
  function (exp, tanh, erf: one each) of every layer. A bias is one addition an output value.
- Batch norm in evaluation is one multiplication and one addition a value.
- Bytes are those of each tensor that is read or written, once. A view moves none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Literal

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.network import Layer
from convsmith.report import Result

__all__ = ["Cost", "Status", "cost"]

Status = Literal["exact", "lower bound", "upper bound", "unknown"]


@dataclass(frozen=True, slots=True)
class Cost(Result):
    """What one layer costs for the shapes it was traced with.

    Attributes:
        macs: multiply-adds; None if unknown.
        flops: floating-point operations; None if unknown.
        status: whether the two are exact.
        reason: why they are not, else ''.
    """

    macs: int | None
    flops: int | None
    status: Status = "exact"
    reason: str = ""


def cost(layer: Layer) -> Cost:
    """Count one layer; an operation without a rule is `unknown`, never zero.

    >>> import torch, convsmith as cs
    >>> net = cs.trace(torch.nn.Conv2d(3, 10, 3), (1, 3, 128, 128))
    >>> cost(net.layers[-1])
    Cost(macs=4286520, flops=8731800, status='exact', reason='')
    """
    rule = _RULES.get(layer.kind)
    if rule is None:
        return Cost(None, None, "unknown", f"no rule counts {layer.operation.name!r}")
    try:
        return rule(layer)
    except (ArithmeticError, KeyError, LookupError, TypeError, ValueError) as error:
        return Cost(
            None, None, "unknown", f"{layer.operation.name!r} could not be counted: {error}"
        )


def _convolution(layer: Layer) -> Cost:
    spec = layer.operation.arithmetic
    assert isinstance(spec, (Conv, ConvTranspose))
    shape = layer.operands[0].shape
    batch, size = prod(shape[: -spec.dims - 1]), shape[-spec.dims :]
    return Cost(spec.macs(size, batch), spec.flops(size, batch))


def _pool(layer: Layer) -> Cost:
    spec = layer.operation.arithmetic
    assert isinstance(spec, Pool)
    shape = layer.operands[0].shape
    maps = prod(shape[: -spec.dims])
    return Cost(0, spec.flops(shape[-spec.dims :], channels=maps))


def _adaptive_pool(layer: Layer) -> Cost:
    """Window i of n positions onto w covers ⌊i·n/w⌋ … ⌈(i+1)·n/w⌉ - 1: windows may overlap."""
    dims = int(layer.operation.name[-2])
    inputs, outputs = layer.operands[0].shape, layer.shape
    covered = prod(
        sum(-(-(i + 1) * n // w) - i * n // w for i in range(w))
        for n, w in zip(inputs[-dims:], outputs[-dims:], strict=True)
    )
    maps = prod(outputs[:-dims])
    average = "avg" in layer.operation.name
    # k additions and a division, less the first addition; or k - 1 comparisons.
    return Cost(0, maps * covered - (0 if average else prod(outputs)))


def _linear(layer: Layer) -> Cost:
    addmm = layer.operation.name == "addmm"
    taken = layer.operands[1 if addmm else 0].shape
    macs = layer.numel * taken[-1]
    biased = addmm or len(layer.operands) == 3
    return Cost(macs, 2 * macs + layer.numel * biased)


def _matmul(layer: Layer) -> Cost:
    name = layer.operation.name
    if name == "einsum":
        return _einsum(layer)
    added = name == "baddbmm"
    macs = layer.numel * layer.operands[1 if added else 0].shape[-1]
    return Cost(macs, 2 * macs + layer.numel * added)


def _einsum(layer: Layer) -> Cost:
    """The product of all index lengths: exact for two operands, else a bound on any order."""
    equation = str(layer.operation.settings["equation"]).replace(" ", "")
    terms = equation.split("->")[0].split(",")
    if "." in equation:
        return Cost(None, None, "unknown", f"an ellipsis in einsum {equation!r}")
    lengths = {
        letter: length
        for term, operand in zip(terms, layer.operands, strict=True)
        for letter, length in zip(term, operand.shape, strict=True)
    }
    macs = (len(terms) - 1) * prod(lengths.values())
    if len(terms) < 3:
        return Cost(macs, 2 * macs)
    return Cost(macs, 2 * macs, "upper bound", f"einsum {equation!r} may contract in another order")


def _attention(layer: Layer) -> Cost:
    """q·kᵀ, the scale, a mask if there is one, softmax, and the sum of v.

    A causal mask saves nothing that is counted.
    """
    query, key, value = (operand.shape for operand in layer.operands[:3])
    pairs = prod(query[:-1]) * key[-2]
    macs = pairs * (query[-1] + value[-1])
    masked = len(layer.operands) > 3
    return Cost(macs, 2 * macs + pairs * (1 + masked + _SOFTMAX))


def _batch_norm(layer: Layer) -> Cost:
    """One multiplication and one addition a value; in training mode the statistics as well."""
    return Cost(0, layer.numel * (7 if layer.operation.settings.get("training") else 2))


def _norm(layer: Layer) -> Cost:
    """Centre (2 with the mean), square and add (2), scale (1), and the affine part (2)."""
    affine = min(2, len(layer.operands) - 1)  # a weight multiplies, a bias adds
    each = 4 if "rms" in layer.operation.name else 5
    if layer.operation.name in ("_weight_norm", "linalg_vector_norm", "norm"):
        return Cost(0, 2 * layer.operands[0].numel + layer.numel)
    return Cost(0, layer.numel * (each + affine))


def _recurrent(layer: Layer) -> Cost:
    """Every weight matrix once a step; the gates' own arithmetic a hidden value and step."""
    steps = prod(layer.operands[0].shape[:-1])
    weights = [p.type.shape for p in layer.parameters if len(p.type.shape) == 2]
    biases = [p.type.shape for p in layer.parameters if len(p.type.shape) == 1]
    gates, each = {"lstm": (4, 18), "gru": (3, 14)}.get(layer.operation.name, (1, 1))
    hidden = sum(shape[0] // gates for shape in weights[::2])
    macs = steps * sum(map(prod, weights))
    return Cost(macs, 2 * macs + steps * (sum(map(prod, biases)) + hidden * each))


def _reduction(layer: Layer) -> Cost:
    values = layer.operands[0].numel
    each = 3 if layer.operation.name.startswith(("std", "var")) else 1
    return Cost(0, each * values + (layer.numel if layer.operation.name == "mean" else 0))


def _each(table: dict[str, int], usual: int) -> Callable[[Layer], Cost]:
    return lambda layer: Cost(0, layer.numel * table.get(layer.operation.name, usual))


def _upsample(layer: Layer) -> Cost:
    """Per output value 2·2 products and their sum for bilinear, 4·4 for bicubic."""
    name = layer.operation.name
    taps = next((n for word, n in _UPSAMPLE_TAPS.items() if word in name), None)
    if taps is None:
        return Cost(None, None, "unknown", f"no rule counts {name!r}")
    return Cost(0, layer.numel * max(0, 2 * taps - 1) if taps > 1 else 0)


_UPSAMPLE_TAPS = {"nearest": 1, "trilinear": 8, "bilinear": 4, "linear": 2, "bicubic": 16}
_SOFTMAX = 5  # the largest, a subtraction, exp, the sum, a division
_ACTIVATIONS = {
    "celu": 4, "clamp": 2, "elu": 4, "gelu": 5, "glu": 5, "hardshrink": 2, "hardsigmoid": 4,
    "hardswish": 5, "hardtanh": 2, "leaky_relu": 2, "log_sigmoid": 4, "mish": 6, "prelu": 2,
    "relu6": 2, "rrelu": 2, "selu": 4, "sigmoid": 4, "silu": 5, "softplus": 4, "softshrink": 3,
}  # fmt: skip
_ELEMENTWISE = {"addcdiv": 3, "addcmul": 3, "lerp": 3, "rsqrt": 2}

_nothing = _each({}, 0)
_RULES: dict[str, Callable[[Layer], Cost]] = {
    "activation": _each(_ACTIVATIONS, 1),
    "adaptive pool": _adaptive_pool,
    "attention": _attention,
    "batch norm": _batch_norm,
    "convolution": _convolution,
    "elementwise": _each(_ELEMENTWISE, 1),
    "linear": _linear,
    "matmul": _matmul,
    "norm": _norm,
    "pool": _pool,
    "recurrent": _recurrent,
    "reduction": _reduction,
    "softmax": _each({}, _SOFTMAX),
    "transposed convolution": _convolution,
    "upsample": _upsample,
} | dict.fromkeys(
    [
        "channel shuffle", "concat", "creation", "embedding", "expand", "identity", "index",
        "input", "pad", "permute", "pixel shuffle", "pixel unshuffle", "reshape", "roll", "select",
        "slice", "split",
    ],
    _nothing,
)  # fmt: skip
