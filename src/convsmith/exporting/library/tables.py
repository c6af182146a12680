"""The tables of net_tables.h: programs as C."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from convsmith.errors import ConvsmithError
from convsmith.exporting.library.assembly import symbol
from convsmith.exporting.library.stages import Layout, Stage
from convsmith.kernels.abi import ARGUMENT, CALL
from convsmith.runtime.lowering.block import Array

__all__ = ["ALIGNMENT", "Tables", "tables_of"]

ALIGNMENT = 4096
"""Of the arena: maps are laid out for pages."""

_HEAD = 64
"""Bytes of `struct net`, with some to spare."""

_MOST_STEPS = 0xFFFF
_CHECKS = {
    "avx2": ("avx2", "fma"),
    "avx512": ("avx2", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
"""What compilers call the instructions that kernels of a set use. F16C, which some compilers do not
know by name, came before AVX2."""


@dataclass(frozen=True)
class Tables:
    """The tables of one instruction set.

    Attributes:
        text: in C.
        arena: bytes that a network takes.
    """

    text: str
    arena: int


def tables_of(layout: Layout, name: str, scratch: int, weights: int) -> Tables:
    """Write the programs of a layout.

    Args:
        layout: what is run.
        name: of the library.
        scratch: bytes that kernels ask for.
        weights: where its weights begin in their file.
    """
    own = layout.library.isa.name
    stages = [stage for stage in layout.stages if stage.arguments is not None]
    calls = [_calls(stage) for stage in stages]
    # Calls hold the place of their first argument; here they follow each other.
    arguments = np.concatenate(
        [_in_order(stage, each) for stage, each in zip(stages, calls, strict=True)]
        or [np.empty(0, ARGUMENT)]
    )
    forms, items = _split(arguments)
    steps = list(chain.from_iterable(each.tolist() for each in calls))
    start = -(-layout.memory // 64) * 64
    sizes = _HEAD + ARGUMENT.itemsize * len(items) + CALL.itemsize * len(steps)
    end = start + -(-sizes // 64) * 64
    text = [
        *_kernels(layout, name, own),
        _table("form", f"forms_{own}", map(_form, forms)),
        _table("item", f"items_{own}", (f"{{{form}, {value}}}" for form, value in items)),
        _table("step", f"steps_{own}", (f"{{{f}, {count}}}" for f, _, count in steps)),
        *_stages(layout.stages, calls, own),
        _supported(own),
    ]
    text.append(
        f"#define VARIANT_{own} {{forms_{own}, items_{own}, steps_{own}, kernels_{own}, "
        f"places_{own}, \\\n    stages_{own}, {len(items)}, {len(steps)}, {len(layout.stages)}, "
        f"{start}, {end}, {weights}, supported_{own}}}\n"
    )
    return Tables("\n".join(text), end + scratch + ALIGNMENT)


def _calls(stage: Stage) -> Array:
    """Those that do something."""
    assert stage.calls is not None
    calls: Array = stage.calls[stage.calls["function"] != 0]
    return calls


def _in_order(stage: Stage, calls: Array) -> Array:
    assert stage.arguments is not None
    places = [np.arange(first, first + count) for _, first, count in calls.tolist()]
    return stage.arguments[np.concatenate(places)] if places else stage.arguments[:0]


def _split(arguments: Array) -> tuple[list[Any], list[tuple[int, int]]]:
    """Each argument as a form, which many share, and a number: the place of a buffer, or it."""
    forms: dict[Any, int] = {(-1, 0, 4, (0,) * 4, (0,) * 4): 0}
    items = []
    for base, value, offset, extent, stride, size in arguments.tolist():
        if base < 0:
            items.append((0, value))
            continue
        form = (base, value, size, tuple(extent), tuple(stride))
        place, rest = divmod(offset, size)
        if rest or not -(2**31) <= place < 2**31:
            raise ConvsmithError(f"a buffer at byte {offset} is beyond what a C library addresses")
        items.append((forms.setdefault(form, len(forms)), place))
    return list(forms), items


def _form(form: Any) -> str:
    base, dims, size, extent, stride = form
    return f"{{{base}, {dims}, {size}, {{{_list(extent)}}}, {{{_list(stride)}}}}}"


def _list(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


def _kernels(layout: Layout, name: str, own: str) -> Iterable[str]:
    functions = ["0"]
    for kernel in layout.library.kernels[1:]:
        if isinstance(kernel, str):
            functions.append(f"{name}_{kernel}")
        else:
            functions.append(f"{symbol(name, layout.library.isa, kernel)}_argv")
            yield f"INTERNAL int {functions[-1]}(void **arguments);"
    if len(functions) > _MOST_STEPS:
        raise ConvsmithError(f"{len(functions)} kernels are more than a C library numbers")
    yield ""
    yield _table("kernel", f"kernels_{own}", functions)


def _stages(stages: Sequence[Stage], calls: Sequence[Array], own: str) -> Iterable[str]:
    places: list[str] = []
    rows: list[str] = []
    lengths = iter(map(len, calls))
    for stage in stages:
        length = 0 if stage.arguments is None else next(lengths)
        rows.append(
            f"{{{length}, {stage.images}, {len(places)}, {len(stage.places)}, {stage.copied}}}"
        )
        for place in stage.places:
            places.append(f"{{{place.where.name}, {place.which}, {place.offset}, {place.step}}}")
    yield _table("place", f"places_{own}", places)
    yield _table("stage", f"stages_{own}", rows)


def _supported(own: str) -> str:
    """A function that asks the processor."""
    tests = [f'__builtin_cpu_supports("{flag}")' for flag in _CHECKS.get(own, ())]
    body = " &&\n           ".join(tests) or "1"
    return f"static int32_t supported_{own}(void) {{\n    return {body};\n}}\n"


def _table(kind: str, name: str, rows: Iterable[str]) -> str:
    lines, line = [], ""
    for row in rows:
        if len(line) + len(row) > 92:
            lines.append(line)
            line = ""
        line += f" {row}," if line else f"    {row},"
    lines.append(line or "    {0},")
    return f"static const {kind} {name}[] = {{\n" + "\n".join(lines) + "\n};\n"
