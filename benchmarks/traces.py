"""What a counter leaves changed in a model, in torch, and in the random state."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

# Imported now, because it replaces torch.manual_seed by a wrapper when it first is.
import torch._dynamo
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["left_behind"]

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
    "_state_dict_hooks", "_load_state_dict_pre_hooks",
)  # fmt: skip
_PATCHED = ("add", "addmm", "bmm", "matmul", "mm", "mul")


def left_behind(model: nn.Module, call: Callable[[], object]) -> list[str]:
    """Run `call`, which may fail, and name everything that has changed."""
    before = _state(model)
    with suppress(Exception):  # what a failing counter leaves changed matters too
        call()
    after = _state(model)
    return [aspect for aspect, was in before.items() if not _same(was, after[aspect])]


def _state(model: nn.Module) -> dict[str, Any]:
    modules = dict(model.named_modules())
    tensors = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    return {
        "hooks": {
            path: [tuple(getattr(module, name)) for name in _HOOKS]
            for path, module in modules.items()
        },
        "attributes": {path: tuple(vars(module)) for path, module in modules.items()},
        "buffers": {path: tuple(module._buffers) for path, module in modules.items()},
        "state_dict keys": tuple(model.state_dict()),
        "training flags": {path: module.training for path, module in modules.items()},
        "values": {name: tensor.detach().clone() for name, tensor in tensors.items()},
        "tensors": {
            name: (id(t), t.device, t.dtype, t.stride(), t.requires_grad, t.grad is None)
            for name, t in tensors.items()
        },
        "random state": torch.get_rng_state(),
        "torch's functions": {
            (place.__name__, name): id(getattr(place, name))
            for place, names in ((F, vars(F)), (torch, vars(torch)), (Tensor, _PATCHED))
            for name in tuple(names)
        },
    }


def _same(was: Any, now: Any) -> bool:
    if isinstance(was, Tensor):
        return torch.equal(was, now)
    if isinstance(was, dict):
        # What is new has an aspect of its own: keys, buffers, attributes.
        return all(key in now and _same(value, now[key]) for key, value in was.items())
    return bool(was == now)
