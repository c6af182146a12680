"""Steps that work on each value, on channels, or on the statistics of a map."""

from __future__ import annotations

from tests.grammar.draft import step

# A gradient passes everywhere, whatever the sign.
SMOOTH = (
    "celu", "elu", "gelu", "leaky_relu", "logsigmoid", "mish", "selu", "sigmoid", "silu",
    "softplus", "softsign", "tanh", "tanhshrink",
)  # fmt: skip
ROUGH = ("relu", "relu6", "hardsigmoid", "hardswish", "hardtanh", "hardshrink", "softshrink")
UNARY = (
    "abs", "asin_", "acos_", "atan", "cos_", "cosh_", "digamma_", "erf", "exp_", "exp2_", "expm1_",
    "lgamma_", "log_", "log10_", "log1p_", "log2_", "neg", "reciprocal_", "rsqrt_", "sin_",
    "sinh_", "sqrt_", "square_", "tan_",
)  # fmt: skip
STEPPED = ("ceil", "floor", "round", "trunc", "sign", "isnan", "isinf", "logical_not", "frac")


@step
def smooth_activation(d):
    d.run(f"x = F.{d.pick(*SMOOTH)}(x)")


@step
def rough_activation(d):
    d.rough()
    d.run(f"x = F.{d.pick(*ROUGH)}(x - 0.4)")


@step
def inplace_activation(d):
    d.rough()
    d.run("x = x - 0.4", f"F.{d.pick('relu', 'relu6', 'hardtanh')}(x, inplace=True)")


@step
def unary(d):
    """A name that ends in `_` wants values between 0 and 1."""
    name = d.pick(*UNARY)
    taken = "(x.sigmoid() * 0.8 + 0.1)" if name.endswith("_") else "x"
    d.run(f"x = torch.{name.removesuffix('_')}({taken})")


@step
def stepped(d):
    d.rough()
    d.run(f"x = x + torch.{d.pick(*STEPPED)}(x * 1.7).to(x.dtype)")


@step
def glu(d):
    d.need(d.channels % 2 == 0)
    d.run("x = F.glu(x, 1)")


@step
def prelu(d):
    d.run(f"x = {d.module(f'nn.PReLU({d.channels})')}(x - 1)")


@step
def threshold(d):
    d.rough()
    d.run(d.pick("x = F.threshold(x, 0.9, 0.1)", "x = x.clamp(0.3, 1.1)", "x = x.clamp_min(0.8)"))


@step
def scalars(d):
    d.run(d.pick("x = x * 2 - 0.5", "x = 1 - x / 3", "x = (x.abs() + 1) ** 1.5", "x = x.neg() + 2"))


@step
def remainders(d):
    d.rough()
    d.blocked()
    call = d.pick("x % 0.7", "torch.fmod(x, 0.6)", "torch.floor_divide(x, 0.3)")
    d.run("with torch.no_grad():", f"    x = {call}")


@step
def compare(d):
    d.rough()
    sign = d.pick(">", "<", ">=", "<=", "==", "!=")
    d.run(f"x = x * (x {sign} x.mean(1, keepdim=True)).to(x.dtype) + x")


@step
def logic(d):
    """Truth values combined: of the map itself and of the map moved by one."""
    d.rough()
    call = d.pick("torch.logical_and", "torch.logical_or", "torch.bitwise_or", "torch.bitwise_and",
                  "torch.logical_xor", "torch.ne", "torch.eq")  # fmt: skip
    d.run(f"x = x + {call}(x > 0.9, x.roll(1, -1) > 0.9).to(x.dtype)")


@step
def inverted(d):
    d.rough()
    d.run("x = torch.where(torch.bitwise_not(x > 0.9), x, 2 * x)")


@step
def identity(d):
    d.run(
        d.pick(
            "x = F.dropout(x, 0.5, training=False)", "x = x.clone()", "x = x.contiguous()",
            "x = x.to(torch.float64)", "x = F.alpha_dropout(x, 0.5)", "x = x.type_as(x)",
            f"x = F.dropout{max(1, d.dims)}d(x, 0.5, training=False)", "x = F.rrelu(x)",
            "x = F.feature_alpha_dropout(x, 0.5)", "x = torch.true_divide(x, 2)",
        )
    )  # fmt: skip


@step
def narrow_and_back(d):
    d.run("x = x.float().double()")


@step
def detach(d):
    d.blocked()
    d.run("x = x.detach() + 0.1 * x")


@step
def batch_norm(d):
    d.run(f"x = {d.module(f'nn.BatchNorm{d.dims}d({d.channels})')}(x)")


@step
def batch_norm_of_the_batch(d):
    d.run(f"x = {d.module(f'nn.BatchNorm{d.dims}d({d.channels}, track_running_stats=False)')}(x)")


@step
def batch_norm_in_training(d):
    d.run("x = F.batch_norm(x, None, None, training=True)")


@step
def instance_norm(d):
    d.run("x = F.instance_norm(x)")


@step
def instance_norm_module(d):
    tracked = f"nn.InstanceNorm{d.dims}d({d.channels}, affine=True, track_running_stats=True)"
    d.run(f"x = {d.module(tracked)}(x)")


@step
def group_norm(d):
    groups = d.pick(*(g for g in (1, 2, 3, 4) if d.channels % g == 0))
    d.need(max(d.space) > 1)
    d.run(f"x = {d.module(f'nn.GroupNorm({groups}, {d.channels})')}(x)")


@step
def layer_norm_of_channels(d):
    norm = d.module(f"nn.LayerNorm({d.channels})")
    d.need(d.channels > 1)
    d.run(f"x = {norm}(x.movedim(1, -1)).movedim(-1, 1)")


@step
def layer_norm_of_space(d):
    last = d.space[-d.pick(1, d.dims) :]
    d.need(max(last) > 1)
    d.run(f"x = F.layer_norm(x, {last})")


@step
def layer_norm_by_hand(d):
    d.need(d.channels > 2)
    d.run(
        "x = x - x.mean(1, keepdim=True)",
        "x = x / (x.pow(2).mean(1, keepdim=True) + 0.1).sqrt()",
    )


@step
def rms_norm(d):
    d.need(d.channels > 1)
    d.run(f"x = F.rms_norm(x.movedim(1, -1), ({d.channels},)).movedim(-1, 1)")


@step
def normalize(d):
    d.need(d.channels > 1)
    d.run("x = F.normalize(x, dim=1)")


@step
def local_response(d):
    d.run("x = F.local_response_norm(x, 3)")


@step
def weight_norm(d):
    source = (
        f"nn.utils.parametrizations.weight_norm(nn.Conv{d.dims}d({d.channels}, 2, 3, padding=1))"
    )
    d.run(f"x = {d.module(source)}(x)")


def softmax(d, dim):
    """Of squares, and added to the map: what is added to all values of a softmax does not show in
    it, and its sum is 1, so that other steps might read in vain."""
    call = d.pick("F.softmax", "F.log_softmax")
    if d.chance(0.5):
        d.rough()
        d.run(f"x = {call}(x, {dim})")
    else:
        d.run(f"x = {call}(x * x, {dim}) + 0.3 * x")


@step
def softmax_of_channels(d):
    d.need(d.channels > 1)
    softmax(d, 1)


@step
def softmax_of_space(d):
    dim = d.place()
    d.need(d.x.shape[dim] > 1)
    softmax(d, dim - d.x.ndim)


@step
def channel_shuffle(d):
    groups = d.pick(2, 3)
    d.need(d.channels % groups == 0 and d.dims == 2)
    d.run(f"x = F.channel_shuffle(x, {groups})")


@step
def channel_linear(d):
    linear = d.module(f"nn.Linear({d.channels}, {d.pick(2, 3)})")
    d.run(f"x = {linear}(x.movedim(1, -1)).movedim(-1, 1)")


@step
def row_linear(d):
    """A linear layer along the last axis of space: all of it is read."""
    d.run(f"x = {d.module(f'nn.Linear({d.space[-1]}, {d.pick(3, 5)})')}(x)")


@step
def channel_einsum(d):
    d.need(d.channels > 1)
    letters = "xyz"[: d.dims]
    weight = d.parameter(2, d.channels)
    d.run(f"x = torch.einsum('bc{letters},oc->bo{letters}', x, {weight})")


@step
def embedding(d):
    """A table looked up by quantised values."""
    d.rough()
    table = d.module("nn.Embedding(4, 2)")
    d.run(f"x = {table}((x[:, 0].abs() * 3).long() % 4).movedim(-1, 1)")


@step
def coordinates(d):
    """CoordConv: positions made by the network itself."""
    n = d.space[-1]
    v = d.name()
    d.run(
        f"{v} = torch.linspace(0, 1, {n}, dtype=x.dtype).expand(x.shape[0], 1, *x.shape[2:])",
        f"x = torch.cat([x, {v}], 1)",
    )


@step
def grid(d):
    d.need(d.dims == 2)
    h, w = d.space
    v, u = d.name(), d.name()
    d.run(
        f"{v}, {u} = torch.meshgrid(torch.arange({h}), torch.arange({w}), indexing='ij')",
        f"x = x + 0.1 * ({v} + {u}).to(x.dtype)",
    )


@step
def counter(d):
    """A buffer that every call changes."""
    d.leaves_attributes = True
    d.run(f"{d.module('nn.BatchNorm1d(1)')}.num_batches_tracked += 1", "x = x + 0.1")


@step
def created(d):
    """Tensors that the network makes, added along the last axis."""
    n = d.space[-1]
    values = d.pick(
        f"torch.full(({n},), 0.2, dtype=x.dtype)", f"x.new_full(({n},), 0.2)", f"x.new_ones({n})",
        f"torch.eye({n}, dtype=x.dtype)[0]", "torch.full_like(x, 0.3)",
        f"torch.zeros({n}, dtype=x.dtype)", f"torch.tensor({[0.1] * n}, dtype=x.dtype)",
        "torch.scalar_tensor(0.4, dtype=x.dtype)",
    )  # fmt: skip
    d.run(f"x = x + {values}")


@step
def lazy_cache(d):
    d.leaves_attributes = True
    name = f"cache_{d.name()}"
    n = d.space[-1]
    d.run(
        f"if not hasattr(s, {name!r}):",
        f"    s.{name} = torch.linspace(1, 2, {n}, dtype=x.dtype)",
        f"x = x * s.{name}",
    )
