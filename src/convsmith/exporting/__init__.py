"""Networks as files and libraries that run without PyTorch."""

from convsmith.exporting.export import export
from convsmith.exporting.exported import Exported
from convsmith.exporting.library.written import ExportedLibrary

__all__ = ["Exported", "ExportedLibrary", "export"]


def __dir__() -> list[str]:
    return list(__all__)
