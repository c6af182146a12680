"""Run a network in fused kernels: captured, partitioned, lowered to blocks, run in bands.

Names are looked up when first used: a network that was compiled and saved runs without what
captures and compiles.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convsmith.runtime.agreement import Agreement
    from convsmith.runtime.compilation import compile
    from convsmith.runtime.compiled import Compiled
    from convsmith.runtime.profile import BlockTime, Profile
    from convsmith.runtime.stored.loaded import Loaded

_HOMES = {
    "Agreement": "agreement",
    "BlockTime": "profile",
    "Compiled": "compiled",
    "Loaded": "stored.loaded",
    "Profile": "profile",
    "Report": "profile",
    "compile": "compilation",
}

__all__ = ["Agreement", "BlockTime", "Compiled", "Loaded", "Profile", "compile"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    home = import_module(f"convsmith.runtime.{_HOMES[name]}")
    if name in ("compile", "Compiled"):
        import_module("convsmith.runtime.stored.copying")  # how they are pickled
    # `Report` is the old name of `Profile`.
    value = getattr(home, "Profile" if name == "Report" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
