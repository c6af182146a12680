"""`compile`: a network whose convolutions run in fused kernels, the rest in torch."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from convsmith.errors import ArgumentError
from convsmith.network import Network
from convsmith.network.trace import trace
from convsmith.runtime.partition import partition
from convsmith.runtime.region import Region
from convsmith.runtime.team import Team

__all__ = ["Compiled", "compile"]


class Compiled(nn.Module):
    """A network for inference; made by `compile`.

    Attributes:
        network: what it was made from.
        threads: how many threads the kernels use.
        reasons: for each layer that runs in torch, why.
    """

    def __init__(
        self, graph: nn.Module, network: Network, threads: int, reasons: dict[str, str]
    ) -> None:
        super().__init__()
        self.graph = graph
        self.network, self.threads, self.reasons = network, threads, reasons

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives in evaluation mode, without gradients."""
        with torch.no_grad():
            return self.graph(*args, **kwargs)

    @property
    def regions(self) -> list[Region]:
        """The parts that kernels compute."""
        return [module for module in self.graph.modules() if isinstance(module, Region)]


def compile(
    model: nn.Module, example: Any, *, threads: int | None = None, isa: str | None = None
) -> Compiled:
    """Compile a network for inference on this machine's processor.

    Args:
        model: any module that `torch.export` captures; it is left as it was and shares its
            parameters with the result where torch runs a layer.
        example: a tensor, a shape or several, as for `trace`.
        threads: how many to use; all processors of this process unless given.
        isa: `avx512` or `avx2`; the widest unless given.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()).eval()
    >>> fast = compile(net, (1, 3, 16, 16))
    >>> image = torch.rand(1, 3, 16, 16)
    >>> torch.allclose(fast(image), net(image), atol=1e-5)
    True
    """
    if threads is not None and threads < 1:
        raise ArgumentError(f"at least one thread is needed, not {threads}")
    network = trace(model, example)
    threads = threads or len(os.sched_getaffinity(0))
    try:
        from convsmith.kernels.isa import choose_isa
        from convsmith.kernels.library import Library, compiler
    except ImportError:
        chosen = None
    else:
        chosen = choose_isa(isa) if compiler() else None
    if chosen is None:
        reasons = {layer.name: "there are no kernels on this machine" for layer in network}
        return Compiled(network.program.module(check_guards=False), network, threads, reasons)
    library, team = Library(chosen), Team(threads)
    graph, reasons = partition(network, lambda blocks: Region(blocks, library, team))
    return Compiled(graph, network, threads, reasons)
