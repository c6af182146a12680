"""Which published architectures are read, at which input, and what in them has no rule."""

from __future__ import annotations

import torch

from convsmith.cli.models import load_model

__all__ = ["INPUTS", "UNKNOWN", "build"]

# Two images, and lengths that no stride divides, wherever the architecture takes them: a figure
# that forgets the batch, swaps rows and columns or rounds the wrong way is not the right one.
ODD = (2, 3, 229, 197)
EVEN = (2, 3, 224, 224)
LARGE = (2, 3, 256, 256)

_TORCHVISION = {
    ODD: """alexnet vgg11 vgg16_bn resnet18 resnet50 resnext50_32x4d wide_resnet50_2 densenet121
        squeezenet1_0 squeezenet1_1 googlenet inception_v3 mobilenet_v2 mobilenet_v3_small
        mobilenet_v3_large quantized_mobilenet_v2 shufflenet_v2_x0_5 shufflenet_v2_x1_0 mnasnet0_5
        mnasnet1_3 efficientnet_b0 efficientnet_v2_s regnet_x_8gf regnet_y_400mf convnext_tiny
        swin_t swin_v2_t deeplabv3_resnet50 deeplabv3_mobilenet_v3_large fcn_resnet50
        lraspp_mobilenet_v3_large""",
    EVEN: "vit_b_16 vit_l_32 maxvit_t",
    (2, 3, 15, 111, 101): "r3d_18 mc3_18 r2plus1d_18 swin3d_t",
    (2, 3, 16, 224, 224): "mvit_v1_b s3d",
    (2, 3, 128, 136): "raft_small",
}
_TIMM = {
    ODD: """caformer_s18 convformer_s18 convmixer_768_32 convnext_atto_rms convnextv2_atto
        crossvit_tiny_240 cspdarknet53 davit_tiny dm_nfnet_f0 eca_nfnet_l0 edgenext_xx_small
        efficientnet_b0 efficientnet_cc_b0_4e efficientnet_lite0 efficientvim_m1 efficientvit_b0
        efficientvit_m0 ese_vovnet19b_dw fasternet_t0 fastvit_t8 ghostnet_100 ghostnetv2_100
        hgnetv2_b0 inception_next_tiny inception_v4 lowformer_b0 mambaout_femto mixnet_s
        mobilenetv4_conv_small mobilenetv4_hybrid_medium mobileone_s0 mobilevit_s mobilevitv2_050
        nf_resnet50 poolformer_s12 pvt_v2_b0 repghostnet_050 repvgg_a0 repvit_m1
        res2net50_26w_4s resnest14d resnetblur18 resnetv2_50d_frn resnetv2_50x1_bit rexnet_100
        skresnet18 starnet_s1 swiftformer_xs tf_efficientnet_b0
        tf_efficientnet_lite0 tf_mixnet_s tiny_vit_5m_224 twins_svt_small vovnet39a xception41
        xcit_nano_12_p16_224""",
    EVEN: """beit_base_patch16_224 cait_xxs24_224 coat_lite_tiny coatnet_0_224 convit_tiny
        dla34 efficientformer_l1 gcvit_xxtiny hiera_tiny_224 hrnet_w18_small levit_128s
        mixer_s32_224 nest_tiny pit_ti_224 tnt_s_patch16_224 tresnet_m visformer_tiny
        volo_d1_224""",
    LARGE: "bat_resnext26ts botnet26t_256 halonet26t lambda_resnet26t swinv2_tiny_window8_256",
    (2, 3, 1024, 1024): "samvit_base_patch16",
    (2, 3, 61, 53): "sequencer2d_s",
}

INPUTS = {
    f"{library}:{name}": [shape, shape] if name.startswith("raft") else [shape]
    for library, table in (("torchvision", _TORCHVISION), ("timm", _TIMM))
    for shape, names in table.items()
    for name in names.split()
}
"""The shapes of the inputs of each architecture, by its name on the command line."""

UNKNOWN = {
    "torchvision:raft_small": {"grid_sampler"},
    "timm:samvit_base_patch16": {"_upsample_bicubic2d_aa"},
    "timm:volo_d1_224": {"col2im"},
}
"""The operations that have no rule, of every architecture that is not counted exactly."""

# Their builders compute widths with tensors.
_NEEDS_VALUES = ("torchvision:regnet",)


def build(spec):
    """The architecture without values, in training mode as its builder leaves it."""
    with torch.device("cpu" if spec.startswith(_NEEDS_VALUES) else "meta"):
        return load_model(spec).to("meta")
