"""Bytes that live during a pass, seen from PyTorch's dispatcher."""

from __future__ import annotations

from typing import Any
from weakref import finalize

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Meter"]


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the storages that operations make, while any tensor holds them."""

    def __init__(self, *held: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = {tensor.untyped_storage()._cdata for tensor in held}
        self.live: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                address = storage._cdata
                if address not in self.known and address not in self.live:
                    self.live[address] = storage.nbytes()
                    finalize(storage, self.live.pop, address)
        self.peak = max(self.peak, sum(self.live.values()))
        return result
