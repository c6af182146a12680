"""Which layers kernels compute, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.network import Layer
from convsmith.runtime.lowering.convolutions import phases

__all__ = ["SAME", "UPSAMPLING", "Weights", "activation_name", "refusal"]

Weights = Mapping[str, Mapping[str, Tensor]]
"""For each layer its parameters by their names in PyTorch's schema."""

SAME = {"dropout", "clone", "contiguous", "alias", "detach", "feature_dropout", "alpha_dropout"}
"""Operations that leave every value as it is."""

UPSAMPLING = {
    "upsample_nearest2d": "nearest",
    "_upsample_nearest_exact2d": "nearest-exact",
    "upsample_bilinear2d": "bilinear",
}

_VECTORS = {"activation", "identity", "batch norm", "linear"}
"""Kinds that do to (N, C) what they, or a pointwise convolution, do to the pixels of a map."""

_PLAIN = {
    "gelu": "gelu", "hardsigmoid": "hardsigmoid", "hardswish": "hardswish", "relu": "relu",
    "relu6": "relu6", "sigmoid": "sigmoid", "silu": "silu", "tanh": "tanh",
}  # fmt: skip


def refusal(layer: Layer, weights: Weights) -> str:
    """Why no kernel computes a layer; '' if one does."""
    if layer.constant or layer.kind == "input":
        return "not computed from the image"
    if any(kind.dtype != "float32" for kind in (*layer.operands, *layer.results)):
        return f"{layer.operands[0].dtype if layer.operands else 'nothing'} is not float32"
    known = 2 if layer.kind in _VECTORS else 4
    if len(layer.shape) not in (known, 4) or 0 in layer.shape:
        return f"{len(layer.shape)}-dimensional" if layer.shape else "no tensor"
    if layer.kind == "activation":
        return "" if activation_name(layer) else f"no kernel for {layer.operation.name}"
    rule = {
        "linear": lambda _: "" if len(layer.shape) == 2 else "not of vectors",
        "convolution": _refuse_convolution,
        "transposed convolution": _refuse_transposed,
        "batch norm": lambda _: "" if layer.name in weights else "its statistics are computed",
        "identity": lambda _: "" if layer.operation.name in SAME else "not the same values",
        "elementwise": _refuse_elementwise,
        "pool": _refuse_pool,
        "adaptive pool": _refuse_adaptive,
        "reduction": _refuse_reduction,
        "concat": _refuse_concat,
        "upsample": _refuse_upsample,
        "pad": _refuse_pad,
    }.get(layer.kind)
    if rule is None:
        return f"no kernel for {layer.operation.name}"
    weighs = layer.kind in ("convolution", "transposed convolution", "linear")
    if weighs and layer.name not in weights:
        return "its weight is computed"
    return rule(layer)


def activation_name(layer: Layer) -> str:
    """The name a kernel knows it by, or ''."""
    name, settings = layer.operation.name, layer.operation.settings
    if name == "gelu" and settings.get("approximate") == "tanh":
        return "gelu:tanh"
    if name == "hardtanh" or name == "clamp":
        low, high = (
            (settings.get("min_val"), settings.get("max_val"))
            if name == "hardtanh"
            else (settings.get("min"), settings.get("max"))
        )
        if not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or low > high:
            return ""
        return "relu6" if (low, high) == (0, 6) else f"clamp:{float(low)!r}:{float(high)!r}"
    return _PLAIN.get(name, "")


def _refuse_convolution(layer: Layer) -> str:
    conv = layer.operation.arithmetic
    if not isinstance(conv, Conv) or conv.dims != 2:
        return "not a convolution in the plane"
    return ""


def _refuse_transposed(layer: Layer) -> str:
    conv = layer.operation.arithmetic
    if not isinstance(conv, ConvTranspose) or conv.dims != 2:
        return "not a convolution in the plane"
    # Outputs without a tap would need a kernel of their own: they are the bias alone.
    if not all(taps for window in conv.windows for taps, _, _ in phases(window)):
        return "some outputs have no tap"
    return ""


def _refuse_elementwise(layer: Layer) -> str:
    shapes = [operand.shape for operand in layer.operands]
    if len(layer.inputs) != len(shapes) or len(shapes) != 2:
        return f"{layer.operation.name} with a constant"
    if layer.operation.name == "add" and layer.operation.settings.get("alpha", 1) == 1:
        return "" if shapes[0] == shapes[1] else "an addition that broadcasts"
    if layer.operation.name == "mul" and shapes[0] != shapes[1]:
        gates = [s for s in shapes if s[2:] == (1, 1)]
        if len(gates) == 1 and shapes[0][:2] == shapes[1][:2]:
            return ""
    return f"no kernel for {layer.operation.name}"


def _refuse_pool(layer: Layer) -> str:
    pool = layer.operation.arithmetic
    if not isinstance(pool, Pool) or pool.dims != 2 or pool.ceil_mode:
        return "a pool that rounds up"
    if pool.kind == "max":
        return "" if layer.operation.name == "max_pool2d" else "indices are wanted"
    return ""


def _refuse_adaptive(layer: Layer) -> str:
    if "avg" not in layer.operation.name:
        return f"no kernel for {layer.operation.name}"
    return "" if layer.shape[2:] == (1, 1) else "windows of unequal size"


def _refuse_reduction(layer: Layer) -> str:
    settings = layer.operation.settings
    dims = settings.get("dim") or ()
    over = sorted(d % 4 for d in dims) if isinstance(dims, (list, tuple)) else []
    return "" if layer.operation.name == "mean" and over == [2, 3] else "not a mean over the map"


def _refuse_concat(layer: Layer) -> str:
    name, dim = layer.operation.name, layer.operation.settings.get("dim", 0)
    if name not in ("cat", "concat", "concatenate") or dim not in (1, -3):
        return "not joined along channels"
    return "" if len(layer.inputs) == len(layer.operands) else "joined with a constant"


def _refuse_upsample(layer: Layer) -> str:
    return "" if layer.operation.name in UPSAMPLING else f"no kernel for {layer.operation.name}"


def _refuse_pad(layer: Layer) -> str:
    settings = layer.operation.settings
    pads, value = settings.get("pad") or (), settings.get("value") or 0
    if settings.get("mode", "constant") != "constant" or value != 0:
        return "padding that is not zeros"
    # More than two axes, or a negative pad, which crops.
    return "" if len(pads) in (2, 4) and min(pads) >= 0 else "not zeros around the plane"
