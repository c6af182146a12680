"""Linear equations solved step by step, where their matrix would be too large."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["conjugate_gradients"]


def conjugate_gradients(
    curvature: Callable[[Tensor], Tensor],
    target: Tensor,
    start: Tensor,
    diagonal: Tensor,
    steps: int,
) -> Tensor:
    """The solution of ``curvature(x) = target``, approached from `start` in so many steps.

    No step leads away from it, as measured by the curvature (Hestenes and Stiefel 1952).

    Args:
        curvature: a symmetric positive definite linear map.
        target: values of the same shape.
        start: where to begin.
        diagonal: what the steps are scaled by: about the diagonal of the map's matrix, above 0.
        steps: at most so many.
    """
    solution, residual = start, target - curvature(start)
    step = residual / diagonal
    length = float((residual * step).sum())
    for _ in range(steps):
        if length <= 0:
            break
        bent = curvature(step)
        size = length / float((step * bent).sum())
        solution, residual = solution + size * step, residual - size * bent
        scaled = residual / diagonal
        shorter = float((residual * scaled).sum())
        step, length = scaled + shorter / length * step, shorter
    return solution
