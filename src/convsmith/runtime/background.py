"""Sizes that are new to a compiled network: run in torch, while another thread compiles."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from convsmith.errors import ConvsmithError
from convsmith.network.shadow import shadow
from convsmith.runtime.graph.gate import gate

__all__ = ["Background"]


class Background:
    """What was compiled so far, and a thread that compiles the next.

    Args:
        model: a module, or an exported program.
        prepare: compiles for inputs by place and by name.
    """

    def __init__(
        self,
        model: nn.Module | ExportedProgram,
        prepare: Callable[[tuple[Any, ...], dict[str, Any]], None],
    ) -> None:
        self._model, self._prepare = model, prepare
        self._ready: set[Any] = set()
        self._pending: dict[Any, threading.Thread] = {}
        self._lock = threading.Lock()

    def is_ready(self, key: Any) -> bool:
        """Whether inputs of a signature are compiled."""
        return key in self._ready

    def note(self, key: Any) -> None:
        """Inputs of a signature are compiled."""
        self._ready.add(key)

    def forget(self) -> None:
        """The model was changed: nothing is compiled."""
        self._ready.clear()

    def run(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the model in torch, and see to it that its inputs are compiled soon."""
        with self._lock:
            if key not in self._pending:
                values = [torch.empty_like(v) if isinstance(v, torch.Tensor) else v for v in args]
                named = {
                    name: torch.empty_like(v) if isinstance(v, torch.Tensor) else v
                    for name, v in kwargs.items()
                }
                job = threading.Thread(
                    target=self._compile, args=(key, tuple(values), named), daemon=True
                )
                self._pending[key] = job
                job.start()
        model = (
            self._model.module(check_guards=False)
            if isinstance(self._model, ExportedProgram)
            else shadow(self._model)
        )
        with torch.no_grad():
            return model(*args, **kwargs)

    def wait(self) -> None:
        """Wait until all that was begun is compiled."""
        for job in list(self._pending.values()):
            job.join()

    def _compile(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        gate.enter()
        try:
            self._prepare(args, kwargs)
            self._ready.add(key)
        except ConvsmithError:
            pass  # torch runs these inputs at every call, and says itself what is wrong with them
        finally:
            gate.leave()
            if key in self._ready:
                self._pending.pop(key, None)
