"""From the layers of a region to blocks: batch norm, activations and additions are folded in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from convsmith.arithmetic import Conv, ConvTranspose, Pool, Window
from convsmith.network import Layer, Network
from convsmith.runtime.lowering.blocks import (
    Array,
    AveragePool,
    Block,
    Copied,
    Input,
    Mean,
    Output,
    Scaled,
    Upsampled,
)
from convsmith.runtime.lowering.blocks import Pool as PoolBlock
from convsmith.runtime.lowering.convolutions import Convolution, Transposed, padded, turned
from convsmith.runtime.lowering.joining import Joined, fuse_separable, join
from convsmith.runtime.lowering.maps import Map
from convsmith.runtime.lowering.refusals import UPSAMPLING, Weights, activation_name, refusal

__all__ = ["Weights", "lower", "refusal"]


def lower(
    network: Network,
    inside: Collection[str],
    outputs: Collection[str],
    weights: Weights,
) -> list[Block]:
    """The blocks of a region.

    Args:
        network: the network.
        inside: the names of the region's layers; `refusal` has nothing against any.
        outputs: those whose values are wanted outside.
        weights: their parameters.
    """
    return _Lowering(network, inside, outputs, weights).blocks()


class _Lowering:
    def __init__(
        self, network: Network, inside: Collection[str], outputs: Collection[str], weights: Weights
    ) -> None:
        self.network, self.inside, self.outputs = network, set(inside), list(outputs)
        self.weights = weights
        self.made: dict[str, Block] = {}  # by layer
        self.pads: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {}  # left to the readers
        self.order: list[Block] = []

    def blocks(self) -> list[Block]:
        for layer in self.network:
            if layer.name in self.inside:
                for source in layer.inputs:
                    if source not in self.made:
                        self._input(source)
                self._add(layer)
        self.order = [block for block in self.order if not isinstance(block, Joined)]
        wanted = {name: self._map(name) for name in self.outputs}
        fuse_separable(self.order, set(map(id, wanted.values())))
        self.order += [Output(name, [source], None) for name, source in wanted.items()]
        for block in (block for block in self.order if block.sources):
            block.sources[0].widen(*block.margins)
            if isinstance(block, PoolBlock) and any(map(any, block.margins)):
                block.sources[0].fill = -np.inf
        return self.order

    def _input(self, name: str) -> None:
        channels = self.network[name].shape[1]
        # A stem reads its few channels one by one: no room is wasted on them.
        target = Map(name, channels, channels if channels < 4 else 0)
        self._place(Input(name, [], target, vectors=len(self.network[name].shape) == 2), name)

    def _place(self, block: Block, *layers: str) -> None:
        self.order.append(block)
        for layer in layers:
            self.made[layer] = block
            block.layers.append(layer)

    def _add(self, layer: Layer) -> None:
        kind = layer.kind
        if kind in ("convolution", "transposed convolution"):
            self._convolution(layer)
        elif kind == "linear":
            self._linear(layer)
        elif kind == "batch norm":
            self._batch_norm(layer)
        elif kind == "activation":
            self._activation(layer)
        elif kind == "identity":
            self._same(layer, self.made[layer.inputs[0]])
        elif kind == "pool":
            self._pool(layer)
        elif kind in ("adaptive pool", "reduction"):
            self._mean(layer)
        elif kind == "concat":
            self._concat(layer)
        elif kind == "upsample":
            self._upsample(layer)
        elif kind == "pad":
            self._pad(layer)
        elif layer.operation.name == "mul":
            self._scaled(layer)
        else:
            self._sum(layer)

    def _map(self, name: str) -> Map:
        target = self.made[name].target
        assert target is not None
        return target

    def _convolution(self, layer: Layer) -> None:
        conv, given = layer.operation.arithmetic, self.weights[layer.name]
        assert isinstance(conv, (Conv, ConvTranspose))
        weight = given["weight"].detach().double().numpy()
        bias = given["bias"].detach().double().numpy() if "bias" in given else None
        rows, columns = map(padded, conv.windows, self.pads.get(layer.inputs[0], ((0, 0),) * 2))
        sources, target = [self._map(layer.inputs[0])], Map(layer.name, conv.out_channels)
        parameters: dict[str, Any] = {
            "weight": weight,
            "bias": np.zeros(conv.out_channels) if bias is None else bias,
            "groups": conv.groups,
        }
        if isinstance(conv, ConvTranspose):
            down, right = conv.output_padding
            parameters |= {"weight": turned(weight, conv.groups), "extra": (down, right)}
        kind = Transposed if isinstance(conv, ConvTranspose) else Convolution
        block = kind(layer.name, sources, target, (rows, columns), **parameters)
        self._place(block, layer.name)

    def _linear(self, layer: Layer) -> None:
        given = {k: v.detach().double().numpy() for k, v in self.weights[layer.name].items()}
        target = Map(layer.name, len(given["weight"]))
        bias = given.get("bias", np.zeros(target.channels))
        weight = given["weight"][:, :, None, None]
        source = self._map(layer.inputs[0])
        self._place(Convolution(layer.name, [source], target, weight=weight, bias=bias), layer.name)

    def _affine(self, layer: Layer, source: str, scale: Array, shift: Array) -> Convolution:
        """A scale and a shift of each channel: a depthwise convolution of one tap."""
        block = Convolution(
            layer.name,
            [self._map(source)],
            Map(layer.name, len(scale)),
            weight=scale.reshape(-1, 1, 1, 1),
            bias=shift,
            groups=max(2, len(scale)),
        )
        self._place(block, layer.name)
        return block

    def _copy(self, layer: Layer, source: str) -> Convolution:
        """The same values, for what is to be done with them."""
        ones = np.ones(layer.shape[1])
        return self._affine(layer, source, ones, 0 * ones)

    def _batch_norm(self, layer: Layer) -> None:
        given = {k: v.detach().double().numpy() for k, v in self.weights[layer.name].items()}
        spread = np.sqrt(given["running_var"] + layer.operation.settings["eps"])
        scale = given.get("weight", np.ones_like(spread)) / spread
        shift = given.get("bias", np.zeros_like(spread)) - given["running_mean"] * scale
        block = self._open(layer.inputs[0])
        if block is None:
            self._affine(layer, layer.inputs[0], scale, shift)
            return
        block.weight = block.weight * scale.reshape(-1, 1, 1, 1)
        block.bias = block.bias * scale + shift
        self._same(layer, block)

    def _activation(self, layer: Layer) -> None:
        name, source = activation_name(layer), layer.inputs[0]
        block = self.made[source] if self._alone(source) else None
        if isinstance(block, (Convolution, Scaled)) and block.final == "identity":
            if block.residual is not None:
                block.final = name
                return self._same(layer, block)
            if block.activation == "identity":
                block.activation = name
                return self._same(layer, block)
        self._copy(layer, source).activation = name
        return None

    def _sum(self, layer: Layer) -> None:
        first, second = layer.inputs if len(layer.inputs) == 2 else layer.inputs * 2
        order = sorted((first, second), key=lambda name: self.order.index(self.made[name]))
        for host, other in (order[::-1], order):
            block = self.made[host] if host != other and self._alone(host) else None
            ready = block is not None and (
                self.order.index(self.made[other]) < self.order.index(block)
            )
            if (
                ready
                and isinstance(block, (Convolution, Scaled))
                and not isinstance(block, Transposed)
                and block.residual is None
                and block.final == "identity"
            ):
                block.residual = self._map(other)
                block.sources.append(block.residual)
                return self._same(layer, block)
        block = self._copy(layer, order[0])
        block.residual = self._map(order[1])
        block.sources.append(block.residual)
        return None

    def _scaled(self, layer: Layer) -> None:
        value, gate = layer.inputs
        if self.network[value].shape[2:] == (1, 1) != self.network[gate].shape[2:]:
            value, gate = gate, value
        block = Scaled(
            layer.name, [self._map(value), self._map(gate)], Map(layer.name, layer.shape[1])
        )
        self._place(block, layer.name)

    def _pool(self, layer: Layer) -> None:
        pool = layer.operation.arithmetic
        assert isinstance(pool, Pool)
        rows, columns = pool.windows
        target = Map(layer.name, layer.shape[1])
        source = self._map(layer.inputs[0])
        windows, padded = (rows, columns), any(map(any, pool.padding))
        if pool.kind == "max":
            if padded and (
                isinstance(self.made[layer.inputs[0]], Joined) or not self._alone(layer.inputs[0])
            ):
                # Its borders are -infinity, which no other reader wants to find.
                copy = Copied(f"{layer.name} source", [source], Map(source.name, source.channels))
                self.order.append(copy)
                assert copy.target is not None
                source = copy.target
            block: Block = PoolBlock(layer.name, [source], target, windows)
        elif padded and not pool.count_include_pad:
            block = AveragePool(layer.name, [source], target, windows)
        else:
            weight = np.full((layer.shape[1], 1, *pool.kernel_size), 1 / pool.taps)
            block = Convolution(
                layer.name, [source], target, windows, weight=weight,
                bias=np.zeros(layer.shape[1]), groups=max(2, layer.shape[1]),
            )  # fmt: skip
        self._place(block, layer.name)

    def _concat(self, layer: Layer) -> None:
        block, copies = join(layer.name, [self._map(name) for name in layer.inputs], self.order)
        self.order += copies
        self._place(block, layer.name)

    def _upsample(self, layer: Layer) -> None:
        settings = layer.operation.settings
        mode = UPSAMPLING[layer.operation.name]
        size, factors = settings.get("output_size"), settings.get("scale_factors")
        block = Upsampled(
            layer.name,
            [self._map(layer.inputs[0])],
            Map(layer.name, layer.shape[1]),
            output=tuple(size) if size else None,
            factors=tuple(factors) if factors else None,
            mode=mode + ":corners" * bool(settings.get("align_corners")),
        )
        self._place(block, layer.name)

    def _pad(self, layer: Layer) -> None:
        left, right, top, bottom = (*layer.operation.settings["pad"], 0, 0)[:4]
        pads = ((top, bottom), (left, right))
        readers = self.network.consumers(layer.name)
        if layer.name not in self.outputs and all(r.kind == "convolution" for r in readers):
            self.pads[layer.name] = pads
            return self._same(layer, self.made[layer.inputs[0]])
        block = Copied(
            layer.name,
            [self._map(layer.inputs[0])],
            Map(layer.name, layer.shape[1]),
            (Window(1, padding=pads[0]), Window(1, padding=pads[1])),
        )
        self._place(block, layer.name)
        return None

    def _mean(self, layer: Layer) -> None:
        channels = layer.shape[1]
        rows = Map(f"{layer.name} rows", channels)
        source = self._map(layer.inputs[0])
        self.order.append(Mean(rows.name, [source], rows, of_rows=True))
        self._place(Mean(layer.name, [rows], Map(layer.name, channels)), layer.name)

    def _same(self, layer: Layer, block: Block) -> None:
        self.made[layer.name] = block
        block.layers.append(layer.name)

    def _alone(self, name: str) -> bool:
        """Whether nobody but the next layer wants the value as it is now."""
        if len(self.network.consumers(name)) != 1 or name in self.outputs:
            return False
        layer = self.network[name]
        same = layer.kind == "identity" and name in self.inside
        return not same or self._alone(layer.inputs[0])

    def _open(self, name: str) -> Convolution | None:
        """The convolution whose bare sum a layer's value is, if it is nobody else's."""
        block = self.made[name]
        if not isinstance(block, Convolution) or not self._alone(name):
            return None
        bare = block.activation == block.final == "identity" and block.residual is None
        return block if bare else None
