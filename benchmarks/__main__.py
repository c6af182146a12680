"""`python -m benchmarks NAME`: run one benchmark, print its tables, keep its figures as JSON.

A benchmark is a module of this folder with

- `options(parser)`, which adds its own options;
- `run(options)`, which measures and returns plain data: `rows`, `missed` (one line per goal that
  was not reached), and anything else worth keeping;
- `tables(result)`, which shows that data, also of a run that was cut off.

The first line of its docstring says what it measures. Nothing here asserts a time.
"""

from __future__ import annotations

import ast
import json
import os
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from convsmith._version import __version__
from convsmith.cli.output import check_targets, console, talk
from convsmith.errors import ArgumentError, ConvsmithError, nearest
from convsmith.report import Column, Table, save_text

# Before anything loads numpy, which reads it once.
DROPPED = os.environ.pop("OPENBLAS_CORETYPE", None)

VERSION = 1
"""Version of the JSON; it rises when a field changes its meaning."""


class Benchmark(Protocol):
    """What a module of this folder has to provide."""

    def options(self, parser: ArgumentParser) -> None: ...

    def run(self, options: Namespace) -> dict[str, Any]: ...

    def tables(self, result: dict[str, Any]) -> Sequence[Table]: ...


def known() -> dict[str, str]:
    """The benchmarks of this folder, each with one line; none of them is imported."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(part, ast.FunctionDef) and part.name == "run" for part in module.body):
            found[path.stem] = (ast.get_docstring(module) or "").partition("\n")[0]
    return found


def load(name: str) -> Benchmark:
    """The benchmark of that name."""
    names = known()
    if name not in names:
        hint = nearest(name, names) or "; `python -m benchmarks` lists them"
        raise ArgumentError(f"no benchmark {name!r}{hint}")
    return cast(Benchmark, import_module(f"benchmarks.{name}"))


def main(words: Sequence[str]) -> int:
    """Run the command line: 0 on success, 2 for a wrong argument, 1 for a failure."""
    try:
        if not words or words[0] in ("-h", "--help"):
            console().print(_listing())
        else:
            _run(*words)
    except ConvsmithError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2 if isinstance(error, ArgumentError) else 1
    return 0


def _run(name: str, *words: str) -> None:
    benchmark = load(name)
    parser = ArgumentParser(f"python -m benchmarks {name}", description=known()[name])
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file")
    parser.add_argument("--force", action="store_true", help="overwrite a file that exists")
    benchmark.options(parser)
    options = parser.parse_args(words)
    target, force = options.json, options.force
    check_targets(target, force=force)
    del options.json, options.force

    from benchmarks.machine import record
    from benchmarks.rows import kept

    machine = cache(lambda: record(DROPPED))

    def write(result: dict[str, Any]) -> None:
        nonlocal force
        document = {
            "benchmark": name,
            "version": VERSION,
            "convsmith": __version__,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join(["python", "-m", "benchmarks", name, *words]),
            "machine": machine(),
            "options": vars(options),
            **result,
        }
        if target:
            save_text(target, json.dumps(document, indent=2, ensure_ascii=False) + "\n", force)
            force = True  # from now on the file is this run's own

    with kept(write):
        result = benchmark.run(options)
    if not any(value for key, value in result.items() if key != "missed" and _is_table(value)):
        raise ConvsmithError("nothing was measured, so that no goal was reached")
    write(result)
    out = console()
    for table in (*benchmark.tables(result), _conditions(machine(), result["missed"])):
        out.print(table)
        out.print()
    if target:
        talk(f"wrote {target}")


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _listing() -> Table:
    return Table(
        (Column("name", "benchmark"), Column("measures", "measures", wrap=True)),
        list(known().items()),
        note="python -m benchmarks NAME --help lists its options; --json FILE keeps its figures",
    )


def _conditions(machine: dict[str, Any], missed: list[str]) -> Table:
    peak = machine["peak"]
    rows = [
        ("processor", f"{machine['model']}, {machine['cores']} cores usable"),
        ("instructions", " ".join(machine["instruction_sets"])),
        ("one thread", f"{peak['fma_gflops']} GFLOP/s (sgemm), {peak['copy_gb_s']} GB/s (copy)"),
        ("python", machine["python"]),
        *((name, machine[name] or "not installed") for name in ("torch", "convsmith", "commit")),
    ]
    rows += [("missed its goal", line) for line in missed] or [("goals", "all reached")]
    return Table((Column("what", "measured on"), Column("is", "", wrap=True)), rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
