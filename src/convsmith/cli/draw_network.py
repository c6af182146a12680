"""`convsmith draw layer MODEL PATH` and `draw field MODEL`: layers of the reader's own network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from convsmith.cli.draw import Language, Output, Strip, Theme, app, deliver, parse_size
from convsmith.cli.inspect import MODEL
from convsmith.cli.output import Force, check_targets
from convsmith.errors import ArgumentError, ModelError, nearest
from convsmith.text import read_shape

if TYPE_CHECKING:
    from torch import nn

    from convsmith.arithmetic import Conv, ConvTranspose, Pool
    from convsmith.draw import Scene
    from convsmith.network import Network

__all__ = ["field", "layer"]

Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)]
Weights = Annotated[str | None, typer.Option(metavar="FILE", help="The network's weights.")]
_FIELDS = 12


@app.command("layer")
def layer(
    model: Model,
    path: Annotated[str, typer.Argument(metavar="PATH", help="The layer, such as features.0.")],
    size: Annotated[
        str | None,
        typer.Option("--in", metavar="ROWSxCOLUMNS", help="The input; else a small one."),
    ] = None,
    weights: Weights = None,
    values: Annotated[
        str | None, typer.Option(metavar="FILE", help="The input: .csv, .json or an image.")
    ] = None,
    as_matrix: Annotated[bool, typer.Option("--matrix", help="As a matrix.")] = False,
    output: Output = None,
    language: Language = "en",
    theme: Theme = "auto",
    strip: Strip = False,
    force: Force = False,
) -> None:
    """Draw a convolution or pool of a network, with its own weights."""
    check_targets(output, force=force)
    from convsmith.cli.drawn import read_values
    from convsmith.cli.models import load_model
    from convsmith.draw import animate, matrix

    module = _module(load_model(model, weights), path, model)
    found = _arithmetic(module, path)
    lengths = _small(found) if size is None else parse_size("--in", size)
    wanted = (lengths,) * found.dims if isinstance(lengths, int) else lengths
    channels = getattr(found, "in_channels", 1)
    given: dict[str, Any] = {"language": language, "theme": theme}
    if values is not None:
        given["values"] = read_values(values, wanted, channels)
    pool = not hasattr(found, "in_channels")
    if not pool:
        given["weight"] = _plain(module.weight)
    if as_matrix:
        scene = matrix(found, lengths, **given)  # type: ignore[arg-type]
    else:
        if not pool and module.bias is not None:
            given["bias"] = _plain(module.bias)
        scene = animate(found, lengths, **given)
    deliver(scene, output, strip=strip, force=force)


@app.command("field")
def field(
    model: Model,
    shape: Annotated[
        str, typer.Option("--input", metavar="N,C,H,W", help="The shape of an input.")
    ] = "1,3,224,224",
    path: Annotated[
        list[str] | None,
        typer.Option("--layer", metavar="NAME", help="A layer; repeat it for several."),
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="FILE", help="An image that lies under the fields.")
    ] = None,
    effective: Annotated[
        bool,
        typer.Option(
            "--effective", help="How much each pixel of --image counts, for --layer or the output."
        ),
    ] = False,
    weights: Weights = None,
    output: Output = None,
    language: Language = "en",
    theme: Theme = "auto",
    strip: Strip = False,
    force: Force = False,
) -> None:
    """Draw the receptive fields of a network's layers to scale, over an image."""
    check_targets(output, force=force)
    from convsmith.cli.drawn import read_values
    from convsmith.cli.models import load_model
    from convsmith.draw import field_over
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
    built = load_model(model, weights)
    if effective:
        scene = _effective(built, pixels, lengths[1], path[0] if path else None, language, theme)
        deliver(scene, output, strip=strip, force=force)
        return
    network = trace(built, lengths)
    names = [_named(network, each, model) for each in path] if path else _telling(network)
    fields = {name: true_field(network, name).region for name in names}
    empty = [name for name, region in fields.items() if len(region.hull) != 2]
    if empty:
        raise ModelError(f"{empty[0]} of {model} depends on no position of the image")
    scene = field_over(pixels, fields, language=language, theme=theme)
    deliver(scene, output, strip=strip, force=force)


def _effective(
    model: Any, pixels: Any, channels: int, layer: str | None, language: str, theme: str
) -> Scene:
    """The effective field at the image itself, its levels from 0 to 1."""
    import torch

    from convsmith.draw import effective_over
    from convsmith.measure.effective import effective_field

    image = torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None] / 255
    if channels != 3:
        image = image.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    found = effective_field(model, image, layer)
    return effective_over(pixels, found.map, name=found.layer, language=language, theme=theme)


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
    found = names.get(name) or paths.get(name)
    if found is None:
        raise ModelError(f"{model} has no layer {name!r}{nearest(name, [*names, *paths])}")
    return found


def _telling(network: Network) -> list[str]:
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
