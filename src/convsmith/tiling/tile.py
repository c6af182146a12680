"""`tile`: any network, on an image of any size, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from convsmith.arithmetic.normalise import flag
from convsmith.errors import ArgumentError
from convsmith.runtime.precision import FLOAT32, here, instruction_set
from convsmith.tiling.device import device_name
from convsmith.tiling.job import Recipe
from convsmith.tiling.tiled import Tiled

__all__ = ["example_of", "tile"]


def tile(
    model: nn.Module | ExportedProgram,
    example: Any,
    *,
    tile: int | Sequence[int] | None = None,
    memory: str | int = "2GB",
    passes: bool = False,
    mode: str = "exact",
    overlap: float = 0.25,
    blend: str = "gaussian",
    output: int = 0,
    backend: str = "torch",
    device: str = "cpu",
    precision: str = "float32",
    allow_fallback: bool = False,
) -> Tiled:
    """Make a network run on images of any size, tile by tile, as if on the whole image.

    Every layer of a tile computes just the range that its readers need, with padding only where
    the image itself ends. So the tiles together are the whole image's result, up to the rounding
    of sums that torch adds up in another order.

    Args:
        model: any module that `torch.export` captures, or an exported program; it is left as it
            is.
        example: a tensor or a shape (batch, channels, *spatial). Only its channels, its type and
            the number of its axes are used: the network is traced at each image's own size.
        tile: the length of a tile of the output, or one per axis; with `mode="window"` of a window
            of the image, which must be passed. Otherwise the largest that fits `memory`.
        memory: bytes of tensors that may be alive at once, such as `"2GB"`.
        passes: gather the statistics of layers that join the whole map (global pooling, squeeze
            and excite, instance and group norm) in sweeps over the image. Without, a network with
            such layers is refused.
        mode: `exact`, or `window`: the usual overlapping windows, each run by itself and blended.
        overlap: of neighbouring windows, as a share of their length.
        blend: `gaussian` or `constant` weights of a window's positions.
        output: which of the network's outputs is written, if it has several.
        backend: `torch`, or `compiled`: in the kernels of `cs.compile`, with the same bits for
            every tiling, number of threads and order of tiles; layers without a kernel run in
            torch, which may round otherwise. It takes networks that move with the image: no
            sweeps, and interpolation by powers of two.
        device: where tiles are computed, such as `cuda`.
        precision: of compiled kernels: `float32`, or `bf16` where the processor multiplies such
            numbers. The bits are then those of `cs.compile` with that precision.
        allow_fallback: compute in float32 where there is no bf16, instead of raising an error;
            `Plan.precision` says which it is.

    Raises:
        ArgumentError: for a setting that is none of these, or a precision that this machine does
            not have.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3)).eval()
    >>> tiled = tile(net, (1, 3, 64, 64), tile=16)
    >>> image = torch.rand(3, 50, 70)
    >>> result = tiled.run(image).array
    >>> with torch.no_grad():
    ...     whole = net(image[None])[0]
    >>> torch.allclose(torch.from_numpy(result), whole, atol=1e-5)
    True
    """
    if not isinstance(model, (nn.Module, ExportedProgram)):
        raise ArgumentError(f"expected a torch.nn.Module, not {type(model).__name__}")
    recipe = Recipe(
        mode=mode, overlap=overlap, blend=blend, device=device_name(device), output=output,
        backend=backend, precision=precision,
    )  # fmt: skip
    flag("passes", passes)
    flag("allow_fallback", allow_fallback)
    if mode == "window" and tile is None:
        raise ArgumentError("mode='window' needs tile=, the lengths of a window of the image")
    if backend == "compiled" and (mode != "exact" or passes or recipe.device != "cpu"):
        raise ArgumentError("backend='compiled' is for mode='exact' on the cpu, without passes")
    if backend != "compiled" and precision != FLOAT32.name:
        raise ArgumentError(
            f"precision={precision!r} is for backend='compiled': torch computes in the model's type"
        )
    if backend == "compiled":
        recipe = replace(recipe, precision=here(precision, allow_fallback), isa=instruction_set())
    shape, dtype = _example(model, example)
    return Tiled(model, shape, dtype, recipe, tile=tile, memory=memory, passes=passes)


def _example(
    model: nn.Module | ExportedProgram, example: Any
) -> tuple[tuple[int, ...], torch.dtype]:
    """The shape and type of an image that the network takes."""
    if isinstance(example, Tensor):
        shape, dtype = tuple(example.shape), example.dtype
    else:
        if not isinstance(example, (tuple, list)) or not all(isinstance(n, int) for n in example):
            raise ArgumentError(f"an example is a tensor or a shape, not {example!r}")
        shape = tuple(example)
        holder = model.state_dict if isinstance(model, ExportedProgram) else model.state_dict()
        dtype = next((t.dtype for t in holder.values() if t.is_floating_point()), torch.float32)
    if not 3 <= len(shape) <= 5 or min(shape) < 1:
        raise ArgumentError(
            f"an example has a batch, channels and one to three axes, not shape {shape}"
        )
    return shape, dtype


def example_of(model: nn.Module | ExportedProgram) -> tuple[int, ...] | None:
    """A shape that a model takes, by its first convolution; None for a model without any.

    >>> example_of(nn.Sequential(nn.Conv3d(1, 8, 3), nn.Conv3d(8, 2, 3)))
    (1, 1, 32, 32, 32)
    """
    if isinstance(model, ExportedProgram):
        image = next(node for node in model.graph.nodes if node.name in
                     model.graph_signature.user_inputs)  # fmt: skip
        shape: tuple[int, ...] = tuple(map(int, image.meta["val"].shape))
        return shape
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    for module in model.modules():
        if isinstance(module, kinds):
            return (1, module.in_channels, *[32] * len(module.kernel_size))
    return None
