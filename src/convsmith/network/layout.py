"""Which dimensions of an image are batch, channels, and axes of space or time."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from convsmith.arithmetic import Conv, ConvTranspose
from convsmith.errors import ArgumentError
from convsmith.network.backward import spatial_axes
from convsmith.network.network import Layer, Network
from convsmith.network.shapes import Axes, Shape

__all__ = ["laid_out", "layout_of"]

_SPACE = {1: "L", 2: "HW", 3: "DHW"}


def layout_of(network: Network, name: str) -> str:
    """The layout of an input, one letter per dimension; '' where it has no axes."""
    layout: str = network[name].operation.settings.get("layout", "")
    dims = len(network[name].shape)
    return layout or ("NC" + _letters(dims - 2) if dims > 2 else "")


def laid_out(network: Network, axes: str | None = None) -> Network:
    """The network with the layout of its image: as given, or as its first window shows it.

    Raises:
        ArgumentError: for axes that no input has.
    """
    if axes is not None:
        _check(axes)
        fitting = [i for i in network.inputs if len(network[i].shape) == len(axes)]
        if not fitting:
            shapes = ", ".join(str(network[i].shape) for i in network.inputs)
            raise ArgumentError(f"axes={axes!r} names {len(axes)} dimensions; inputs are {shapes}")
        return _with_layout(network, fitting[0], axes)
    for name in network.inputs:
        layout = _seen_layout(network, name)
        if layout:
            network = _with_layout(network, name, layout)
    return network


def _check(axes: str) -> None:
    if not isinstance(axes, str) or not axes.isalpha():
        raise ArgumentError(f"axes are letters such as 'NHWC', not {axes!r}")
    upper = axes.upper()
    if len(set(upper)) != len(upper):
        raise ArgumentError(f"axes={axes!r} names a dimension twice")
    if not set(upper) - set("NC"):
        raise ArgumentError(f"axes={axes!r} names no axis of space or time")


def _with_layout(network: Network, name: str, layout: str) -> Network:
    layout = layout.upper()
    numbers = iter(range(len(layout)))
    axes = tuple(None if letter in "NC" else next(numbers) for letter in layout)
    settings = MappingProxyType({"axes": axes, "layout": layout})
    return _with_settings(network, name, settings)


def _with_settings(network: Network, name: str, settings: MappingProxyType[str, object]) -> Network:
    def changed(layer: Layer) -> Layer:
        if layer.name != name:
            return layer
        return replace(layer, operation=replace(layer.operation, settings=settings))

    return replace(network, layers=tuple(map(changed, network.layers)))


def _seen_layout(network: Network, name: str) -> str:
    """The layout that the first window over an input shows; '' where it is the usual one."""
    shape = network[name].shape
    named = MappingProxyType({"axes": tuple(range(len(shape)))})
    known = {other: (None,) * len(network[other].shape) for other in network.inputs}
    probed = _with_settings(network, name, named)
    for other in network.inputs:
        if other != name:
            probed = _with_settings(probed, other, MappingProxyType({"axes": known[other]}))
    first = _first_window(probed)
    if first is None:
        return ""
    dims, axes = first
    space, before = axes[-dims:], axes[-dims - 1 : -dims]
    channel = before[0] if before else None
    if channel in (None, 1) and all(axis is not None and axis > 1 for axis in space):
        return ""
    letters: dict[int, str] = {}
    for letter, axis in zip(_letters(dims), space, strict=True):
        if axis is None or axis in letters:
            return ""
        letters[axis] = letter
    if channel is not None:
        letters.setdefault(channel, "C")
    return _finished(letters, shape, dims)


def _finished(letters: dict[int, str], shape: Shape, dims: int) -> str:
    """The letters of all dimensions, those that the window does not show by their order.

    A further axis of a single position is none: images of one channel may be laid out as the
    channels of one image, and that says nothing of time.
    """
    total = len(shape)
    rest = [d for d in range(total) if d not in letters]
    spare = iter("TSZYXWVU")
    for d in rest:
        if "N" not in letters.values() and d == 0:
            letters[d] = "N"
        elif "C" not in letters.values() and d == rest[-1]:
            letters[d] = "C"
        elif shape[d] == 1:
            return ""
        else:
            letters[d] = next(spare)
    layout = "".join(letters[d] for d in range(total))
    return "" if layout == "NC" + _letters(dims) else layout


def _first_window(network: Network) -> tuple[int, Axes] | None:
    """The number of axes of the first convolution over the image, and its dimensions'."""
    axes = spatial_axes(network)
    for layer in network:
        spec = layer.operation.arithmetic
        if not isinstance(spec, (Conv, ConvTranspose)) or not layer.inputs:
            continue
        mine = axes[layer.inputs[0]]
        if layer.places[0] == 0 and any(axis is not None for axis in mine):
            return (spec.dims, mine) if len(mine) >= spec.dims else None
    return None


def _letters(dims: int) -> str:
    return _SPACE.get(dims, "ABDEFGHIJKLM"[:dims])
