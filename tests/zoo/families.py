"""Networks of every family of torchvision and timm, at the smallest input each takes here.

A family is a file of the library: what is built from the same code.
"""

from __future__ import annotations

__all__ = ["DETECTORS", "LEFT_OUT", "SMALLEST", "family"]

_TORCHVISION = {
    ((1, 3, 8, 64, 64),): """
        mc3_18 r2plus1d_18 swin3d_t
    """,
    ((1, 3, 16, 224, 224),): """
        mvit_v2_s s3d
    """,
    ((1, 3, 96, 96),): """
        alexnet convnext_tiny deeplabv3_mobilenet_v3_large deeplabv3_resnet50 densenet121
        efficientnet_b0 efficientnet_v2_s fcn_resnet50 googlenet inception_v3
        lraspp_mobilenet_v3_large mnasnet0_5 mobilenet_v2 mobilenet_v3_large
        mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnext50_32x4d
        shufflenet_v2_x0_5 shufflenet_v2_x1_0 squeezenet1_1 swin_t vgg11
    """,
    ((1, 3, 224, 224),): """
        maxvit_t vit_b_16
    """,
    ((1, 3, 128, 136), (1, 3, 128, 136)): """
        raft_small
    """,
}
_TIMM = {
    ((1, 3, 96, 96),): """
        convnext_atto cpubone_nano cs3darknet_s csatv2 cspnext_tiny densenetblur121d dla34
        dpn48b edgenext_xx_small efficientnet_b0 efficientvim_m1 efficientvit_b0
        efficientvit_m0 ese_vovnet19b_dw fasternet_t0 fastvit_t8 focalnet_tiny_lrf gernet_s
        ghostnet_050 hardcorenas_a hgnet_tiny hrnet_w18_small inception_next_atto
        inception_v3 lcnetv2_small legacy_seresnet18 legacy_xception lowformer_b0
        mambaout_femto mobilenetv4_conv_small mobilevit_xxs nextvit_small nfnet_f0
        poolformer_s12 pvt_v2_b0 rdnet_tiny regnetx_002 repghostnet_050 repvit_m0_9
        res2net50d resnet10t resnetv2_18 rexnet_100 selecsls42 sequencer2d_s shvit_s1
        skresnet18 starnet_s1 swiftformer_xs test_byobnet test_convnext test_convnext2
        test_convnext3 test_efficientnet test_efficientnet_evos test_efficientnet_gn
        test_efficientnet_ln test_mambaout test_nfnet test_resnet tresnet_m vgg11 xception41
    """,
    ((1, 3, 160, 160),): """
        test_coatnet test_maxvit
    """,
    ((1, 3, 224, 224),): """
        beit_base_patch16_224 cait_xxs24_224 coat_tiny coatnet_pico_rw_224 convit_tiny
        convmixer_768_32 davit_tiny deit_tiny_patch16_224 efficientformer_l1
        efficientformerv2_s0 eva02_tiny_patch14_224 gcvit_xxtiny gmlp_ti16_224 haloregnetz_b
        hiera_tiny_224 iformer_s inception_resnet_v2 inception_v4 levit_128 mvitv2_tiny
        nest_tiny pit_xs_224 resnest14d sam2_hiera_tiny swin_s3_tiny_224 swinv2_cr_tiny_224
        tiny_vit_5m_224 tnt_s_patch16_224 twins_svt_small
        visformer_tiny vit_relpos_small_patch16_224 vit_tiny_r_s16_p8_224
        vit_xsmall_patch16_clip_224 vitamin_small_224 volo_d1_224 xcit_nano_12_p16_224
    """,
    ((1, 3, 240, 240),): """
        crossvit_tiny_240
    """,
    ((1, 3, 256, 256),): """
        swinv2_tiny_window8_256
    """,
    ((1, 3, 1024, 1024),): """
        samvit_base_patch16
    """,
}

SMALLEST = {
    f"{library}:{name}": [*shapes]
    for library, table in (("torchvision", _TORCHVISION), ("timm", _TIMM))
    for shapes, names in table.items()
    for name in names.split()
}
"""The shapes of the inputs of each network, by its name on the command line."""

DETECTORS = [
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_resnet50_fpn",
    "fcos_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
]
"""What torchvision has for detection: refused by `torch.export`, run instead."""


LEFT_OUT = {
    "timm.models.deepseek_vit": "its smallest network is too large for a quick comparison",
    "timm.models.gemma4_vit": "its smallest network is too large for a quick comparison",
    "timm.models.mobilenetv5": "its smallest network is too large for a quick comparison",
    "timm.models.naflexvit": "its smallest network is too large for a quick comparison",
    "timm.models.nasnet": "its smallest network is too large for a quick comparison",
    "timm.models.pnasnet": "its smallest network is too large for a quick comparison",
    "timm.models.qwen3_vit": "its smallest network is too large for a quick comparison",
    "torchvision.models.quantization.googlenet": "the same networks as without quantization",
    "torchvision.models.quantization.inception": "the same networks as without quantization",
    "torchvision.models.quantization.mobilenetv2": "the same networks as without quantization",
    "torchvision.models.quantization.mobilenetv3": "the same networks as without quantization",
    "torchvision.models.quantization.resnet": "the same networks as without quantization",
    "torchvision.models.quantization.shufflenetv2": "the same networks as without quantization",
}
"""Families without a network here, and why."""


def family(spec: str) -> str:
    """The file of its library that a network is built by."""
    import timm
    from torchvision.models import get_model_builder

    library, _, name = spec.partition(":")
    build = timm.model_entrypoint(name) if library == "timm" else get_model_builder(name)
    return str(build.__module__)
