"""`record`: the layers of a model from one run of it, for models that no graph can hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

from convsmith.errors import ConvsmithError, TraceError
from convsmith.network.contexts import quiet, untouched
from convsmith.network.example import example_inputs
from convsmith.network.explain import explain
from convsmith.network.network import Layer, Parameter, TensorType
from convsmith.network.reading import named_arguments, operation_of, tensor_type
from convsmith.network.shadow import shadow

__all__ = ["Recording", "record"]

# What a call gives besides tensors: `item` gives a number.
_NUMBERS = {
    bool: ("bool", 1),
    int: ("int64", 8),
    float: ("float64", 8),
    complex: ("complex128", 16),
}


@dataclass(frozen=True, eq=False)
class Recording:
    """What ran when a model was called once.

    Attributes:
        name: of the model's class.
        inputs: the shape of each tensor that it was called with.
        layers: every operation that ran, in order; they do not say which feeds which.
        parameters: all parameters and buffers of the model by name, used or not.
    """

    name: str
    inputs: tuple[tuple[int, ...], ...]
    layers: tuple[Layer, ...]
    parameters: Mapping[str, Parameter]


def record(model: nn.Module, example: Any) -> Recording:
    """Run a model once, in evaluation mode, and note every operation.

    What runs may depend on the values of the example. The model is left as it was: a copy of its
    modules runs, on the same parameters and on copies of its buffers and inputs.

    Args:
        model: any module; on the meta device nothing is computed, and no value can be asked for.
        example: its inputs, as for `trace`.

    Raises:
        ArgumentError: for an example that is none.
        TraceError: if the model raises an error: the reason, the layer's path and the line.

    >>> recording = record(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (1, 3, 9, 9))
    >>> [(layer.name, layer.shape) for layer in recording.layers]
    [('0', (1, 8, 7, 7)), ('1', (1, 8, 7, 7))]
    """
    args, kwargs = example_inputs(model, example)
    inputs = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    copied = shadow(model)
    _own_buffers(copied)
    parameters, owner = _parameters(copied)
    name = type(model).__name__
    with untouched(copied), quiet(), torch.inference_mode():
        args, kwargs = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, (args, kwargs))
        notes = _Notes(parameters, owner)
        try:
            with _following(copied, notes), notes:
                copied(*args, **kwargs)
        except ConvsmithError:
            raise
        except Exception as error:
            raise TraceError(explain(copied, error, "run")) from error
    leaves = {path for path, module in copied.named_modules() if not any(_children(module))}
    return Recording(
        name=name,
        inputs=tuple(tuple(x.shape) for x in inputs),
        layers=tuple(_named(notes.calls, leaves)),
        parameters=MappingProxyType(parameters),
    )


@dataclass(frozen=True, slots=True)
class _Call:
    """A layer without its name, and which call of its module it belongs to."""

    layer: Layer
    of: int


class _Notes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes each operation before PyTorch takes it apart, which it does not in inference mode."""

    def __init__(self, parameters: Mapping[str, Parameter], owner: Mapping[Tensor, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[_Call] = []
        self.stack: list[tuple[str, int]] = [("", 0)]
        self._parameters = parameters
        # The parameters that a constant tensor is made from.
        self._behind: Any = WeakIdKeyDictionary()
        for tensor, name in owner.items():
            self._behind[tensor] = (name,)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        before = _typed(named_arguments(func, args, kwargs))
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        operands = tuple(map(tensor_type, tensors))
        result = func(*args, **kwargs)
        given = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        results = tuple(_types(result))
        if not results or func.namespace == "prim":
            return result
        constant = all(tensor in self._behind for tensor in tensors)
        used = dict.fromkeys(name for x in tensors for name in self._behind.get(x, ()))
        for tensor in given:
            if constant:
                self._behind[tensor] = tuple(used)
            else:
                self._behind.pop(tensor, None)  # written in place
        settings = {key: value for key, value in before.items() if not _holds_type(value)}
        path, of = self.stack[-1]
        layer = Layer(
            name="",
            path=path,
            operation=operation_of(func, settings, before),
            inputs=(),
            parameters=() if constant else tuple(self._parameters[name] for name in used),
            operands=operands,
            results=results,
            constant=constant,
        )
        self.calls.append(_Call(layer, of))
        return result


def _own_buffers(model: nn.Module) -> None:
    """Give a copy of a model buffers of its own, which a forward pass may write to."""
    copies: dict[int, Tensor] = {}
    for module in model.modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue  # it is shared, as a whole
        for name, buffer in module._buffers.items():
            if buffer is not None:
                copy = copies.setdefault(id(buffer), buffer.detach().clone())
                module._buffers[name] = copy


def _parameters(model: nn.Module) -> tuple[dict[str, Parameter], Mapping[Tensor, str]]:
    """All parameters and buffers by name, and the name of each tensor."""
    named = [
        (name, tensor, buffer)
        for buffer, tensors in (
            (False, model.named_parameters(remove_duplicate=False)),
            (True, model.named_buffers(remove_duplicate=False)),
        )
        for name, tensor in tensors
    ]
    owner: Any = WeakIdKeyDictionary()
    found: dict[str, Parameter] = {}
    for name, tensor, buffer in named:
        if tensor in owner:
            first = found[owner[tensor]]
            found[first.name] = replace(first, aliases=(*first.aliases, name))
            continue
        owner[tensor] = name
        found[name] = Parameter(
            name, tensor_type(tensor), trainable=tensor.requires_grad, buffer=buffer
        )
    return found, owner


@contextmanager
def _following(model: nn.Module, notes: _Notes) -> Iterator[None]:
    """Keep track of the module that runs, by hooks on the copy."""
    calls = 0

    def enter(path: str) -> Any:
        def hook(module: nn.Module, args: Any) -> None:
            nonlocal calls
            calls += 1
            notes.stack.append((path, calls))

        return hook

    def leave(module: nn.Module, args: Any, result: Any) -> None:
        notes.stack.pop()

    with ExitStack() as hooks:
        for path, module in model.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):
                hooks.enter_context(module.register_forward_pre_hook(enter(path), prepend=True))
                hooks.enter_context(module.register_forward_hook(leave, always_call=True))
        yield


def _children(module: nn.Module) -> Iterator[str]:
    return (name for name, _ in module.named_children() if name != "parametrizations")


def _named(calls: Sequence[_Call], leaves: set[str]) -> Iterator[Layer]:
    """Names as a graph gives them: a leaf lends its path to the operation that is its own."""
    alone = Counter(call.of for call in calls)
    seen: Counter[str] = Counter()
    for call in calls:
        layer, path = call.layer, call.layer.path
        title = layer.operation.label or layer.operation.name
        own = not layer.constant and (layer.parameters or alone[call.of] == 1)
        name = path if path in leaves and path and own else f"{path}:{title}" if path else title
        seen[name] += 1
        yield replace(layer, name=name if seen[name] == 1 else f"{name}#{seen[name]}")


def _types(result: Any) -> Iterator[TensorType]:
    for value in result if isinstance(result, (tuple, list)) else [result]:
        if isinstance(value, Tensor):
            yield tensor_type(value)
        elif type(value) in _NUMBERS:
            yield TensorType((), *_NUMBERS[type(value)], number=True)
        elif isinstance(value, (tuple, list)):
            yield from _types(value)


def _typed(value: Any) -> Any:
    """Arguments with the type of each tensor in its place."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_typed(item) for item in value]
    return tensor_type(value) if isinstance(value, Tensor) else value


def _holds_type(value: Any) -> bool:
    return isinstance(value, TensorType) or (
        isinstance(value, list) and any(map(_holds_type, value))
    )
