"""What a run of a model counts, gives, and leaves behind."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["flops_by_module", "modules_with_several_names", "shapes", "state"]

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
    "_state_dict_hooks", "_load_state_dict_pre_hooks",
)  # fmt: skip


def state(model):
    """Everything about a model, and torch, that reading it must not change."""
    modules = dict(model.named_modules(remove_duplicate=False))
    tensors = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    return {
        "modules": {path: (id(m), m.training, tuple(vars(m))) for path, m in modules.items()},
        "hooks": {path: [tuple(getattr(m, h)) for h in _HOOKS] for path, m in modules.items()},
        # The version rises with every write, so it speaks for the values.
        "tensors": {
            name: (id(t), t._version, t.device, t.dtype, t.stride(), t.requires_grad, id(t.grad))
            for name, t in tensors
        },
        "keys": tuple(model.state_dict()),
        "random state": bytes(torch.random.get_rng_state().tolist()),
        "gradients": torch.is_grad_enabled(),
    }


def flops_by_module(model, inputs):
    """What torch counts on the dispatcher for each module path that is called, and the result.

    Two a multiply-add, no bias. The parameters lose their gradients: the counter fails on modules
    that are given one of them as an argument.
    """
    model.eval().requires_grad_(False)
    counter = FlopCounterMode(display=False)
    fast = torch.backends.mha.get_fastpath_enabled()
    # Fused attention is opaque to the counter.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            result = model(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    counts = counter.get_flop_counts()
    del counts["Global"]
    root = type(model).__name__
    return {
        path.removeprefix(root).removeprefix("."): Counter(
            {operation.__name__: n for operation, n in found.items()}
        )
        for path, found in counts.items()
    }, result


def modules_with_several_names(model):
    """Paths of modules that are registered in several places; the counter knows one of them."""
    named = list(model.named_modules(remove_duplicate=False))
    times = Counter(id(module) for _, module in named)
    return {path for path, module in named if times[id(module)] > 1}


def shapes(result):
    """The shapes of all tensors in a result, in order."""
    if isinstance(result, Tensor):
        return [tuple(result.shape)]
    if isinstance(result, dict):
        result = list(result.values())
    return [shape for part in result for shape in shapes(part)]
