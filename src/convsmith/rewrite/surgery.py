"""Modules taken out of a tree and put in: always in a copy, never in the user's model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from convsmith.network import submodule

__all__ = ["answers", "inputs", "replace", "watching"]


class _Enough(Exception):
    pass


def replace(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put `module` in the place of the one at `path`."""
    parent, _, name = path.rpartition(".")
    submodule(model, path)
    submodule(model, parent).register_module(name, module)


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
