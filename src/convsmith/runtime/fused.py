"""The layers of `convsmith.nn` in fused kernels; `convsmith.nn.use_fused_` asks for it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from convsmith.network.lock import LOCK
from convsmith.runtime.compilation import compile
from convsmith.runtime.compiled import Compiled

__all__ = ["Fused"]


class Fused:
    """Computes one layer; compiles it when it is first called, and again when it was changed.

    It is not shared with copies of its layer: a copied or loaded layer compiles again.
    """

    # Nor is it what is captured: it only refers to it.
    shared_by_shadows = True

    def __init__(self) -> None:
        self._compiled: Compiled | None = None

    def __call__(self, layer: nn.Module, input: Tensor) -> Tensor | None:
        """What the layer gives in evaluation mode; None where no kernel computes it."""
        compiled = self._compiled
        if compiled is None:
            with LOCK:
                compiled = self._compiled = compile(layer, tuple(input.shape))
        if not compiled.regions:
            return None
        result: Tensor = compiled(input)
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> Fused:
        return Fused()

    def __reduce__(self) -> tuple[type[Fused], tuple[()]]:
        return Fused, ()
