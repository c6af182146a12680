"""Calls: whether the arguments are those of the function, in PyTorch's words or not."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any

from convsmith.explore.script.values import Function, Refusal

__all__ = ["called"]

# What changes no shape, and may be given to most of torch.
_ANYWHERE = {"device", "dtype", "requires_grad", "inplace", "generator", "memory_format"}


def called(function: Function, args: list[Any], more: dict[str, Any]) -> Any:
    """The result; an argument that is missing, unknown or too many is refused by its name.

    >>> called(Function("twice", lambda x: 2 * x), [4], {"device": "cpu"})
    8
    """
    parameters = signature(function.call).parameters
    kinds = {each.kind for each in parameters.values()}
    if Parameter.VAR_KEYWORD not in kinds:
        more = {word: value for word, value in more.items()
                if word in parameters or word not in _ANYWHERE}  # fmt: skip
    words = [name for name, each in parameters.items()
             if each.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)]  # fmt: skip
    if Parameter.VAR_POSITIONAL not in kinds and len(args) > len(words):
        raise Refusal("code many", name=function.name, most=len(words), given=len(args))
    for word in more:
        if Parameter.VAR_KEYWORD not in kinds and (word not in words or word in words[: len(args)]):
            raise Refusal("code unexpected", name=function.name, word=word, words=", ".join(words))
    if Parameter.VAR_POSITIONAL not in kinds:
        for word in words[len(args) :]:
            if word not in more and parameters[word].default is Parameter.empty:
                raise Refusal("code missing", name=function.name, word=word)
    return function.call(*args, **more)
