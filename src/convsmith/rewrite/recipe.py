"""A rewritten model on disk: `safetensors` weights and a JSON recipe; nothing is ever unpickled."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from convsmith.errors import ArgumentError, ModelError
from convsmith.nn import (
    ComposedConv,
    DepthwiseSeparableConv1d,
    DepthwiseSeparableConv2d,
    DepthwiseSeparableConv3d,
    DepthwiseSeparableConvTranspose1d,
    DepthwiseSeparableConvTranspose2d,
    DepthwiseSeparableConvTranspose3d,
    Factored,
    PointwiseFirstConv,
    SeparablePair,
    SpatiallySeparableConv,
    TuckerConv,
)
from convsmith.rewrite.surgery import replace

__all__ = ["load", "read_recipe", "save"]

VERSION = 1
RECIPE, WEIGHTS = "recipe.json", "model.safetensors"
_ARGUMENTS = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding",
    "dilation", "groups", "padding_mode", "multiplier", "rank", "transposed",
)  # fmt: skip

_FORMS: dict[str, Callable[..., Factored]] = {
    form.__name__: form
    for form in (
        DepthwiseSeparableConv1d,
        DepthwiseSeparableConv2d,
        DepthwiseSeparableConv3d,
        DepthwiseSeparableConvTranspose1d,
        DepthwiseSeparableConvTranspose2d,
        DepthwiseSeparableConvTranspose3d,
        PointwiseFirstConv,
        SpatiallySeparableConv,
        TuckerConv,
    )
}


def save(
    model: nn.Module,
    folder: str | Path,
    paths: Iterable[str],
    *,
    report: dict[str, Any] | None = None,
    origin: str = "",
    force: bool = False,
) -> Path:
    """Write a rewritten model: its weights, and which of its modules were replaced by what.

    Args:
        model: a model in which `lighten` has put lighter layers.
        folder: made if need be; it appears whole or not at all.
        paths: the modules that were put in.
        report: plain data to keep beside the recipe.
        origin: what the original was built from, e.g. `my.py:build`, for the command line.
        force: replace a recipe that is there.

    Raises:
        ArgumentError: if the folder holds a recipe already and `force` is false.
    """
    from safetensors.torch import save_model

    target = Path(folder)
    if (target / RECIPE).exists() and not force:
        raise ArgumentError(f"{target / RECIPE} exists: choose another folder, or force it")
    recipe = {
        "convsmith": "recipe",
        "version": VERSION,
        "origin": origin,
        "model": type(model).__name__,
        "layers": {path: _describe(model.get_submodule(path)) for path in paths},
        "report": report or {},
    }
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target, prefix=".writing-") as scratch:
        save_model(model, str(Path(scratch, WEIGHTS)))  # tied tensors are kept tied
        Path(scratch, RECIPE).write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")
        for name in (WEIGHTS, RECIPE):  # the recipe last: where it is, all is there
            os.replace(Path(scratch, name), target / name)
    return target


def load(folder: str | Path, model: nn.Module) -> nn.Module:
    """Turn an original model into the rewritten one that `save` wrote.

    Args:
        folder: what `save` or `convsmith lighten -o` wrote.
        model: a freshly built original, with any weights.

    Returns:
        A copy of the model, its layers replaced and all its weights read.

    Raises:
        ModelError: if the folder holds no recipe of a known version, or does not fit the model.
    """
    from safetensors.torch import load_model

    recipe = read_recipe(folder)
    light = deepcopy(model)
    try:
        for path, form in recipe["layers"].items():
            replace(light, path, _build(form))
        load_model(light, str(Path(folder, WEIGHTS)))
    except (ArgumentError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{Path(folder)} does not fit {type(model).__name__}: it was made from "
            f"{recipe.get('model')}: {reason}"
        ) from error
    return light


def read_recipe(folder: str | Path) -> dict[str, Any]:
    """Read and check the recipe of a folder."""
    path = Path(folder, RECIPE)
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent} holds no {RECIPE}") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(recipe, dict) or recipe.get("convsmith") != "recipe":
        raise ModelError(f"{path} is no recipe of convsmith's")
    if recipe.get("version") != VERSION:
        raise ModelError(f"{path} has version {recipe.get('version')}, expected {VERSION}")
    return recipe


def _describe(module: nn.Module) -> dict[str, Any]:
    assert isinstance(module, (SeparablePair, ComposedConv))
    found = {name: getattr(module, name) for name in _ARGUMENTS if hasattr(module, name)}
    dtype = str(module.last.weight.dtype).removeprefix("torch.")
    parts = [part for part in module.children() if isinstance(part, _ConvNd)]
    return {
        "form": type(module).__name__,
        "bias": [part.bias is not None for part in parts],
        "dtype": dtype,
        **found,
    }


def _build(form: dict[str, Any]) -> nn.Module:
    import torch

    arguments = {
        name: tuple(value) if isinstance(value, list) else value for name, value in form.items()
    }
    kind = _FORMS.get(str(arguments.pop("form")))
    if kind is None:
        raise ArgumentError(f"no layer is called {form['form']!r}")
    dtype = getattr(torch, str(arguments.pop("dtype")))
    biases = arguments.pop("bias")
    layer = kind(**arguments, bias=True, dtype=dtype)
    # A layer made from a trained one has its bias on the last convolution alone, or nowhere.
    parts = [part for part in layer.children() if isinstance(part, _ConvNd)]
    for part, biased in zip(parts, biases, strict=True):
        if not biased:
            part.bias = None
    return layer
