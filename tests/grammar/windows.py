"""Steps with windows: convolutions, pools, interpolation, padding, and windows made by hand."""

from __future__ import annotations

from tests.grammar.draft import Draft, step

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def conv_options(d: Draft) -> str:
    kernel, stride, padding, dilation = d.each(1, 3), d.each(1, 2), d.each(0, 2), d.each(1, 2)
    return f"{kernel}, {stride}, {padding}, {dilation}"


@step
def convolution(d):
    out = d.rng.randint(1, 4)
    d.run(f"x = {d.module(f'nn.Conv{d.dims}d({d.channels}, {out}, {conv_options(d)})')}(x)")


@step
def padded_convolution(d):
    kernel = d.pick(3, 3, 5)
    source = (
        f"nn.Conv{d.dims}d({d.channels}, {d.rng.randint(1, 4)}, {kernel}, padding={kernel // 2})"
    )
    d.run(f"x = {d.module(source)}(x)")


@step
def padding_mode(d):
    mode = d.pick("reflect", "replicate", "circular")
    options = f"{d.each(1, 3)}, 1, {d.each(0, 2)}, padding_mode={mode!r}"
    source = f"nn.Conv{d.dims}d({d.channels}, 2, {options})"
    d.run(f"x = {d.module(source)}(x)")


@step
def grouped_convolution(d):
    groups = d.pick(*(g for g in (2, 3, 4, d.channels) if d.channels % g == 0), d.channels)
    out = groups * d.rng.randint(1, 2)
    source = f"nn.Conv{d.dims}d({d.channels}, {out}, {conv_options(d)}, groups={groups})"
    d.run(f"x = {d.module(source)}(x)")


@step
def same_convolution(d):
    weight = d.parameter(d.pick(1, 3), d.channels, *d.each(1, 4))
    d.run(f"x = F.conv{d.dims}d(x, {weight}, padding='same', dilation={d.each(1, 2)})")


@step
def transposed_convolution(d):
    stride, dilation = d.each(1, 3), d.each(1, 2)
    extra = tuple(d.rng.randint(0, max(s, t) - 1) for s, t in zip(stride, dilation))
    source = (
        f"nn.ConvTranspose{d.dims}d({d.channels}, {d.rng.randint(1, 3)}, {d.each(1, 4)}, {stride}, "
        f"{d.each(0, 1)}, {extra}, dilation={dilation})"
    )
    d.run(f"x = {d.module(source)}(x)")


@step
def functional_transposed(d):
    d.need(d.channels % 2 == 0)
    weight = d.parameter(d.channels, 1, *d.each(1, 3))
    d.run(f"x = F.conv_transpose{d.dims}d(x, {weight}, stride={d.each(1, 2)}, groups=2)")


@step
def average_pool(d):
    kernel = d.each(1, 3)
    padding = tuple(d.rng.randint(0, k // 2) for k in kernel)
    options = f"{kernel}, {d.each(1, 3)}, {padding}, {d.chance(0.5)}, {d.chance(0.5)}"
    d.run(f"x = F.avg_pool{d.dims}d(x, {options})")


@step
def max_pool(d):
    d.rough()
    kernel = d.each(1, 3)
    padding = tuple(d.rng.randint(0, k // 2) for k in kernel)
    options = f"{kernel}, {d.each(1, 3)}, {padding}, {d.each(1, 2)}, ceil_mode={d.chance(0.5)}"
    d.run(f"x = F.max_pool{d.dims}d(x, {options})")


@step
def pool_and_unpool(d):
    d.rough()
    d.need(all(n % 2 == 0 for n in d.space))
    v, w = d.name(), d.name()
    d.run(
        f"{v}, {w} = F.max_pool{d.dims}d(x, 2, return_indices=True)",
        f"x = x + F.max_unpool{d.dims}d({v}, {w}, 2)",
    )


@step
def lp_pool(d):
    d.need(d.dims < 3)
    d.run(f"x = F.lp_pool{d.dims}d(x, 2, {d.pick(2, 3)}, stride={d.pick(1, 2)})")


@step
def adaptive_average(d):
    size = tuple(d.rng.randint(1, n + 1) for n in d.space)
    d.run(f"x = F.adaptive_avg_pool{d.dims}d(x, {size})")


@step
def adaptive_maximum(d):
    d.rough()
    size = tuple(d.rng.randint(2, n + 1) for n in d.space)
    d.run(f"x = F.adaptive_max_pool{d.dims}d(x, {size})")


@step
def adaptive_and_back(d):
    size = tuple(max(2, n // d.pick(2, 3)) for n in d.space)
    inner = f"F.adaptive_avg_pool{d.dims}d(x, {size})"
    d.run(f"x = x + F.interpolate({inner}, size={d.space}, mode='nearest')")


def resample(d, mode, align=None):
    size = d.pick(
        f"scale_factor={d.pick(2, 3, 1.5, 0.5)}",
        f"scale_factor={tuple(d.pick(1, 2, 0.5) for _ in range(d.dims))}",
        f"scale_factor={d.pick(2, 1.5, 0.7)}, recompute_scale_factor=True",
        f"size={d.each(2, 11)}",
    )
    aligned = "" if align is None else f", align_corners={align}"
    d.run(f"x = F.interpolate(x, {size}, mode={mode!r}{aligned})")


@step
def nearest(d):
    resample(d, d.pick("nearest", "nearest", "nearest-exact"))


@step
def linear_interpolation(d):
    resample(d, LINEAR[d.dims], d.chance(0.4))


@step
def bicubic(d):
    d.need(d.dims == 2)
    resample(d, "bicubic", d.chance(0.4))


@step
def area(d):
    resample(d, "area")


@step
def antialiased(d):
    d.need(d.dims == 2)
    d.run(f"x = F.interpolate(x, size={d.each(3, 8)}, mode='bilinear', antialias=True)")


@step
def pad(d):
    mode = d.pick("constant", "reflect", "replicate", "circular", "constant")
    low = -1 if mode in ("constant", "replicate", "reflect") else 0
    sides = [d.rng.randint(low, 2) for _ in range(2 * d.dims)]
    value = ""
    if mode == "constant":
        value = d.pick("", ", value=0.3")
        if not value:
            d.rough()  # what is multiplied by zeros afterwards is read in vain
    d.run(f"x = F.pad(x, {sides}, mode={mode!r}{value})")


@step
def pad_channels(d):
    sides = [0, 0] * d.dims + [d.rng.randint(0, 1), 1]
    d.run(f"x = F.pad(x, {sides}, value=0.3)")


@step
def pixel_shuffle(d):
    d.need(d.dims == 2 and d.channels % 4 == 0)
    d.run("x = F.pixel_shuffle(x, 2)")


@step
def pixel_unshuffle(d):
    d.need(d.dims == 2)
    h, w = (n // 2 * 2 for n in d.space)
    d.run(f"x = F.pixel_unshuffle(x[:, :, :{h}, :{w}], 2)")


@step
def im2col(d):
    """A convolution by hand: windows as columns, a product, and back to a map."""
    d.need(d.dims == 2)
    k, stride = d.pick(2, 3), d.pick(1, 2)
    h, w = ((n - k) // stride + 1 for n in d.space)
    d.need(h > 0 and w > 0)
    weight = d.parameter(2, d.channels * k * k)
    d.run(
        f"x = ({weight} @ F.unfold(x, {k}, stride={stride})).reshape(x.shape[0], 2, {h}, {w})",
    )


@step
def fold(d):
    """Windows taken out and laid down again, where they overlap added."""
    d.need(d.dims == 2)
    d.run(f"x = F.fold(F.unfold(x, 3, padding=1), {d.space}, 3, padding=1) / 9")


@step
def unfold(d):
    """A moving average by `Tensor.unfold`."""
    dim, size, by = d.place(), d.pick(2, 3), d.pick(1, 2)
    d.run(f"x = x.unfold({dim}, {size}, {by}).mean(-1)")


@step
def as_strided(d):
    """Every second row by its step in memory."""
    d.need(d.space[0] > 2)
    shape, steps = list(d.x.shape), list(d.x.contiguous().stride())
    shape[2], steps[2] = shape[2] // 2, steps[2] * 2
    d.run(f"x = x.contiguous().as_strided({shape}, {steps})")


@step
def shifted_windows(d):
    """Swin: roll, cut into windows, mix each, and back."""
    d.need(d.dims == 2 and all(n % 2 == 0 for n in d.space))
    h, w = d.space
    mix, c = d.parameter(4, 4), d.channels
    d.run(
        "x = torch.roll(x, (-1, -1), (2, 3))",
        f"x = x.view(-1, {c}, {h // 2}, 2, {w // 2}, 2).permute(0, 2, 4, 3, 5, 1)",
        f"x = {mix} @ x.reshape(-1, 4, {c})",
        f"x = x.view(-1, {h // 2}, {w // 2}, 2, 2, {c}).permute(0, 5, 1, 3, 2, 4)",
        f"x = torch.roll(x.reshape(-1, {c}, {h}, {w}), (1, 1), (2, 3))",
    )
