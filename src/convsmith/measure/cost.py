"""What each operation costs: multiply-adds, floating-point operations, bytes.

Conventions, the same for every layer:

- A MAC is one multiply-add of a convolution, a linear layer, a matrix product or attention.
  Those on zero padding count: every runtime executes them.
- FLOPs are two a MAC, plus every other addition, multiplication, comparison or elementary
  function (exp, tanh, erf: one each) of every layer. A bias is one addition an output value.
- Batch norm in evaluation is one multiplication and one addition a value.
- Complex arithmetic is counted in real operations, at most: a complex product as four of them
  and two additions. Sorting and searching make comparisons, counted as an upper bound.
- Bytes are those of each tensor that is read or written, once. A view moves none.
"""

from __future__ import annotations

from convsmith.network import Layer
from convsmith.network.cost import Cost, Status
from convsmith.network.families import Trait, family_of
from convsmith.network.families.complex_numbers import complex_cost

__all__ = ["Cost", "Status", "cost"]


def cost(layer: Layer) -> Cost:
    """Count one layer; an operation without a rule is `unknown`, never zero.

    >>> import torch, convsmith as cs
    >>> net = cs.trace(torch.nn.Conv2d(3, 10, 3), (1, 3, 128, 128))
    >>> cost(net.layers[-1])
    Cost(macs=4286520, flops=8731800, status='exact', reason='')
    """
    family, name = family_of(layer), layer.operation.label or layer.operation.name
    if family.cost is None:
        return Cost(None, None, "unknown", f"no rule counts {name!r}")
    try:
        count = family.cost(layer)
    except (ArithmeticError, KeyError, LookupError, TypeError, ValueError) as error:
        return Cost(None, None, "unknown", f"{name!r} could not be counted: {error}")
    types = {kind.dtype for kind in (*layer.operands, *layer.results)}
    if family.has(Trait.COMPLEX) or not any(dtype.startswith("complex") for dtype in types):
        return count
    return complex_cost(layer, count)
