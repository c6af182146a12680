"""Layers with a window in PyTorch: convolutions and pools, as modules and as functions.

Each is a function with PyTorch's own parameters, which a test compares with PyTorch's signatures;
what comes out of it is the arithmetic's answer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from inspect import signature
from typing import Any

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.errors import ArgumentError
from convsmith.explore.phrases import Language
from convsmith.explore.problems import problem
from convsmith.explore.script.values import Module, Refusal, Tensor, either, tensor_of, whole
from convsmith.explore.state import LayerState

__all__ = ["window_functions", "window_layers"]


_Applied = Callable[[Any], Tensor]

# The least that a size may be, by its name in PyTorch.
_LEAST = {"kernel_size": 1, "stride": 1, "dilation": 1, "padding": 0, "output_padding": 0}


class _Explained(Refusal):
    """What the explorer says of a layer in the plane, else what the arithmetic says."""

    def __init__(self, state: LayerState, reason: object) -> None:
        super().__init__("code wrong", reason=reason)
        self._state = state

    def said(self, language: Language) -> str:
        return problem(self._state, language) or super().said(language)


def _made(make: partial[Any]) -> Any:
    try:
        return make()
    except ArgumentError as error:
        _check_sizes(make)
        raise Refusal("code wrong", reason=error) from None


def _check_sizes(make: partial[Any]) -> None:
    """Refuse sizes that no layer has, in words that the explorer has in both languages."""
    given = signature(make.func).bind_partial(*make.args, **make.keywords).arguments
    for name, least in _LEAST.items():
        for size in _each(given.get(name, least)):
            if not isinstance(size, str):
                whole(name, size, least)
    if make.func is Pool:
        both = (_each(given[name], given["dims"]) for name in ("kernel_size", "padding"))
        for kernel, padding in zip(*both, strict=False):
            if 2 * padding > kernel:
                raise Refusal("problem pool padding", limit=kernel // 2, padding=padding)


def _each(sizes: Any, count: int = 1) -> list[Any]:
    return list(sizes) if isinstance(sizes, tuple | list) else [sizes] * count


def _slid(name: str, make: partial[Any], channels: int | None, value: Any) -> Tensor:
    """What a window makes of a batch, or of a single image without the axis N."""
    tensor = tensor_of(name, value)
    shape, layer = tensor.shape, _made(make)
    dims = layer.dims
    if len(shape) not in (dims + 1, dims + 2):
        raise Refusal(
            "code axes", name=name, counts=either(dims + 1, dims + 2), shape=tensor.written
        )
    batched = len(shape) == dims + 2
    batch, found, *size = shape if batched else (1, *shape)
    if channels is not None and found != channels:
        raise Refusal(
            "code channels", name=name, expected=channels, found=found, shape=tensor.written
        )
    try:
        state = LayerState.of(layer, found, (size[0], size[1])) if dims == 2 else None
        if state and problem(state, "en"):
            raise _Explained(state, "")
        outputs = layer.output_size(tuple(size))
    except ArgumentError as error:
        raise Refusal("code wrong", reason=error) from None
    after = (getattr(layer, "out_channels", found), *outputs)
    return Tensor((batch, *after) if batched else after)


def _check_groups(ins: int, outs: int, groups: int) -> None:
    for channels in (ins, outs):
        if channels % groups:
            raise Refusal("problem groups", groups=groups, channels=channels)


def _conv(dims: int) -> Callable[..., Module]:
    name = f"nn.Conv{dims}d"

    def make(in_channels: Any, out_channels: Any, kernel_size: Any, stride: Any = 1,
             padding: Any = 0, dilation: Any = 1, groups: Any = 1, bias: Any = True,
             padding_mode: Any = "zeros") -> Module:  # fmt: skip
        ins, outs = whole("in_channels", in_channels), whole("out_channels", out_channels)
        _check_groups(ins, outs, whole("groups", groups))
        if padding == "same" and stride not in (1, (1,) * dims):
            raise Refusal("problem same", stride=stride)
        layer = partial(
            Conv, ins, outs, kernel_size, stride, padding, dilation, groups, bool(bias),
            padding_mode, dims=dims,
        )  # fmt: skip
        shape = _made(layer).weight_shape
        return Module(name, partial(_slid, name, layer, ins), shape, (outs,) if bias else None)

    return make


def _transposed(dims: int) -> Callable[..., Module]:
    name = f"nn.ConvTranspose{dims}d"

    def make(in_channels: Any, out_channels: Any, kernel_size: Any, stride: Any = 1,
             padding: Any = 0, output_padding: Any = 0, groups: Any = 1, bias: Any = True,
             dilation: Any = 1, padding_mode: Any = "zeros") -> Module:  # fmt: skip
        ins, outs = whole("in_channels", in_channels), whole("out_channels", out_channels)
        _check_groups(ins, outs, whole("groups", groups))
        if padding_mode != "zeros":
            raise Refusal("code zeros alone", name=name)
        whole_layer = partial(ConvTranspose, ins, outs, kernel_size, dims=dims, groups=groups)
        layer = partial(whole_layer, stride=stride, padding=padding, dilation=dilation,
                        output_padding=output_padding)  # fmt: skip
        shape = _made(whole_layer).weight_shape
        return Module(name, partial(_slid, name, layer, ins), shape, (outs,) if bias else None)

    return make


def _functional_conv(dims: int, transposed: bool) -> Callable[..., Tensor]:
    name = f"F.conv{'_transpose' if transposed else ''}{dims}d"

    def run(value: Any, weight: Any, bias: Any, groups: Any, **windows: Any) -> Tensor:
        tensor_of(name, value)
        shape = tensor_of(name, weight).shape
        if len(shape) != dims + 2:
            raise Refusal("code weight axes", name=name, count=dims + 2, shape=weight.written)
        first, second, *kernel = shape
        groups = whole("groups", groups)
        if first % groups:
            raise Refusal("problem groups", groups=groups, channels=first)
        ins, outs = (first, second * groups) if transposed else (second * groups, first)
        if bias is not None and tensor_of(name, bias).shape != (outs,):
            raise Refusal("code bias", name=name, count=outs, shape=bias.written)
        if windows.get("padding") == "same" and windows["stride"] not in (1, (1,) * dims):
            raise Refusal("problem same", stride=windows["stride"])
        make = ConvTranspose if transposed else Conv
        layer = partial(make, ins, outs, tuple(kernel), groups=groups, dims=dims, **windows)
        return _slid(name, layer, ins, value)

    def conv(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
             dilation: Any = 1, groups: Any = 1) -> Tensor:  # fmt: skip
        return run(input, weight, bias, groups, stride=stride, padding=padding, dilation=dilation)

    def conv_transpose(input: Any, weight: Any, bias: Any = None, stride: Any = 1,
                       padding: Any = 0, output_padding: Any = 0, groups: Any = 1,
                       dilation: Any = 1) -> Tensor:  # fmt: skip
        return run(input, weight, bias, groups, stride=stride, padding=padding,
                   output_padding=output_padding, dilation=dilation)  # fmt: skip

    return conv_transpose if transposed else conv


def _max_pool(dims: int, name: str) -> Callable[..., _Applied]:
    def make(kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
             return_indices: Any = False, ceil_mode: Any = False) -> _Applied:  # fmt: skip
        if return_indices:
            raise Refusal("code option", name=name, option="return_indices")
        layer = partial(Pool, kernel_size, kernel_size if stride is None else stride, padding,
                        dilation, bool(ceil_mode), "max", dims=dims)  # fmt: skip
        return partial(_slid, name, layer, None)

    return make


def _average_pool(dims: int, name: str) -> Callable[..., _Applied]:
    def plain(kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: Any = False,
              count_include_pad: Any = True) -> _Applied:  # fmt: skip
        layer = partial(Pool, kernel_size, kernel_size if stride is None else stride, padding, 1,
                        bool(ceil_mode), "average", dims=dims)  # fmt: skip
        return partial(run, layer)

    def run(layer: partial[Pool], value: Any) -> Tensor:
        found = _slid(name, layer, None, value)
        # PyTorch's own rule, of three axes alone.
        if dims == 3 and any(
            n < k for n, k in zip(value.shape[-3:], layer().kernel_size, strict=True)
        ):
            raise Refusal("code pool small", name=name, shape=value.written)
        return found

    def make(kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: Any = False,
             count_include_pad: Any = True, divisor_override: Any = None) -> _Applied:  # fmt: skip
        return plain(kernel_size, stride, padding, ceil_mode)

    return plain if dims == 1 else make


def _of(name: str, make: Callable[..., Callable[[Any], Tensor]]) -> Callable[..., Module]:
    """A module of something that is made first and applied later."""

    @wraps(make)
    def module(*args: Any, **more: Any) -> Module:
        return Module(name, make(*args, **more))

    return module


def _at_once(make: Callable[..., Callable[[Any], Tensor]]) -> Callable[..., Tensor]:
    """The function that does it all in one call."""

    @wraps(make)
    def run(input: Any, *args: Any, **more: Any) -> Tensor:
        return make(*args, **more)(input)

    return run


def window_layers() -> dict[str, Callable[..., Module]]:
    """Modules by their names in `torch.nn`."""
    layers: dict[str, Callable[..., Module]] = {}
    for dims in (1, 2, 3):
        layers[f"Conv{dims}d"] = _conv(dims)
        layers[f"ConvTranspose{dims}d"] = _transposed(dims)
        for kind, pool in (("Max", _max_pool), ("Avg", _average_pool)):
            name = f"{kind}Pool{dims}d"
            layers[name] = _of(f"nn.{name}", pool(dims, f"nn.{name}"))
    return layers


def window_functions() -> dict[str, Callable[..., Tensor]]:
    """Functions by their names in `torch.nn.functional`."""
    functions: dict[str, Callable[..., Tensor]] = {}
    for dims in (1, 2, 3):
        functions[f"conv{dims}d"] = _functional_conv(dims, False)
        functions[f"conv_transpose{dims}d"] = _functional_conv(dims, True)
        for kind, pool in (("max", _max_pool), ("avg", _average_pool)):
            name = f"{kind}_pool{dims}d"
            functions[name] = _at_once(pool(dims, f"F.{name}"))
    return functions
