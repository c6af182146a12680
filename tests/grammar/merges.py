"""Steps that bring several tensors together, or run a step in another context."""

from __future__ import annotations

from tests.grammar.draft import STEPS, step

SIMPLE = (
    "convolution", "padded_convolution", "grouped_convolution", "average_pool", "pad",
    "strided_slice", "smooth_activation", "transposed_convolution", "nearest",
    "linear_interpolation", "group_norm", "cumulative", "list_of_channels", "roll",
    "gate_of_channels", "channel_linear", "area",
)  # fmt: skip


def _single():
    """Every step with one way through it, so that branches do not branch without end."""
    return [name for name, function in STEPS.items() if function.__module__ != __name__]


def branches(d, same_channels=True):
    """Two branches from the map, cut to one size; returns the variables that hold them."""
    start, axes = d.name(), list(d.axes)
    d.run(f"{start} = x")
    names = []
    for _ in range(2):
        d.run(f"x = {start}")
        for _ in range(d.pick(1, 1, 2)):
            with d.undone_if_unfit():
                STEPS[d.pick(*SIMPLE) if d.chance(0.7) else d.pick(*_single())](d)
        d.need(d.axes == axes)
        names.append(d.name())
        d.run(f"{names[-1]} = x")
    a, b = (d.scope[name] for name in names)
    sizes = [min(p, q) for p, q in zip(a.shape[2:], b.shape[2:])]
    channels = min(a.shape[1], b.shape[1]) if same_channels else None
    for name, tensor in zip(names, (a, b)):
        target = [channels or tensor.shape[1], *sizes]
        if list(tensor.shape[1:]) != target:
            cut = ", ".join(f":{n}" for n in target)
            d.run(f"{name} = {name}[:, {cut}]")
    return names


@step
def add(d):
    a, b = branches(d)
    d.run(d.pick(f"x = {a} + {b}", f"x = torch.add({a}, {b}, alpha=0.5)", f"x = {a} - 0.3 * {b}",
                 f"x = torch.rsub({a}, {b} * 3)"))  # fmt: skip


@step
def multiply(d):
    a, b = branches(d)
    d.run(d.pick(f"x = {a} * {b}", f"x = {a} / ({b}.abs() + 1)",
                 f"x = ({a}.abs() + 1) ** {b}.tanh()",
                 f"x = torch.atan2({a}, {b}.abs() + 0.5)"))  # fmt: skip


@step
def concatenate(d):
    a, b = branches(d, same_channels=False)
    d.run(f"x = torch.{d.pick('cat', 'concat', 'concatenate')}([{a}, {b}], 1)")


@step
def concatenate_space(d):
    a, b = branches(d)
    d.run(f"x = torch.cat([{a}, {b}], {d.place()})")


@step
def hstack(d):
    a, b = branches(d)
    d.run(f"x = torch.hstack([{a}, {b}])")


@step
def stack_and_sum(d):
    a, b = branches(d)
    dim = d.pick(0, 1, 2, -1)
    d.run(f"x = torch.stack([{a}, {b}], {dim}).{d.pick('sum', 'mean', 'logsumexp')}({dim})")


@step
def stack_and_flatten(d):
    """Two maps with their channels interleaved."""
    a, b = branches(d)
    d.run(f"x = torch.stack([{a}, {b}], 2).flatten(1, 2)")


@step
def selective_kernel(d):
    """SKNet: branches weighed by a softmax over them."""
    a, b = branches(d)
    v = d.name()
    d.run(
        f"{v} = torch.stack([{a}, {b}], 1)",
        f"x = ({v} * F.softmax({v}, 1)).sum(1)",
    )


@step
def lerp(d):
    a, b = branches(d)
    w = d.pick("torch.sigmoid(x)", "x.mean(1, keepdim=True)")
    d.run(f"x = torch.lerp({a}, {b}, {w}[{cut_of(d, a)}])")


def cut_of(d, name):
    space = d.scope[name].shape[2:]
    return ", ".join([":", f":{d.scope[name].shape[1]}", *(f":{n}" for n in space)])


@step
def addcmul(d):
    a, b = branches(d)
    call = d.pick(f"torch.addcmul({a}, {a}, {b})", f"torch.addcdiv({a}, {a}, {b}.abs() + 1)",
                  f"torch.addcmul({b}, {a}, {a}, value=0.5)")  # fmt: skip
    d.run(f"x = {call}")


@step
def maximum(d):
    d.rough()
    a, b = branches(d)
    call = d.pick("max", "min", "maximum", "minimum", "fmax", "fmin")
    d.run(f"x = torch.{call}({a}, {b})")


@step
def clamp_by_tensors(d):
    d.rough()
    a, b = branches(d)
    d.run(d.pick(f"x = torch.clamp({a}, min={b})", f"x = torch.clamp({a}, max={b})",
                 f"x = {a}.clamp({b} - 0.1, {b} + 0.1)", f"x = torch.clamp_min({a}, {b})",
                 f"x = torch.clamp_max({a}, {b})"))  # fmt: skip


@step
def where(d):
    d.rough()
    a, b = branches(d)
    d.run(d.pick(f"x = torch.where({a} > 0.9, {a}, {b})", f"x = torch.where({b} > 0.8, {a}, 0.1)",
                 f"x = {a}.masked_fill({b} > 0.9, 0.2)",
                 f"x = torch.where(({a} > 0.5) & ({b} < 1.5), {a}, {b})"))  # fmt: skip


@step
def two_operands_without_a_rule(d):
    a, b = branches(d)
    d.run(f"x = torch.{d.pick('logaddexp', 'hypot', 'xlogy')}({a}.abs() + 0.5, {b}.abs() + 1.5)")


@step
def grid_sample(d):
    d.need(d.dims == 2)
    d.rough()
    conv = d.module(f"nn.Conv2d({d.channels}, 2, 3, padding=1)")
    d.run(
        f"x = F.grid_sample(x, torch.tanh({conv}(x) - 1).permute(0, 2, 3, 1), align_corners=False)"
    )


@step
def computed_convolution_weight(d):
    weight = d.parameter(2, d.channels, *[3] * d.dims)
    d.run(f"x = F.conv{d.dims}d(x, {weight} * x.mean(), padding=1)")


@step
def computed_convolution_bias(d):
    weight = d.parameter(d.channels, d.channels, *[1] * d.dims)
    dims = (0, *range(2, d.x.ndim))
    d.run(f"x = F.conv{d.dims}d(x, {weight}, bias=x.mean({dims}))")


@step
def dynamic_filter(d):
    """Each image is filtered by a kernel of its own, groups for images."""
    d.need(d.dims == 2)
    n, c = d.x.shape[:2]
    d.run(
        f"x = F.conv2d(x.reshape(1, -1, *{d.space}), x[:, :, :3, :3].reshape(-1, 1, 3, 3) / 9, "
        f"padding=1, groups={n * c}).reshape({n}, {c}, *{d.space})"
    )


@step
def computed_group_norm(d):
    dims = (0, *range(2, d.x.ndim))
    d.run(f"x = F.group_norm(x, 1, x.mean({dims}), x.amax({dims}))")
    d.rough()


@step
def computed_batch_norm(d):
    dims = (0, *range(2, d.x.ndim))
    stats = d.pick(f"x.mean({dims}), x.var({dims}) + 0.1", f"torch.zeros({d.channels}, "
                   f"dtype=x.dtype), x.pow(2).mean({dims})")  # fmt: skip
    d.blocked()  # as torch has no derivative by the statistics
    d.run("with torch.no_grad():", f"    x = F.batch_norm(x, {stats})")


@step
def computed_batch_norm_weight(d):
    dims = (0, *range(2, d.x.ndim))
    bn = f"torch.zeros({d.channels}, dtype=x.dtype), torch.ones({d.channels}, dtype=x.dtype)"
    d.run(f"x = F.batch_norm(x, {bn}, weight=x.mean({dims}))")


@step
def computed_layer_norm(d):
    n = d.space[-1]
    d.need(n > 1)
    dims = tuple(range(d.x.ndim - 1))
    d.run(f"x = F.layer_norm(x, ({n},), weight=x.mean({dims}))")


@step
def computed_prelu(d):
    d.rough()
    dims = (0, *range(2, d.x.ndim))
    d.run(f"x = F.prelu(x - 1, x.mean({dims}))")


@step
def computed_linear(d):
    v = d.name()
    d.run(
        f"{v} = x.movedim(1, -1)",
        f"x = F.linear({v}, {v}.reshape(-1, {d.channels})[:2] * 0.3).movedim(-1, 1)",
    )


@step
def computed_index(d):
    d.rough()
    n = d.space[-1]
    d.run(f"x = x + x[..., x.mean((0, 1)).reshape(-1, {n})[0].mul(3).long() % {n}]")


@step
def computed_gather(d):
    d.rough()
    dim = d.place()
    n = d.x.shape[dim]
    d.run(f"x = x.gather({dim}, (x.abs() * 7).long() % {n})")


@step
def computed_select(d):
    d.rough()
    d.run("x = x + x.index_select(1, x.mean().mul(9).long().reshape(1) % x.shape[1])")


@step
def axis_vector(d):
    """A vector of one axis of space, broadcast over the others."""
    dim = d.place()
    v = d.name()
    others = tuple(i for i in range(1, d.x.ndim) if i != dim)
    shape = [1] * d.x.ndim
    shape[dim] = d.x.shape[dim]
    d.run(f"{v} = x[:1].mean({others}).reshape({shape})", f"x = x {d.pick('+', '*')} {v}")


@step
def trailing_vector(d):
    """A vector without leading dimensions, broadcast along the last axis."""
    v = d.name()
    d.run(f"{v} = x.mean({tuple(range(d.x.ndim - 1))})", f"x = x * {v}")


@step
def bare_map(d):
    """(N, H, W) or (H, W), broadcast against (N, C, H, W)."""
    v = d.name()
    d.run(f"{v} = x.mean((0, 1))", f"x = x + {v}.sigmoid()")


@step
def outer_sum(d):
    """Rows and columns of two means, laid across each other."""
    d.need(d.dims == 2 and d.space[0] != 1)
    d.run("x = x.mean(3, keepdim=True) + x.mean(2, keepdim=True)")


@step
def outer_product(d):
    d.need(d.dims == 2)
    d.run("x = torch.einsum('bch,bcw->bchw', x.mean(3), x.mean(2))")


@step
def transposed_merge(d):
    """A map and its own transpose: a position of the result reads two places."""
    d.need(d.dims == 2 and d.space[0] == d.space[1] and d.axes[0] != d.axes[1])
    v = d.name()
    d.run(
        f"{v} = x.transpose(2, 3)",
        d.pick(
            f"x = x + {v}", f"x = torch.stack([x, {v}], 1).sum(1)", f"x = torch.cat([x, {v}], 1)",
            f"x = torch.einsum('bchw,bchw->bchw', x, {v})", f"x = x.clone().add_({v})",
            f"x = torch.lerp(x, {v}, 0.3)", f"x = torch.addcmul(x, x, {v})",
        ),
    )  # fmt: skip


@step
def one_position(d):
    """The corner of the map, added to all of it."""
    d.run(f"x = x + x[{', '.join([':', ':'] + [d.pick(':1', '-1:')] * d.dims)}]")


@step
def correlation(d):
    """Every position compared with the moved map."""
    d.run("x = (x * x.roll(1, -1)).sum(1, keepdim=True)")


@step
def scalar_of_all(d):
    d.run(d.pick("x = x * x.mean()", "x = x / (x.norm() + 1)", "x = x + x.sum() / x.numel()"))


@step
def scalar_of_a_corner(d):
    d.run(f"x = x * x[{', '.join(['0'] * d.x.ndim)}]")


@step
def number_of_all(d):
    """A number that is read from the map, wherever operations take one."""
    d.rough()
    d.blocked()
    v, n = d.name(), d.space[-1]
    d.run(
        f"{v} = x.mean().item()",
        d.pick(
            f"x = x * {v}", f"x = x.clamp(min={v})", f"x = F.leaky_relu(x - 1, {v})",
            f"x = x + torch.full(({n},), {v}, dtype=x.dtype)", f"x = x + torch.full_like(x, {v})",
            f"x = x + x.new_full(({n},), {v} * 2)", f"x = x.masked_fill(x > 1, {v})",
            f"x = x + torch.scalar_tensor({v}, dtype=x.dtype)", f"x = F.elu(x - 1, {v})",
            f"x = x + torch.linspace(0, {v}, {n}, dtype=x.dtype)", f"x = x.clone().fill_({v}) + x",
            f"x = torch.add(x, x.roll(1, -1), alpha={v})", f"x = F.threshold(x, {v}, 0.1)",
        ),
    )  # fmt: skip


@step
def ends_of_a_line(d):
    d.rough()
    d.blocked()
    n = d.space[-1]
    d.run(f"x = x + torch.linspace(x.min(), x.max() + 1, {n}, dtype=x.dtype)")


@step
def normal_around_the_map(d):
    """Random numbers of no deviation, which are their means."""
    d.blocked()
    d.run(d.pick("x = torch.normal(x, 0.0)", "x = torch.normal(x, torch.zeros_like(x))"))


@step
def computed_shift(d):
    """The map rolled to where its largest value says."""
    d.rough()
    d.blocked()
    d.run(f"x = torch.roll(x, x.argmax().item(), {d.place()})")


@step
def computed_channel(d):
    d.rough()
    d.blocked()
    v = d.name()
    d.run(
        f"{v} = x.transpose(0, 1).flatten(1).mean(1).argmax().item()",
        f"torch._check({v} >= 0)",
        f"torch._check({v} < {d.channels})",
        f"x = x + x.select(1, {v}).unsqueeze(1)",
    )


def inner(d):
    """Two convolutions by name of their modules, for one context."""
    size = d.pick(3, 5)
    one = d.module(f"nn.Conv{d.dims}d({d.channels}, 2, {size}, padding={size // 2})")
    two = d.module(f"nn.Conv{d.dims}d(2, 2, 3, padding=1)")
    return f"{two}(F.silu({one}(x)))"


@step
def without_gradients(d):
    d.blocked()
    d.run("with torch.no_grad():", f"    x = {inner(d)}")


@step
def with_gradients(d):
    d.run("with torch.enable_grad():", f"    x = {inner(d)}")


@step
def gradients_set(d):
    d.run("with torch.set_grad_enabled(True):", f"    x = x * 2 + {inner(d)}.mean(1, keepdim=True)")


@step
def autocast(d):
    enabled = d.pick("", ", enabled=False")
    v = d.name()
    d.run(f"with torch.autocast('cpu'{enabled}):", f"    {v} = {inner(d)}", f"x = {v}.to(x.dtype)")


@step
def checkpointed(d):
    call = inner(d)
    d.run(f"x = checkpoint(lambda x: {call}, x, use_reentrant=False)")


@step
def nested_contexts(d):
    d.run(
        "with torch.autocast('cpu', enabled=False):",
        "    with torch.enable_grad():",
        f"        x = x.mean(1, keepdim=True) + {inner(d)}",
    )


@step
def out_argument(d):
    a, b = branches(d)
    d.blocked()
    call = f"torch.add({a}, {b}, out=torch.empty_like({a}))"
    d.run("with torch.no_grad():", f"    x = {call}")


@step
def random_numbers(d):
    """Noise without effect: it is multiplied by zero."""
    d.run("x = x + 0 * torch.rand_like(x)")
