"""Networks as files that run without PyTorch."""

from convsmith.exporting.export import export
from convsmith.exporting.exported import Exported

__all__ = ["Exported", "export"]


def __dir__() -> list[str]:
    return list(__all__)
