"""Dilations that cannot belong to weights trained with strides.

Where a network was trained with strides and dilated afterwards, the dilation of each layer is the
rate at its input: it can rise only behind a layer that lost its stride, and that layer keeps the
dilation of what comes in. Two conventions of libraries break this: all convolutions of a stage are
dilated, the first one too (segmentation_models_pytorch #183); or the converted layer itself is
(torchvision's MobileNetV3 with `dilated=True`).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from convsmith.arithmetic import Conv
from convsmith.network import Layer, Network
from convsmith.network.backward import spatial_axes, strides
from convsmith.network.families import Trait, family_of

__all__ = ["warnings_of"]

# Dilations grow by the strides that were lost; larger steps are dilations of a design, as in an
# atrous pyramid. Before the image has shrunk this much, nobody trades strides.
_STEPS = (2, 4)
_LEAST_STRIDE = 4


def warnings_of(network: Network) -> tuple[str, ...]:
    """Say which layers' dilations cannot belong to weights trained with strides, one line a layer.

    A graph does not tell how its weights were trained. What follows from it alone: if with
    strides, then a convolution that reads values `d` apart has an input whose rate is `d`; where
    the same input is also read at rate 1, by another convolution or through the shortcut of a
    residual block, its rate is 1, and the dilation is wrong unless a convolution in between had
    the stride. Is there none, the dilation cannot belong to such weights; is there only a 1×1
    convolution, it is doubtful, for these rarely have the stride.

    >>> from torch import nn
    >>> import convsmith as cs
    >>> stem = [nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.MaxPool2d(1)]
    >>> warnings_of(cs.trace(nn.Sequential(*stem), (1, 3, 32, 32)))
    ()
    """
    return tuple(_warnings(network))


def _warnings(network: Network) -> Iterator[str]:
    bound = _rates_at_most(network)
    steps = strides(network)
    axes = spatial_axes(network)
    for layer in network:
        rate = _dilation(layer)
        if rate < 2:
            continue
        here = layer.inputs[0]
        total = min(
            (steps[here].get(a, Fraction(0)) for a in axes[here] if a is not None), default=0
        )
        if total < _LEAST_STRIDE or _is_design(network, layer, rate):
            continue
        between, source = _way_back(network, layer, bound)
        known = bound.get(source or "")
        if known is None or rate // known not in _STEPS or rate % known:
            continue
        if not between:
            yield (
                f"{layer.name}: dilation {rate}, but its input has rate {known}: this cannot "
                "belong to weights trained with strides; the layer that loses its stride keeps "
                f"dilation {known}, and {rate} begins behind it"
            )
        elif all(_is_pointwise(network[name]) for name in between):
            yield (
                f"{layer.name}: dilation {rate} on an input of rate {known}: for weights trained "
                f"with strides this is right only if the stride was that of {between[0]} (1×1); "
                f"if it was this layer's own, its dilation has to be {known}"
            )


def _dilation(layer: Layer) -> int:
    """The dilation of a convolution, 1 for one that has none or differs from axis to axis."""
    spec = layer.operation.arithmetic
    if not isinstance(spec, Conv) or layer.kind != "convolution" or max(spec.kernel_size) == 1:
        return 0
    found = {d for k, d in zip(spec.kernel_size, spec.dilation, strict=True) if k > 1}
    return found.pop() if len(found) == 1 else 0


def _is_pointwise(layer: Layer) -> bool:
    spec = layer.operation.arithmetic
    return isinstance(spec, Conv) and max(spec.kernel_size) == 1


def _rates_at_most(network: Network) -> dict[str, int]:
    """For each map the largest rate that its readers allow; maps that nobody bounds are left out.

    Rates never fall on the way through a network, so a map has at most the dilation of any
    convolution behind it. Where dilations themselves fall, a head with weights of its own begins,
    which bounds nothing. A sum has one rate, that of each of its terms.
    """
    largest: dict[str, int] = {}  # dilation upstream
    for layer in network:
        came = max((largest[name] for name in layer.inputs), default=1)
        largest[layer.name] = max(came, _dilation(layer))
    bound: dict[str, int] = {}
    for layer in reversed(network.layers):
        found = [bound[user.name] for user in network.consumers(layer.name) if user.name in bound]
        found += [
            d
            for user in network.consumers(layer.name)
            if (d := _dilation(user)) and d >= largest[layer.name]
        ]
        if found:
            bound[layer.name] = min(found)
        if 0 < _dilation(layer) < max((largest[name] for name in layer.inputs), default=1):
            bound.pop(layer.name, None)
    for layer in network:
        adds = layer.kind == "elementwise" and layer.operation.name == "add"
        if adds or _is_plain(layer):
            terms = [bound[name] for name in layer.inputs if name in bound]
            if terms:
                bound[layer.name] = min([*terms, bound.get(layer.name, terms[0])])
    return bound


def _is_plain(layer: Layer) -> bool:
    """Whether a layer leaves one map as it lies."""
    family = family_of(layer)
    return family.has(Trait.IN_SERIES) and not family.has(Trait.MERGES)


def _plain_source(network: Network, name: str) -> str:
    """The map behind layers that change each value in its place."""
    layer = network[name]
    while _is_plain(layer) and layer.inputs:
        layer = network[layer.inputs[0]]
    return layer.name


def _way_back(
    network: Network, layer: Layer, bound: dict[str, int]
) -> tuple[list[str], str | None]:
    """The convolutions and pools between a layer and the nearest map of another known rate."""
    between: list[str] = []
    rate = _dilation(layer)
    name = _plain_source(network, layer.inputs[0])
    while True:
        if bound.get(name, rate) < rate:
            return between, name
        one = network[name]
        if one.kind not in ("convolution", "pool") or not one.inputs:
            return between, None
        spec = one.operation.arithmetic
        if spec is None or max(spec.stride) > 1:
            return between, None  # it kept its stride: what it was trained with is not known
        between.append(name)
        name = _plain_source(network, one.inputs[0])


def _is_design(network: Network, layer: Layer, rate: int) -> bool:
    """Whether dilations differ beside it, or fall and rise again, as no lost stride makes them."""
    source = _plain_source(network, layer.inputs[0])
    beside = {
        found
        for other in network
        if other.inputs
        and (found := _dilation(other)) > 1
        and _plain_source(network, other.inputs[0]) == source
    }
    if len(beside) > 1:
        return True
    return any(
        0 < _dilation(fallen) < rate
        and any(_dilation(later) >= rate for later in network.downstream(fallen.name))
        for fallen in network.downstream(layer.name)
    )
