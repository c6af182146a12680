"""Broadcast arithmetic of one, two or three tensors."""

from __future__ import annotations

from convsmith.network.families.family import Family, Trait
from convsmith.network.families.rules import (
    axes_merged,
    per_value,
    same_channels,
    same_place,
    unmoved,
)

__all__ = ["FAMILIES"]

# Operations per value; one for every other name.
_FLOPS = {"addcdiv": 3, "addcmul": 3, "lerp": 3, "rsqrt": 2}

FAMILIES = (
    Family(
        kind="elementwise",
        about="broadcast arithmetic of one, two or three tensors",
        names="""__and__ __or__ __xor__ abs acos add addcdiv addcmul asin atan atan2 bitwise_and
            bitwise_not bitwise_or ceil cos cosh div eq erf exp expm1 floor floor_divide fmax
            fmin fmod ge gt hypot isinf isnan le lerp log log10 log1p log2 logaddexp logical_and
            logical_not logical_or lt masked_fill maximum minimum mul ne neg pow reciprocal
            remainder round rsqrt rsub sign sin sinh sqrt square sub tan true_divide trunc where
            xlogy max.other min.other""",
        traits=Trait.POINTWISE | Trait.MERGES | Trait.IN_SERIES | Trait.TELLS | Trait.BROADCASTS,
        cost=per_value(1, _FLOPS),
        reads=same_place,
        axes=axes_merged,
        carry=same_channels,
        step=unmoved,
    ),
)
