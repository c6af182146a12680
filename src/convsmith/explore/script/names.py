"""What the names of PyTorch stand for: `torch`, `nn`, `F`, and the attributes of a tensor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from convsmith.explore.script.layers import FUNCTIONS, LAYERS
from convsmith.explore.script.operations import CREATORS, METHODS, cat, stack
from convsmith.explore.script.values import Function, Refusal, Space, Tensor, tensor_of

__all__ = ["TENSOR_NAMES", "spaces"]

# Methods that `torch` has no function for.
_METHODS_ALONE = {"view", "expand", "repeat", "size", "dim", "contiguous", "float", "double",
                  "half", "int", "long", "to", "cpu", "cuda", "type", "requires_grad_"}  # fmt: skip

TENSOR_NAMES: dict[str, Callable[[Tensor], Any]] = {
    "shape": lambda tensor: tensor.shape,
    "ndim": lambda tensor: len(tensor.shape),
    "T": lambda tensor: Tensor(tensor.shape[::-1]),
    "data": lambda tensor: tensor,
} | {
    name: (lambda tensor, name=name, call=call: Function(f"x.{name}", partial(call, tensor)))
    for name, call in METHODS.items()
}
"""What follows a tensor and a point."""


def spaces() -> dict[str, Any]:
    """The names that every script knows."""
    names: dict[str, Any] = {
        name: Function(f"torch.{name}", call)
        for name, call in {**CREATORS, "cat": cat, "stack": stack}.items()
    }
    for name, call in METHODS.items():
        if name not in _METHODS_ALONE:
            names[name] = Function(f"torch.{name}", _function(f"torch.{name}", call))
    layers = Space("nn", {name: Function(f"nn.{name}", call) for name, call in LAYERS.items()})
    functions = Space("F", {name: Function(f"F.{name}", call) for name, call in FUNCTIONS.items()})
    layers.names |= {"functional": functions, "Module": None}
    nothing = Function("no_grad", lambda *_args: None)
    kinds = {kind: kind for kind in ("float32", "float64", "int64", "long", "bool")}
    torch = Space(
        "torch", {"nn": layers, "no_grad": nothing, "manual_seed": nothing, **kinds, **names}
    )
    return {
        "torch": torch, "nn": layers, "F": functions,
        "range": Function("range", _range), "len": Function("len", _length),
        "print": Function("print", lambda *values, **_: values[0] if len(values) == 1 else None),
        "int": Function("int", int), "tuple": Function("tuple", tuple),
        "list": Function("list", list),
    }  # fmt: skip


def _function(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method as a function of its tensor."""

    def run(input: Any, *args: Any, **more: Any) -> Any:
        return method(tensor_of(name, input), *args, **more)

    return run


def _range(*bounds: Any) -> list[int]:
    steps = range(*bounds)
    if len(steps) > 100:
        raise Refusal("code deep")
    return list(steps)


def _length(value: Any) -> int:
    if isinstance(value, Tensor):
        if not value.shape:
            raise Refusal("code no axis", name="len", axis=0, count=0)
        return value.shape[0]
    return len(value)
