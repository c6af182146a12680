"""Small published architectures of torchvision and timm: those that are compiled."""

from __future__ import annotations

__all__ = ["PUBLISHED"]

_SMALL = {
    "torchvision": """alexnet vgg11 vgg11_bn resnet18 resnet50 resnext50_32x4d densenet121
        squeezenet1_0 squeezenet1_1 googlenet inception_v3 mobilenet_v2 mobilenet_v3_small
        mobilenet_v3_large quantized_mobilenet_v2 quantized_resnet18 quantized_shufflenet_v2_x0_5
        shufflenet_v2_x0_5 shufflenet_v2_x1_0 mnasnet0_5 mnasnet1_0 efficientnet_b0
        efficientnet_v2_s regnet_x_400mf regnet_y_400mf convnext_tiny swin_t swin_v2_t
        deeplabv3_mobilenet_v3_large fcn_resnet50 lraspp_mobilenet_v3_large""",
    "timm": """caformer_s18 convformer_s18 convmixer_1024_20_ks9_p14 convnext_atto convnext_atto_rms
        convnextv2_atto crossvit_tiny_240 cs3darknet_s cspdarknet53 davit_tiny densenet121 dla46_c
        dpn48b eca_nfnet_l0 ecaresnet26t edgenext_xx_small efficientnet_b0 efficientnet_cc_b0_4e
        efficientnet_es efficientvim_m1 efficientvit_b0 efficientvit_m0 ese_vovnet19b_slim_dw
        fasternet_t0 fastvit_t8 fbnetc_100 focalnet_tiny_srf gernet_s ghostnet_100 ghostnetv2_100
        ghostnetv3_050 hardcorenas_a hgnetv2_b0 hrnet_w18_small inception_next_atto
        inception_resnet_v2 lcnet_050 legacy_seresnet18 lowformer_b0 mambaout_femto mixnet_s
        mnasnet_small mobilenetv3_small_050 mobilenetv4_conv_small mobilenetv4_hybrid_medium
        mobileone_s0 mobilevit_xxs mobilevitv2_050 nextvit_small nf_regnet_b0 poolformer_s12
        pvt_v2_b0 rdnet_tiny regnetx_002 repghostnet_050 repvgg_a0 repvit_m1 res2net50_26w_4s
        resnest14d resnet10t resnetblur18 resnetv2_50x1_bit rexnet_100 selecsls42 semnasnet_050
        shvit_s1 skresnet18 spnasnet_100 starnet_s050 swiftformer_xs tf_efficientnet_b0
        tf_efficientnetv2_b0 tinynet_e tiny_vit_5m_224 tresnet_m twins_pcpvt_small vovnet39a
        legacy_xception xception41 xcit_nano_12_p16_224""",
}
_ONE_SIZE = {
    224: {
        "torchvision": "vit_b_32 maxvit_t",
        "timm": """cait_xxs24_224 coat_lite_tiny convit_tiny efficientformer_l1
            efficientformerv2_s0 eva02_tiny_patch14_224 gcvit_xxtiny hiera_tiny_224 levit_128s
            mixer_s32_224 nest_tiny pit_ti_224 tnt_s_patch16_224 visformer_tiny
            vit_tiny_patch16_224""",
    },
    256: {"timm": "bat_resnext26ts botnet26t_256 halonet26t lambda_resnet26t"},
}

PUBLISHED = {
    f"{library}:{name}": side
    for side, table in ((224, _SMALL), *_ONE_SIZE.items())
    for library, names in table.items()
    for name in names.split()
}
"""The side of each one's square image, by its name on the command line."""
