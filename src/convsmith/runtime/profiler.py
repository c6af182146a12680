"""Times a compiled network on this machine: node by node, and its regions block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Interpreter, Node
from torch.utils._pytree import tree_leaves

from convsmith.network import Network
from convsmith.runtime.graph.variant import Variant
from convsmith.runtime.precision import Precision
from convsmith.runtime.profile import BlockTime, Profile

if TYPE_CHECKING:
    from convsmith.runtime.execution.region import Region
    from convsmith.runtime.lowering.block import Block

__all__ = ["profile"]


def profile(
    variant: Variant, args: Sequence[Any], kwargs: dict[str, Any], threads: int, rounds: int
) -> Profile:
    """Time a graph node by node, and its regions block by block.

    Args:
        variant: the graph.
        args: inputs; named ones in `kwargs`.
        kwargs: by name.
        threads: of the kernels.
        rounds: how often each runs.
    """
    graph = variant.graph
    graph(*args, **kwargs)
    whole = [_seconds(lambda: graph(*args, **kwargs)) for _ in range(rounds)]
    timer = _Timer(graph, rounds)
    timer.run(*tree_leaves((tuple(args), kwargs)))
    regions = {id(region) for region in variant.regions}
    peak = _peak(variant.regions[0], threads) if variant.regions else None
    network, rows = variant.network, list[BlockTime]()
    names = {layer.node: layer for layer in network}
    for node, inputs, result, ms in timer.seen:
        module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if module is not None and id(module) in regions:
            rows += _blocks(module, inputs, network, peak, rounds)  # type: ignore[arg-type]
        elif node.op == "call_function" and node.name in names:
            layer = names[node.name]
            shapes = [tuple(v.shape) for v in tree_leaves(result) if isinstance(v, Tensor)]
            why = variant.reasons.get(layer.name, "")
            size = shapes[0][1:] if shapes else ()
            rows.append(BlockTime(layer.name, (layer.name,), "torch", why, size, ms))
    return Profile(network.name, tuple(rows), 1e3 * median(whole), peak, threads)


class _Timer(Interpreter):
    """Runs each node several times, but for those that write."""

    def __init__(self, module: Any, rounds: int) -> None:
        super().__init__(module)
        self.rounds = rounds
        self.seen: list[tuple[Node, tuple[Any, ...], Any, float]] = []

    def run_node(self, n: Node) -> Any:
        if n.op not in ("call_function", "call_module"):
            return super().run_node(n)
        # A region's blocks are timed by themselves.
        repeat = 1 if n.op == "call_module" or n.is_impure() else self.rounds
        times = []
        for _ in range(repeat):
            begin = perf_counter()
            result = super().run_node(n)
            times.append(perf_counter() - begin)
        inputs = self.fetch_args_kwargs_from_env(n)[0]
        self.seen.append((n, tuple(inputs), result, 1e3 * median(times)))
        return result


def _blocks(
    region: Region, tensors: Sequence[Tensor], network: Network, peak: float | None, rounds: int
) -> list[BlockTime]:
    plan = region.program(*tensors).plan
    images, rows = region.tensors.images(tensors[0]), []
    for block, seconds in zip(region.blocks, _times(region, tensors, rounds), strict=True):
        height, width = plan.sizes[id(block)]
        channels = (block.target or block.sources[0]).channels
        macs = images * block.macs((height, width))
        rate = 2e-9 * macs / seconds if macs and seconds else None
        nbytes = 0
        if block.target is not None and block.target.root is block.target:
            nbytes = plan.layout(block.target).nbytes
        rows.append(
            BlockTime(
                block.name,
                tuple(block.layers),
                block.label,
                "",
                (channels, height, width),
                1e3 * seconds,
                macs,
                rate,
                rate / peak if rate and peak else None,
                nbytes,
                _numbers(block),
            )
        )
    return rows


def _numbers(block: Block) -> str:
    if block.numbers.products:
        return "bf16"
    return "on bf16" if block.numbers.word else "float32"


def _times(region: Region, tensors: Sequence[Tensor], rounds: int) -> list[float]:
    """Seconds of each block for the whole batch: its calls alone, on the memory of a whole call."""
    seconds: list[float] = []
    with region.running(tensors) as (program, run):
        run(program)
        for number in range(len(region.blocks)):
            own = np.ascontiguousarray(program.calls[:, program.owners == number])
            part = replace(program, calls=own)
            if not own.shape[1]:
                seconds.append(0.0)
                continue
            run(part)
            seconds.append(median(_seconds(lambda part=part: run(part)) for _ in range(rounds)))
    return seconds


_PEAKS: dict[tuple[str, str, int], float] = {}


def _peak(region: Region, threads: int) -> float:
    """10⁹ operations per second that a pointwise kernel reaches on data in the cache; kept.

    Of bf16 for a region that computes with such.
    """
    key = region.library.isa.name, region.precision, threads
    if key not in _PEAKS:
        _PEAKS[key] = _measure_peak(region, threads)
    return _PEAKS[key]


def _measure_peak(region: Region, threads: int) -> float:
    from convsmith.runtime.execution.region import Region
    from convsmith.runtime.lowering.block import Input, Output
    from convsmith.runtime.lowering.convolution import Convolution
    from convsmith.runtime.lowering.maps import Map
    from convsmith.runtime.lowering.narrowing import narrow

    side, best = 14, 0.0
    image = torch.ones(1, 96, side * threads, side)
    for channels in (192, 576):
        source, target = Map("x", 96), Map("y", channels)
        weight, bias = np.full((channels, 96, 1, 1), 1e-3), np.zeros(channels)
        middle = Convolution("y", [source], target, weight=weight, bias=bias)
        blocks = [Input("x", [], source), middle, Output("y", [target], None)]
        narrow(blocks, Precision(region.precision))
        bench = Region(blocks, region.library, region.team, region.precision)
        seconds = min(_times(bench, [image], 1)[1] for _ in range(30))
        best = max(best, 2e-9 * middle.macs((side * threads, side)) / seconds)
    return best


def _seconds(call: Any) -> float:
    begin = perf_counter()
    call()
    return perf_counter() - begin
