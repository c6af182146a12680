"""Networks from files that other programs wrote."""

from convsmith.importing.read import read_onnx

__all__ = ["read_onnx"]


def __dir__() -> list[str]:
    return list(__all__)
