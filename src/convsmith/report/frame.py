"""Rows of plain data as a data frame, if pandas is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from convsmith.errors import MissingExtra

if TYPE_CHECKING:
    import pandas

__all__ = ["data_frame"]


def data_frame(rows: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """Return a `pandas.DataFrame` with one row per mapping.

    Raises:
        MissingExtra: without pandas, with the line that installs it.

    >>> data_frame([{"layer": "conv", "macs": 9}])["macs"].tolist()
    [9]
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtra("a data frame", extra="tables", package="pandas") from None
    return pandas.DataFrame(list(rows))
