"""Other families of networks than separable ones, in every runtime."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from benchmarks import cell as cells
from benchmarks import network_tables, networks
from benchmarks.architectures import densenet121, resnet50
from benchmarks.classifiers import convnext_atto, shufflenetv2, squeezenet, vgg16
from benchmarks.detector import yolo
from benchmarks.images import esrgan, unet
from benchmarks.normfree import eca_nfnet_l0
from benchmarks.runtimes import FEWER, USUAL
from convsmith.report import Table

__all__ = ["options", "run", "tables"]

SIZES = ((224, 1), (512, 1), (224, 8))
QUICK = ((224, 1),)

FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "ResNet-50": resnet50,
    "VGG-16": vgg16,
    "U-Net, batch norm": unet,
    "U-Net, group norm": lambda: unet(group_norm=True),
    "ESRGAN, small": esrgan,
    "YOLOv8n": yolo,
    "SqueezeNet 1.1": squeezenet,
    "ShuffleNetV2": shufflenetv2,
    "DenseNet-121": densenet121,
    "ConvNeXt-atto": convnext_atto,
    "ECA-NFNet-L0": eca_nfnet_l0,
}


def options(parser: ArgumentParser) -> None:
    cells.options(parser, 2.0)


def run(options: Namespace) -> dict[str, Any]:
    """Time every network at every size; errors against float64."""
    if not options.runtimes and options.precision == "float32":
        options.runtimes = ",".join((*USUAL, FEWER))
    result = networks.timed(FAMILIES, QUICK if options.quick else SIZES, options)
    return {**result, "missed": list(networks.missed(result))}


def tables(result: dict[str, Any]) -> Sequence[Table]:
    """Times, their summary and errors."""
    return network_tables.common(result)
