"""Load weights from a file, as tensors alone: nothing that could run code is unpickled."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from convsmith.cli.archives import content_of
from convsmith.errors import ArgumentError, ModelError, first_line, last_line, no_file

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["PICKLED", "load_weights", "read_weights"]

PICKLED = (".pth", ".pt", ".bin", ".ckpt")

# Where training scripts put the state_dict among epochs and optimisers, the usual ones first.
_NESTS = ("state_dict", "model_state_dict", "model", "model_state", "net", "weights")
# What DistributedDataParallel and torch.compile put before every key.
_WRAPPERS = ("module.", "_orig_mod.")


def load_weights(model: nn.Module, path: str | Path, name: str = "the model") -> None:
    """Load a file of weights into a model; it must hold every parameter and buffer.

    Args:
        model: takes the weights; after an error it may hold part of them.
        path: see `read_weights`.
        name: the model's name in messages.

    Raises:
        ArgumentError: for a file of another kind.
        ModelError: for a file that cannot be read or trusted, or whose weights do not fit; names
            the first keys that are missing, unexpected, or of another shape.
    """
    weights = _unwrapped(read_weights(path), model.state_dict())
    where = f"{path} does not fit {name}"
    try:
        result = model.load_state_dict(weights, strict=False)
    except (RuntimeError, TypeError) as error:
        for key, tensor in model.state_dict().items():
            given = weights.get(key)
            if given is not None and given.shape != tensor.shape:
                shapes = f"{tuple(given.shape)} in the file and {tuple(tensor.shape)} in the model"
                raise ModelError(f"{where}: {key!r} is {shapes}") from error
        raise ModelError(f"{where}: {last_line(error)}") from error
    missing = _without_shared(model, result.missing_keys)
    problems = [
        f"{kind} {_first(keys)}"
        for kind, keys in (("missing", missing), ("unexpected", result.unexpected_keys))
        if keys
    ]
    if problems:
        raise ModelError(f"{where}: {', '.join(problems)}")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the state_dict in a file: `.safetensors`, or `.pth` and the like without any code.

    Args:
        path: a `.safetensors` file, or one of `torch.save` (`.pth`, `.pt`, `.bin`, `.ckpt`) that
            holds a state_dict, on its own or in a checkpoint.

    Raises:
        ArgumentError: for a file of another kind.
        ModelError: if the file is missing, damaged, or would have to be unpickled.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", *PICKLED):
        kinds = ", ".join((".safetensors", *PICKLED))
        raise ArgumentError(f"weights are read from {kinds}, not from {str(path)!r}")
    if not path.is_file():
        raise ModelError(no_file(path))
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if content_of(path) == "program":
        raise ModelError(
            f"{path} is a program of torch.export.save, not weights: it is a model itself, named "
            f"{path.stem}.pt2"
        )
    return _state_dict(_read_pickled(path), path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {first_line(error)}") from error


def _read_pickled(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ModelError(_refusal(path, error)) from error
    except Exception as error:
        if "TorchScript" in str(error):
            raise ModelError(
                f"{path} is a TorchScript program, not weights; if you trust it, save its weights: "
                "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
            ) from error
        raise ModelError(f"{path} cannot be read: {first_line(error)}") from error


def _refusal(path: Path, error: Exception) -> str:
    """Say what a pickle holds besides tensors, and how to turn it into weights."""
    name = re.search(r"(?:GLOBAL|global|function) (\w+(?:\.\w+)+)", str(error))
    with path.open("rb") as stream:
        is_pickle = stream.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    if not (name or is_pickle):
        return f"{path} cannot be read: it is damaged, or holds no weights"
    detail = f" ({name[1]})" if name else ""
    return (
        f"{path} holds code besides tensors{detail} and is not unpickled; where you trust it, "
        "convert it: torch.save(model.state_dict(), 'weights.pth')"
    )


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """Find the one mapping from names to tensors in what a file holds."""
    if _is_state_dict(content):
        return dict(content)
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a state_dict")
    usual = [content[key] for key in _NESTS if key in content]
    for nested in usual:
        if _is_state_dict(nested):
            return dict(nested)
        if isinstance(nested, Mapping) and any(map(_is_state_dict, nested.values())):
            return _state_dict(nested, path)
    inside = [value for value in content.values() if _is_state_dict(value)]
    if len(inside) == 1:
        return dict(inside[0])
    keys = f"its keys are {_first(map(str, content))}" if content else "it is empty"
    raise ModelError(f"{path} holds no state_dict: {keys}")


def _is_state_dict(value: Any) -> bool:
    from torch import Tensor

    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(key, str) for key in value)
        and all(isinstance(entry, Tensor) for entry in value.values())
    )


def _unwrapped(weights: dict[str, Tensor], own_keys: Iterable[str]) -> dict[str, Tensor]:
    """Strip the prefix that wrappers put before every key, unless the model's keys have it too."""
    own_keys = list(own_keys)
    for _ in range(len(_WRAPPERS)):
        for prefix in _WRAPPERS:
            if weights and all(key.startswith(prefix) for key in weights):
                if any(key.startswith(prefix) for key in own_keys):
                    return weights
                weights = {key.removeprefix(prefix): weights[key] for key in weights}
    return weights


def _without_shared(model: nn.Module, missing: list[str]) -> list[str]:
    """Drop keys whose tensor came in under another name: safetensors writes shared weights once."""
    tensors = model.state_dict(keep_vars=True)
    absent = set(missing)
    present = {id(tensor) for key, tensor in tensors.items() if key not in absent}
    return [key for key in missing if id(tensors.get(key)) not in present]


def _first(keys: Iterable[str]) -> str:
    first, *rest = list(keys)
    return repr(first) + (f" (and {len(rest)} more)" if rest else "")
