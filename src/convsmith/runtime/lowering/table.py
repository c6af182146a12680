"""What kernels can do with each kind of layer, one entry a kind; why there is none for others."""

from __future__ import annotations

from collections.abc import Sequence

from convsmith.network import Layer
from convsmith.runtime.lowering.activation import ACTIVATION
from convsmith.runtime.lowering.adaptive import ADAPTIVE_POOL
from convsmith.runtime.lowering.batch_norm import BATCH_NORM
from convsmith.runtime.lowering.channels import CHANNEL_SHUFFLE, SLICE
from convsmith.runtime.lowering.concat import CONCAT
from convsmith.runtime.lowering.convolution import CONVOLUTION
from convsmith.runtime.lowering.elementwise import ELEMENTWISE
from convsmith.runtime.lowering.identity import IDENTITY
from convsmith.runtime.lowering.linear import LINEAR
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.mean import REDUCTION
from convsmith.runtime.lowering.norm import NORM
from convsmith.runtime.lowering.pad import PAD
from convsmith.runtime.lowering.pixels import PIXEL_SHUFFLE, PIXEL_UNSHUFFLE
from convsmith.runtime.lowering.pool import POOL
from convsmith.runtime.lowering.resample import UPSAMPLE
from convsmith.runtime.lowering.softmax import SOFTMAX
from convsmith.runtime.lowering.transposed import TRANSPOSED

__all__ = ["LOWERINGS", "REFUSED", "SEEN_AS", "lowering_of", "refusal"]

LOWERINGS: dict[str, Lowering] = {
    "activation": ACTIVATION,
    "adaptive pool": ADAPTIVE_POOL,
    "batch norm": BATCH_NORM,
    "channel shuffle": CHANNEL_SHUFFLE,
    "concat": CONCAT,
    "convolution": CONVOLUTION,
    "elementwise": ELEMENTWISE,
    "identity": IDENTITY,
    "linear": LINEAR,
    "norm": NORM,
    "pad": PAD,
    "pixel shuffle": PIXEL_SHUFFLE,
    "pixel unshuffle": PIXEL_UNSHUFFLE,
    "pool": POOL,
    "reduction": REDUCTION,
    "slice": SLICE,
    "softmax": SOFTMAX,
    "transposed convolution": TRANSPOSED,
    "upsample": UPSAMPLE,
}

SEEN_AS: dict[str, str] = {
    "adaptive_avg_pool2d": "adaptive pool",
    "adaptive_maxima_pool2d": "adaptive pool",
    "linalg_vector_norm": "reduction",
}
"""Operations that are of another kind to kernels than to the network: an adaptive pool is a plain
one there where its output divides its input, but at other sizes it does not."""

REFUSED: dict[str, str] = {
    "attention": "every position reads every other one",
    "complex parts": "it takes numbers apart",
    "creation": "it reads no image",
    "embedding": "it looks rows up",
    "expand": "it repeats values",
    "fourier transform": "it gives frequencies",
    "index": "its places are computed",
    "input": "not computed from the image",
    "matmul": "both of its factors are computed",
    "permute": "it moves axes",
    "recurrent": "its steps depend on each other",
    "reshape": "it changes the axes",
    "roll": "it moves pixels",
    "select": "it picks one of several tensors",
    "split": "it gives several tensors",
    "unknown": "it is not known what it computes",
    "write": "it changes a part of a tensor",
}
"""The other kinds, and why no kernel computes them."""


def lowering_of(layer: Layer) -> Lowering | None:
    """What kernels can do with a layer."""
    operation = layer.operation
    return LOWERINGS.get(SEEN_AS.get(operation.name, operation.kind))


def refusal(layer: Layer, weights: Weights, numbers: Sequence[str] = ("float32",)) -> str:
    """Why no kernel computes a layer; '' if one does.

    Args:
        layer: the layer.
        weights: those of all layers.
        numbers: the types that its tensors may all have.
    """
    if layer.constant or layer.kind == "input":
        return REFUSED["input"]
    types = [value.dtype for value in (*layer.operands, *layer.results)]
    number = types[0] if types and types[0] in numbers else numbers[0]
    if others := [name for name in types if name != number]:
        advice = "; precision='bf16' computes such" if set(types) == {"bfloat16"} else ""
        return f"{others[0]} is not {number}{advice}"
    lowering = lowering_of(layer)
    axes = (2, 4) if lowering is not None and lowering.vectors else (4,)
    if len(layer.shape) not in axes or 0 in layer.shape:
        return f"{len(layer.shape)}-dimensional" if layer.shape else "its output is not a tensor"
    if lowering is None:
        why = REFUSED.get(layer.operation.kind, "its kind is not known here")
        return f"no kernel for {layer.operation.name}: {why}"
    return lowering.refuse(layer, weights)
