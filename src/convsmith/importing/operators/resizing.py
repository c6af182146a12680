"""Resize and Upsample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convsmith.importing.file import Node
from convsmith.importing.host import Host, numbers
from convsmith.importing.table import operator

__all__: list[str] = []

_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


@operator("Resize", "Upsample")
def _resize(node: Node, values: Sequence[Any]) -> Any:
    value, given = values[0], node.attributes
    rank = value.dim()
    scales, sizes = _targets(node, values)
    axes = given.get("axes")
    if axes is not None:
        places = [a % rank for a in axes]
        scales = None if scales is None else _spread(scales, places, [1.0] * rank)
        sizes = None if sizes is None else _spread(sizes, places, list(value.shape))
    if given.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.refuse("keeps the aspect ratio, which is not supported")
    outer = scales[:2] if scales is not None else None
    if (outer is not None and any(scale != 1 for scale in outer)) or rank not in _LINEAR:
        raise node.refuse(f"resizes a map of {rank} axes by {scales}, which is not supported")
    mode, coordinates = given.get("mode", "nearest"), _coordinates(node)
    options: dict[str, Any] = {}
    if sizes is not None:
        options["size"] = sizes[2:]
    else:
        assert scales is not None
        options["scale_factor"] = [float(scale) for scale in scales[2:]]
    if mode == "nearest":
        return _nearest(node, value, coordinates, options)
    align = coordinates == "align_corners"
    if not align and coordinates not in ("half_pixel", "pytorch_half_pixel"):
        raise node.refuse(f"is {mode} with coordinates {coordinates!r}, which is not supported")
    if mode == "cubic" and (rank != 4 or abs(given.get("cubic_coeff_a", -0.75) + 0.75) > 1e-6):
        raise node.refuse("has a cubic kernel that PyTorch has not got")
    name = "bicubic" if mode == "cubic" else _LINEAR[rank]
    if given.get("antialias", 0):
        options["antialias"] = True
    return F.interpolate(value, mode=name, align_corners=align, **options)


def _targets(node: Node, values: Sequence[Any]) -> tuple[list[Any] | None, list[Any] | None]:
    """The scales and the sizes, one of them None."""
    if node.kind == "Upsample" or node.opset < 11:
        scales = node.attributes.get("scales")
        return (scales if scales is not None else _reals(values[1])), None
    rest = [*values[2:], None, None]
    if rest[1] is not None and len(numbers(rest[1])):
        return None, numbers(rest[1])
    if rest[0] is None:
        raise node.refuse("has neither scales nor sizes")
    return _reals(rest[0]), None


def _reals(value: Any) -> list[Any]:
    if isinstance(value, Host):
        return list(value.values)
    if isinstance(value, Tensor):
        return [float(each) for each in value.reshape(-1).tolist()]
    return [value]


def _spread(values: Sequence[Any], places: Sequence[int], rest: list[Any]) -> list[Any]:
    for place, value in zip(places, values, strict=True):
        rest[place] = value
    return rest


def _coordinates(node: Node) -> str:
    default = "asymmetric" if node.kind == "Upsample" or node.opset < 11 else "half_pixel"
    return str(node.attributes.get("coordinate_transformation_mode", default))


def _nearest(node: Node, value: Tensor, coordinates: str, options: dict[str, Any]) -> Tensor:
    old = node.kind == "Upsample" or node.opset < 11
    rounding = "floor" if old else node.attributes.get("nearest_mode", "round_prefer_floor")
    scales = options.get("scale_factor")
    repeats = scales is not None and all(scale == int(scale) and scale >= 1 for scale in scales)
    halves = coordinates in ("half_pixel", "pytorch_half_pixel") and rounding.startswith("round")
    if repeats and halves:  # each value is repeated: PyTorch's own rule gives the same
        return F.interpolate(value, mode="nearest", **options)
    if coordinates == "asymmetric" and rounding == "floor":
        return F.interpolate(value, mode="nearest", **options)
    size = options.get("size") or [
        int(n * scale) for n, scale in zip(value.shape[2:], scales or (), strict=True)
    ]
    for axis, length in enumerate(size, start=2):
        before = value.shape[axis]
        scale = scales[axis - 2] if scales is not None else length / before
        places = _places(node, coordinates, rounding, before, length, scale)
        value = value.index_select(axis, places)
    return value


def _places(
    node: Node, coordinates: str, rounding: str, before: Any, after: Any, scale: Any
) -> Tensor:
    """Which position each of the new ones takes, as ONNX says it."""
    places = torch.arange(after, dtype=torch.float64)
    if coordinates in ("half_pixel", "pytorch_half_pixel"):
        places = (places + 0.5) / scale - 0.5
    elif coordinates == "asymmetric":
        places = places / scale
    elif coordinates == "align_corners":
        places = places * ((before - 1) / max(after - 1, 1))
    else:
        raise node.refuse(f"has coordinates {coordinates!r}, which are not supported")
    roundings: dict[str, Any] = {
        "round_prefer_floor": lambda p: torch.ceil(p - 0.5),
        "round_prefer_ceil": lambda p: torch.floor(p + 0.5),
        "floor": torch.floor,
        "ceil": torch.ceil,
    }
    if rounding not in roundings:
        raise node.refuse(f"rounds by {rounding!r}, which is not known")
    rounded: Tensor = roundings[rounding](places)
    return rounded.clamp(0, before - 1).to(torch.int64)
