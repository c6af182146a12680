"""A segmentation network dilated from output stride 16 to 8: equality, and what it is worth."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.garments import FOLDER, Data, Scenes, Segmenter, garments
from benchmarks.learning import mean_iou, pixel_loss, pretrained, train
from convsmith.cli.output import talk
from convsmith.measure import inspect
from convsmith.report import Column, Table, count, milliseconds, percent
from convsmith.rewrite import dilate, lighten
from convsmith.rewrite.lightening.clock import Clock

__all__ = ["options", "run", "tables"]

GOAL = 1e-10


def options(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--data", default=str(FOLDER), help="the folder of Fashion-MNIST")
    parser.add_argument("--folder", default="build/lighten", help="where trained networks are kept")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=4000, help="training scenes")
    parser.add_argument(
        "--epochs", type=int, default=3, help="epochs of fine-tuning, the same for all"
    )
    parser.add_argument("--rate", type=float, default=0.02, help="the peak learning rate")


def run(options: Namespace) -> dict[str, Any]:
    """Dilate, prove, fine-tune; and fine-tune the undilated network for as long."""
    torch.set_num_threads(options.threads)
    scenes = Scenes().data(garments(Path(options.data)), options.scenes, 500)
    learn = partial(train, data=scenes, epochs=12, loss=pixel_loss, size=16)
    model = pretrained("segmenter", Segmenter, learn, Path(options.folder))
    shape = (1, *scenes.train.shape[1:])
    wide = dilate(model, shape, output_stride=8)
    talk(repr(wide.certificate))
    light = lighten(model, scenes.train[:200], multiplier=2)
    both = dilate(light.model, shape, output_stride=8)
    networks: dict[str, tuple[nn.Module, str]] = {
        "output stride 16": (model, ""),
        "dilated to 8": (wide.model, f"{wide.certificate.error:.1e}"),
        "separable and dilated to 8": (both.model, f"{both.certificate.error:.1e}"),
    }
    rows = _rows(networks, scenes, options)
    missed = [
        f"{row['network']}: equal to {row['error']} instead of {GOAL:g}"
        for row in rows
        if row["error"] and float(row["error"]) > GOAL
    ]
    gained = rows[1]["tuned"] - rows[0]["tuned"]
    if gained <= 0:
        missed.append(f"dilated: {100 * gained:.1f} points against the control")
    return {"rows": rows, "missed": missed, "epochs": options.epochs, "scenes": options.scenes}


def _rows(
    networks: dict[str, tuple[nn.Module, str]], scenes: Data, options: Namespace
) -> list[dict[str, Any]]:
    score, image = mean_iou(scenes), scenes.test[:1]
    times = Clock().networks({name: model for name, (model, _) in networks.items()}, image)
    rows = []
    for name, (model, error) in networks.items():
        talk(f"fine-tuning {name}")
        tuned = train(
            deepcopy(model), scenes, options.epochs, pixel_loss, options.rate, size=16, seed=1
        )
        report = inspect(model, image)
        with torch.no_grad():
            grid = tuple(model(image).shape[2:])
        rows.append(
            {
                "network": name,
                "grid": "×".join(map(str, grid)),
                "params": report.params,
                "macs": report.macs,
                "ms": times[name].median_ms,
                "error": error,
                "before": score(model),
                "tuned": score(tuned),
            }
        )
    return rows


def tables(result: dict[str, Any]) -> list[Table]:
    """One row per network."""
    columns = [
        Column("network", "network"),
        Column("grid", "map", align="right"),
        Column("params", "parameters", align="right", format=count),
        Column("macs", "MACs", align="right", format=count),
        Column("ms", "compiled", align="right", format=milliseconds),
        Column("error", "old grid, float64"),
        Column("before", "mIoU at once", align="right", format=percent),
        Column("tuned", "fine-tuned", align="right", format=percent),
    ]
    rows = [tuple(row[column.key] for column in columns) for row in result["rows"]]
    note = (
        f"all fine-tuned in the same way: {result['epochs']} epochs of {result['scenes']:,} "
        "scenes, on the labels alone; the first row is the control; old grid: the largest "
        "relative difference between the strided result and every second position of the "
        "dilated one"
    )
    return [Table(columns, rows, title="Dilated for segmentation", note=note)]
