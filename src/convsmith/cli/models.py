"""Models named on the command line, and their weights."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convsmith.cli import usercode
from convsmith.cli.archives import SCRIPTS, content_of, no_script
from convsmith.cli.weights import PICKLED, load_weights
from convsmith.errors import ArgumentError, ConvsmithError, ModelError, first_line, nearest, no_file

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

__all__ = ["load_model"]

FORMS = "torchvision:NAME, timm:NAME, package.module:callable, file.py:callable, .pt2 or .onnx"


def load_model(
    spec: str, weights: str | Path | None = None, original: str | None = None
) -> nn.Module | ExportedProgram:
    """Build the model that a spec names; nothing is downloaded, nothing unpickled.

    Args:
        spec: `torchvision:NAME` or `timm:NAME` (random weights); `package.module:callable` or
            `file.py:callable`, which is a module, or returns one when called without arguments; a
            `.pt2` of `torch.export.save`; an `.onnx`; or a folder that `convsmith lighten` wrote.
        weights: a file for `load_weights`; a `.pt2`, an `.onnx` and a folder bring their own.
        original: for a folder, the spec of what it was made from. A folder decides itself only
            where that is a name of torchvision or timm, or another folder: code runs because the
            user names it, never because a file that was received does.

    Raises:
        ArgumentError: for a spec of another form, or weights for a model that brings its own.
        ModelError: for a model that does not exist (naming the nearest), cannot be built (naming
            the line of the user's code) or must not be read, and for weights that do not fit.
    """
    path = Path(spec)
    is_folder = spec.endswith("/") or (spec != "" and path.is_dir())
    if original is not None and not is_folder:
        raise ArgumentError(f"--model says what a folder was made from, but {spec!r} is no folder")
    if not is_folder:
        _refuse_other_files(path, spec)
    if is_folder or path.suffix in (".pt2", ".onnx"):
        if weights is not None:
            raise ArgumentError(f"{spec} brings its own weights: leave out {str(weights)!r}")
        if is_folder:
            folder: nn.Module = _load_folder(path, original)
            return folder
        if path.suffix == ".onnx":
            from convsmith.importing import read_onnx

            return read_onnx(path)
        from convsmith.network.stored.program import load_program

        return load_program(path)
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


def _refuse_other_files(path: Path, spec: str) -> None:
    """Tell files of PyTorch's apart by what they hold: their names are alike."""
    suffixes = (".pt2", ".safetensors", *PICKLED, *SCRIPTS)
    if ":" in spec or path.suffix not in suffixes:
        return
    content = content_of(path)
    if content == "TorchScript":
        raise ModelError(no_script(spec))
    if content == "program" and path.suffix != ".pt2":
        raise ModelError(f"{spec} is a program of torch.export.save: name it {path.stem}.pt2")
    if path.suffix in SCRIPTS:
        raise ModelError(
            f"{spec} is not a model: expected {FORMS}" if path.is_file() else no_file(path)
        )
    if path.suffix != ".pt2" or content == "pickle":
        raise ModelError(
            f"{spec} holds weights, and weights alone are not a model: "
            f"pass file.py:callable --weights {spec}"
        )


def _from_code(spec: str) -> Any:
    target = usercode.find(spec, ModelError)
    from torch import nn
    from torch.export import ExportedProgram

    kinds = (nn.Module, ExportedProgram)
    if isinstance(target, kinds):
        return target
    if not callable(target):
        raise ModelError(f"{spec} is of type {type(target).__name__}, not a torch.nn.Module")
    model = usercode.call(spec, target, ModelError)
    if not isinstance(model, kinds):
        kind = type(model).__name__
        raise ModelError(f"{spec} returned an object of type {kind}, not a torch.nn.Module")
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


def _load_folder(folder: Path, original: str | None) -> Any:
    """Build the model that the folder's recipe starts from, and rewrite it as the recipe says."""
    if not folder.is_dir():
        raise ModelError(f"there is no folder {str(folder)!r}")
    if not (folder / "recipe.json").is_file():
        raise ModelError(f"{folder} was not written by `convsmith lighten`: it has no recipe.json")
    folders, origin = _chain(folder)
    library = origin.partition(":")[0]
    if original is None and library not in _LIBRARIES:
        raise ModelError(_no_code(folders, origin))
    from convsmith.rewrite.recipe import load

    model: Any = load_model(original or origin)
    for each in reversed(folders):
        model = load(each, model)
    return model


# A chain of rewritings is as long as the user's patience, a forged one endless.
_MOST_FOLDERS = 16
# Of an origin, messages show so much.
_SHOWN = 200


def _chain(folder: Path) -> tuple[list[Path], str]:
    """The folders that were each made from the next one, and what the last was made from."""
    from convsmith.rewrite.recipe import read_recipe

    folders: list[Path] = []
    seen: set[Path] = set()
    while True:
        origin = read_recipe(folder).get("origin")
        folders.append(folder)
        seen.add(folder.resolve())
        if not isinstance(origin, str) or "\0" in origin:
            return folders, ""
        library = origin.partition(":")[0]
        if library in _LIBRARIES or not _is_folder(origin):
            return folders, origin
        folder = Path(origin)
        if folder.resolve() in seen:
            raise ModelError(f"{folder} names itself as its own origin in its recipe: {origin!r}")
        if len(folders) == _MOST_FOLDERS:
            raise ModelError(
                f"{folders[0]} was made from a folder that was made from another, and so on for "
                f"more than {_MOST_FOLDERS}: load it in Python with convsmith.load(folder, model)"
            )


def _is_folder(name: str) -> bool:
    try:
        return name != "" and Path(name).is_dir()
    except (OSError, ValueError):  # too long, or not a name for a file
        return False


def _no_code(folders: Sequence[Path], origin: str) -> str:
    """Say why the origin of a chain of folders is not built without being named by the user."""
    folder = folders[0]
    if not origin:
        return (
            f"{folder} does not record what it was made from: pass --model, or load it in Python "
            "with convsmith.load(folder, model)"
        )
    origin = origin if len(origin) <= _SHOWN else f"{origin[:_SHOWN]}…"
    home = origin.rpartition(":")[0]
    code = Path(home) if home.endswith(".py") else Path.cwd().joinpath(*home.split("."))
    if home and any(code.resolve().is_relative_to(each.resolve()) for each in folders):
        return f"{folder} names code inside the folder itself, {origin!r}: such code is not run"
    return (
        f"{folder} says it was made from {origin!r}, and a folder does not decide what code runs: "
        "name the model yourself, with --model MODEL"
    )


_LIBRARIES: dict[str, Callable[[str], Any]] = {
    "torchvision": _from_torchvision,
    "timm": _from_timm,
}
