"""convsmith: inspect, lighten, dilate, compile and draw convolutional networks.

Names are looked up when first used: `import convsmith` costs milliseconds, and whatever needs no
torch runs without it.

>>> import convsmith as cs
>>> cs.Conv(3, 30, kernel_size=10).params
9030
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from convsmith._version import __version__
from convsmith.errors import (
    ArgumentError,
    ConvsmithError,
    DataError,
    MissingExtra,
    ModelError,
    TraceError,
)

if TYPE_CHECKING:
    from convsmith import draw, nn
    from convsmith.arithmetic import Chain, Conv, ConvTranspose, Pool, Window
    from convsmith.exporting import Exported, ExportedLibrary, export
    from convsmith.importing import read_onnx
    from convsmith.loading import load
    from convsmith.measure import Holes, Inspection, ReceptiveField, inspect
    from convsmith.network import Layer, Network, register, trace
    from convsmith.rewrite import (
        Certificate,
        Dilated,
        Lightened,
        LightenReport,
        dilate,
        distil_loss,
        lighten,
    )
    from convsmith.runtime import Compiled, Loaded, Profile, compile
    from convsmith.tiling import Tiled, tile

_HOMES = {
    "Certificate": "rewrite",
    "Chain": "arithmetic",
    "Compiled": "runtime",
    "Conv": "arithmetic",
    "ConvTranspose": "arithmetic",
    "Dilated": "rewrite",
    "Exported": "exporting",
    "ExportedLibrary": "exporting",
    "Holes": "measure",
    "Inspection": "measure",
    "Layer": "network",
    "LightenReport": "rewrite",
    "Lightened": "rewrite",
    "Loaded": "runtime",
    "Network": "network",
    "Pool": "arithmetic",
    "Profile": "runtime",
    "ReceptiveField": "measure",
    "Tiled": "tiling",
    "Window": "arithmetic",
    "compile": "runtime",
    "dilate": "rewrite",
    "distil_loss": "rewrite",
    "export": "exporting",
    "inspect": "measure",
    "lighten": "rewrite",
    "load": "loading",
    "read_onnx": "importing",
    "register": "network",
    "tile": "tiling",
    "trace": "network",
}
_ROOMS = (
    "arithmetic", "draw", "exporting", "importing", "kernels", "measure", "network", "nn", "report",
    "rewrite", "runtime", "tiling",
)  # fmt: skip

__all__ = [
    "ArgumentError",
    "Certificate",
    "Chain",
    "Compiled",
    "Conv",
    "ConvTranspose",
    "ConvsmithError",
    "DataError",
    "Dilated",
    "Exported",
    "ExportedLibrary",
    "Holes",
    "Inspection",
    "Layer",
    "LightenReport",
    "Lightened",
    "Loaded",
    "MissingExtra",
    "ModelError",
    "Network",
    "Pool",
    "Profile",
    "ReceptiveField",
    "Tiled",
    "TraceError",
    "Window",
    "__version__",
    "compile",
    "dilate",
    "distil_loss",
    "draw",
    "export",
    "inspect",
    "lighten",
    "load",
    "nn",
    "read_onnx",
    "register",
    "tile",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"convsmith.{_HOMES[name]}"), name)
    elif name in _ROOMS:
        value = import_module(f"convsmith.{name}")
    else:
        from convsmith.errors import nearest

        # Python looks for names that nobody meant, such as '__path__'.
        hint = "" if name.startswith("_") else nearest(name, [*__all__, *_ROOMS])
        # With a name of its own, the error gets no second guess from Python.
        raise AttributeError(f"module 'convsmith' has no attribute {name!r}{hint}", name=name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
