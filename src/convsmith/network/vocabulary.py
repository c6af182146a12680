"""PyTorch's own names of operations, each with the family it belongs to.

Names are those of `torch.ops.aten` without overload and without the trailing underscore of the
in-place form. What is not listed is kept in the graph as `unknown`.
"""

from __future__ import annotations

from convsmith.network.operations import Kind

__all__ = ["FAMILY"]

_NAMES: dict[Kind, str] = {
    "activation": """celu clamp clamp_max clamp_min elu gelu glu hardshrink hardsigmoid hardswish
        hardtanh leaky_relu log_sigmoid mish prelu relu relu6 rrelu selu sigmoid silu softplus
        softshrink tanh threshold""",
    "adaptive pool": """adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
        adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d""",
    "attention": "scaled_dot_product_attention",
    "batch norm": "batch_norm",
    "channel shuffle": "channel_shuffle native_channel_shuffle",
    "concat": "cat concat concatenate stack hstack vstack",
    "convolution": "conv1d conv2d conv3d convolution",
    "creation": """arange empty empty_like eye fill full full_like linspace new_empty new_full
        new_ones new_zeros ones ones_like rand rand_like randint randn randn_like scalar_tensor zero
        zeros zeros_like""",
    "elementwise": """abs acos add addcdiv addcmul asin atan atan2 bitwise_and bitwise_not
        bitwise_or ceil cos cosh div eq erf exp expm1 floor floor_divide fmod ge gt isinf isnan le
        lerp log log10 log1p log2 logical_and logical_not logical_or lt masked_fill maximum
        minimum mul ne neg pow reciprocal remainder round rsqrt rsub sign sin sinh sqrt square sub
        tan true_divide trunc where""",
    "embedding": "embedding",
    "expand": "expand expand_as broadcast_to repeat repeat_interleave tile",
    "identity": """_to_copy alias alpha_dropout clone contiguous detach detach_ dropout
        copy feature_alpha_dropout feature_dropout lift_fresh_copy to type_as""",
    "index": """gather im2col index index_put index_select masked_select meshgrid one_hot scatter
        sort take topk tril triu unfold""",
    "linear": "linear addmm",
    "matmul": "baddbmm bmm dot einsum matmul mm mv",
    "norm": """_weight_norm group_norm instance_norm layer_norm linalg_vector_norm native_group_norm
        native_layer_norm norm rms_norm""",
    "pad": "constant_pad_nd pad reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d",
    "permute": "movedim permute swapaxes t transpose",
    "pixel shuffle": "pixel_shuffle",
    "pixel unshuffle": "pixel_unshuffle",
    "pool": """avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d
        max_pool2d_with_indices max_pool3d_with_indices""",
    "recurrent": "gru lstm rnn_relu rnn_tanh",
    "reduction": """all amax amin any argmax argmin cumsum logsumexp max mean min prod std sum var
        var_mean std_mean""",
    "reshape": "flatten reshape reshape_as squeeze unflatten unsqueeze view _unsafe_view view_as",
    "roll": "flip roll",
    "select": "getitem",
    "slice": "narrow select slice",
    "softmax": "_log_softmax _softmax log_softmax softmax",
    "split": "chunk split split_with_sizes tensor_split unbind",
    "transposed convolution": "conv_transpose1d conv_transpose2d conv_transpose3d",
    "upsample": """upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
        upsample_nearest2d upsample_nearest3d upsample_trilinear3d _upsample_nearest_exact1d
        _upsample_nearest_exact2d _upsample_nearest_exact3d""",
}

FAMILY: dict[str, Kind] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
