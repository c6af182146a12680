"""One convolution weight as a depthwise one times a pointwise one.

For input channel ``i`` the weight is a matrix ``M_i`` of shape (outputs it reaches, taps). A
depthwise separable layer with channel multiplier ``T`` applies a matrix of rank ``T`` in its
place: the depthwise kernels are its rows, the pointwise columns weigh them. So the best separable
layer is, channel by channel, a truncated singular value decomposition (Guo et al. 2018, *Network
Decoupling*, arXiv:1808.05517), and it is exact once ``T`` reaches the rank.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from convsmith.arithmetic.normalise import count
from convsmith.errors import ArgumentError

__all__ = ["balance", "nested_factors", "separable_factors", "separable_rank"]

# Directions of patch space that the calibration data never showed keep this share of the largest
# second moment. Without it ranks left over once the data is served would fall on arbitrary
# directions; with it they go where the plain decomposition would put them. Its square root, 1e-6,
# is far above rounding in float64, and the expected error moves by less than 1e-12 of its scale.
_FLOOR = 1e-12

# Second moments summed in float32 are off by about 1e-6 of their largest value: what is further
# from symmetric, or more negative, was not a second moment.
_NOISE = 1e-3


def separable_rank(weight: Tensor, groups: int = 1, *, transposed: bool = False) -> int:
    """Return the channel multiplier at which a separable layer reproduces any such weight.

    It is min(out_channels / groups, taps): no matrix ``M_i`` can have a larger rank.

    Args:
        weight: (out, in/groups, *kernel), or (in, out/groups, *kernel) when transposed.
        groups: groups of the convolution.
        transposed: whether the weight is laid out as in ``nn.ConvTranspose*d``.

    Raises:
        ArgumentError: a weight that is not a convolution's, or groups that do not divide it.

    >>> separable_rank(torch.zeros(30, 3, 10, 10))
    30
    >>> separable_rank(torch.zeros(64, 32, 3, 3), groups=2)
    9
    """
    _, outputs, _ = _layout(weight, groups, transposed)
    return min(outputs, weight[0, 0].numel())


def separable_factors(
    weight: Tensor,
    groups: int = 1,
    multiplier: int = 1,
    moments: Tensor | None = None,
    transposed: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Split a convolution weight into a depthwise and a pointwise one.

    Without ``moments`` the sum of squared weight differences is the least possible: per input
    channel, the squared singular values that were cut off (Eckart and Young 1936).

    With ``moments`` the expected squared output error is the least possible instead, input
    channels taken as uncorrelated: per channel it is ``tr((M - N) C (M - N)^T)``, the plain
    problem for ``B = M C^{1/2}``. The usual last step, ``N = B_T C^{-1/2}``, breaks down when
    ``C`` is singular, as it is for flat or few patches. No inverse is needed: ``B_T = U U^T B``
    with the ``T`` leading left singular vectors ``U`` of ``B``, hence ``N = U U^T M`` gives
    ``N C^{1/2} = B_T``, and stays exact at full rank whatever ``C`` is.

    Both factors of a pair have the same norm, so that neither learns faster than the other when
    training goes on, and in every depthwise kernel the entry of largest magnitude is positive (the
    first one, among equals). Pairs of one channel come in falling order of importance.

    Args:
        weight: (out, in/groups, *kernel), or (in, out/groups, *kernel) when transposed; any number
            of spatial dimensions from one on, any real floating dtype, on any device.
        groups: groups of the convolution, which the pointwise factor keeps.
        multiplier: depthwise kernels per input channel, T.
        moments: (in, taps, taps), the second moments ``E[x x^T]`` of the patches x that the kernel
            meets in each input channel, its taps in the order of ``weight[0, 0].flatten()``; they
            may be rank deficient and of any scale. For a transposed convolution a patch is taken
            from the input with its stride - 1 zeros between values.
        transposed: whether the weight is laid out as in ``nn.ConvTranspose*d``.

    Returns:
        The depthwise weight (in*T, 1, *kernel), or (in, T, *kernel) when transposed, for
        groups=in; and the pointwise weight (out, in*T/groups, 1, ..., 1) of an ordinary
        convolution, for ``groups``. Computed in float64, returned in the dtype and on the device
        of ``weight``, detached from its graph.

    Raises:
        ArgumentError: a multiplier above `separable_rank`, groups that do not divide the
            channels, moments of another shape or not symmetric and positive semidefinite, or
            values that are not finite.

    >>> weight = torch.arange(1.0, 19.0).reshape(2, 1, 3, 3)
    >>> depthwise, pointwise = separable_factors(weight, multiplier=2)
    >>> depthwise.shape, pointwise.shape
    (torch.Size([2, 1, 3, 3]), torch.Size([2, 2, 1, 1]))
    >>> product = torch.einsum("ot,tyx->oyx", pointwise[..., 0, 0], depthwise[:, 0])
    >>> torch.allclose(product, weight[:, 0])
    True
    """
    inputs, outputs, kernel = _layout(weight, groups, transposed)
    taps = math.prod(kernel)
    rank = count("separable_factors: multiplier", multiplier)
    if rank > min(outputs, taps):
        raise ArgumentError(
            f"separable_factors: multiplier={rank} exceeds the full rank {min(outputs, taps)}, "
            f"the lesser of out_channels/groups={outputs} and {taps} taps"
        )
    with torch.no_grad():
        matrices = _float64("weight", weight)
        if not transposed:
            matrices = matrices.reshape(groups, outputs, -1, taps).transpose(1, 2)
        matrices = matrices.reshape(inputs, outputs, taps)
        left, right = nested_factors(matrices, _root(moments, inputs, taps))
        left, right = balance(left[:, :, :rank], right[:, :rank])
        columns = left.reshape(groups, -1, outputs, rank).transpose(1, 2)
        pointwise = columns.reshape(groups * outputs, -1, *(1 for _ in kernel))
        depthwise = right.reshape(*((inputs, rank) if transposed else (inputs * rank, 1)), *kernel)
        return depthwise.to(weight), pointwise.to(weight)


def _layout(weight: Tensor, groups: int, transposed: bool) -> tuple[int, int, tuple[int, ...]]:
    """Input channels, outputs that each of them reaches, and the kernel."""
    if not isinstance(weight, Tensor):
        raise ArgumentError(f"separable_factors: weight must be a tensor, not {weight!r}")
    shape = tuple(weight.shape)
    if len(shape) < 3 or 0 in shape or not weight.is_floating_point():
        raise ArgumentError(
            f"separable_factors: weight of shape {shape} and {weight.dtype} must be a real "
            "convolution weight with two channel axes and at least one spatial axis"
        )
    groups = count("separable_factors: groups", groups)
    first, second, *kernel = shape
    if first % groups:
        raise ArgumentError(
            f"separable_factors: groups={groups} must divide the first axis of weight {shape}"
        )
    if transposed:
        return first, second, tuple(kernel)
    return second * groups, first // groups, tuple(kernel)


def _float64(name: str, values: Tensor) -> Tensor:
    """Bring values to the processor in float64 (not every accelerator has that type)."""
    if values.is_meta:
        raise ArgumentError(f"separable_factors: {name} is on device 'meta' and has no values")
    values = values.detach().cpu().to(torch.float64)
    if not bool(torch.isfinite(values).all()):
        raise ArgumentError(f"separable_factors: {name} must be finite; it holds NaN or infinity")
    return values


def _root(moments: Tensor | None, inputs: int, taps: int) -> Tensor | None:
    """Return R with ``R R^T = C`` for each channel, its null space lifted to the floor."""
    if moments is None:
        return None
    if not isinstance(moments, Tensor):
        raise ArgumentError(f"separable_factors: moments must be a tensor, not {moments!r}")
    if tuple(moments.shape) != (inputs, taps, taps):
        raise ArgumentError(
            f"separable_factors: moments of shape {tuple(moments.shape)} must be "
            f"(in_channels, taps, taps) = {(inputs, taps, taps)}"
        )
    second = _float64("moments", moments)
    largest = second.abs().amax(dim=(1, 2))
    skew = (second - second.mT).abs().amax(dim=(1, 2))
    values, vectors = torch.linalg.eigh((second + second.mT) / 2)
    if bool((skew > _NOISE * largest).any() or (values[:, 0] < -_NOISE * largest).any()):
        raise ArgumentError(
            "separable_factors: moments must be symmetric and positive semidefinite in every "
            "channel, as E[x x^T] is"
        )
    # A channel that was always zero says nothing about its taps: above zero, they count alike.
    floor = (_FLOOR * values[:, -1:]).clamp_min(torch.finfo(values.dtype).tiny)
    root: Tensor = vectors * values.maximum(floor).sqrt().unsqueeze(1)
    return root


def nested_factors(matrices: Tensor, root: Tensor | None) -> tuple[Tensor, Tensor]:
    """Orthonormal columns and their rows, most important first; their product is the matrix."""
    left, values, rows = torch.linalg.svd(matrices, full_matrices=False)
    right = values.unsqueeze(-1) * rows
    if root is not None:
        # Within the column space of M the second basis is a square rotation, so that the product
        # of all pairs remains M even where R is singular or close to it.
        rotation = torch.linalg.svd(right @ root, full_matrices=False).U
        left, right = left @ rotation, rotation.mT @ right
    return left, right


def balance(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Share each pair's norm evenly and settle its sign."""
    share = right.norm(dim=-1).sqrt()
    magnitude = right.abs()
    # Edge kernels are antisymmetric: two entries tie for the largest up to rounding, and the
    # sign must not depend on which of them rounding favours.
    ties = magnitude >= (1 - 1e-6) * magnitude.amax(dim=-1, keepdim=True)
    first = ties.to(torch.uint8).argmax(dim=-1, keepdim=True)
    sign = torch.where(right.gather(-1, first).squeeze(-1) < 0, -1.0, 1.0).to(right)
    smallest = torch.finfo(right.dtype).tiny
    right = right * (sign / share.clamp_min(smallest)).unsqueeze(-1)
    return left * (sign * share).unsqueeze(-2), right
