"""Random states of the explorer: layers that exist and layers that do not."""

from __future__ import annotations

from hypothesis import strategies as st

from convsmith.explore.state import KINDS, MODES, LayerState

small = st.integers(1, 5)
pads = st.integers(0, 4)


def pair(numbers):
    return st.one_of(numbers.map(lambda n: (n, n)), st.tuples(numbers, numbers))


@st.composite
def states(draw):
    kind = draw(st.sampled_from(KINDS))
    groups = draw(st.integers(1, 4))
    padding = draw(pair(pads).map(lambda p: ((p[0], p[0]), (p[1], p[1]))))
    mode = "zeros"
    if kind == "conv":
        sides = st.tuples(st.tuples(pads, pads), st.tuples(pads, pads))
        padding = draw(st.one_of(st.just(padding), sides, st.sampled_from(["same", "valid"])))
        mode = draw(st.sampled_from(MODES))
    pool = kind in ("max", "average")
    return LayerState(
        kind=kind,
        in_channels=draw(st.integers(1, 3)) * draw(st.sampled_from([1, groups])),
        out_channels=draw(st.integers(1, 3)) * draw(st.sampled_from([1, groups])),
        size=draw(pair(st.integers(1, 13))),
        kernel=draw(pair(small)),
        stride=draw(pair(small)),
        padding=padding,
        padding_mode=mode,
        dilation=(1, 1) if kind == "average" else draw(pair(small)),
        groups=1 if pool else groups,
        bias=draw(st.booleans()),
        output_padding=draw(pair(st.integers(0, 3))) if kind == "transposed" else (0, 0),
        ceil_mode=draw(st.booleans()) if pool else False,
    )
