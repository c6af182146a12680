"""A convolution as a matrix product: the sparse matrix, its transpose, and im2col.

NumPy and SciPy are imported when a matrix is asked for, not before.
"""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import TYPE_CHECKING, Any, cast

from convsmith.arithmetic.convolution import Conv
from convsmith.arithmetic.normalise import Size, per_axis
from convsmith.arithmetic.transposed import ConvTranspose
from convsmith.arithmetic.window import Window, source_index
from convsmith.errors import ArgumentError, MissingExtra

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse

__all__ = ["convolution_matrix", "im2col"]


def convolution_matrix(
    layer: Conv | ConvTranspose, weight: Any, input_size: Size
) -> scipy.sparse.csr_array:
    """The sparse matrix M with `output.ravel() == M @ input.ravel()` (bias left out).

    Args:
        layer: a convolution or a transposed one; padding modes, groups and dilation included.
        weight: shaped as `layer.weight_shape`, or (*kernel_size) for one channel in and out.
        input_size: spatial size of the input.

    Returns:
        A `csr_array` shaped (out_channels·outputs, in_channels·inputs). The matrix of a transposed
        convolution is the transpose of the convolution's with the same kernel.

    >>> kernel = [[1, 2, 1], [2, 1, 2], [1, 1, 2]]
    >>> convolution_matrix(Conv(1, 1, 3), kernel, 4).shape
    (4, 16)
    >>> convolution_matrix(ConvTranspose(1, 1, 3), kernel, 2).shape
    (16, 4)
    """
    np = _numpy()
    try:
        from scipy.sparse import coo_array
    except ImportError:
        raise MissingExtra("the matrix of a convolution", extra="matrix", package="scipy") from None
    weights = np.asarray(weight)
    if weights.shape == layer.kernel_size and layer.in_channels == layer.out_channels == 1:
        weights = weights[None, None]
    if weights.shape != layer.weight_shape:
        raise ArgumentError(f"weight must be shaped {layer.weight_shape}, not {weights.shape}")
    inputs = per_axis("input_size", input_size, layer.dims)
    outputs = layer.output_size(inputs)
    # A transposed layer slides over its output: build that convolution, then swap rows and columns.
    slid, placed = (outputs, inputs) if layer.transposed else (inputs, outputs)
    mode = getattr(layer, "padding_mode", "zeros")
    axes = [
        _axis_entries(window, length, count, mode)
        for window, length, count in zip(layer.windows, slid, placed, strict=True)
    ]
    row, column, tap = (
        reduce(
            lambda whole, part: (whole[:, None] * part[0] + part[1][None]).ravel(),
            [(scale, entries[which]) for scale, entries in zip(scales, axes, strict=True)],
            np.zeros(1, dtype=np.int64),
        )
        for which, scales in enumerate((placed, slid, layer.kernel_size))
    )
    rows, columns = weights.shape[:2]
    group_rows = rows // layer.groups
    channel, local = np.divmod(np.arange(rows * columns), columns)
    other = channel // group_rows * columns + local
    entries = coo_array(
        (
            weights.reshape(rows * columns, layer.taps)[:, tap].ravel(),
            (
                (channel[:, None] * prod(placed) + row).ravel(),
                (other[:, None] * prod(slid) + column).ravel(),
            ),
        ),
        shape=(rows * prod(placed), columns * layer.groups * prod(slid)),
    )
    return (entries.T if layer.transposed else entries).tocsr()


def im2col(layer: Conv, image: Any) -> np.ndarray[Any, Any]:
    """The patches of an image as columns, so that a convolution becomes one matrix product.

    Args:
        layer: a convolution; its padding, stride and dilation say which values a patch has.
        image: shaped (in_channels, *spatial), or (*spatial) for one channel.

    Returns:
        An array shaped (in_channels·k·k, outputs): with one group,
        `weight.reshape(out_channels, -1) @ im2col(layer, image)` is the output.

    >>> im2col(Conv(1, 1, 2), [[1, 2, 3], [4, 5, 6]]).tolist()
    [[1, 2], [2, 3], [4, 5], [5, 6]]
    """
    if layer.transposed:
        raise ArgumentError(f"im2col gathers for a convolution; {layer!r} scatters: use its matrix")
    numpy = _numpy()
    values = numpy.asarray(image)
    values = values[None] if values.ndim == layer.dims else values
    outputs = layer.output_shape((1, *values.shape))[2:]
    for axis, (window, length, count) in enumerate(
        zip(layer.windows, values.shape[1:], outputs, strict=True)
    ):
        places = [
            source_index(
                o * window.stride - window.padding[0] + t * window.dilation,
                length,
                layer.padding_mode,
            )
            for t in range(window.kernel)
            for o in range(count)
        ]
        index = numpy.array([length if place is None else place for place in places])
        zero = numpy.zeros_like(values.take([0], axis=1 + 2 * axis))
        values = numpy.concatenate([values, zero], axis=1 + 2 * axis).take(index, axis=1 + 2 * axis)
        split = (window.kernel, count)
        values = values.reshape(values.shape[: 1 + 2 * axis] + split + values.shape[2 + 2 * axis :])
    # Now (channels, tap, output, tap, output, …): taps to the rows, outputs to the columns.
    every = range(1, 2 * layer.dims, 2)
    patches = values.transpose(0, *every, *(axis + 1 for axis in every))
    return cast("np.ndarray[Any, Any]", patches.reshape(-1, prod(outputs)))


def _axis_entries(window: Window, length: int, count: int, mode: str) -> Any:
    """(placement, position, tap) of every product along one axis, as three integer arrays."""
    np = _numpy()
    entries = []
    for placement in range(count):
        for tap in range(window.kernel):
            place = placement * window.stride - window.padding[0] + tap * window.dilation
            source = source_index(place, length, mode)
            if source is not None:
                entries.append((placement, source, tap))
    return np.array(entries, dtype=np.int64).reshape(-1, 3).T


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise MissingExtra("a matrix", extra="matrix", package="numpy") from None
    return numpy
