"""The operators of ONNX, by what they do; each file enters its own into the table."""

from convsmith.importing.operators import (
    arithmetic,
    pooling,
    reduction,
    resizing,
    shapes,
    weighted,
)

__all__ = ["arithmetic", "pooling", "reduction", "resizing", "shapes", "weighted"]
