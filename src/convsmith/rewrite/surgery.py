"""Modules taken out of a tree and put in: always in a copy, never in the user's model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from convsmith.network import quiet, submodule, untouched
from convsmith.network.shadow import shadow

__all__ = ["answers", "give_hooks", "has_hooks", "inputs", "replace", "watching", "working_copy"]


class _Enough(Exception):
    pass


def replace(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put `module` in the place of the one at `path`, whose hooks it takes over."""
    parent, _, name = path.rpartition(".")
    _take_hooks(submodule(model, path), module)
    submodule(model, parent).register_module(name, module)


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_ABOUT_HOOKS = (
    "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called",
)  # fmt: skip


def _take_hooks(old: nn.Module, new: nn.Module, memo: dict[int, Any] | None = None) -> None:
    """Call the user's hooks with the new module; those that compute the old one's weight go."""
    for key in _HOOKS:
        for number, hook in list(vars(old)[key].items()):
            if type(new) is type(old) or not _computes(hook):
                new.__dict__[key][number] = hook if memo is None else deepcopy(hook, memo)
    for key in _ABOUT_HOOKS:
        new.__dict__[key].update(vars(old)[key])


def give_hooks(original: nn.Module, rewritten: nn.Module) -> None:
    """Put the hooks of a network's modules on those that stand in their places.

    A hook that belongs to a module of the original, or is an object of its own, is copied with
    it, as `deepcopy` does; a function is the very same.
    """
    places = dict(rewritten.named_modules(remove_duplicate=False))
    pairs = [(m, places[path]) for path, m in original.named_modules() if path in places]
    memo: dict[int, Any] = {id(old): new for old, new in pairs}
    for old, new in pairs:
        for key in (*_HOOKS, *_ABOUT_HOOKS):
            new.__dict__[key] = OrderedDict()
        _take_hooks(old, new, memo)


def working_copy(model: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """A shadow of a model that can be traced and run as often as need be, unseen by its user.

    Hooks are the user's own code, and may store what they see: they are left out if the model
    gives the same without them, which one call of each shows.

    Args:
        model: the model.
        *args: what it can be called with, if it has hooks.
        **kwargs: likewise by name.
    """
    found, bare = shadow(model), shadow(model)
    if not _silence(bare):
        return found
    with untouched(found), torch.no_grad(), quiet():
        answers = [tree_leaves(one(*args, **kwargs)) for one in (found, bare)]
    same = len(answers[0]) == len(answers[1]) and all(
        torch.equal(a, b)
        for a, b in zip(*answers, strict=True)
        if isinstance(a, Tensor) and isinstance(b, Tensor)
    )
    return bare if same else found


def has_hooks(module: nn.Module) -> bool:
    """Whether a module has forward hooks, other than those that compute its weight."""
    return any(
        not _computes(hook) for key in _HOOKS[:2] for hook in (vars(module).get(key) or {}).values()
    )


def _silence(model: nn.Module) -> bool:
    """Take away the hooks of the user; whether there were any."""
    any_found = False
    for module in model.modules():
        for key in _HOOKS:
            hooks = module.__dict__.get(key) or {}
            for number in [n for n, hook in hooks.items() if not _computes(hook)]:
                del hooks[number]
                any_found = True
    return any_found


def _computes(hook: Any) -> bool:
    """Whether a hook is one of pruning or of a norm of weights."""
    return type(hook).__module__.startswith("torch.nn.utils")


def answers(model: nn.Module, path: str, call: Callable[[], Any]) -> list[Tensor]:
    """Outputs of the module at `path` while `call` runs the model, which is stopped right after."""
    results: list[Tensor] = []
    with watching(submodule(model, path), lambda _, result: results.append(result), stop=True):
        call()
    return results


def inputs(model: nn.Module, path: str, call: Callable[[], Any]) -> list[Tensor]:
    """First inputs of the module at `path` while `call` runs the model, stopped right after."""
    values: list[Tensor] = []
    with watching(submodule(model, path), lambda args, _: values.append(args[0]), stop=True):
        call()
    return values


@contextmanager
def watching(
    module: nn.Module, see: Callable[[tuple[Any, ...], Any], None], *, stop: bool = False
) -> Iterator[None]:
    """Show each call of a module, arguments and result, to `see`; `stop` ends after the first."""

    def hook(_: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
        see(arguments, result)
        if stop:
            raise _Enough

    handle = module.register_forward_hook(hook)
    try:
        yield
    except _Enough:
        pass
    finally:
        handle.remove()
