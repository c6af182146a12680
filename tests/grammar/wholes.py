"""Steps that join a whole axis: reductions, attention, products over space, recurrent layers."""

from __future__ import annotations

from tests.grammar.draft import step


def all_space(d):
    return tuple(range(2, d.x.ndim))


@step
def squeeze_and_excite(d):
    d.run(f"x = x * x.mean({all_space(d)}, keepdim=True).sigmoid()")


@step
def excite_by_pool(d):
    d.run(f"x = x + F.adaptive_avg_pool{d.dims}d(x, 1) * 0.5")


@step
def excite_by_maximum(d):
    d.rough()
    d.run(f"x = x * x.amax({all_space(d)}, keepdim=True)")


@step
def gate_of_channels(d):
    """CBAM's: a map of the mean over channels gates them all."""
    conv = d.module(f"nn.Conv{d.dims}d(1, 1, {d.pick(3, 5)}, padding='same')")
    reduced = d.pick(
        "x.mean(1, keepdim=True)", "x.mean(1).unsqueeze(1)", "x.sum(1, keepdim=True)",
        "x.pow(2).sum(1)[:, None]", "x.logsumexp(1, keepdim=True)",
        "torch.std_mean(x, 1, keepdim=True)[1]", "x.mean((1,), True)",
    )  # fmt: skip
    d.run(f"x = x * torch.sigmoid({conv}({reduced}))")


@step
def gate_of_maxima(d):
    d.rough()
    conv = d.module(f"nn.Conv{d.dims}d(2, 1, 3, padding='same')")
    v = d.name()
    d.run(
        f"{v} = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)",
        f"x = x * torch.sigmoid({conv}({v}))",
    )


@step
def reduce_channels(d):
    call = d.pick("mean", "sum", "var", "std", "logsumexp", "prod", "norm")
    d.need(d.channels > 1 or call not in ("var", "std"))
    d.run(f"x = x.{call}({'dim=' if call == 'norm' else ''}1, keepdim=True)")


@step
def extreme_of_channels(d):
    d.rough()
    d.run(f"x = x.{d.pick('amax', 'amin')}(1, keepdim=True)")


@step
def all_or_any(d):
    d.rough()
    d.run(f"x = x + torch.{d.pick('all', 'any')}(x > 0.9, 1, keepdim=True).to(x.dtype)")


@step
def mean_of_an_axis(d):
    """One axis of space is lost."""
    d.need(d.dims > 1)
    dim = d.place()
    d.run(f"x = x.{d.pick('mean', 'sum', 'logsumexp')}({dim - d.x.ndim})")
    d.axes.pop(dim - 2)


@step
def strip_pool(d):
    """The mean of each row, added to every one of its values."""
    d.run(f"x = x + x.mean({d.place()}, keepdim=True)")


@step
def strip_gate(d):
    dim = d.place()
    d.run(f"x = x * x.mean({dim}).unsqueeze({dim}).sigmoid()")


@step
def cumulative(d):
    d.run(f"x = torch.cumsum(x, {d.pick(1, d.place())}) / 4")


@step
def cumulative_of_other_kinds(d):
    d.rough()
    dim = d.pick(1, d.place())
    d.run(d.pick(f"x = torch.cummax(x, {dim})[0]", f"x = torch.logcumsumexp(x, {dim})"))


@step
def argmax_of_channels(d):
    d.rough()
    d.blocked()
    d.run("x = x.argmax(1, keepdim=True).to(x.dtype)")


@step
def argmax_of_an_axis(d):
    d.rough()
    dim = d.place()
    d.run(f"x = x + 0.1 * x.argmin({dim}, keepdim=True)")


@step
def one_hot(d):
    d.rough()
    d.blocked()
    d.run(f"x = F.one_hot(x.argmax(1), {d.channels}).movedim(-1, 1).to(x.dtype)")


@step
def sort(d):
    d.rough()
    d.run(f"x = torch.sort(x, {d.pick(1, d.place())})[0]")


@step
def topk(d):
    d.rough()
    d.need(d.channels > 1)
    d.run("x = torch.topk(x, 2, 1)[0]")


def heads(d):
    """The map as tokens of a sequence, and the line that makes a map of them again."""
    return "x.flatten(2).transpose(1, 2)", f".transpose(1, 2).reshape(x.shape[0], -1, *{d.space})"


@step
def attention(d):
    tokens, back = heads(d)
    v = d.name()
    d.run(f"{v} = {tokens}", f"x = F.scaled_dot_product_attention({v}, {v}, {v}){back}")


@step
def causal_attention(d):
    tokens, back = heads(d)
    v = d.name()
    call = f"F.scaled_dot_product_attention({v}, {v}, {v}, is_causal=True)"
    d.run(f"{v} = {tokens}", f"x = {call}{back}")


@step
def masked_attention(d):
    tokens, back = heads(d)
    v, n = d.name(), d.x[0, 0].numel()
    d.run(
        f"{v} = {tokens}",
        f"x = F.scaled_dot_product_attention({v}, {v}, {v}, attn_mask=torch.ones({n}, {n}).tril(1)"
        f".bool()){back}",
    )


@step
def attention_with_a_computed_mask(d):
    tokens, back = heads(d)
    v = d.name()
    d.run(
        f"{v} = {tokens}",
        f"x = F.scaled_dot_product_attention({v}, {v}, {v}, attn_mask={v} @ {v}.transpose(1, 2))"
        f"{back}",
    )


@step
def multihead(d):
    d.need(d.channels % 2 == 0)
    tokens, back = heads(d)
    v = d.name()
    module = d.module(f"nn.MultiheadAttention({d.channels}, 2, batch_first=True)")
    d.run(f"{v} = {tokens}", f"x = {module}({v}, {v}, {v}, need_weights=False)[0]{back}")


@step
def attention_by_hand(d):
    # A sum over one channel is a product for torch's counter and a contraction for ours.
    d.need(d.channels > 1)
    tokens, back = heads(d)
    v, w = d.name(), d.name()
    product = d.pick(f"{v} @ {v}.transpose(1, 2)", f"torch.einsum('bic,bjc->bij', {v}, {v})",
                     f"torch.bmm({v}, {v}.mT)")  # fmt: skip
    d.run(f"{v} = {tokens}", f"{w} = F.softmax({product}, -1)", f"x = ({w} @ {v}){back}")


@step
def channel_attention(d):
    """The channels weigh each other by a product over all of space."""
    v, w = d.name(), d.name()
    d.run(
        f"{v} = x.flatten(2)",
        f"{w} = F.softmax({v} @ {v}.transpose(1, 2) / {v}.shape[2], -1)",
        f"x = x + ({w} @ {v}).reshape(x.shape)",
    )


@step
def tokens(d):
    """A linear layer on channels, with the map as a sequence meanwhile."""
    before, back = heads(d)
    linear = d.module(f"nn.Linear({d.channels}, {d.channels})")
    d.run(f"x = {d.pick('', 'x + ')}{linear}({before}){back}")


@step
def tokens_mixed(d):
    """MLP-Mixer: a linear layer over all positions."""
    n = d.x[0, 0].numel()
    linear = d.module(f"nn.Linear({n}, {n})")
    d.run(f"x = x + {linear}(x.flatten(2)).reshape(x.shape)")


@step
def product_of_matrices(d):
    """The last axis mixed by a trained matrix, from either side."""
    d.need(d.dims > 1)
    h, w = d.space[-2:]
    d.run(d.pick(f"x = x @ {d.parameter(w, w)}", f"x = {d.parameter(h, h)} @ x"))


@step
def lower_triangle(d):
    """A matrix made by the network: each position reads those before it."""
    n = d.space[-1]
    d.run(f"x = x @ torch.ones({n}, {n}, dtype=x.dtype).triu() / {n}")


@step
def matrix_of_all(d):
    """The map as one matrix: a row per position, or one vector for a product."""
    c = d.channels
    d.need(d.x.shape[0] == 1)
    flat, back = "x.flatten(2)[0]", f".reshape(1, -1, *{d.space})"
    weight, vector = d.parameter(2, c), d.parameter(c)
    d.run(
        d.pick(
            f"x = torch.mm({weight}, {flat}){back}",
            f"x = torch.mv({flat}.t(), {vector}){back}",
            f"x = ({flat}.t() @ {vector}){back}",
            f"x = ({vector} @ {flat}){back}",
            f"x = torch.addmm({flat}, torch.ones({c}, {c}, dtype=x.dtype) / {c}, {flat}){back}",
            f"x = x * torch.dot({vector}, x.mean({all_space(d)})[0])",
            f"x = x + torch.outer({vector}, x.flatten(2).sum((0, 1))){back}",
            f"x = torch.addmv({vector}.sum() + x.flatten(2)[0, 0], {flat}.t(), {vector}){back}",
        )
    )


@step
def variance_and_mean(d):
    d.need(d.channels > 1)
    d.rough()  # a mean over what has no mean any more depends on nothing
    v, w = d.name(), d.name()
    d.run(
        f"{v}, {w} = torch.var_mean(x, dim=1, keepdim=True)",
        f"x = (x - {w}) / ({v} + 0.1).sqrt()",
    )


@step
def bilinear(d):
    """Channels of each position multiplied with each other through a trained tensor."""
    module = d.module(f"nn.Bilinear({d.channels}, {d.channels}, 2)")
    v = d.name()
    d.run(f"{v} = x.movedim(1, -1)", f"x = {module}({v}, {v}).movedim(-1, 1)")


@step
def differences(d):
    """Each position less the one before it."""
    d.run(f"x = x.diff(dim={d.place()})")


@step
def pairwise_distances(d):
    d.need(d.x[0, 0].numel() <= 64)
    v = d.name()
    d.run(
        f"{v} = x.flatten(2).transpose(1, 2)",
        f"x = torch.cdist({v}, {v} + 1).mean(2).reshape(x.shape[0], 1, *{d.space})",
    )


@step
def recurrent_cell(d):
    """A cell stepped along the last axis by hand."""
    d.need(d.dims == 1 and d.space[0] <= 12)
    kind = d.pick("GRU", "RNN")
    module, v, w = d.module(f"nn.{kind}Cell({d.channels}, 2)"), d.name(), d.name()
    d.run(
        f"{v}, {w} = torch.zeros(x.shape[0], 2, dtype=x.dtype), []",
        f"for i in range({d.space[0]}):",
        f"    {v} = {module}(x[..., i], {v})",
        f"    {w}.append({v})",
        f"x = torch.stack({w}, -1)",
    )


@step
def baddbmm(d):
    n = d.x[0, 0].numel()
    d.need(n < 60)
    v = d.name()
    d.run(
        f"{v} = x.flatten(2)",
        f"x = torch.baddbmm({v}, {v} @ {v}.mT / {n}, {v}).reshape(x.shape)",
    )


@step
def recurrent(d):
    d.need(d.dims == 1)
    kind = d.pick("GRU", "LSTM", "RNN")
    both = d.pick("", ", bidirectional=True")
    module = d.module(f"nn.{kind}({d.channels}, 2, batch_first=True{both})")
    d.run(f"x = {module}(x.transpose(1, 2))[0].transpose(1, 2)")


@step
def fourier(d):
    d.run(f"x = torch.fft.{d.pick('fft', 'ifft')}(x).real")


@step
def mean_of_the_batch(d):
    d.run("x = x + x.mean(0, keepdim=True)")
