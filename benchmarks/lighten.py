"""Trained networks made lighter: speed-up and accuracy beside the control and other tools."""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.garments import FOLDER
from benchmarks.lighten_cases import TRAINED, WAYS, Case, Way, cases
from benchmarks.lighten_tables import missed, tables
from benchmarks.rivals import RIVALS, slightest
from convsmith.cli.output import steps, talk
from convsmith.errors import ArgumentError
from convsmith.network import trace
from convsmith.rewrite import Run, Timing, Tuning, lighten
from convsmith.rewrite.lightening.candidates import Choice, candidates
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.fit.moments import patch_moments
from convsmith.rewrite.lightening.fit.rewrite import decomposed
from convsmith.rewrite.lightening.forms import all_forms
from convsmith.rewrite.lightening.selector import Selector
from convsmith.rewrite.lightening.settings import Progress
from convsmith.rewrite.lightening.target import Target
from convsmith.rewrite.lightening.trials import tried
from convsmith.rewrite.lightening.tune.distil import distil
from convsmith.rewrite.lightening.tune.schedule import Schedule
from convsmith.runtime.precision import check_here

__all__ = ["options", "run", "tables"]

TARGETS = (1.5, 2.0, 3.0, 4.0)
RATE = 0.05
"""Learning rate of all networks that start from trained weights."""


def options(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--data", default=str(FOLDER), help="the folder of Fashion-MNIST")
    parser.add_argument("--folder", default="build/lighten", help="where trained networks are kept")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=8000, help="images per epoch of fine-tuning")
    parser.add_argument("--only", default="", help="only networks whose name contains this")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--no-rivals", action="store_true")


def run(options: Namespace) -> dict[str, Any]:
    """Lighten each network without training and with it, and let the rivals do the same."""
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", category=UserWarning)
    rows: list[dict[str, Any]] = []
    promised: list[dict[str, Any]] = []
    goals = {}
    for case in cases(options):
        goals[case.name] = case.goal
        for seed in options.seeds:
            model = case.original(Path(options.folder), seed)
            promised += _promised(case, model, seed)
            rows += _rows(case, model, options, seed)
    return {
        "rows": rows,
        "promised": promised,
        "missed": missed(rows, promised, goals),
        "threads": options.threads,
        "epochs": options.epochs,
        "images": options.images,
        "seeds": options.seeds,
    }


def _rows(case: Case, model: nn.Module, options: Namespace, seed: int) -> list[dict[str, Any]]:
    """The original, ours untrained and trained with its control, and the rivals."""
    shown = case.calibrating(seed)
    image = shown[: case.batch]
    found: dict[str, tuple[nn.Module, dict[str, Any]]] = {"original": (model, {})}
    narrow: dict[str, Any] = {}
    with steps() as progress:
        for way in filter(_possible, WAYS):
            make = partial(_lightened, case, model, list(torch.split(shown, 125)), options, seed)
            runs = Path(options.folder, case.label(seed) + _suffix(way)) if way.trained else None
            light, asked = _reached(partial(make, way), way.speedup, runs, progress)
            facts = {"asked": asked, "seed": seed}
            found[way.name] = light.model, facts
            if light.report.narrow is not None:
                narrow[way.name] = light.report
            elif light.control is not None:
                found["control"] = light.control, {}
    if not options.no_rivals:
        ours = found[TRAINED.name][0]
        for name in RIVALS:
            found[name] = _rival(name, case, model, ours, image, options, seed), {}
    return _measured(case, found, narrow, image, seed)


def _possible(way: Way) -> bool:
    """Whether this machine has kernels for the precision of a way."""
    try:
        check_here(way.precision)
    except ArgumentError as error:
        talk(f"{way.name} is left out: {error}")
        return False
    return True


def _suffix(way: Way) -> str:
    return "-trained" if way.precision == "float32" else f"-trained-{way.precision}"


def _lightened(
    case: Case, model: nn.Module, images: list[Tensor], options: Namespace, seed: int, way: Way,
    speedup: float, checkpoint: Path | None, progress: Progress,
) -> Any:  # fmt: skip
    """One call of `lighten`: the control is trained once, beside the network in float32."""
    narrow = way.precision != "float32"
    more: dict[str, Any] = {}
    if way.trained:
        tuning = Tuning(loss=case.loss, precision="bf16", learning_rate=RATE, control=not narrow)
        more = {"train": case.batches(seed), "epochs": options.epochs, "tuning": tuning}
    run = Run(
        progress=progress, checkpoint=checkpoint, seed=seed,
        evaluate=case.score if narrow else None,
    )  # fmt: skip
    timing = Timing(batch=case.batch, precision=way.precision)
    return lighten(model, images, speedup, timing=timing, run=run, **more)


def _promised(case: Case, model: nn.Module, seed: int) -> list[dict[str, Any]]:
    """What the choice for each target predicts, beside the network built and measured."""
    images, clock = case.data.train[:64], Clock()
    image = images[: case.batch]
    network = trace(model, images[:1])
    free = [c for c in candidates(network, model, None) if not c.reason]
    paths = [c.path for c in free]
    moments = patch_moments(model, [images], paths)
    losses = partial(tried, model, network, [images], moments, progress=lambda done, of: None)
    selector = Selector(
        model, network, image, free, all_forms(), clock, losses, lambda done, of: None
    )
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
                "seed": seed,
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
        return make(asked, runs and runs / f"{asked}", progress)

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
    name: str,
    case: Case,
    model: nn.Module,
    ours: nn.Module,
    image: Tensor,
    options: Namespace,
    seed: int,
) -> nn.Module:
    """Another tool's network of the same time, fine-tuned with the same budget and teacher."""
    clock, make = Clock(), RIVALS[name](model, image)
    path = Path(options.folder, f"{case.label(seed)}-{name}.safetensors")
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
        torch.manual_seed(seed)
        distil(student, model, case.batches(seed), schedule, loss=case.loss)
    save_file(student.state_dict(), path, {"share": str(share)})
    return student.eval()


def _measured(
    case: Case,
    found: dict[str, tuple[nn.Module, dict[str, Any]]],
    narrow: dict[str, Any],
    image: Tensor,
    seed: int,
) -> list[dict[str, Any]]:
    """All networks timed in turn, compiled and in PyTorch.

    What runs in another precision has its own time and accuracy, of the call that made it.
    """
    models = {name: model for name, (model, _) in found.items()}
    compiled = Clock().networks(models, image)
    eager = Clock(compiled=False).networks(models, image)
    before = case.score(models["original"])
    rows = []
    for name, (model, facts) in found.items():
        report = narrow.get(name)
        if report is None:
            after, ms = case.score(model), compiled[name].median_ms
            speedup = compiled["original"].median_ms / ms
        else:
            after, ms = report.narrow.accuracy, report.narrow.compiled.median_ms
            speedup = report.original.compiled.median_ms / ms
        rows.append(
            {
                "network": case.name,
                "seed": seed,
                "what": name,
                "batch": case.batch,
                "params": sum(p.numel() for p in model.parameters()),
                "ms": ms,
                "eager_ms": eager[name].median_ms,
                "speedup": speedup,
                "from_eager": eager["original"].median_ms / ms,
                "score": after,
                "drop": before - after,
                **facts,
            }
        )
    return rows
