"""`convsmith draw layer MODEL PATH` and `draw field MODEL`: layers of your own network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from convsmith.cli.inspect import MODEL
from convsmith.draw import Scene, animate, effective_over, field_over, matrix
from convsmith.draw.command import Option
from convsmith.draw.options import Values, parse_size
from convsmith.draw.reading import optional_values, read_values
from convsmith.errors import ArgumentError, ModelError, nearest
from convsmith.text import read_shape

if TYPE_CHECKING:
    from torch import nn

    from convsmith.arithmetic import Conv, ConvTranspose, Pool
    from convsmith.network import Network

__all__ = ["field", "layer"]

Model = Annotated[str, Option(MODEL, metavar="MODEL", argument=True)]
Weights = Annotated[str | None, Option("Weights of the network.", metavar="FILE")]
Original = Annotated[
    str | None,
    Option("For a saved folder: the model it was made from, if that is your own code.",
           ("--model",), "MODEL"),
]  # fmt: skip
_FIELDS = 12


def layer(
    model: Model,
    path: Annotated[
        str, Option("Path of the layer, such as features.0.", metavar="PATH", argument=True)
    ],
    size: Annotated[
        str | None,
        Option("Size of the input; by default a small one.", ("--in",), "ROWSxCOLUMNS"),
    ] = None,
    weights: Weights = None,
    original: Original = None,
    values: Values = None,
    as_matrix: Annotated[bool, Option("Draw it as a matrix.", ("--matrix",))] = False,
) -> Scene:
    """Draw a convolution, transposed convolution or pooling layer of a network."""
    from convsmith.cli.models import load_model

    module = _module(load_model(model, weights, original), path, model)
    arithmetic = _arithmetic(module, path)
    lengths = _small(arithmetic) if size is None else parse_size("--in", size)
    each = (lengths,) * arithmetic.dims if isinstance(lengths, int) else lengths
    arrays: dict[str, Any] = {
        "values": optional_values(values, each, getattr(arithmetic, "in_channels", 1))
    }
    is_pool = not hasattr(arithmetic, "in_channels")
    if not is_pool:
        arrays["weight"] = _plain(module.weight)
    if as_matrix:
        return matrix(arithmetic, lengths, **arrays)  # type: ignore[arg-type]
    if not is_pool and module.bias is not None:
        arrays["bias"] = _plain(module.bias)
    return animate(arithmetic, lengths, **arrays)


def field(
    model: Model,
    shape: Annotated[str, Option("Shape of an input.", ("--input",), "N,C,H,W")] = "1,3,224,224",
    path: Annotated[
        list[str] | None, Option("Layer; repeat the option for several.", ("--layer",), "NAME")
    ] = None,
    image: Annotated[str | None, Option("An image to draw the fields on.", metavar="FILE")] = None,
    effective: Annotated[
        bool, Option("Draw how much each pixel of --image counts, for --layer or the output.")
    ] = False,
    weights: Weights = None,
    original: Original = None,
) -> Scene:
    """Draw the receptive fields of a network's layers to scale, over an image."""
    from convsmith.cli.models import load_model
    from convsmith.measure.receptive import true_field
    from convsmith.network import trace

    lengths = read_shape(shape, "--input")
    if len(lengths) != 4:
        raise ArgumentError(f"--input {shape!r}: fields are drawn over images, as 1,3,224,224")
    if effective and (image is None or len(path or []) > 1):
        raise ArgumentError(
            "--effective takes the gradient at one layer: pass --image and one --layer"
        )
    high, wide = lengths[2:]
    pixels: Any = [[225] * wide for _ in range(high)]
    if image is not None:
        planes = read_values(image, (high, wide), 3)
        pixels = [list(map(list, zip(*rows, strict=True))) for rows in zip(*planes, strict=True)]
    network = load_model(model, weights, original)
    if effective:
        return _effective(network, pixels, lengths[1], path[0] if path else None)
    traced = trace(network, lengths)
    names = [_named(traced, each, model) for each in path] if path else _evenly_chosen(traced)
    fields = {name: true_field(traced, name).region for name in names}
    empty = [name for name, region in fields.items() if len(region.hull) != 2]
    if empty:
        raise ModelError(f"{empty[0]} of {model} depends on no position of the image")
    return field_over(pixels, fields)


def _effective(model: Any, pixels: Any, channels: int, layer: str | None) -> Scene:
    """The effective field at the image itself, its levels from 0 to 1."""
    import torch

    from convsmith.measure.effective import effective_field

    image = torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None] / 255
    if channels != 3:
        image = image.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    field = effective_field(model, image, layer)
    return effective_over(pixels, field.map, name=field.layer)


def _module(network: Any, path: str, model: str) -> Any:
    from torch import nn

    if not isinstance(network, nn.Module):
        raise ModelError(f"{model} is an exported program, and its layers have no modules to draw")
    modules = dict(network.named_modules())
    if path not in modules:
        raise ModelError(f"{model} has no layer {path!r}{nearest(path, modules)}")
    return modules[path]


def _arithmetic(module: nn.Module, path: str) -> Conv | ConvTranspose | Pool:
    """A module as integers: the layers that a drawing knows."""
    from torch import nn

    from convsmith.arithmetic import Conv, ConvTranspose, Pool

    it: Any = module
    for dims in (1, 2, 3):
        conv, back = getattr(nn, f"Conv{dims}d"), getattr(nn, f"ConvTranspose{dims}d")
        if isinstance(module, back):
            return ConvTranspose(
                it.in_channels, it.out_channels, it.kernel_size, it.stride, it.padding,
                it.output_padding, it.groups, it.bias is not None, it.dilation, dims,
            )  # fmt: skip
        if isinstance(module, conv):
            return Conv(
                it.in_channels, it.out_channels, it.kernel_size, it.stride, it.padding,
                it.dilation, it.groups, it.bias is not None, it.padding_mode, dims,
            )  # fmt: skip
        if isinstance(module, getattr(nn, f"MaxPool{dims}d")):
            return Pool(it.kernel_size, it.stride, it.padding, it.dilation, it.ceil_mode, dims=dims)
        if isinstance(module, getattr(nn, f"AvgPool{dims}d")):
            return Pool(
                it.kernel_size, it.stride, it.padding, 1, it.ceil_mode, "average",
                it.count_include_pad, dims,
            )  # fmt: skip
    kind = type(module).__name__
    raise ModelError(f"{path} is a {kind}: a convolution, transposed convolution or pool is drawn")


def _small(layer: Conv | ConvTranspose | Pool) -> tuple[int, ...]:
    """A size on which the layer gives a few outputs along each axis."""
    if layer.transposed:
        return (3,) * layer.dims
    few = 3 if layer.dims > 1 else 6
    return tuple(
        max(1, w.extent - sum(w.padding) + (few - 1) * w.stride, max(w.padding) + 1)
        for w in layer.windows
    )


def _plain(values: Any) -> Any:
    return values.detach().cpu().double().tolist()


def _named(network: Network, name: str, model: str) -> str:
    names = {each.name: each.name for each in network}
    paths = {each.path: each.name for each in network if each.path}
    layer = names.get(name) or paths.get(name)
    if layer is None:
        raise ModelError(f"{model} has no layer {name!r}{nearest(name, [*names, *paths])}")
    return layer


def _evenly_chosen(network: Network) -> list[str]:
    """At most a dozen of the layers that slide a window, evenly chosen, the last among them."""
    from convsmith.measure.receptive import has_map

    names = [
        each.name
        for each in network
        if each.operation.arithmetic and not each.constant and has_map(network, each.name)
    ]
    if not names:
        raise ModelError(f"{network.name} has no convolution or pool whose field could be drawn")
    few = min(_FIELDS, len(names))
    chosen = [round(i * (len(names) - 1) / max(1, few - 1)) for i in range(few)]
    return [names[index] for index in dict.fromkeys(chosen)]
