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

from convsmith.errors import ArgumentError, ModelError, first_line
from convsmith.network import submodule
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
from convsmith.rewrite.dilation.geometry import describe, geometry, redo
from convsmith.rewrite.surgery import replace

__all__ = ["lighter_layers", "load", "read_recipe", "save"]

# A reader that knows no dilations must not leave them out: what has some is of the second version.
LIGHTENED, DILATED = 1, 2
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
    dilated: Iterable[str] | None = None,
    fixed: str = "",
    report: dict[str, Any] | None = None,
    origin: str = "",
    force: bool = False,
) -> Path:
    """Write a rewritten model: its weights, and which of its modules were replaced by what.

    Args:
        model: a model that `lighten` or `dilate` has made.
        folder: made if need be; it appears whole or not at all.
        paths: the lighter layers that were put in.
        dilated: the modules whose dilations changed; None for a model that was not dilated.
        fixed: why a dilated model cannot be built again, '' if it can.
        report: plain data to keep beside the recipe.
        origin: what the original was built from, e.g. `my.py:build`, for the command line.
        force: replace a recipe that is there.

    Raises:
        ArgumentError: if the folder holds a recipe or weights already and `force` is false.
    """
    from safetensors.torch import save_model

    target = Path(folder)
    taken = [name for name in (RECIPE, WEIGHTS) if (target / name).exists()]
    if taken and not force:
        raise ArgumentError(f"{target / taken[0]} exists: choose another folder, or force it")
    recipe: dict[str, Any] = {
        "convsmith": "recipe",
        "version": LIGHTENED if dilated is None else DILATED,
        "kind": "lightened" if dilated is None else "dilated",
        "origin": origin,
        "model": type(model).__name__,
        "layers": {path: _describe(model.get_submodule(path)) for path in paths},
        "report": report or {},
    }
    if dilated is not None:
        own = [path for path in dilated if path not in recipe["layers"]]
        recipe["dilations"] = {path: describe(submodule(model, path)) for path in own}
        recipe["geometry"] = {} if fixed else geometry(model)
        recipe["fixed"] = fixed
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
        folder: what `save`, `convsmith lighten -o` or `convsmith dilate -o` wrote.
        model: a freshly built original, with any weights.

    Returns:
        A copy of the model, its layers replaced and all its weights read.

    Raises:
        ModelError: if the folder holds no recipe of a known version, does not fit the model, or
            holds an exported graph, which is not built again.
    """
    from safetensors.torch import load_model

    recipe = read_recipe(folder)
    if recipe.get("fixed"):
        raise ModelError(f"{Path(folder)} cannot be built again: {recipe['fixed']}")
    light = deepcopy(model)
    try:
        for path, form in recipe["layers"].items():
            replace(light, path, _build(form))
        for path, form in recipe.get("dilations", {}).items():
            redo(light, path, form)
        for path, found in geometry(light).items():
            wanted = recipe.get("geometry", {}).get(path, found)
            if found != wanted:
                # Weights would fit all the same.
                raise ArgumentError(f"{path!r} has the windows {found}, not {wanted}")
        load_model(light, str(Path(folder, WEIGHTS)))
    except (ArgumentError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = first_line(error)
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
    if recipe.get("version") not in (LIGHTENED, DILATED):
        raise ModelError(f"{path} has version {recipe.get('version')}, expected 1 or 2")
    return recipe


def lighter_layers(model: nn.Module) -> list[str]:
    """The paths of layers that `lighten` may have put in: those without norms or activations."""
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, (SeparablePair, ComposedConv))
        and all(isinstance(part, (_ConvNd, nn.Identity)) for part in module.children())
    ]


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
