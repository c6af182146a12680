"""A network out of a file without its machine code: compiled again, from the program in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convsmith.errors import ModelError
from convsmith.runtime.stored.container import Container
from convsmith.runtime.stored.values import read

if TYPE_CHECKING:
    from convsmith.runtime.compiled import Compiled

__all__ = ["rebuilt"]


def rebuilt(container: Container, threads: int | None = None) -> Compiled:
    """Compile the program in a file again, without its machine code.

    Raises:
        ModelError: for a file without one, or with one that could run code, and for a network in
            bf16 where this machine has none.
    """
    if "source" not in container:
        raise ModelError(
            f"{container.name} holds machine code alone, which is code of whoever saved it: pass "
            "trust=True if you know who that was"
        )
    from convsmith.machine import usable_processors
    from convsmith.network.stored.program import program_from
    from convsmith.runtime.compilation import compile
    from convsmith.runtime.precision import lacks_bf16

    document = container.document
    program = program_from(container.part("source").tobytes(), container.name)
    examples = [_example(container, size) for size in document["sizes"]]
    if not examples:
        raise container.damaged("it names no size")
    precision, keep = (
        str(document.get("precision", "float32")),
        [str(name) for name in document.get("keep", ())],
    )
    if precision != "float32" and (why := lacks_bf16()):
        raise ModelError(f"{container.name} computes in {precision}: {why}")
    threads = threads or max(1, min(int(document["threads"]), usable_processors()))
    compiled = compile(
        program, examples[0], threads=threads, precision=precision, keep=keep,
        winograd=document.get("winograd") is True,
    )  # fmt: skip
    compiled.frozen = True  # no one else has the program, so nothing of it changes
    if len(examples) > 1:
        compiled.prepare(examples[1:])
    return compiled


def _example(container: Container, described: Any) -> Any:
    def leaf(value: Any) -> Any:
        return tuple(int(n) for n in value["shape"]), str(value["dtype"])

    args, kwargs = read(described, leaf)
    if args and kwargs:
        raise container.damaged("its inputs are both named and not")
    return kwargs or list(args)
