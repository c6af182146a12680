"""`export` to a folder: a network compiled for another machine, with what runs it, in C."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves, tree_map

from convsmith.errors import ArgumentError, ConvsmithError
from convsmith.exporting.exported import Value
from convsmith.exporting.library.assembly import asks_for_memory, assembled
from convsmith.exporting.library.collected import Collected
from convsmith.exporting.library.files import HEADER, Facts, readme, sources, weights_file, words
from convsmith.exporting.library.means import means_as_maps
from convsmith.exporting.library.part import captured_part, part_before
from convsmith.exporting.library.stages import Layout, arranged, only_torch
from convsmith.exporting.library.tables import tables_of
from convsmith.exporting.library.targets import Target, target_named
from convsmith.exporting.library.toolchain import toolchain_for
from convsmith.exporting.library.trial import tried
from convsmith.exporting.library.written import ExportedLibrary
from convsmith.kernels.isa import CROSS, ISAS, Isa
from convsmith.kernels.kernel import Kernel
from convsmith.network import Network
from convsmith.report.saving import as_path, check_folder, save_folder
from convsmith.runtime.graph.capture import Capture
from convsmith.runtime.graph.free import Inputs, leaves

__all__ = ["check_library", "export_library"]

_LONGEST = 40
"""Characters of a library's name."""

_WORDS = frozenset(
    ["auto", "bool", "break", "case", "char", "class", "const", "continue", "default", "delete",
     "do", "double", "else", "enum", "extern", "float", "for", "free", "goto", "if", "inline",
     "int", "long", "malloc", "namespace", "new", "operator", "private", "public", "register",
     "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "template",
     "this", "typedef", "union", "unsigned", "using", "virtual", "void", "volatile", "while"]
)  # fmt: skip
"""Of C and C++, beside those that the sources themselves define."""


def check_library(folder: Any, target: str, name: str, force: bool) -> None:
    """Refuse what could not be written, before the work.

    Raises:
        ArgumentError: for a target or a name that cannot be, and a folder that is not empty.
        MissingExtra: where nothing compiles for the target.
    """
    toolchain_for(target_named(target))
    fits = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) if isinstance(name, str) else None
    if not fits or len(name) > _LONGEST:
        raise ArgumentError(f"name={name!r} is not a name in C of up to {_LONGEST} characters")
    if name in _WORDS | words():
        raise ArgumentError(f"name={name!r} means something else in C: choose another one")
    path = as_path(folder)
    check_folder(path)
    if path.is_dir() and any(path.iterdir()) and not force:
        raise ArgumentError(f"{str(path)!r} is not empty; pass force=True to write into it")


def export_library(
    model: nn.Module | ExportedProgram,
    holder: nn.Module,
    inputs: Inputs,
    path: Path,
    target: str,
    name: str,
    check: bool,
    partial: bool = False,
) -> ExportedLibrary:
    """Compile a network for a machine and write it with what runs it.

    Args:
        model: it is left as it is.
        holder: the module to compare with.
        inputs: of the size that it is to serve.
        path: the folder.
        target: the name of a machine.
        name: of the library.
        check: whether it is run and compared.
        partial: leave out the layers that only torch computes, and what depends on them.

    Raises:
        ConvsmithError: for layers that only torch computes, by name, unless `partial`; where a
            compiler fails; and where library and model disagree.
    """
    machine = target_named(target)
    tools = toolchain_for(machine)
    inputs = _dense(inputs)
    captured = means_as_maps(Capture.of(model, *inputs), model)
    title = captured.network.name
    left: list[str] = []
    names: list[str] = []
    while partial and (found := only_torch(captured, _collected(machine))):
        left += found.values()
        holder, names = part_before(captured, found)
        model = captured_part(holder, inputs)
        captured = means_as_maps(Capture.of(model, *inputs), model)
    network = captured.network
    _check_inputs(network, inputs)
    layouts = {
        isa: arranged(captured, inputs, Collected((ISAS | CROSS)[isa], machine.shuffles))
        for isa in machine.isas
    }
    assembly, scratch = _code(layouts, machine, name)
    # Instruction sets mostly take weights in the same order.
    distinct = list(dict.fromkeys(layout.weights for layout in layouts.values()))
    starts = dict(zip(distinct, accumulate(map(len, distinct), initial=HEADER), strict=False))
    tables = {
        isa: tables_of(layout, name, scratch, starts[layout.weights])
        for isa, layout in layouts.items()
    }
    program = sha256("".join(t.text for t in tables.values()).encode()).hexdigest()
    weights = weights_file(b"".join(distinct), program)
    values = tuple(_values(captured, inputs, names))
    arena = max(each.arena for each in tables.values())
    facts = Facts(
        title, name, machine, values, arena, len(weights), scratch, tuple(left),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="convsmith-library-") as scratch_folder:
        folder = Path(scratch_folder)
        for file, content in sources(facts, tables, assembly, weights).items():
            (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)
        tools.build(folder, name, machine)
        checked, gap = "not checked: check=False", None
        if check:
            shapes = [tuple(network[each].shape) for each in network.outputs]
            checked, gap = tried(folder, name, machine, tools, holder, inputs, shapes)
        size = (folder / machine.shared(name)).stat().st_size - len(weights)
        (folder / "README.md").write_text(readme(facts, size))
        files = sorted(file.name for file in folder.iterdir())
        writers: dict[str, Callable[[IO[bytes]], None]] = {
            file: functools.partial(_copy, (folder / file).read_bytes()) for file in files
        }
        save_folder(path, writers)
    return ExportedLibrary(
        path=path,
        format="c",
        opset=None,
        parameters=sum(p.numel for p in network.parameters.values() if not p.buffer),
        nbytes=sum((path / file).stat().st_size for file in files),
        values=values,
        checked=checked,
        error=gap,
        notes=(f"left to compute after it: {', '.join(left)}",) if left else (),
        target=target,
        isas=machine.isas,
        weights=len(weights),
        library=size,
        arena=arena,
        kernels=sum(len(layout.library.kernels) - 1 for layout in layouts.values()),
        files=tuple(files),
    )


def _copy(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


def _dense(inputs: Inputs) -> Inputs:
    def dense(leaf: Any) -> Any:
        return leaf.contiguous() if isinstance(leaf, Tensor) else leaf

    result: Inputs = tree_map(dense, inputs)
    return result


def _check_inputs(network: Network, inputs: Inputs) -> None:
    for name, leaf in zip(network.inputs, tree_leaves(inputs), strict=False):
        if not isinstance(leaf, Tensor) or leaf.dtype is not torch.float32:
            kind = leaf.dtype if isinstance(leaf, Tensor) else type(leaf).__name__
            raise ConvsmithError(f"{network.name}: a C library takes float32, and {name} is {kind}")
        if not leaf.numel():
            raise ArgumentError(f"input {name} is empty: a C library is for one size")


def _collected(machine: Target) -> Collected:
    return Collected((ISAS | CROSS)[machine.isas[0]], machine.shuffles)


def _values(captured: Capture, inputs: Inputs, names: Sequence[str]) -> Any:
    """Inputs and outputs; those of a part under the names that they have in the whole."""
    network = captured.network
    for name, leaf in zip(network.inputs, leaves(inputs), strict=True):
        yield Value(name, "input", tuple(leaf.shape))
    for own, name in zip(network.outputs, names or network.outputs, strict=True):
        yield Value(name, "output", tuple(network[own].shape))


def _code(layouts: dict[str, Layout], machine: Target, name: str) -> tuple[str, int]:
    """The assembly of all kernels, and how many bytes one of them asks for while it runs."""
    texts: list[str] = []
    most = 0
    for layout in layouts.values():
        isa = layout.library.isa
        asking: dict[int, Kernel] = {}
        for number, kernel in enumerate(layout.library.kernels):
            if isinstance(kernel, str):
                continue
            text = assembled(kernel, isa, machine.system, name, len(texts))
            texts.append(text)
            if asks_for_memory(text, name):
                asking[number] = kernel
        most = max([most, *(_asked(layout, number, isa) for number in asking)])
    return "".join(texts), most


def _asked(layout: Layout, number: int, isa: Isa) -> int:
    """The bytes that calls of a kernel ask for, at most."""
    kernel = layout.library.kernels[number]
    assert isinstance(kernel, Kernel)
    most = 0
    for stage in layout.stages:
        if stage.calls is None or stage.arguments is None:
            continue
        extents = stage.arguments["extent"][:, :3].tolist()
        for call in stage.calls[stage.calls["function"] == number]:
            source, target = extents[call["first"]], extents[call["first"] + call["count"] - 1]
            most = max(most, kernel.scratch(isa, source, target))
    return most
