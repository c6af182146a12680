"""A rewritten model on disk: `safetensors` weights and a JSON recipe; nothing is ever unpickled."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from convsmith.errors import ArgumentError, ModelError, first_line, message_lines, no_file
from convsmith.network import submodule
from convsmith.network.modules import copied, plain
from convsmith.nn import Factored
from convsmith.report.saving import save_folder
from convsmith.report.text import clean
from convsmith.schema import anything, choice, entries, integer, mapping, text

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
        redo: makes the module at a path of a fresh model what was described; a description from
            a file is checked first, for an `ArgumentError` with the place of the mistake.
    """

    entry: str
    describe: Callable[[nn.Module], dict[str, Any]]
    redo: Callable[[nn.Module, str, Mapping[str, Any]], None]


_CRAFTS: dict[str, Craft] = {}
# Larger than any recipe; what is read from a stranger must fit in memory many times over.
_MOST_BYTES = 1 << 26
# The rest is checked where it is used: `origin` by the command line, modules by their craft.
_RULE = entries(
    {"convsmith": choice("recipe"), "version": integer(LIGHTENED, DILATED),
     "layers": mapping(anything)},
    optional={"kind": choice("lightened", "dilated"), "origin": anything, "model": text,
              "report": mapping(anything), "dilations": mapping(anything),
              "geometry": mapping(text), "fixed": text},
)  # fmt: skip


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
    target = Path(folder)
    taken = [name for name in (RECIPE, WEIGHTS) if (target / name).exists()]
    if taken and not force:
        raise ArgumentError(
            f"{target / taken[0]} exists: choose another folder, or pass force=True"
        )
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
    document = json.dumps(recipe, indent=1) + "\n"
    # The recipe last: where it is, all is there.
    return save_folder(
        folder,
        {WEIGHTS: partial(_write_weights, model), RECIPE: lambda file: _write(file, document)},
    )


def _write(file: IO[bytes], text: str) -> None:
    file.write(text.encode())


def _write_weights(model: nn.Module, file: IO[bytes]) -> None:
    try:
        safetensors.torch.save_model(model, file.name)  # tied tensors are kept tied
    except safetensors.SafetensorError as error:  # a full disk comes as this
        raise OSError(first_line(error)) from error


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
    recipe = read_recipe(folder)
    if recipe.get("fixed"):
        raise ModelError(f"{Path(folder)} cannot be built again: {clean(recipe['fixed'])}")
    if not isinstance(model, nn.Module):
        raise ModelError(f"{Path(folder)} rewrites a module, not a {type(model).__name__}")
    model = plain(model)
    shapes = _shapes(Path(folder, WEIGHTS))
    held = sum(map(math.prod, shapes.values()))
    try:
        trial = _without_memory(model)
        with torch.device("meta"):
            _redo(trial, recipe)
        # Whatever the recipe claims, no more is made than the model and the weights have.
        own, needed = (sum(t.numel() for t in _tensors(each)) for each in (model, trial))
        if needed > own + held:
            raise ArgumentError(f"its layers have {needed:,} values, its weights {held:,}")
        light = copied(model)
        _redo(light, recipe)
        _check_geometry(light, recipe)
        _check_shapes(light, shapes)
        safetensors.torch.load_model(light, str(Path(folder, WEIGHTS)))
    except _MISTAKES as error:
        reason = _reason(error)
        raise ModelError(
            f"{Path(folder)} does not fit {type(model).__name__}: it was made from "
            f"{clean(str(recipe.get('model'))[:200])}: {reason}"
        ) from error
    return light


_MISTAKES = (ArgumentError, ArithmeticError, AttributeError, AssertionError, LookupError,
             NotImplementedError, OSError, RuntimeError, TypeError, ValueError,
             safetensors.SafetensorError)  # fmt: skip


def _redo(model: nn.Module, recipe: Mapping[str, Any]) -> None:
    for entry, craft in _CRAFTS.items():
        for path, description in recipe.get(entry, {}).items():
            craft.redo(model, path, description)


def _check_geometry(model: nn.Module, recipe: Mapping[str, Any]) -> None:
    for path, windows in _geometry(model).items():
        expected = recipe.get("geometry", {}).get(path, windows)
        if windows != expected:
            # Weights would fit all the same.
            raise ArgumentError(f"{path!r} has the windows {windows}, not {expected}")


def _check_shapes(model: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse weights of other shapes than the model's, and name the first."""
    for key, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor) and shapes.get(key, tensor.shape) != tuple(tensor.shape):
            raise ArgumentError(
                f"{key!r} is {shapes[key]} in the folder and {tuple(tensor.shape)} in the model"
            )


def _reason(error: BaseException) -> str:
    """What an error says, without the line that torch puts above what it found in a state_dict."""
    head, *rest = message_lines(error)
    return clean(rest[0]) if rest and head.startswith("Error(s) in loading") else head


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _without_memory(model: nn.Module) -> nn.Module:
    """A copy of a model whose parameters and buffers have shapes but no values."""
    memo: dict[int, Any] = {}
    for tensor in _tensors(model):
        empty = torch.empty_like(tensor, device="meta")
        parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if parameter else empty
    return copied(model, memo)


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors that a file of weights holds, by its header.

    Raises:
        ModelError: for a file that is missing or damaged, naming it.
    """
    if not path.is_file():
        raise ModelError(no_file(path))
    try:
        with safetensors.safe_open(str(path), "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {first_line(error)}") from error


def read_recipe(folder: str | Path) -> dict[str, Any]:
    """Read the recipe of a folder and check it, apart from what its crafts describe.

    Raises:
        ModelError: naming the file and the place in it.
    """
    path = Path(folder, RECIPE)
    if not path.is_file():
        raise ModelError(f"{path.parent} holds no {RECIPE}")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES} bytes")
        recipe = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ModelError(f"{path} cannot be read: it is nested too deeply") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(recipe, dict) or recipe.get("convsmith") != "recipe":
        raise ModelError(f"{path} was not written by convsmith: it is not a recipe")
    version = recipe.get("version")
    if type(version) is not int or version not in (LIGHTENED, DILATED):
        raise ModelError(f"{path} has version {version}, expected 1 or 2")
    try:
        _RULE(recipe, "")
    except ArgumentError as error:
        raise ModelError(f"{path}: {error}") from error
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
