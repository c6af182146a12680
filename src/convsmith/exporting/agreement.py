"""Whether an ONNX file computes what the model computes: ONNX Runtime is asked."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from convsmith.errors import ConvsmithError, first_line
from convsmith.exporting.exported import Value
from convsmith.network import Network, untouched
from convsmith.network.contexts import quiet
from convsmith.runtime.graph.capture import apart
from convsmith.runtime.graph.free import Inputs, leaves
from convsmith.text import times

__all__ = [
    "NOT_INSTALLED", "TOLERANCE", "compared", "difference", "held_to", "of_model", "random_inputs",
    "ranges_of",
]  # fmt: skip

TOLERANCE = 1e-5
"""Of the largest value: what float32 loses in another order of additions, with room to spare."""

_WORST = 1e-3
"""Whatever the model's own error is."""

NOT_INSTALLED = "not checked: onnxruntime is not installed (pip install onnxruntime)"


def compared(
    model: nn.Module,
    content: bytes,
    inputs: Inputs,
    values: Sequence[Value],
    ranges: Sequence[float] = (),
    seed: int = 0,
) -> tuple[str, float | None]:
    """Run model and file on random inputs: at the example's sizes, and at twice those free.

    Args:
        model: what the file should compute.
        content: of the file.
        inputs: the example.
        values: inputs and outputs of the file.
        ranges: for each output, as for `difference`.
        seed: of the random inputs.

    Returns:
        What was done, and the largest difference over the largest value; None where ONNX Runtime is
        not installed.

    Raises:
        ConvsmithError: where `held_to` refuses, or the file cannot be run.
    """
    if find_spec("onnxruntime") is None:
        return NOT_INSTALLED, None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConvsmithError(f"ONNX Runtime refuses the file: {first_line(error)}") from error
    given = [value for value in values if value.role == "input"]
    worst, sizes = 0.0, []
    for example in (inputs, _larger(inputs, given)):
        if example is None:
            continue
        example = random_inputs(example, seed)
        expected = of_model(model, example)
        if expected is None:
            continue  # the model itself does not take a size that no rule forbids
        found = _of_file(session, example)
        sizes.append(" and ".join(times(t.shape) for t in leaves(example)))
        both = f"at {sizes[-1]} ONNX Runtime and the model"
        worst = max(worst, held_to(both, model, example, expected, found, ranges))
    return f"ONNX Runtime {onnxruntime.__version__} agrees at {', '.join(sizes)}", worst


def _larger(inputs: Inputs, values: Sequence[Value]) -> Inputs | None:
    """Twice as much along every axis whose length is free: a multiple of what was a multiple."""
    if not any(isinstance(size, str) for value in values for size in value.shape):
        return None
    shapes = iter(value.shape for value in values)

    def enlarged(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        free = next(shapes)
        lengths = [
            n if isinstance(size, int) else 2 * n for n, size in zip(leaf.shape, free, strict=True)
        ]
        return leaf.new_zeros(lengths)

    enlarged_inputs: Inputs = tree_map(enlarged, inputs)
    return enlarged_inputs


def random_inputs(inputs: Inputs, seed: int) -> Inputs:
    """Random values in the place of those of floating tensors; others may be indices."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            return leaf
        return torch.randn(leaf.shape, generator=generator).to(leaf.dtype)

    random: Inputs = tree_map(drawn, inputs)
    return random


def held_to(
    both: str,
    model: nn.Module,
    inputs: Inputs,
    expected: Sequence[Tensor],
    found: Sequence[Tensor],
    ranges: Sequence[float] = (),
) -> float:
    """Hold what was written to the model: within `TOLERANCE`, or as close to float64 as it is.

    Two results in float32 may differ by more without a fault in either. The model in float64 tells:
    no more than twice the model's own error is allowed.

    Args:
        both: what is compared, as a message says it.
        model: what computed the expected values.
        inputs: from these.
        expected: its outputs.
        found: what is held to them.
        ranges: as for `difference`.

    Returns:
        The largest difference over the largest value.

    Raises:
        ConvsmithError: where they differ by more.
    """
    gap = difference(expected, found, ranges)
    if gap <= TOLERANCE:
        return gap
    exact = of_model(model, inputs, double=True)
    if exact is not None:
        own, theirs = difference(exact, expected, ranges), difference(exact, found, ranges)
        if theirs <= min(2 * own, _WORST):
            return gap
    raise ConvsmithError(
        f"{both} differ by {gap:.1e} of the largest value, more than {TOLERANCE:.0e}: nothing is "
        "written (check=False does not ask)"
    )


def of_model(model: nn.Module, inputs: Inputs, double: bool = False) -> list[Tensor] | None:
    """What a model gives in evaluation mode; None for sizes, or a type, that it does not take."""
    with quiet(), apart(model) as copied, untouched(copied), torch.no_grad():
        try:
            if double:
                copied = deepcopy(copied).double()
                inputs = tree_map(_double, inputs)
            result = copied(*inputs[0], **inputs[1])
        except Exception:
            return None
    return [leaf.detach().cpu() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]


def _double(leaf: Any) -> Any:
    return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


def _of_file(session: Any, inputs: Inputs) -> list[Tensor]:
    names = [value.name for value in session.get_inputs()]
    # An input that nothing reads has no place in the file.
    given = {name: t.cpu().numpy() for name, t in zip(names, leaves(inputs), strict=False)}
    try:
        return [torch.from_numpy(array) for array in session.run(None, given)]
    except Exception as error:
        raise ConvsmithError(f"ONNX Runtime cannot run the file: {first_line(error)}") from error


def ranges_of(network: Network) -> list[float]:
    """For each output of a network, how large its values can be; 0 where nothing bounds them."""
    found = []
    for name in network.outputs:
        layer = network[name]
        while layer.kind in ("reshape", "identity") and layer.inputs:
            layer = network[layer.inputs[0]]
        found.append(float(layer.operation.name in _BOUNDED))
    return found


_BOUNDED = ("hardsigmoid", "sigmoid", "softmax", "tanh")
"""What gives values up to 1. Runtimes may cut their tails: on noise a detector gives 1e-12."""


def difference(
    expected: Sequence[Tensor], found: Sequence[Tensor], ranges: Sequence[float] = ()
) -> float:
    """The largest difference over the largest value; infinite where shapes or NaNs differ.

    Args:
        expected: the outputs that are right.
        found: those that are compared.
        ranges: for each of them a value that stands for smaller largest ones; none unless given.
    """
    if [t.shape for t in expected] != [t.shape for t in found]:
        return float("inf")
    worst = 0.0
    for one, other, least in zip(expected, found, ranges or [0.0] * len(found), strict=True):
        a, b = one.double(), other.double()
        finite = torch.isfinite(a)
        if not torch.equal(finite, torch.isfinite(b)):
            return float("inf")
        a, b = a[finite], b[finite]
        if a.numel():
            worst = max(
                worst, float((a - b).abs().max() / a.abs().max().clamp_min(max(least, 1e-30)))
            )
    return worst
