"""What `dilate` made of a module, as plain data, and made of a fresh one again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from convsmith.arithmetic import Window
from convsmith.errors import ArgumentError
from convsmith.network import submodule
from convsmith.rewrite.dilation.layers import (
    DilatedAvgPool,
    DilatedConv1d,
    DilatedConv2d,
    DilatedConv3d,
    DilatedMaxPool,
    Trim,
    dilated_convolution,
    set_geometry,
)
from convsmith.rewrite.dilation.modules import in_place_of
from convsmith.rewrite.dilation.window import DilatedWindow
from convsmith.rewrite.surgery import replace
from convsmith.schema import (
    Rule,
    boolean,
    choice,
    either,
    entries,
    integer,
    number,
    refuse,
    several,
)

__all__ = ["describe", "redo"]

_GEOMETRY = ("stride", "dilation", "padding")
_ARGUMENTS: dict[type[nn.Module], tuple[str, ...]] = {
    DilatedMaxPool: ("windows",),
    DilatedAvgPool: ("windows", "count_include_pad", "divisor"),
    Trim: ("rates",),
    nn.MaxPool1d: ("kernel_size", *_GEOMETRY),
    nn.MaxPool2d: ("kernel_size", *_GEOMETRY),
    nn.MaxPool3d: ("kernel_size", *_GEOMETRY),
    nn.AvgPool1d: ("kernel_size", "stride", "padding", "count_include_pad"),
    nn.AvgPool2d: ("kernel_size", "stride", "padding", "count_include_pad"),
    nn.AvgPool3d: ("kernel_size", "stride", "padding", "count_include_pad"),
    nn.ConstantPad1d: ("padding", "value"),
    nn.ConstantPad2d: ("padding", "value"),
    nn.ConstantPad3d: ("padding", "value"),
    nn.ReflectionPad1d: ("padding",),
    nn.ReflectionPad2d: ("padding",),
    nn.ReflectionPad3d: ("padding",),
    nn.ReplicationPad1d: ("padding",),
    nn.ReplicationPad2d: ("padding",),
    nn.ReplicationPad3d: ("padding",),
    nn.CircularPad1d: ("padding",),
    nn.CircularPad2d: ("padding",),
    nn.CircularPad3d: ("padding",),
}
_KINDS = {kind.__name__: kind for kind in _ARGUMENTS}

# A padding can be negative: then it crops.
_AMOUNT = integer(-(1 << 16), 1 << 16)
_SIZE = integer(1, 1 << 16)
_SIDES = several(_AMOUNT, 2, 2)
_WINDOW = entries(
    {"old": entries({"kernel": _SIZE, "stride": _SIZE, "padding": _SIDES, "dilation": _SIZE}),
     "rate": _SIZE, "stride": _SIZE, "dilation": _SIZE, "padding": _SIDES},
    optional={"ceil": boolean, "trim": boolean},
)  # fmt: skip
_WINDOWS = several(_WINDOW, 1, 3)
_PLAIN = {
    "windows": _WINDOWS,
    "rates": several(_SIZE, 1, 3),
    "kernel_size": either(_SIZE, several(_SIZE, 1, 3)),
    "stride": either(_SIZE, several(_SIZE, 1, 3)),
    "dilation": either(_SIZE, several(_SIZE, 1, 3)),
    "padding": either(_AMOUNT, several(_AMOUNT, 1, 6)),
    "value": either(number, choice(math.inf, -math.inf)),
    "count_include_pad": boolean,
    "divisor": either(choice(None), _SIZE),
}
_FILLS = ("constant", "reflect", "replicate", "circular")


def _form(name: str, **parts: Rule) -> Rule:
    return entries({"form": choice(name), **parts})


_AXES = several(_SIZE, 1, 3)
_FORMS: dict[str, Rule] = {
    "convolution": _form("convolution", stride=_AXES, dilation=_AXES,
                         padding=either(choice("same", "valid"), several(_AMOUNT, 1, 3))),
    "dilated convolution": _form("dilated convolution", windows=_WINDOWS, fill=choice(*_FILLS)),
    **{kind.__name__: _form(kind.__name__, **{name: _PLAIN[name] for name in names})
       for kind, names in _ARGUMENTS.items()},
}  # fmt: skip


def _rule(description: Any, place: str) -> None:
    """Check what a description from a file must look like."""
    form = description.get("form") if isinstance(description, dict) else None
    if form == "steps":
        _form("steps", steps=several(_step, 1, 16))(description, place)
    elif isinstance(form, str) and form in _FORMS:
        _FORMS[form](description, place)
    elif isinstance(form, str):
        raise ArgumentError(f"{place}: no layer is called {form[:40]!r}")
    else:
        raise refuse(description, place, "the description of a layer")


def _step(description: Any, place: str) -> None:
    """Check one of several layers in a row, none of which is again several."""
    if isinstance(description, dict) and description.get("form") == "steps":
        raise refuse(description, place, "a single layer")
    _rule(description, place)


def describe(module: nn.Module) -> dict[str, Any]:
    """A changed module as plain data.

    >>> describe(nn.Conv2d(8, 8, 3, padding=2, dilation=2))["dilation"]
    (2, 2)
    """
    if isinstance(module, (DilatedConv1d, DilatedConv2d, DilatedConv3d)):
        windows = [asdict(window) for window in module.windows]
        return {"form": "dilated convolution", "windows": windows, "fill": module.fill}
    if isinstance(module, _ConvNd):
        return {"form": "convolution"} | {name: getattr(module, name) for name in _GEOMETRY}
    if isinstance(module, nn.Sequential):
        return {"form": "steps", "steps": [describe(step) for step in module]}
    found = {name: getattr(module, name) for name in _ARGUMENTS[type(module)]}
    if "windows" in found:
        found["windows"] = [asdict(window) for window in found["windows"]]
    return {"form": type(module).__name__} | found


def redo(model: nn.Module, path: str, form: Mapping[str, Any]) -> None:
    """Make of the module at `path` what was described.

    Raises:
        ArgumentError: for a description that is of no known module, or of another than this.
    """
    old = submodule(model, path)
    kind = form.get("form") if isinstance(form, Mapping) else None
    is_convolution = kind in ("convolution", "dilated convolution")
    if is_convolution and not isinstance(old, _ConvNd):
        raise ArgumentError(f"{path!r} is a {type(old).__name__}, not a convolution")
    _rule(form, f"dilations.{path}")
    if not isinstance(old, _ConvNd) or not is_convolution:
        replace(model, path, in_place_of(old, _build(form)))
        return
    if kind == "dilated convolution":
        replace(model, path, dilated_convolution(old, _windows(form["windows"]), form["fill"]))
        return
    axes = zip(old.kernel_size, *(form[name] for name in _GEOMETRY), strict=True)
    set_geometry(old, tuple(DilatedWindow(Window(k), 1, s, d, (p, p)) for k, s, d, p in axes))


def _build(form: Mapping[str, Any]) -> nn.Module:
    if form["form"] == "steps":
        return nn.Sequential(*map(_build, form["steps"]))
    kind = _KINDS.get(form["form"])
    if kind is None:
        raise ArgumentError(f"no layer is called {form['form']!r}")
    arguments = {
        name: tuple(form[name]) if isinstance(form[name], list) else form[name]
        for name in _ARGUMENTS[kind]
    }
    if "windows" in arguments:
        arguments["windows"] = _windows(form["windows"])
    return kind(**arguments)


def _windows(plain: Sequence[Mapping[str, Any]]) -> tuple[DilatedWindow, ...]:
    return tuple(
        DilatedWindow(**{**window, "old": Window(**old), "padding": tuple(window["padding"])})
        for window in plain
        for old in [{**window["old"], "padding": tuple(window["old"]["padding"])}]
    )
