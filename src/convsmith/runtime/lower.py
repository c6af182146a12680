"""From the layers of a region to blocks: batch norm, activations and additions are folded in."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from torch import Tensor

from convsmith.arithmetic import Conv, Pool
from convsmith.network import Layer, Network
from convsmith.runtime.blocks import (
    Array,
    Block,
    Convolution,
    Input,
    Mean,
    Output,
    Scaled,
)
from convsmith.runtime.blocks import Pool as PoolBlock
from convsmith.runtime.maps import Map

__all__ = ["Weights", "lower", "refusal"]

Weights = Mapping[str, Mapping[str, Tensor]]
"""For each layer its parameters by their names in PyTorch's schema."""

_PLAIN = {
    "gelu": "gelu", "hardsigmoid": "hardsigmoid", "hardswish": "hardswish", "relu": "relu",
    "relu6": "relu6", "sigmoid": "sigmoid", "silu": "silu", "tanh": "tanh",
}  # fmt: skip


def refusal(layer: Layer, weights: Weights) -> str:
    """Why no kernel computes a layer; '' if one does."""
    if layer.constant or layer.kind == "input":
        return "not computed from the image"
    if any(kind.dtype != "float32" for kind in (*layer.operands, *layer.results)):
        return f"{layer.operands[0].dtype if layer.operands else 'nothing'} is not float32"
    if len(layer.shape) != 4 or 0 in layer.shape:
        return f"{len(layer.shape)}-dimensional" if layer.shape else "no tensor"
    if layer.kind == "activation":
        return "" if _activation(layer) else f"no kernel for {layer.operation.name}"
    rule = {
        "convolution": _refuse_convolution,
        "batch norm": lambda _: "" if layer.name in weights else "its statistics are computed",
        "identity": lambda _: "" if layer.operation.name in _SAME else "not the same values",
        "elementwise": _refuse_elementwise,
        "pool": _refuse_pool,
        "adaptive pool": lambda _: "" if layer.shape[2:] == (1, 1) else "windows of unequal size",
        "reduction": _refuse_reduction,
    }.get(layer.kind)
    if rule is None:
        return f"no kernel for {layer.operation.name}"
    if layer.kind == "convolution" and layer.name not in weights:
        return "its weight is computed"
    return rule(layer)


_SAME = {"dropout", "clone", "contiguous", "alias", "detach", "feature_dropout", "alpha_dropout"}


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
        self.order: list[Block] = []

    def blocks(self) -> list[Block]:
        for layer in self.network:
            if layer.name in self.inside:
                for source in layer.inputs:
                    if source not in self.made:
                        self._input(source)
                self._add(layer)
        self._fuse_separable()
        for name in self.outputs:
            block = self.made[name]
            assert block.target is not None
            self.order.append(Output(name, [block.target], None))
        for block in (block for block in self.order if block.sources):
            rows, columns = block.windows
            block.sources[0].widen(rows.padding, columns.padding)
            if isinstance(block, PoolBlock) and (any(rows.padding) or any(columns.padding)):
                block.sources[0].fill = -np.inf
        return self.order

    def _input(self, name: str) -> None:
        channels = self.network[name].shape[1]
        # A stem reads its few channels one by one: no room is wasted on them.
        target = Map(name, channels, channels if channels < 4 else 0)
        self._place(Input(name, [], target), name)

    def _place(self, block: Block, *layers: str) -> None:
        self.order.append(block)
        for layer in layers:
            self.made[layer] = block
            block.layers.append(layer)

    def _add(self, layer: Layer) -> None:
        kind = layer.kind
        if kind == "convolution":
            self._convolution(layer)
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
        assert isinstance(conv, Conv)
        weight = given["weight"].detach().numpy()
        bias = given["bias"].detach().numpy() if "bias" in given else np.zeros(len(weight))
        rows, columns = conv.windows
        block = Convolution(
            layer.name,
            [self._map(layer.inputs[0])],
            Map(layer.name, conv.out_channels),
            (rows, columns),
            weight=weight.astype(np.float64),
            bias=bias.astype(np.float64),
            groups=conv.groups,
        )
        self._place(block, layer.name)

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
        name, source = _activation(layer), layer.inputs[0]
        block = self.made[source] if self._alone(source) else None
        if isinstance(block, (Convolution, Scaled)) and block.final == "identity":
            if block.residual is not None:
                block.final = name
                return self._same(layer, block)
            if block.activation == "identity":
                block.activation = name
                return self._same(layer, block)
        ones = np.ones(layer.shape[1])
        self._affine(layer, source, ones, 0 * ones).activation = name
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
                and block.residual is None
                and block.final == "identity"
            ):
                block.residual = self._map(other)
                block.sources.append(block.residual)
                return self._same(layer, block)
        ones = np.ones(layer.shape[1])
        block = self._affine(layer, order[0], ones, 0 * ones)
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
        if pool.kind == "max":
            if any(map(any, pool.padding)) and not self._alone(layer.inputs[0]):
                # Its borders are -infinity, which no other reader wants to find.
                ones = np.ones(layer.shape[1])
                copy = self._affine(layer, layer.inputs[0], ones, 0 * ones)
                assert copy.target is not None
                source = copy.target
            block: Block = PoolBlock(layer.name, [source], target, (rows, columns))
        else:
            weight = np.full((layer.shape[1], 1, *pool.kernel_size), 1 / pool.taps)
            block = Convolution(
                layer.name, [source], target, (rows, columns), weight=weight,
                bias=np.zeros(layer.shape[1]), groups=max(2, layer.shape[1]),
            )  # fmt: skip
        self._place(block, layer.name)

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
        return len(self.network.consumers(name)) == 1 and name not in self.outputs

    def _open(self, name: str) -> Convolution | None:
        """The convolution whose bare sum a layer's value is, if it is nobody else's."""
        block = self.made[name]
        if not isinstance(block, Convolution) or not self._alone(name):
            return None
        bare = block.activation == block.final == "identity" and block.residual is None
        return block if bare else None

    def _fuse_separable(self) -> None:
        """Depthwise convolutions go into the only pointwise one that reads them."""
        readers: dict[int, list[Block]] = {}
        for block in self.order:
            for source in block.sources:
                readers.setdefault(id(source), []).append(block)
        wanted = {id(self.made[name].target) for name in self.outputs}
        for block in list(self.order):
            mine = readers.get(id(block.target), [])
            if (
                not isinstance(block, Convolution)
                or block.kind != "depthwise"
                or block.residual is not None
                or len(mine) != 1
                or id(block.target) in wanted
                or not _plain_pointwise(mine[0])
                or mine[0].sources[0] is not block.target
            ):
                continue
            pointwise = mine[0]
            assert isinstance(pointwise, Convolution)
            pointwise.depthwise = (block.weight, block.bias)
            pointwise.middle = block.activation
            pointwise.windows = block.windows
            pointwise.sources[0] = block.sources[0]
            pointwise.layers[:0] = block.layers
            self.order.remove(block)


def _plain_pointwise(block: Block) -> bool:
    return (
        isinstance(block, Convolution)
        and block.kind == "pointwise"
        and all(w.stride == 1 and not any(w.padding) for w in block.windows)
    )


def _activation(layer: Layer) -> str:
    """The name a kernel knows it by, or ''."""
    name, settings = layer.operation.name, layer.operation.settings
    if name == "gelu" and settings.get("approximate") == "tanh":
        return "gelu:tanh"
    if name == "hardtanh" or name == "clamp":
        low, high = (
            (settings.get("min_val"), settings.get("max_val"))
            if name == "hardtanh"
            else (settings.get("min"), settings.get("max"))
        )
        if not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or low > high:
            return ""
        return "relu6" if (low, high) == (0, 6) else f"clamp:{float(low)!r}:{float(high)!r}"
    return _PLAIN.get(name, "")


def _refuse_convolution(layer: Layer) -> str:
    conv = layer.operation.arithmetic
    if not isinstance(conv, Conv) or conv.dims != 2:
        return "not a convolution in the plane"
    if conv.groups > 1 and not (conv.groups == conv.in_channels == conv.out_channels):
        return f"{conv.groups} groups of {conv.in_channels // conv.groups}"
    return ""


def _refuse_elementwise(layer: Layer) -> str:
    shapes = [operand.shape for operand in layer.operands]
    if len(layer.inputs) != len(shapes) or len(shapes) != 2:
        return f"{layer.operation.name} with a constant"
    if layer.operation.name == "add" and layer.operation.settings.get("alpha", 1) == 1:
        return "" if shapes[0] == shapes[1] else "an addition that broadcasts"
    if layer.operation.name == "mul" and shapes[0] != shapes[1]:
        gates = [s for s in shapes if s[2:] == (1, 1)]
        if len(gates) == 1 and shapes[0][:2] == shapes[1][:2]:
            return ""
    return f"no kernel for {layer.operation.name}"


def _refuse_pool(layer: Layer) -> str:
    pool = layer.operation.arithmetic
    if not isinstance(pool, Pool) or pool.dims != 2 or pool.ceil_mode:
        return "a pool that rounds up"
    padded = any(map(any, pool.padding))
    if pool.kind == "max":
        return "" if layer.operation.name == "max_pool2d" else "indices are wanted"
    return "an average without its padding" if padded and not pool.count_include_pad else ""


def _refuse_reduction(layer: Layer) -> str:
    settings = layer.operation.settings
    dims = settings.get("dim") or ()
    over = sorted(d % 4 for d in dims) if isinstance(dims, (list, tuple)) else []
    return "" if layer.operation.name == "mean" and over == [2, 3] else "not a mean over the map"
