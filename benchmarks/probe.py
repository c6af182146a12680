"""What an output value really reads, from the network's own gradients.

With positive weights and a positive image nothing cancels: a value depends on exactly the pixels
where its gradient, in float64, is not zero. A max pool passes a gradient to one of its values only,
so while a network is probed its max pools sum their windows instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["seen"]

_SUM = {nn.MaxPool1d: F.conv1d, nn.MaxPool2d: F.conv2d, nn.MaxPool3d: F.conv3d}
# An interpolation weight that is zero may come out as a rounding error.
_ROUNDING = 1e-14


def seen(model: nn.Module, example: Tensor, path: str = "") -> Tensor:
    """The pixels that the middle position of a module's map depends on, as booleans.

    Args:
        model: in evaluation mode, with positive weights; it is turned to float64.
        example: a positive image, batch and channels first.
        path: of the module; the model itself unless given.
    """
    image = example.double().requires_grad_()
    found: list[Tensor] = []
    keep = model.get_submodule(path).register_forward_hook(lambda *call: found.append(call[2]))
    try:
        with _summed(model.double()):
            model(image)
    finally:
        keep.remove()
    value = found[-1][0]
    for size in found[-1].shape[2:]:
        value = value.select(1, size // 2)
    (gradient,) = torch.autograd.grad(value.sum(), image)
    strength = gradient[0].abs().sum(0)
    return strength > _ROUNDING * strength.max()


@contextmanager
def _summed(model: nn.Module) -> Iterator[None]:
    """Let every max pool add up its windows."""
    pools = [module for module in model.modules() if type(module) in _SUM]
    hooks = [pool.register_forward_hook(_sum) for pool in pools]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _sum(pool: Any, inputs: tuple[Tensor], pooled: Tensor) -> Tensor:
    (x,) = inputs
    dims = x.ndim - 2
    each = [
        (option,) * dims if isinstance(option, int) else option
        for option in (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    ]
    kernel, stride, padding, dilation = each
    ones = x.new_ones(x.shape[1], 1, *kernel)
    # With `ceil_mode` the last window may reach beyond the padding.
    reach = [(p, p + k * d) for p, k, d in zip(padding, kernel, dilation, strict=True)]
    wide = F.pad(x, [side for sides in reversed(reach) for side in sides])
    summed = _SUM[type(pool)](wide, ones, None, stride, 0, dilation, x.shape[1])
    for axis, size in enumerate(pooled.shape[2:], start=2):
        summed = summed.narrow(axis, 0, size)
    return summed
