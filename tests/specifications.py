"""Random layers with an input they accept: wide ranges, primes, 1×N, asymmetric everything."""

from __future__ import annotations

from hypothesis import strategies as st

from convsmith.arithmetic import Conv, ConvTranspose, Pool

LENGTHS = {1: 40, 2: 13, 3: 7}


def each(draw, dims, values):
    return tuple(draw(values) for _ in range(dims))


@st.composite
def convolutions(draw, dims, modes=("zeros",)):
    """(Conv, input size), never without output."""
    groups = draw(st.integers(1, 3))
    channels = [groups * draw(st.integers(1, 3)) for _ in range(2)]
    kernel = each(draw, dims, st.integers(1, 5 if dims < 3 else 3))
    dilation = each(draw, dims, st.integers(1, 3))
    mode = draw(st.sampled_from(modes))
    size = list(each(draw, dims, st.integers(1, LENGTHS[dims])))
    if draw(st.booleans()) and draw(st.booleans()):
        padding, stride = "same", (1,) * dims
        sides = [
            (d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2) for k, d in zip(kernel, dilation)
        ]
    else:
        stride = each(draw, dims, st.integers(1, 4))
        padding = sides = each(draw, dims, st.tuples(st.integers(0, 4), st.integers(0, 4)))
    for axis, ((low, high), k, d) in enumerate(zip(sides, kernel, dilation)):
        room = d * (k - 1) + 1 - low - high  # the smallest input that gives an output
        room = max(
            room, {"reflect": max(low, high) + 1, "circular": max(low, high)}.get(mode, 1), 1
        )
        size[axis] = max(size[axis], room)
    bias = draw(st.booleans())
    spec = Conv(*channels, kernel, stride, padding, dilation, groups, bias, mode, dims=dims)
    return spec, tuple(size)


@st.composite
def transposed(draw, dims):
    """(ConvTranspose, input size), never without output; padding symmetric, as torch has it."""
    groups = draw(st.integers(1, 3))
    channels = [groups * draw(st.integers(1, 3)) for _ in range(2)]
    kernel = each(draw, dims, st.integers(1, 4 if dims < 3 else 3))
    stride = each(draw, dims, st.integers(1, 4 if dims < 3 else 2))
    dilation = each(draw, dims, st.integers(1, 3 if dims < 3 else 2))
    padding = each(draw, dims, st.integers(0, 3))
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    size = []
    for k, s, p, e, d in zip(kernel, stride, padding, extra, dilation):
        least = 1
        while (least - 1) * s - 2 * p + d * (k - 1) + 1 + e < 1:
            least += 1
        size.append(draw(st.integers(least, least + LENGTHS[dims] // 2)))
    bias = draw(st.booleans())
    spec = ConvTranspose(
        *channels, kernel, stride, padding, extra, groups, bias, dilation, dims=dims
    )
    return spec, tuple(size)


@st.composite
def pools(draw, dims):
    """(Pool, input size, channels), never without output; padding symmetric, as torch has it."""
    kernel = each(draw, dims, st.integers(1, 4))
    stride = draw(st.one_of(st.none(), st.tuples(*[st.integers(1, 4)] * dims)))
    kind = draw(st.sampled_from(["max", "average"]))
    dilation = each(draw, dims, st.integers(1, 3)) if kind == "max" else (1,) * dims
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation)]
    if kind == "average" and dims == 3:
        least = kernel  # torch's avg_pool3d refuses, without need, a map smaller than its kernel
    size = tuple(n + draw(st.integers(0, LENGTHS[dims])) for n in least)
    spec = Pool(
        kernel,
        stride,
        padding,
        dilation,
        ceil_mode=draw(st.booleans()),
        kind=kind,
        count_include_pad=draw(st.booleans()),
        dims=dims,
    )
    return spec, size, draw(st.integers(1, 3))
