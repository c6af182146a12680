"""Trained networks made lighter: speed-up and accuracy beside the control and other tools."""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.choice import chosen
from benchmarks.garments import FOLDER, Data, Residual, Scenes, UNet, garments, vgg
from benchmarks.learning import Shuffled, accuracy, mean_iou, pixel_loss, pretrained, train
from benchmarks.rivals import RIVALS, slightest
from convsmith.cli.output import steps, talk
from convsmith.errors import ArgumentError
from convsmith.network import trace
from convsmith.report import Column, Table, milliseconds, percent
from convsmith.rewrite import Run, Timing, Tuning, lighten
from convsmith.rewrite.lightening.candidates import Choice, candidates
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.fit.moments import patch_moments
from convsmith.rewrite.lightening.fit.rewrite import decomposed
from convsmith.rewrite.lightening.forms import all_forms
from convsmith.rewrite.lightening.selector import Selector
from convsmith.rewrite.lightening.sensitivity import sensitivities
from convsmith.rewrite.lightening.settings import Progress
from convsmith.rewrite.lightening.target import Target
from convsmith.rewrite.lightening.tune.distil import distil
from convsmith.rewrite.lightening.tune.schedule import Schedule

__all__ = ["options", "run", "tables"]

UNTRAINED, TRAINED = (2.0, 0.010), (4.0, 0.003)
"""Goals: how many times faster, and the most accuracy it may cost."""
TARGETS = (1.5, 2.0, 3.0, 4.0)
NEAR = 0.15
RATE = 0.05
"""Learning rate of all networks that start from trained weights."""


@dataclass(frozen=True)
class Case:
    """A network, and what it learns.

    Attributes:
        name: in the tables and of its file.
        make: builds it.
        data: of all.
        score: gives its accuracy: the share of images classified correctly, or the mean IoU.
        teach: trains it from nothing.
        loss: of outputs and labels; None for cross-entropy.
        size: images per batch of fine-tuning.
        batch: images that are timed together: enough that calls do not count.
        calibration: how many unlabelled images lightening sees.
        shown: how many images fine-tuning goes through in an epoch.
    """

    name: str
    make: Callable[[], nn.Module]
    data: Data
    score: Callable[[nn.Module], float]
    teach: Callable[[nn.Module], nn.Module]
    loss: Any
    size: int
    batch: int
    calibration: int
    shown: int

    def batches(self) -> Shuffled:
        """What fine-tuning goes through once per epoch: the same images for all."""
        order = torch.randperm(len(self.data.train), generator=torch.Generator().manual_seed(1))
        part = order[: self.shown]
        return Shuffled(self.data.train[part], self.data.train_labels[part], self.size)


def options(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--data", default=str(FOLDER), help="the folder of Fashion-MNIST")
    parser.add_argument("--folder", default="build/lighten", help="where trained networks are kept")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=12000, help="images per epoch of fine-tuning")
    parser.add_argument("--only", default="", help="only networks whose name contains this")
    parser.add_argument("--no-rivals", action="store_true")


def run(options: Namespace) -> dict[str, Any]:
    """Lighten each network without training and with it, and let the rivals do the same."""
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", category=UserWarning)
    rows: list[dict[str, Any]] = []
    promised: list[dict[str, Any]] = []
    for case in chosen({case.name: case for case in _cases(options)}, options.only).values():
        model = pretrained(case.name, case.make, case.teach, Path(options.folder))
        promised += _promised(case, model)
        rows += _rows(case, model, options)
    return {
        "rows": rows,
        "promised": promised,
        "missed": [line for row in rows if (line := _missed(row))]
        + [
            f"{row['network']}, {row['target']}: {row['predicted']:.3f} ms predicted, "
            f"{row['ms']:.3f} measured"
            for row in promised
            if abs(row["ms"] / row["predicted"] - 1) > NEAR
        ],
        "threads": options.threads,
        "epochs": options.epochs,
        "images": options.images,
    }


def _cases(options: Namespace) -> list[Case]:
    single = garments(Path(options.data))
    scenes = Scenes().data(single, 4000, 500) if options.only in "unet" else single
    learn, judge = partial(train, data=single, epochs=5), accuracy(single)
    return [
        Case("resnet", Residual, single, judge, learn, None, 128, 32, 500, options.images),
        Case("vgg", vgg, single, judge, learn, None, 128, 32, 500, options.images),
        Case(
            "unet", UNet, scenes, mean_iou(scenes),
            partial(train, data=scenes, epochs=6, loss=pixel_loss, size=16),
            pixel_loss, 16, 1, 100, options.images // 10,
        ),
    ]  # fmt: skip


def _rows(case: Case, model: nn.Module, options: Namespace) -> list[dict[str, Any]]:
    """The original, ours untrained and trained with its control, and the rivals."""
    random = torch.Generator().manual_seed(0)
    shown = case.data.train[
        torch.randperm(len(case.data.train), generator=random)[: case.calibration]
    ]
    images = list(torch.split(shown, 125))
    image = shown[: case.batch]
    found: dict[str, tuple[nn.Module, dict[str, Any]]] = {"original": (model, {})}
    timing = Timing(batch=case.batch)
    with steps() as progress:
        for speedup, trained in ((UNTRAINED[0], False), (TRAINED[0], True)):
            more: dict[str, Any] = {}
            if trained:
                tuning = Tuning(loss=case.loss, precision="bf16", learning_rate=RATE)
                more = {"train": case.batches(), "epochs": options.epochs, "tuning": tuning}
            make = partial(lighten, model, images, timing=timing, **more)
            runs = Path(options.folder, f"{case.name}-trained") if trained else None
            light, asked = _reached(make, speedup, runs, progress)
            name = "convsmith, trained" if trained else "convsmith, no training"
            found[name] = light.model, {"asked": asked}
            if light.control is not None:
                found["control"] = light.control, {}
    if not options.no_rivals:
        ours = found["convsmith, trained"][0]
        for name in RIVALS:
            found[name] = _rival(name, case, model, ours, image, options), {}
    return _measured(case, found, image)


def _promised(case: Case, model: nn.Module) -> list[dict[str, Any]]:
    """What the choice for each target predicts, beside the network built and measured."""
    images, clock = case.data.train[:64], Clock()
    image = images[: case.batch]
    network = trace(model, images[:1])
    free = [c for c in candidates(network, model, None) if not c.reason]
    paths = [c.path for c in free]
    selector = Selector(
        model, network, image, free, all_forms(), clock, patch_moments(model, [images], paths),
        partial(sensitivities, model, images, paths), lambda done, of: None,
    )  # fmt: skip
    rows = []
    for target in TARGETS:
        try:
            selection = selector.choose(Target("speedup", target))
        except ArgumentError as error:
            talk(f"{case.name}: {error}")
            break
        light = decomposed(model, free, selection.choices)
        times = clock.networks({"original": model, "light": light}, image)
        rows.append(
            {
                "network": case.name,
                "target": f"{target:g}×",
                "predicted": selection.predicted,
                "ms": times["light"].median_ms,
                "speedup": times["original"].median_ms / times["light"].median_ms,
                "forms": ", ".join(_counted(selection.choices.values())),
            }
        )
    return rows


def _counted(choices: Iterable[Choice | None]) -> list[str]:
    """How many layers took each form."""
    found = Counter("kept" if choice is None else str(choice) for choice in choices)
    return [f"{number} × {form}" for form, number in found.most_common()]


def _reached(
    make: Callable[..., Any], speedup: float, runs: Path | None, progress: Progress
) -> tuple[Any, float]:
    """The network that meets a speed-up, or the fastest possible, and the speed-up asked for.

    If a folder of `runs` holds earlier training, the speed-up that was asked for then.
    """

    def attempt(asked: float) -> Any:
        run = Run(progress=progress, checkpoint=runs and runs / f"{asked}")
        return make(speedup=asked, run=run)

    done = sorted(runs.glob("*/*/fine-tuning.pt")) if runs else []
    if done:
        asked = float(done[0].parent.parent.name)
        return attempt(asked), asked
    try:
        return attempt(speedup), speedup
    except ArgumentError as error:
        text = str(error)
        if "the best here is speedup=" not in text:
            raise
        best = 0.97 * float(text.partition("the best here is speedup=")[2].partition(",")[0])
        talk(f"{speedup:g}× is out of reach: {best:.2f}× instead")
        return attempt(best), best


def _rival(
    name: str, case: Case, model: nn.Module, ours: nn.Module, image: Tensor, options: Namespace
) -> nn.Module:
    """Another tool's network of the same time, fine-tuned with the same budget and teacher."""
    clock, make = Clock(), RIVALS[name](model, image)
    path = Path(options.folder, f"{case.name}-{name}.safetensors")
    if path.exists():
        with safe_open(path, "pt") as file:
            student = make(float(file.metadata()["share"])).eval()
        student.load_state_dict(load_file(path))
        return student
    talk(f"{case.name}: {name}")
    share = slightest(make, image, clock.networks({"ours": ours}, image)["ours"].median_ms, clock)
    student = make(share)
    schedule = Schedule(options.epochs, precision="bf16", learning_rate=RATE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        distil(student, model, case.batches(), schedule, loss=case.loss)
    save_file(student.state_dict(), path, {"share": str(share)})
    return student.eval()


def _measured(
    case: Case, found: dict[str, tuple[nn.Module, dict[str, Any]]], image: Tensor
) -> list[dict[str, Any]]:
    """All networks timed in turn, compiled and in PyTorch."""
    models = {name: model for name, (model, _) in found.items()}
    compiled = Clock().networks(models, image)
    eager = Clock(compiled=False).networks(models, image)
    before = case.score(models["original"])
    rows = []
    for name, (model, facts) in found.items():
        after = case.score(model)
        ms = compiled[name].median_ms
        rows.append(
            {
                "network": case.name,
                "what": name,
                "batch": case.batch,
                "params": sum(p.numel() for p in model.parameters()),
                "ms": ms,
                "eager_ms": eager[name].median_ms,
                "speedup": compiled["original"].median_ms / ms,
                "from_eager": eager["original"].median_ms / ms,
                "score": after,
                "drop": before - after,
                **facts,
            }
        )
    return rows


def _missed(row: dict[str, Any]) -> str:
    goals = {"convsmith, no training": UNTRAINED, "convsmith, trained": TRAINED}
    if row["what"] not in goals:
        return ""
    faster, drop = goals[row["what"]]
    told = []
    if row["speedup"] < 0.98 * faster:
        told.append(f"{row['speedup']:.2f}× instead of {faster:g}×")
    if row["drop"] > drop:
        told.append(f"{100 * row['drop']:.1f} points lost instead of {100 * drop:.1f}")
    return f"{row['network']}, {row['what']}: {'; '.join(told)}" if told else ""


def tables(result: dict[str, Any]) -> list[Table]:
    """Two tables: one block of rows per network, and predictions beside measurements."""
    columns = [
        Column("network", "network"),
        Column("what", "what"),
        Column("params", "parameters", align="right", format="{:,}".format),
        Column("score", "accuracy or mIoU", align="right", format=percent),
        Column("drop", "points lost", align="right", format=lambda share: f"{100 * share:.2f}"),
        Column("batch", "images", align="right"),
        Column("ms", "compiled", align="right", format=milliseconds),
        Column("speedup", "speed-up", align="right", format="{:.2f}×".format),
        Column("eager_ms", "PyTorch", align="right", format=milliseconds),
        Column("from_eager", "from PyTorch", align="right", format="{:.1f}×".format),
    ]
    rows = [tuple(row.get(column.key) for column in columns) for row in result["rows"]]
    note = (
        f"{result['threads']} thread(s), times of a batch; "
        f"fine-tuning: {result['epochs']} epochs of {result['images']:,} images "
        "(a tenth of them scenes for the U-Net), calibration: 500 images (100 scenes); speed-up: "
        "the original compiled against the lightened compiled; from PyTorch: the original in "
        "PyTorch against it"
    )
    kept = [
        Column("network", "network"),
        Column("target", "target", align="right"),
        Column("predicted", "predicted", align="right", format=milliseconds),
        Column("ms", "measured", align="right", format=milliseconds),
        Column("speedup", "speed-up", align="right", format="{:.2f}×".format),
        Column("forms", "forms"),
    ]
    promised = [tuple(row[column.key] for column in kept) for row in result["promised"]]
    return [
        Table(columns, rows, title="Lightened networks", note=note),
        Table(kept, promised, title="Predicted and measured"),
    ]
