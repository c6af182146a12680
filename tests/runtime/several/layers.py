"""Steps that compute a map from one map, or a vector from one vector."""

from __future__ import annotations

from tests.runtime.several.draft import Draft, step

CHANNELS = (3, 4, 8, 11, 16)
ACTIVATIONS = ("relu", "relu", "silu", "hardswish", "sigmoid")


def _conv(d: Draft, channels: int, kernel: int | None = None) -> str:
    """A convolution of any geometry."""
    kernel = kernel or d.pick(1, 3, 3)
    stride, rate = d.pick(1, 1, 2), d.pick(1, 1, 1, 2)
    padding = d.pick("0", f"{rate * (kernel // 2)}", "1")
    options = f"{kernel}, {stride}, {padding}, {rate}, bias={d.pick(True, False)}"
    return d.module(f"nn.Conv2d({channels}, {d.pick(*CHANNELS)}, {options})")


@step
def convolution(d: Draft) -> None:
    x = d.map()
    d.let(f"{_conv(d, d[x].shape[1])}({x})")


@step
def convolution_norm_activation(d: Draft) -> None:
    x = d.map()
    y = d.let(f"{_conv(d, d[x].shape[1], 3)}({x})")
    norm = d.module(f"nn.BatchNorm2d({d[y].shape[1]})")
    d.let(f"F.{d.pick(*ACTIVATIONS)}({norm}({y}))")


@step
def separable(d: Draft) -> None:
    x = d.map()
    channels, act = d[x].shape[1], d.pick(*ACTIVATIONS)
    stride, kernel = d.pick(1, 1, 2), d.pick(3, 3, 5)
    options = f"{kernel}, {stride}, {kernel // 2}, groups={channels}"
    deep = d.module(f"nn.Conv2d({channels}, {channels}, {options})")
    y = d.let(f"F.{act}({deep}({x}))")
    d.let(f"{_conv(d, channels, 1)}({y})")


@step
def inverted_residual(d: Draft) -> None:
    x = d.map()
    channels = d[x].shape[1]
    d.need(channels <= 11)
    wide = 2 * channels
    up = d.module(f"nn.Conv2d({channels}, {wide}, 1)")
    deep = d.module(f"nn.Conv2d({wide}, {wide}, 3, padding=1, groups={wide})")
    down = d.module(f"nn.Conv2d({wide}, {channels}, 1)")
    y = d.let(f"F.relu6({up}({x}))")
    d.let(f"{x} + {down}(F.relu6({deep}({y})))")


@step
def grouped(d: Draft) -> None:
    x = d.map()
    channels = d[x].shape[1]
    d.need(channels % 4 == 0)
    conv = d.module(f"nn.Conv2d({channels}, 8, 3, padding=1, groups={d.pick(2, 4)})")
    d.let(f"{conv}({x})")


@step
def transposed(d: Draft) -> None:
    x = d.map()
    options = d.pick("2, 2", "3, 2, 1", "3, 2, 1, 1", "4, 2, 1")
    d.let(f"{d.module(f'nn.ConvTranspose2d({d[x].shape[1]}, 4, {options})')}({x})")


@step
def shared_layer(d: Draft) -> None:
    """A layer of before on another map: siamese trunks, pyramids."""
    convs = [name for name, made in d.modules.items() if made.startswith("nn.Conv2d")]
    d.need(convs)
    name = d.pick(*convs)
    channels = d.holder.get_submodule(name).in_channels
    fitting = [v for v in d.values if d[v].ndim == 4 and d[v].shape[1] == channels]
    d.need(fitting)
    d.let(f"s.{name}({d.pick(*fitting)})")


@step
def pyramid(d: Draft) -> None:
    """One layer on a map and on its halves."""
    x = d.map()
    conv, pool = _conv(d, d[x].shape[1]), d.pick("max_pool2d", "avg_pool2d")
    half = d.let(f"F.{pool}({x}, 2)")
    quarter = d.let(f"F.{pool}({half}, 2)")
    for level in (x, half, quarter):
        d.let(f"{conv}({level})")


@step
def siamese(d: Draft) -> None:
    """One trunk for two maps, and what they have in common."""
    x = d.map()
    y = d.like(x, 1)
    one, other = _conv(d, d[x].shape[1]), d.pick(*ACTIVATIONS)
    a, b = (d.let(f"F.{other}({one}({v}))") for v in (x, y))
    means = [d.let(f"{v}.mean((2, 3))") for v in (a, b)]
    d.let(f"{means[0]}[:, None] * {means[1]}[None]")
    second = _conv(d, d[a].shape[1])
    d.let(f"{second}({a})")
    d.let(f"{second}({b})")


@step
def trunk_of_one_batch(d: Draft) -> None:
    """Two maps as one batch, and apart again."""
    x = d.map()
    y = d.like(x, 1, 2, 3)
    trunk = d.let(f"F.relu({_conv(d, d[x].shape[1])}(torch.cat([{x}, {y}])))")
    d.let(f"{trunk}[:len({x})]")
    d.let(f"{trunk}[len({x}):] * 2")


@step
def activation(d: Draft) -> None:
    x = d.map()
    call = d.pick("relu", "gelu", "leaky_relu", "elu", "tanh", "softplus", "mish", "hardsigmoid")
    d.let(f"F.{call}({x})")


@step
def batch_norm(d: Draft) -> None:
    x = d.map()
    d.let(f"{d.module(f'nn.BatchNorm2d({d[x].shape[1]})')}({x})")


@step
def constants(d: Draft) -> None:
    """A scale and a shift, by numbers and by tensors of any shape that fits each size."""
    x = d.map()
    shape = d.pick("()", "(1,)", f"({d[x].shape[1]}, 1, 1)", f"(1, {d[x].shape[1]}, 1, 1)")
    k = d.pick("0.7", "-2", d.module(f"nn.Parameter(torch.empty({shape}))"))
    d.let(d.pick("{x} + {k}", "{k} + {x}", "{x} * {k}", "{k} * {x}", "{x} - {k}", "{k} - {x}",
                 "{x} / 3", "-{x}", "torch.add({x}, {k}, alpha=2)", "torch.sub({x}, {k}, alpha=2)",
                 "torch.rsub({x}, {k}, alpha=2)").format(x=x, k=k))  # fmt: skip


@step
def computed_weight(d: Draft) -> None:
    """Weights that follow from parameters: standardised, scaled, and made on the way."""
    x = d.map()
    channels = d[x].shape[1]
    weight = d.module(f"nn.Parameter(torch.empty(8, {channels}, 3, 3))")
    gain = d.module("nn.Parameter(torch.empty(8, 1, 1, 1))")
    standard = f"F.instance_norm({weight}.flatten(1)[None])[0].view_as({weight}) / {channels}"
    scaled = d.pick(
        f"{weight} * {gain}", f"{gain} * ({standard})", f"torch.ones_like({weight}) / 9"
    )
    d.let(f"F.conv2d({x}, {scaled}, {gain}.flatten(), padding=1)")


@step
def pool(d: Draft) -> None:
    x = d.map()
    call = d.pick(
        "max_pool2d({}, 2)", "max_pool2d({}, 3, 2, 1)", "avg_pool2d({}, 2)", "avg_pool2d({}, 3, 1)",
        "avg_pool2d({}, 3, 2, 1)", "max_pool2d({}, 3, 2, 1, ceil_mode=True)",
        "max_pool2d({}, 2, 3, 1, ceil_mode=True)", "avg_pool2d({}, 2, ceil_mode=True)",
        "avg_pool2d({}, 3, 2, 1, ceil_mode=True, count_include_pad=False)",
        "avg_pool2d({}, 3, 2, 1, ceil_mode=True)",
        "avg_pool2d({}, 3, 2, 1, count_include_pad=False)",
        "adaptive_avg_pool2d({}, (3, 5))", "adaptive_max_pool2d({}, (2, 3))",
    )  # fmt: skip
    d.let(f"F.{call.format(x)}")


@step
def gate(d: Draft) -> None:
    """Squeeze and excite."""
    x = d.map()
    channels = d[x].shape[1]
    few, many = (d.module(f"nn.Conv2d({a}, {b}, 1)") for a, b in ((channels, 4), (4, channels)))
    mean = d.pick(f"F.adaptive_avg_pool2d({x}, 1)", f"{x}.mean((2, 3), keepdim=True)")
    y = d.let(mean)
    d.let(f"{x} * torch.sigmoid({many}(F.relu({few}({y}))))")


@step
def gate_of_vectors(d: Draft) -> None:
    """Squeeze and excite by linear layers, or by a window over the channels."""
    x = d.map()
    channels = d[x].shape[1]
    y = d.let(d.pick(f"{x}.mean((2, 3))", f"F.adaptive_avg_pool2d({x}, 1).flatten(1)"))
    if d.pick(True, False):
        few, many = (d.module(f"nn.Linear({a}, {b})") for a, b in ((channels, 4), (4, channels)))
        y = d.let(f"torch.sigmoid({many}(F.relu({few}({y}))))")
    else:
        window = d.module("nn.Conv1d(1, 1, 3, padding=1, bias=False)")
        y = d.let(f"torch.sigmoid({window}({y}.unsqueeze(1))).squeeze(1)")
    gate = d.pick(f"{y}[:, :, None, None]", f"{y}.view(*{y}.shape, 1, 1)")
    d.let(d.pick(f"{x} * {gate}", f"{gate}.expand_as({x}) * {x}"))


@step
def mean_to_vector(d: Draft) -> None:
    x = d.map()
    d.let(d.pick(f"{x}.mean((2, 3))", f"F.adaptive_avg_pool2d({x}, 1).flatten(1)"))


@step
def classifier(d: Draft) -> None:
    x = d.map()
    y = d.let(f"F.adaptive_avg_pool2d({x}, 1).flatten(1)")
    d.let(f"{d.module(f'nn.Linear({d[y].shape[1]}, 5)')}({y})")


@step
def linear(d: Draft) -> None:
    x = d.vector()
    made = d.module(f"nn.Linear({d[x].shape[1]}, {d.pick(*CHANNELS)}, bias={d.pick(True, False)})")
    y = d.let(f"{made}({x})")
    if d.pick(True, False):
        d.let(f"F.{d.pick(*ACTIVATIONS)}({y})")


@step
def linear_over_channels(d: Draft) -> None:
    x = d.map()
    made = d.module(f"nn.Linear({d[x].shape[1]}, 8)")
    d.let(f"{made}({x}.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)")


@step
def pad(d: Draft) -> None:
    x = d.map()
    sides = [d.rng.randint(0, 2) for _ in range(4)]
    mode = d.pick("constant", "constant", "replicate", "reflect", "circular")
    padded = d.let(f"F.pad({x}, {sides}, mode='{mode}')")
    d.let(f"{_conv(d, d[x].shape[1])}({padded})")


@step
def resample(d: Draft) -> None:
    x = d.map()
    mode = d.pick(
        "mode='nearest'", "mode='bilinear'", "mode='bilinear', align_corners=True", "mode='bicubic'"
    )
    size = d.pick("scale_factor=2", "scale_factor=1.5", "size=(7, 9)")
    d.let(f"F.interpolate({x}, {size}, {mode})")


@step
def channel_norm(d: Draft) -> None:
    x = d.map()
    d.let(f"F.group_norm({x}, 1)")
    d.need(d[x][0, 0].numel() > 3)


@step
def attention_over_pixels(d: Draft) -> None:
    x = d.map()
    flat = d.let(f"{x}.flatten(2)")
    weights = d.let(f"torch.softmax({flat}.transpose(1, 2) @ {flat} / 8, 2)")
    d.let(f"({flat} @ {weights}).reshape({x}.shape)")


@step
def norm_of_groups(d: Draft) -> None:
    """Each image by its own statistics: of groups of channels, or of each one."""
    x = d.map()
    channels = d[x].shape[1]
    groups = d.pick(*(n for n in range(1, channels + 1) if channels % n == 0))
    # Where all values are alike, their difference is rounding, divided by next to nothing.
    for scope in d.scopes:
        d.need(min(scope[x].shape) > 0)
        parts = scope[x].reshape(len(scope[x]), groups, -1)
        d.need(parts.shape[2] > 1 and float(parts.std(2).min()) > 0.02 * float(parts.abs().max()))
    norm = d.pick(
        f"nn.GroupNorm({groups}, {channels})", f"nn.GroupNorm({groups}, {channels}, affine=False)"
    )
    if groups == channels:
        norm = f"nn.InstanceNorm2d({channels}, affine={d.pick(True, False)})"
    d.let(f"{d.module(norm)}({x})")


@step
def channels_last(d: Draft) -> None:
    """A map permuted for operations on its last axis, and permuted back, perhaps more than once."""
    x = d.map()
    y = d.let(d.pick(f"{x}.permute(0, 2, 3, 1)", f"{x}.movedim(1, -1)"))
    for _ in range(d.pick(1, 2, 4)):
        channels = d[y].shape[3]
        kind = d.pick("norm", "linear", "linear", "act", "scale", "sum", "part", "cat")
        if kind == "norm":
            y = d.let(f"{d.module(f'nn.LayerNorm({channels})')}({y} + {y}.sin())")
        elif kind == "linear":
            bias = d.pick(True, False)
            made = d.module(f"nn.Linear({channels}, {d.pick(*CHANNELS)}, bias={bias})")
            y = d.let(f"{made}({y})")
        elif kind == "act":
            y = d.let(f"F.{d.pick('gelu', 'relu', 'silu')}({y})")
        elif kind == "scale":
            shape = d.pick("()", f"({channels},)", f"(1, 1, 1, {channels})")
            k = d.module(f"nn.Parameter(torch.empty({shape}))")
            y = d.let(d.pick(f"{y} * {k}", f"{k} + {y}", f"{y} / 3", f"{y} - {k}"))
        elif kind == "sum":
            y = d.let(f"{y} + F.relu({y})")
        elif kind == "part" and channels > 1:
            y = d.let(d.pick(f"{y}[..., 1:]", f"{y}[:, :, 1:]", f"{y}.chunk(2, -1)[0]"))
        elif kind == "cat" and channels < 12:
            y = d.let(f"torch.cat([{y}, -{y}], {d.pick('-1', '3', '2')})")
    d.let(d.pick(f"{y}.permute(0, 3, 1, 2)", f"{y}.movedim(-1, 1)"))


@step
def learnt_slopes(d: Draft) -> None:
    x = d.map()
    d.let(f"{d.module(f'nn.PReLU({d.pick(1, d[x].shape[1])})')}({x})")


@step
def gated_by_half(d: Draft) -> None:
    x = d.map()
    made = d.module(f"nn.Conv2d({d[x].shape[1]}, {2 * d.pick(*CHANNELS)}, 1)")
    d.let(f"F.glu({made}({x}), 1)")


@step
def value_by_value(d: Draft) -> None:
    x = d.map()
    function = d.pick("F.selu({})", "torch.square({})", "{}.abs()", "F.softsign({})",
                      "F.hardshrink({}, 0.2)", "F.logsigmoid({})", "{}.clamp(min=-0.3)",
                      "torch.maximum({0}, {0}.neg() * 0.2)", "torch.minimum({0}, {0}.square())",
                      "{0} * {0}.mean(1, keepdim=True).sigmoid()",
                      "{0} * {0}.amax(1, keepdim=True).sigmoid()",
                      "{0} * {0}.max(1, True)[0].sigmoid()",
                      "{0} * F.adaptive_max_pool2d({0}, 1).sigmoid()",
                      "F.normalize({}, dim=1, eps=0.1)", "F.softmax({}, 1)", "F.log_softmax({}, 1)",
                      "{0} / ({0}.var(1, correction=0, keepdim=True) + 0.5)",
                      "{0} / ({0}.std((2, 3), correction=0, keepdim=True) + 0.5)",
                      "F.local_response_norm({}, 3, 0.5)", "{0} - {0}.amin((2, 3), True)",
                      "{0} + {0}.min(1, True)[0]",
                      "{0} - {0}.mean((2, 3), True)", "{0}.mean(1, True) - {0}",
                      "{0} / ({0}.norm(dim=(2, 3), keepdim=True) + 0.5)",
                      "({0} * 0.3).exp()", "({0}.abs() + 0.2).log()", "{0}.erf()")  # fmt: skip
    d.let(function.format(x))


@step
def line(d: Draft) -> None:
    """All pixels one after the other, as sounds and series are."""
    x = d.map()
    channels = d[x].shape[1]
    d.need(all(scope[x][0, 0].numel() > 5 for scope in d.scopes))
    options = d.pick("3, padding=1", "5, 2, 2", "3, 1, 2, 2")
    y = d.let(f"{d.module(f'nn.Conv1d({channels}, 8, {options})')}({x}.flatten(2))")
    d.let(d.pick("F.gelu({})", "F.max_pool1d({}, 2)", "F.avg_pool1d({}, 3, 1, 1)", "{0} + {0} * 2",
                 "{}[:, 2:] / 3", "F.interpolate({}, scale_factor=2.0)").format(y))  # fmt: skip


@step
def pixels_to_channels(d: Draft) -> None:
    x = d.map()
    d.need(all(n % 2 == 0 for scope in d.scopes for n in scope[x].shape[2:]))
    d.need(d[x].shape[1] <= 8)
    # PyTorch 2.13 and 2.14 give an empty batch the shape that it came with.
    d.need(all(len(scope[x]) for scope in d.scopes))
    d.let(f"F.pixel_unshuffle({x}, 2)")


@step
def channels_to_pixels(d: Draft) -> None:
    x = d.map()
    made = d.module(f"nn.Conv2d({d[x].shape[1]}, {4 * d.pick(1, 2, 3)}, 1)")
    d.let(f"F.pixel_shuffle({made}({x}), 2)")
