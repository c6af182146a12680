"""What the data weigh: second moments of patches as one matrix for each side of a product.

The response of an output to a patch x has the second moment w^T C w. With input channels taken as
uncorrelated C is block diagonal, C_i for channel i, and a low-rank problem weighted by it has a
closed solution only where C is a Kronecker product. The nearest one is taken: A_i ⊗ B, the taps of
some axes in A_i, which also tells how strong channel i is, those of the others in B, which all
channels share (Van Loan and Pitsianis 1993).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from convsmith.errors import ArgumentError

__all__ = ["kronecker_roots"]

# Directions that the data never showed keep this share of the largest second moment; its square
# root bounds what undoing the weighting can do to rounding.
_FLOOR = 1e-8


def kronecker_roots(
    moments: Tensor | None, groups: int, inputs: int, kernel: Sequence[int], axes: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return A^{1/2}, A^{-1/2}, B^{1/2} and B^{-1/2} of every group, symmetric, in float64.

    Args:
        moments: (groups * inputs, taps, taps); None for white patches.
        groups: groups of the convolution.
        inputs: input channels of a group.
        kernel: taps per axis.
        axes: the axes whose taps belong to A.

    Returns:
        (groups, inputs, a, a) twice and (groups, b, b) twice, for a taps on `axes` and b on the
        others.

    Raises:
        ArgumentError: moments of another shape, or not finite.
    """
    taps = math.prod(kernel)
    rest = [axis for axis in range(len(kernel)) if axis not in axes]
    a, b = (math.prod(kernel[axis] for axis in chosen) for chosen in (axes, rest))
    if moments is None:
        left = torch.eye(a, dtype=torch.float64).expand(groups, inputs, a, a)
        right = torch.eye(b, dtype=torch.float64).expand(groups, b, b)
        return left, left, right, right
    if tuple(moments.shape) != (groups * inputs, taps, taps):
        raise ArgumentError(
            f"moments of shape {tuple(moments.shape)} must be (in_channels, taps, taps) = "
            f"{(groups * inputs, taps, taps)}"
        )
    second = moments.detach().cpu().double()
    if not bool(torch.isfinite(second).all()):
        raise ArgumentError("moments must be finite; they hold NaN or infinity")
    dims = len(kernel)
    order = [axis + shift for chosen in (axes, rest) for shift in (2, 2 + dims) for axis in chosen]
    blocks = second.reshape(groups, inputs, *kernel, *kernel).permute(0, 1, *order)
    blocks = blocks.reshape(groups, inputs * a * a, b * b)
    u, s, v = torch.linalg.svd(blocks, full_matrices=False)
    # Both leading factors of positive semidefinite blocks are semidefinite, up to a common sign.
    right = v[:, 0].reshape(groups, b, b)
    sign = torch.where(right.diagonal(dim1=1, dim2=2).sum(1) < 0, -1.0, 1.0)
    left = (u[:, :, 0] * (s[:, :1] * sign[:, None])).reshape(groups, inputs, a, a)
    right = right * sign[:, None, None]
    return *_roots(left, (1, 2)), *_roots(right, (1,))


def _roots(matrices: Tensor, dim: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Symmetric roots and their inverses; `dim`: what one floor is shared by."""
    values, vectors = torch.linalg.eigh((matrices + matrices.mT) / 2)
    largest = values.amax(dim=dim, keepdim=True)
    # Where nothing was ever shown, all directions count alike.
    values = torch.where(largest > 0, values.maximum(_FLOOR * largest), torch.ones_like(values))
    root = values.sqrt()
    return (vectors * root.unsqueeze(-2)) @ vectors.mT, (vectors / root.unsqueeze(-2)) @ vectors.mT
