"""Whether a program stays within its memory: asked once, before its first kernel runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from convsmith.errors import ConvsmithError
from convsmith.kernels.abi import Abi

if TYPE_CHECKING:
    # It comes with Halide, and a stored program runs without.
    from convsmith.runtime.lowering.block import Array

__all__ = ["check_extents"]


def check_extents(
    calls: Array, arguments: Array, rooms: Sequence[int], abi: Abi | None = None
) -> None:
    """Check that every buffer of every call lies within the memory that it is taken from.

    Args:
        calls: (threads, calls), structured as `CALL`.
        arguments: structured as `ARGUMENT`.
        rooms: the bytes from each base address on.
        abi: the limits of the executor.

    Raises:
        ConvsmithError: for a program that would read or write elsewhere.
    """
    buffers = arguments[arguments["base"] >= 0]
    room = np.array(rooms, np.int64)
    dims = buffers["value"][:, None] > np.arange(buffers["extent"].shape[1])
    extent = np.where(dims, buffers["extent"], 1).astype(np.int64)
    if (buffers["base"] >= len(room)).any() or (extent < 0).any():
        raise ConvsmithError("a program was refused: a buffer without memory")
    steps = (extent - 1) * np.where(dims, buffers["stride"], 0)
    size = buffers["size"].astype(np.int64)
    first = buffers["offset"] + size * np.minimum(steps, 0).sum(1)
    end = buffers["offset"] + size * (1 + np.maximum(steps, 0).sum(1))
    wrong = ((first < 0) | (end > room[buffers["base"]])) & (extent > 0).all(1)
    if wrong.any():
        where = int(np.flatnonzero(wrong)[0])
        base = int(buffers["base"][where])
        raise ConvsmithError(
            f"a program was refused: a buffer from {first[where]} to {end[where]} "
            f"of the {room[base]} bytes of memory {base}"
        )
    last = calls["first"].astype(np.int64) + calls["count"]
    if (last > len(arguments)).any() or (calls["first"] < 0).any():
        raise ConvsmithError("a program was refused: a call without its arguments")
    if abi is not None and (calls["count"] > abi.max_arguments).any():
        raise ConvsmithError(
            f"a program was refused: a call has more than {abi.max_arguments} arguments"
        )
