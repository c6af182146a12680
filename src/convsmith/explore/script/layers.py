"""Layers of `torch.nn` without a window, and their functions, with their shapes.

Each is a function with PyTorch's own parameters, which a test compares with PyTorch's signatures.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import floor, prod
from typing import Any

from convsmith.explore.script.operations import flatten, same, softmax
from convsmith.explore.script.values import Module, Refusal, Tensor, either, tensor_of, whole
from convsmith.explore.script.windows import window_functions, window_layers
from convsmith.text import times

__all__ = ["ACTIVATIONS", "FUNCTIONS", "LAYERS"]

ACTIVATIONS = {
    "ReLU": "relu", "ReLU6": "relu6", "LeakyReLU": "leaky_relu", "ELU": "elu", "SELU": "selu",
    "GELU": "gelu", "SiLU": "silu", "Mish": "mish", "Sigmoid": "sigmoid", "Tanh": "tanh",
    "Hardswish": "hardswish", "Hardsigmoid": "hardsigmoid", "Softplus": "softplus",
    "Softmax": "softmax", "LogSoftmax": "log_softmax", "Dropout": "dropout",
    "Dropout2d": "dropout2d",
}  # fmt: skip
"""Modules that keep every shape, and what `functional` calls them."""

_PADS = {"ZeroPad": "constant", "ReflectionPad": "reflect", "ReplicationPad": "replicate"}
_BATCH_AXES = {1: (2, 3), 2: (4,), 3: (5,)}


def _adaptive(dims: int, name: str) -> Callable[[Any], Callable[[Any], Tensor]]:
    def make(output_size: Any) -> Callable[[Any], Tensor]:
        sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * dims
        if len(sizes) != dims:
            raise Refusal("code axes of", name="output_size", count=dims)

        def run(value: Any) -> Tensor:
            tensor = tensor_of(name, value)
            # To a single value, PyTorch takes the mean, which any tensor has.
            mean = dims > 1 and "max" not in name.lower() and set(sizes) == {1}
            fits = len(tensor.shape) >= dims if mean else len(tensor.shape) in (dims + 1, dims + 2)
            if not fits:
                raise Refusal("code axes", name=name, counts=either(dims + 1, dims + 2),
                              shape=tensor.written)  # fmt: skip
            before, size = tensor.shape[:-dims], tensor.shape[-dims:]
            pairs = zip(sizes, size, strict=True)
            return Tensor(
                (*before, *(n if s is None else whole("output_size", s) for s, n in pairs))
            )

        return run

    return make


def _pad(pad: Any, mode: Any, name: str, dims: int | None = None) -> Callable[[Any], Tensor]:
    """Put as many values as `pad` says around the last axes, the last one first."""
    if not isinstance(pad, (tuple, list)):
        pad = (pad,) * 2 * (dims or 1)
    if len(pad) % 2 or (dims and len(pad) != 2 * dims):
        raise Refusal("code axes of", name="padding", count=2 * dims if dims else "2, 4, 6")

    def run(value: Any) -> Tensor:
        tensor = tensor_of(name, value)
        shape = list(tensor.shape)
        count = len(pad) // 2
        fits = count <= len(shape)
        if mode != "constant":
            fits = len(shape) in (count + 1, count + 2)
        if not fits:
            raise Refusal("code axes", name=name, counts=either(count + 1, count + 2),
                          shape=tensor.written)  # fmt: skip
        for axis in range(count):
            low, high = pad[2 * axis : 2 * axis + 2]
            length = shape[-1 - axis]
            most = {"reflect": length - 1, "circular": length}.get(mode)
            if most is not None and max(low, high) > most:
                raise Refusal("code pad", name=name, padding=max(low, high), length=length)
            shape[-1 - axis] += low + high
        return Tensor(tuple(shape))

    return run


def _resized(name: str, value: Any, size: Any, scale_factor: Any) -> Tensor:
    tensor = tensor_of(name, value)
    before, inner = tensor.shape[:2], tensor.shape[2:]
    if not 1 <= len(inner) <= 3 or (size is None) == (scale_factor is None):
        raise Refusal("code resize", name=name)
    given = size if scale_factor is None else scale_factor
    each = tuple(given) if isinstance(given, (tuple, list)) else (given,) * len(inner)
    if len(each) != len(inner):
        raise Refusal("code axes of", name="size", count=len(inner))
    if scale_factor is None:
        return Tensor((*before, *(whole("size", n) for n in each)))
    return Tensor(
        (*before, *(whole("size", floor(n * s)) for n, s in zip(inner, each, strict=True)))
    )


def _norm(dims: tuple[int, ...], kind: str) -> Callable[..., Module]:
    """Batch normalisation of tensors with so many axes, as after `eval()`: of any batch."""
    name = f"nn.{kind}"

    def make(num_features: Any, eps: Any = 1e-5, momentum: Any = 0.1, affine: Any = True,
             track_running_stats: Any = True, *, bias: Any = True) -> Module:  # fmt: skip
        features = whole("num_features", num_features)

        def run(value: Any) -> Tensor:
            tensor = tensor_of(name, value)
            if len(tensor.shape) not in dims:
                raise Refusal("code axes", name=name, counts=either(*dims),
                              shape=tensor.written)  # fmt: skip
            if tensor.shape[1] != features:
                raise Refusal("code channels", name=name, expected=features,
                              found=tensor.shape[1], shape=tensor.written)  # fmt: skip
            return tensor

        return Module(name, run, (features,) if affine else None)

    return make


def _linear(in_features: Any, out_features: Any, bias: Any = True) -> Module:
    name = "nn.Linear"
    ins, outs = whole("in_features", in_features), whole("out_features", out_features)

    def run(value: Any) -> Tensor:
        tensor = tensor_of(name, value)
        if not tensor.shape or tensor.shape[-1] != ins:
            raise Refusal("code features", name=name, expected=ins, shape=tensor.written)
        return Tensor((*tensor.shape[:-1], outs))

    return Module(name, run, (outs, ins), (outs,) if bias else None)


def _layer_norm(normalized_shape: Any, eps: Any = 1e-5, elementwise_affine: Any = True,
                bias: Any = True) -> Module:  # fmt: skip
    name = "nn.LayerNorm"
    sizes = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    last = tuple(whole("normalized_shape", n) for n in sizes)

    def run(value: Any) -> Tensor:
        tensor = tensor_of(name, value)
        if tensor.shape[-len(last) :] != last:
            raise Refusal("code features", name=name, expected=times(last), shape=tensor.written)
        return tensor

    return Module(name, run, last)


def _group_norm(num_groups: Any, num_channels: Any, eps: Any = 1e-5, affine: Any = True, *,
                bias: Any = True) -> Module:  # fmt: skip
    name = "nn.GroupNorm"
    channels = whole("num_channels", num_channels)
    if channels % whole("num_groups", num_groups):
        raise Refusal("problem groups", groups=num_groups, channels=channels)

    def run(value: Any) -> Tensor:
        tensor = tensor_of(name, value)
        if len(tensor.shape) < 2 or tensor.shape[1] != channels:
            raise Refusal("code channels", name=name, expected=channels,
                          found=tensor.shape[1] if len(tensor.shape) > 1 else 0,
                          shape=tensor.written)  # fmt: skip
        batch, _, *size = tensor.shape
        if batch * channels // num_groups * prod(size) == 1:
            raise Refusal("code one value", name=name, shape=tensor.written)
        return tensor

    return Module(name, run, (channels,) if affine else None)


def _shuffled(name: str, factor: Any, value: Any) -> Tensor:
    tensor, r = tensor_of(name, value), whole("upscale_factor", factor)
    if len(tensor.shape) < 3 or tensor.shape[-3] % (r * r):
        raise Refusal("code shuffle", name=name, square=r * r, shape=tensor.written)
    *before, channels, rows, columns = tensor.shape
    return Tensor((*before, channels // (r * r), rows * r, columns * r))


def _kept(name: str) -> Callable[..., Module]:
    def make(*_args: Any, **_more: Any) -> Module:
        return Module(name, partial(tensor_of, name))

    def along(dim: Any = None) -> Module:
        return Module(name, lambda value: softmax(tensor_of(name, value), dim))

    return along if "Softmax" in name else make


def _sequential(*parts: Any) -> Module:
    return Module("nn.Sequential", lambda value: value, parts=parts)


def _upsample(size: Any = None, scale_factor: Any = None, mode: Any = "nearest",
              align_corners: Any = None, recompute_scale_factor: Any = None) -> Module:  # fmt: skip
    return Module("nn.Upsample", lambda value: _resized("nn.Upsample", value, size, scale_factor))


def _interpolate(input: Any, size: Any = None, scale_factor: Any = None, mode: Any = "nearest",
                 align_corners: Any = None, recompute_scale_factor: Any = None,
                 antialias: Any = False) -> Tensor:  # fmt: skip
    return _resized("F.interpolate", input, size, scale_factor)


def _padded(input: Any, pad: Any, mode: Any = "constant", value: Any = None) -> Tensor:
    if not isinstance(pad, (tuple, list)):
        raise Refusal("code axes of", name="pad", count="2, 4, 6")
    return _pad(pad, mode, "F.pad")(input)


def _flatten(start_dim: Any = 1, end_dim: Any = -1) -> Module:
    return Module(
        "nn.Flatten", lambda value: flatten(tensor_of("nn.Flatten", value), start_dim, end_dim)
    )


def _pixel_shuffle(upscale_factor: Any) -> Module:
    return Module("nn.PixelShuffle", partial(_shuffled, "nn.PixelShuffle", upscale_factor))


def _linear_function(input: Any, weight: Any, bias: Any = None) -> Tensor:
    shape = tensor_of("F.linear", weight).shape
    if len(shape) != 2:
        raise Refusal("code weight axes", name="F.linear", count=2, shape=weight.written)
    result: Tensor = _linear(shape[1], shape[0]).apply(input)
    return result


def _layers() -> dict[str, Callable[..., Module]]:
    layers = window_layers() | {name: _kept(f"nn.{name}") for name in (*ACTIVATIONS, "Identity")}
    layers |= {
        "Linear": _linear, "LayerNorm": _layer_norm, "GroupNorm": _group_norm,
        "Flatten": _flatten, "Upsample": _upsample, "PixelShuffle": _pixel_shuffle,
        "Sequential": _sequential,
    }  # fmt: skip
    for dims in (1, 2, 3):
        name = f"BatchNorm{dims}d"
        layers[name] = _norm(_BATCH_AXES[dims], name)
        for kind in ("Avg", "Max"):
            name = f"Adaptive{kind}Pool{dims}d"
            layers[name] = _adaptive_module(dims, f"nn.{name}")
        for kind, mode in _PADS.items():
            name = f"{kind}{dims}d"
            layers[name] = _pad_module(dims, f"nn.{name}", mode)
    return layers


def _functions() -> dict[str, Callable[..., Tensor]]:
    functions = window_functions()
    functions |= {
        "linear": _linear_function, "interpolate": _interpolate, "pad": _padded,
        "pixel_shuffle": lambda input, upscale_factor: _shuffled(
            "F.pixel_shuffle", upscale_factor, input),
    }  # fmt: skip
    for name in ACTIVATIONS.values():
        functions[name] = _same(f"F.{name}")
    for dims in (1, 2, 3):
        for kind in ("avg", "max"):
            name = f"adaptive_{kind}_pool{dims}d"
            functions[name] = _adaptive_function(dims, f"F.{name}")
    return functions


def _same(name: str) -> Callable[..., Tensor]:
    """A function that keeps the shape; softmax goes along an axis that must be there."""

    def run(input: Any, *args: Any, **more: Any) -> Tensor:
        return same(tensor_of(name, input), *args, **more)

    def along(input: Any, dim: Any = None, *_args: Any, **_more: Any) -> Tensor:
        return softmax(tensor_of(name, input), dim)

    return along if "softmax" in name else run


def _adaptive_module(dims: int, name: str) -> Callable[..., Module]:
    def average(output_size: Any) -> Module:
        return Module(name, _adaptive(dims, name)(output_size))

    def maximum(output_size: Any, return_indices: Any = False) -> Module:
        if return_indices:
            raise Refusal("code option", name=name, option="return_indices")
        return average(output_size)

    return maximum if "Max" in name else average


def _adaptive_function(dims: int, name: str) -> Callable[..., Tensor]:
    return lambda input, output_size: _adaptive(dims, name)(output_size)(input)


def _pad_module(dims: int, name: str, mode: str) -> Callable[..., Module]:
    return lambda padding: Module(name, _pad(padding, mode, name, dims))


LAYERS = _layers()
"""By their names in `torch.nn`."""

FUNCTIONS = _functions()
"""By their names in `torch.nn.functional`."""
