"""A rewritten model on disk: `safetensors` weights and a JSON recipe; nothing is ever unpickled."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from convsmith.errors import ArgumentError, ModelError, first_line
from convsmith.network import submodule
from convsmith.nn import Factored

__all__ = ["Craft", "lighter_layers", "load", "read_recipe", "register", "save"]

# A reader that does not know dilations must not leave them out: hence a second version.
LIGHTENED, DILATED = 1, 2
RECIPE, WEIGHTS = "recipe.json", "model.safetensors"
_GEOMETRY = ("stride", "dilation", "padding")


@dataclass(frozen=True)
class Craft:
    """One way of rewriting modules, as far as a recipe needs to know it.

    Attributes:
        entry: where the recipe keeps its modules: a mapping from path to description.
        describe: turns a module that it made into plain data.
        redo: makes the module at a path of a fresh model what was described.
    """

    entry: str
    describe: Callable[[nn.Module], dict[str, Any]]
    redo: Callable[[nn.Module, str, Mapping[str, Any]], None]


_CRAFTS: dict[str, Craft] = {}


def register(craft: Craft) -> None:
    """Let recipes contain what a craft makes; each has its own entry."""
    _CRAFTS[craft.entry] = craft


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
        "layers": _described("layers", model, paths),
        "report": report or {},
    }
    if dilated is not None:
        own = [path for path in dilated if path not in recipe["layers"]]
        recipe["dilations"] = _described("dilations", model, own)
        recipe["geometry"] = {} if fixed else _geometry(model)
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
        for entry in ("layers", "dilations"):
            for path, description in recipe.get(entry, {}).items():
                _CRAFTS[entry].redo(light, path, description)
        for path, windows in _geometry(light).items():
            expected = recipe.get("geometry", {}).get(path, windows)
            if windows != expected:
                # Weights would fit all the same.
                raise ArgumentError(f"{path!r} has the windows {windows}, not {expected}")
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
        raise ModelError(f"{path} was not written by convsmith: it is not a recipe")
    if recipe.get("version") not in (LIGHTENED, DILATED):
        raise ModelError(f"{path} has version {recipe.get('version')}, expected 1 or 2")
    return recipe


def lighter_layers(model: nn.Module) -> list[str]:
    """The paths of layers that `lighten` may have put in: those without norms or activations."""
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, Factored)
        and all(isinstance(part, (_ConvNd, nn.Identity)) for part in module.children())
    ]


def _described(entry: str, model: nn.Module, paths: Iterable[str]) -> dict[str, Any]:
    return {path: _CRAFTS[entry].describe(submodule(model, path)) for path in paths}


def _geometry(model: nn.Module) -> dict[str, str]:
    """Stride, dilation and padding of every convolution, in words: weights do not tell them."""
    return {
        path: ", ".join(f"{name}={getattr(module, name)}" for name in _GEOMETRY)
        for path, module in model.named_modules()
        if isinstance(module, _ConvNd)
    }
