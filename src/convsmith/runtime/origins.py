"""Where in a network the error of narrow numbers arises: what each block adds at the outputs.

The network is run in torch with the roundings of its kernels, each of which moves a value a little.
How far the outputs move for it is a product of Jacobian and movement, whose square is the mean of
its products with random vectors: a backward pass gives those for all blocks at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Interpreter, Node
from torch.utils._pytree import tree_leaves

from convsmith.report import Result
from convsmith.runtime.graph.variant import Variant

if TYPE_CHECKING:
    # Halide has no wheel for every machine: these are imported where there are kernels.
    from convsmith.runtime.lowering.block import Block

__all__ = ["IMAGES", "Origin", "origins"]

IMAGES = 32
"""Images from which shares are known well enough."""

_VECTORS = 2
"""Random vectors for each image."""

_AT_ONCE = 1 << 20
"""Values of images whose intermediate results are kept at once for a backward pass."""


@dataclass(frozen=True, slots=True)
class Origin(Result):
    """A block of a compiled network, and what its roundings do to the outputs.

    Attributes:
        name: the layer whose value it stores.
        layers: all layers that it computes.
        error: of the outputs for its sake alone, over their norm.
        share: its part of the error of all blocks, whose squares add up.
    """

    name: str
    layers: tuple[str, ...]
    error: float
    share: float


def origins(serves: Callable[[Tensor], Variant], images: Tensor) -> tuple[Origin, ...]:
    """What each block with narrow numbers adds to the error of the outputs, most first.

    Args:
        serves: gives the graph that serves a batch.
        images: of which the first `IMAGES` count.

    Returns:
        Nothing where all is float32, the model is bf16 itself, or an operation has no derivative.
    """
    blocks: list[Block] = []
    squares: list[float] = []
    total = 0.0
    random = torch.Generator().manual_seed(0)
    for batch in _batches(images[:IMAGES]):
        variant = serves(batch)
        blocks = [b for region in variant.regions for b in region.blocks if b.numbers.word]
        squares = squares or [0.0] * len(blocks)
        if not blocks or images.dtype != torch.float32:
            return ()
        run = _Rounded(variant, blocks)
        try:
            with torch.enable_grad(), torch.autocast("cpu", enabled=False):
                outputs = _floating(run.run(batch.detach().clone().requires_grad_()))
                total += sum(float(each.detach().double().square().sum()) for each in outputs)
                for _ in range(_VECTORS):
                    for number, square in run.pulled(outputs, random):
                        squares[number] += square / _VECTORS
        except (RuntimeError, NotImplementedError):
            return ()  # a derivative that torch does not know
    whole = sum(squares)
    found = (
        Origin(
            _last(block),
            tuple(block.layers),
            (square / total) ** 0.5 if total else 0.0,
            square / whole if whole else 0.0,
        )
        for block, square in zip(blocks, squares, strict=True)
    )
    return tuple(sorted(found, key=lambda origin: -origin.error))


def _last(block: Block) -> str:
    """The layer whose value a block stores: batch norm and activations are folded into it."""
    return block.layers[-1] if block.layers else block.name


class _Rounded(Interpreter):
    """Runs a graph in float32 with the roundings of some blocks, whose movements it keeps."""

    def __init__(self, variant: Variant, blocks: Sequence[Block]) -> None:
        from convsmith.runtime.lowering.block import Input

        graph = variant.captured.graph()
        super().__init__(graph)
        network = variant.network
        entries = graph.graph.find_nodes(op="placeholder")
        nodes = {layer.name: layer.node for layer in network}
        nodes |= {name: node.name for name, node in zip(network.inputs, entries, strict=True)}
        self._results: dict[str, int] = {}
        self._sums: dict[str, tuple[int, bool, bool]] = {}
        images = {id(block.target) for block in blocks if isinstance(block, Input)}
        for number, block in enumerate(blocks):
            # What is between layers, such as the means of a norm, is a statistic: float32.
            narrow = block.target is not None and block.target.root.narrow
            if narrow and _last(block) in nodes:
                self._results[nodes[_last(block)]] = number
            if block.products and block.name in nodes:
                between = getattr(block, "depthwise", None) is not None
                # An image that is rounded is so for the sake of the sums that read it.
                image = id(block.sources[0]) in images
                self._sums[nodes[block.name]] = (number, between, image)
        self._moved: list[tuple[int, Tensor, Tensor]] = []

    def run_node(self, n: Node) -> Any:
        value = self._sum(n) if n.name in self._sums else super().run_node(n)
        if n.name in self._results and isinstance(value, Tensor):
            value = self._move(self._results[n.name], value, _narrow(value))
        return value

    def _sum(self, n: Node) -> Tensor:
        """A sum over channels whose factors are narrow."""
        number, between, image = self._sums[n.name]
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        values = list(args)
        if between:
            values[0] = self._move(number, values[0], _narrow(values[0]))
        run: Any = n.target
        plain: Tensor = run(*values, **kwargs)
        with torch.no_grad():
            # The first is what it reads; of the others, weights have more axes than a bias.
            factors = [
                _narrow(v) if (place or image) and isinstance(v, Tensor) and v.dim() > 1 else v
                for place, v in enumerate(values)
            ]
            rounded = run(*factors, **kwargs)
        return self._move(number, plain, rounded)

    def _move(self, number: int, value: Tensor, to: Tensor) -> Tensor:
        if not value.is_floating_point() or not value.requires_grad:
            return value
        step = (to - value).detach().nan_to_num(0.0, 0.0, 0.0)
        moved = value + step
        self._moved.append((number, moved, step))
        return moved

    def pulled(
        self, outputs: Sequence[Tensor], random: torch.Generator
    ) -> Iterator[tuple[int, float]]:
        """Each block, and the square of how far the outputs move with it along a random vector."""
        ways = [torch.randn(each.shape, generator=random).to(each) for each in outputs]
        values = [moved for _, moved, _ in self._moved]
        slopes = torch.autograd.grad(outputs, values, ways, retain_graph=True, allow_unused=True)
        sums: dict[int, Tensor] = {}
        for (number, _, step), slope in zip(self._moved, slopes, strict=True):
            if slope is not None:
                along = (slope * step).flatten(1).sum(1, dtype=torch.float64)
                sums[number] = sums[number] + along if number in sums else along
        for number, along in sums.items():
            yield number, float(along.square().sum())


def _narrow(value: Tensor) -> Tensor:
    return value.detach().bfloat16().to(value.dtype)


def _floating(answer: Any) -> list[Tensor]:
    leaves = [leaf for leaf in tree_leaves(answer) if isinstance(leaf, Tensor)]
    return [leaf for leaf in leaves if leaf.requires_grad]


def _batches(images: Tensor) -> Iterator[Tensor]:
    size = max(1, _AT_ONCE // max(1, images[:1].numel()))
    for start in range(0, len(images), size):
        yield images[start : start + size]
