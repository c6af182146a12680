"""What a compiled network owes the original: errors against float64 like eager's own."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from convsmith.runtime import compile

EPSILON = torch.finfo(torch.float32).eps


def agree(
    net: nn.Module, image: Tensor, isa: str, threads: int = 1, winograd: bool = False
) -> None:
    """Check a network on an image: shapes, layout of memory, and errors.

    The error may be twice eager's, in the norm and at the worst value, or a few units in the last
    place of the largest number that was rounded on the way.
    """
    net = net.eval()
    fast = compile(net, image, isa=isa, threads=threads, winograd=winograd)
    assert fast.regions, f"nothing is computed by kernels: {fast.reasons}"
    sizes: list[float] = []
    hooks = [
        module.register_forward_hook(lambda _, __, value: sizes.append(_largest(value)))
        for module in net.modules()
        if not list(module.children())
    ]
    with torch.no_grad():
        eager = _several(net(image))
        for hook in hooks:
            hook.remove()
        exact = _several(deepcopy(net).double()(image.double()))
    found = _several(fast(image))
    assert len(found) == len(eager)
    few = 4 * EPSILON * max([_largest(image), *sizes])
    for ours, theirs, true in zip(found, eager, exact):
        assert ours.shape == theirs.shape
        assert ours.dtype == torch.float32
        assert not ours.requires_grad
        mine, peer = (ours.double() - true), (theirs.double() - true)
        if mine.numel():
            assert mine.abs().max() <= max(2 * peer.abs().max(), few)
            assert _root(mine) <= max(2 * _root(peer), few / 2)


def _several(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def _largest(value: Tensor) -> float:
    return float(value.abs().max()) if value.numel() else 0.0


def _root(value: Tensor) -> float:
    return float(value.square().mean().sqrt())
