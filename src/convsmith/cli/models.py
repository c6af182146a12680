"""Models named on the command line, and their weights."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convsmith.cli import usercode
from convsmith.cli.programs import load_program
from convsmith.cli.weights import PICKLED, load_weights
from convsmith.errors import ArgumentError, ConvsmithError, ModelError, first_line, nearest

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

__all__ = ["load_model"]

FORMS = "torchvision:NAME, timm:NAME, package.module:callable, file.py:callable or a .pt2"


def load_model(spec: str, weights: str | Path | None = None) -> nn.Module | ExportedProgram:
    """Build the model that a spec names; nothing is downloaded, nothing unpickled.

    Args:
        spec: `torchvision:NAME` or `timm:NAME` (random weights); `package.module:callable` or
            `file.py:callable`, which is a module, or returns one when called without arguments; a
            `.pt2` of `torch.export.save`; or a folder that `convsmith lighten` wrote.
        weights: a file for `load_weights`; a `.pt2` and a folder bring their own.

    Raises:
        ArgumentError: for a spec of another form, or weights for a model that brings its own.
        ModelError: for a model that does not exist (naming the nearest), cannot be built (naming
            the line of the user's code) or must not be read, and for weights that do not fit.
    """
    path = Path(spec)
    if spec.endswith("/") or (spec and path.is_dir()) or path.suffix == ".pt2":
        if weights is not None:
            raise ArgumentError(f"{spec} brings its own weights: leave out {str(weights)!r}")
        return load_program(path) if path.suffix == ".pt2" else _load_folder(path)
    if path.suffix in (".safetensors", *PICKLED) and ":" not in spec:
        raise ModelError(
            f"{spec} holds weights, and weights alone are not a model: "
            f"pass file.py:callable --weights {spec}"
        )
    library, _, name = spec.partition(":")
    model: nn.Module | ExportedProgram
    if library in _LIBRARIES:
        model = _from_library(library, name, spec)
    elif usercode.names_code(spec):
        model = _from_code(spec)
    else:
        raise ArgumentError(f"{spec!r} is not a model: expected {FORMS}")
    if weights is not None:
        from torch import nn

        if not isinstance(model, nn.Module):
            raise ArgumentError(f"{spec} brings its own weights: leave out {str(weights)!r}")
        load_weights(model, weights, spec)
    return model


def _from_code(spec: str) -> Any:
    target = usercode.find(spec, ModelError)
    from torch import nn
    from torch.export import ExportedProgram

    kinds = (nn.Module, ExportedProgram)
    if isinstance(target, kinds):
        return target
    if not callable(target):
        raise ModelError(f"{spec} is a {type(target).__name__}, expected a torch.nn.Module")
    model = usercode.call(spec, target, ModelError)
    if not isinstance(model, kinds):
        raise ModelError(f"{spec} returned a {type(model).__name__}, expected a torch.nn.Module")
    return model


def _from_library(library: str, name: str, spec: str) -> Any:
    if find_spec(library) is None:
        raise ModelError(f"{spec} needs {library}: pip install {library}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _LIBRARIES[library](name)
        except ConvsmithError:
            raise
        except Exception as error:
            raise ModelError(f"{spec} cannot be built: {first_line(error)}") from error


def _from_torchvision(name: str) -> Any:
    zoo = import_module("torchvision.models")
    known = zoo.list_models()
    if name.lower() not in known:
        raise ModelError(f"torchvision has no model {name!r}{nearest(name.lower(), known)}")
    # Detectors and segmenters download their backbone's weights unless told not to.
    has = inspect.signature(zoo.get_model_builder(name.lower())).parameters
    backbone = {"weights_backbone": None} if "weights_backbone" in has else {}
    return zoo.get_model(name.lower(), weights=None, **backbone)


def _from_timm(name: str) -> Any:
    timm = import_module("timm")
    # A name such as 'hf-hub:…' would be fetched; one such as 'resnet50.a1_in1k' names weights.
    if not timm.is_model(name.split(".")[0]):
        raise ModelError(f"timm has no model {name!r}{nearest(name, timm.list_models())}")
    return timm.create_model(name, pretrained=False)


def _load_folder(folder: Path) -> Any:
    """Build the model that the folder's recipe starts from, and rewrite it as the recipe says."""
    if not folder.is_dir():
        raise ModelError(f"there is no folder {str(folder)!r}")
    if not (folder / "recipe.json").is_file():
        raise ModelError(f"{folder} was not written by `convsmith lighten`: it has no recipe.json")
    from convsmith.rewrite.recipe import load, read_recipe

    origin = read_recipe(folder).get("origin")
    if not origin or not isinstance(origin, str):
        raise ModelError(
            f"{folder} does not record what it was made from: load it in Python, "
            "with convsmith.load(folder, model)"
        )
    home = origin.rpartition(":")[0]
    code = Path(home) if home.endswith(".py") else Path.cwd().joinpath(*home.split("."))
    # Whatever came with the folder is data; only code that was here before is ever called.
    if home not in _LIBRARIES and code.resolve().is_relative_to(folder.resolve()):
        raise ModelError(
            f"{folder} names code inside the folder itself, {origin!r}: such code is not run"
        )
    try:
        return load(folder, load_model(origin))  # type: ignore[arg-type]
    except RecursionError:
        raise ModelError(
            f"{folder} names itself as its own origin in its recipe: {origin!r}"
        ) from None


_LIBRARIES: dict[str, Callable[[str], Any]] = {
    "torchvision": _from_torchvision,
    "timm": _from_timm,
}
