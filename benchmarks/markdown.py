"""Tables of a benchmark's JSON as Markdown: `python -m benchmarks.markdown FILE [TITLE ...]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.__main__ import load
from convsmith.report import Table

__all__ = ["markdown"]


def markdown(table: Table) -> str:
    """A table with its footer and, below, its note."""
    marks = ["---:" if column.align == "right" else "---" for column in table.columns]
    rows = [[column.title for column in table.columns], marks]
    rows += [
        [column.text(value) for column, value in zip(table.columns, row, strict=True)]
        for row in (*table.rows, *([table.footer] if table.footer else []))
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, *(["", table.note] if table.note else [])])


def main(file: str, *titles: str) -> None:
    result = json.loads(Path(file).read_text(encoding="utf-8"))
    tables: Sequence[Table] = load(result["benchmark"]).tables(result)
    for table in tables:
        if not titles or any(title in (table.title or "") for title in titles):
            print(f"{table.title}\n\n{markdown(table)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
