"""What each kind of operation does when a tile asks for a part of its result: one table."""

from __future__ import annotations

from convsmith.network import Layer
from convsmith.network.families import Trait
from convsmith.tiling.crops import pointwise, rearrange, resample, statistics, windows
from convsmith.tiling.crops.call import Axes, Call, Crop, Question
from convsmith.tiling.crops.pointwise import run
from convsmith.tiling.crops.random import is_random
from convsmith.tiling.crops.statistics import normalised

__all__ = [
    "CROPS", "Axes", "Call", "Crop", "Question", "crop_of", "is_random", "normalised", "refusal",
]  # fmt: skip


def _only_whole(reason: str) -> Crop:
    """A kind that is called as it is on whole tensors, and refused on parts."""
    return Crop(run, lambda question: reason)


CROPS: dict[str, Crop] = {
    "activation": Crop(run, pointwise.activation_refusal),
    "adaptive pool": Crop(
        windows.adaptive_pool, statistics.adaptive_refusal, swept=statistics.sweeps_pool
    ),
    "attention": _only_whole("attention reads the whole map"),
    "batch norm": Crop(run, pointwise.batch_norm_refusal),
    "channel shuffle": Crop(run),
    "complex parts": _only_whole("complex numbers are not cut into tiles"),
    "concat": Crop(rearrange.concat, rearrange.concat_refusal),
    "convolution": Crop(windows.convolution, padded=True, copies=1),
    "creation": Crop(rearrange.creation, rearrange.creation_refusal, drops=True),
    "elementwise": Crop(run),
    "embedding": _only_whole("its positions are looked up in a table"),
    "expand": Crop(rearrange.expand, rearrange.expand_refusal),
    "fourier transform": _only_whole("it transforms whole axes of the map"),
    "identity": Crop(run, pointwise.identity_refusal),
    "index": _only_whole("it picks positions by computed indices"),
    "input": Crop(run),
    "linear": Crop(run, pointwise.linear_refusal),
    "matmul": Crop(run, pointwise.matmul_refusal),
    "norm": Crop(statistics.norm, statistics.norm_refusal, swept=statistics.sweeps_norm),
    "pad": Crop(rearrange.pad, padded=True),
    "permute": Crop(run),
    "pixel shuffle": Crop(resample.pixel_shuffle, resample.shuffle_refusal, resample.shuffle_reads),
    "pixel unshuffle": Crop(run, resample.shuffle_refusal),
    "pool": Crop(
        windows.pool, windows.pool_refusal, padded=True, copies=1, swept=statistics.sweeps_pool
    ),
    "recurrent": _only_whole("it runs along the whole map"),
    "reduction": Crop(run, statistics.reduction_refusal, swept=statistics.sweeps_reduction),
    "reshape": Crop(rearrange.reshape, rearrange.reshape_refusal),
    "roll": Crop(rearrange.flip, rearrange.flip_refusal),
    "select": Crop(rearrange.pick, drops=True),
    "slice": Crop(rearrange.slice_, drops=True),
    "softmax": Crop(run, pointwise.softmax_refusal),
    "split": Crop(rearrange.split),
    "transposed convolution": Crop(windows.transposed_convolution, padded=True, copies=1),
    "unknown": _only_whole("what it reads is not known"),
    "upsample": Crop(
        resample.upsample, resample.upsample_refusal, resample.upsample_reads, copies=2
    ),
    "write": _only_whole("a part of a tensor is written into"),
}
"""By kind of operation; a test holds it complete."""

_CUSTOM = _only_whole("how it pads is not registered")


def refusal(question: Question) -> str:
    """Why a layer cannot be computed tile by tile; '' where it can.

    A layer none of whose tensors is cut is called as it is, whatever it does.
    """
    if not question.is_cut:
        return ""
    return crop_of(question.layer).refuse(question)


def crop_of(layer: Layer) -> Crop:
    """What a layer does; an operation that a user registered is known by its traits alone."""
    family = layer.operation.custom
    if family is None:
        return CROPS[layer.kind]
    return Crop(run) if family.has(Trait.POINTWISE) else _CUSTOM
