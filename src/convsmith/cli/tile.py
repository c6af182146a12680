"""`convsmith tile MODEL SOURCE TARGET`: a network on an image of any size, exactly."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Annotated, Any

import typer

from convsmith.cli.inspect import MODEL
from convsmith.cli.output import Json, check_targets, emit, steps
from convsmith.errors import ArgumentError
from convsmith.text import read_shape

__all__ = ["command"]

_SOURCE = "The image: .npy, .zarr (or an array in one), .tif, .nii, or an ordinary picture."
_TARGET = (
    "The result: .zarr, .npy, .tif, .cog.tif, .nii or .png. Leave it out with --plan or --compare."
)
_REDUCE = (
    "What to keep: argmax[:uint16], probability[:CHANNEL], threshold[:VALUE[:CHANNEL]], "
    "histogram, float16 or float32; everything unless given."
)
_FORCE = "Replace a target that exists."


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=_SOURCE)],
    target: Annotated[str | None, typer.Argument(metavar="[TARGET]", help=_TARGET)] = None,
    tile: Annotated[
        str | None,
        typer.Option(metavar="N[,N]", help="Lengths of a tile; what fits --memory unless given."),
    ] = None,
    memory: Annotated[str, typer.Option(help="Memory for the tensors of all workers.")] = "2GB",
    reduce: Annotated[str | None, typer.Option(help=_REDUCE)] = None,
    passes: Annotated[
        bool, typer.Option("--passes", help="Gather global statistics in sweeps over the image.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show the plan, with the time of one tile; run nothing.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="overlap=0.25[,window=N]",
            help="Measure where overlapping windows would differ; write nothing else.",
        ),
    ] = None,
    picture: Annotated[
        str | None,
        typer.Option(metavar="FILE.svg", help="With --compare: draw where they differ."),
    ] = None,
    mode: Annotated[str, typer.Option(help="exact, or window: blended windows.")] = "exact",
    overlap: Annotated[float, typer.Option(help="With --mode window: share of a window.")] = 0.25,
    blend: Annotated[str, typer.Option(help="With --mode window: gaussian or constant.")] = (
        "gaussian"
    ),
    where: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A mask, of any size: only where it is not 0."),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="Multiplies stored values; uint8 and uint16 become 0 … 1 unless given."),
    ] = None,
    mean: Annotated[
        str | None, typer.Option(metavar="X[,X…]", help="Subtracted after scaling, per channel.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="X[,X…]", help="Divides after that, per channel.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="The image's dimensions, such as YXC; guessed unless given.")
    ] = None,
    level: Annotated[int, typer.Option(help="Level of a pyramid; 0 is the largest.")] = 0,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N]", help="Lengths of a shard of the target; a tile unless given."
        ),
    ] = None,
    output: Annotated[int, typer.Option(help="Which output, if the network has several.")] = 0,
    weights: Annotated[str | None, typer.Option(metavar="FILE", help="Trained weights.")] = None,
    backend: Annotated[
        str,
        typer.Option(help="torch, or compiled: kernels that give the same bits for any tiling."),
    ] = "torch",
    precision: Annotated[
        str,
        typer.Option(help="With --backend compiled: float32, or bf16 where this processor has it."),
    ] = "float32",
    allow_fallback: Annotated[
        bool, typer.Option("--allow-fallback", help="Take float32 where there is no bf16.")
    ] = False,
    device: Annotated[str, typer.Option(help="Where tiles are computed: cpu, cuda.")] = "cpu",
    workers: Annotated[
        int, typer.Option(help="Threads; with --scheduler local, processes of a local cluster.")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="A Dask scheduler, such as tcp://host:8786, or local."
        ),
    ] = None,
    part: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only part I (from 0) of N, for job arrays.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped.")
    ] = False,
    json: Json = None,
    force: Annotated[bool, typer.Option("--force", help=_FORCE)] = False,
) -> None:
    """Run a network on an image of any size, tile by tile, as if on the whole image."""
    check_targets(json, picture, force=force)
    if target is None and not (plan or compare):
        raise ArgumentError("no target: pass one such as out.zarr, or --plan")
    if plan and compare is not None:
        raise ArgumentError("--plan runs nothing, --compare does: pass one of them")
    if picture is not None and compare is None:
        raise ArgumentError("--picture is for --compare: pass both")
    from convsmith.cli.models import load_model
    from convsmith.tiling import example_of
    from convsmith.tiling import tile as make

    network = load_model(model, weights)
    example = example_of(network)
    if example is None:
        raise ArgumentError(f"{model} has no convolution that says how many channels it takes")
    tiled = make(
        network, example, tile=_lengths("--tile", tile), memory=memory, passes=passes, mode=mode,
        overlap=overlap, blend=blend, output=output, device=device, backend=backend,
        precision=precision, allow_fallback=allow_fallback,
    )  # fmt: skip
    options: dict[str, Any] = {
        "reduce": reduce,
        "where": None if where is None else _mask(where),
        "scale": scale,
        "mean": _numbers("--mean", mean),
        "std": _numbers("--std", std),
        "layout": layout,
        "level": level,
        "shard": _lengths("--shard", shard),
    }
    if plan:
        emit(tiled.plan(source, measure=True, **options), json=json, force=force)
        return
    with _progress() as progress:
        if compare is not None:
            settings = _compare_settings(compare, example)
            del options["reduce"]
            seams = tiled.compare(source, progress=progress, **settings, **options)
            if picture is not None:
                seams.save(picture, force)
            emit(seams, json=json, force=force)
            return
        with _cluster(scheduler, workers) as client:
            outcome = tiled.run(
                source, target, resume=resume, force=force, progress=progress, client=client,
                workers=1 if client is not None else workers, part=_part(part), **options,
            )  # fmt: skip
    emit(outcome, json=json, force=force)


def _lengths(option: str, text: str | None) -> int | tuple[int, ...] | None:
    if text is None:
        return None
    lengths = read_shape(text, option)
    return lengths[0] if len(lengths) == 1 else lengths


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    try:
        return tuple(map(float, text.split(","))) if text else ()
    except ValueError:
        raise ArgumentError(f"{option} {text!r} is not a list of numbers, as 0.5,0.5") from None


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    numbers = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if numbers is None or int(numbers[1]) >= int(numbers[2]):
        raise ArgumentError(f"--part {text!r} is not I/N with I from 0 to N - 1, such as 0/4")
    return int(numbers[1]), int(numbers[2])


def _compare_settings(text: str, example: tuple[int, ...]) -> dict[str, Any]:
    """The settings of windows from `overlap=0.25,window=256`."""
    settings: dict[str, Any] = {"window": 256}
    readers: dict[str, Callable[[str], Any]] = {"overlap": float, "window": int, "blend": str}
    for piece in text.split(","):
        name, equals, value = piece.strip().partition("=")
        try:
            if not equals:
                raise ValueError(piece)
            settings[name] = readers[name](value)
        except (KeyError, ValueError):
            raise ArgumentError(
                f"--compare {text!r}: expected overlap=0.25, window=256 or blend=gaussian"
            ) from None
    return settings


def _mask(path: str) -> Any:
    """A mask from a file; masks are small, so it is read whole."""
    import numpy as np

    from convsmith.tiling.stores.opening import open_mask

    return np.asarray(open_mask(path))


@contextmanager
def _cluster(address: str | None, workers: int) -> Iterator[Any]:
    """A client of a Dask scheduler, or none."""
    if address is None:
        yield None
        return
    from convsmith.tiling.cluster import connect

    with connect(address, workers) as client:
        yield client


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal; in a log a line now and then, with the time that is left."""
    if sys.stderr.isatty():
        with steps() as step:
            yield step
        return
    begun: dict[str, float] = {}
    shown: dict[str, float] = {}

    def report(what: str, done: int, of: int) -> None:
        now = monotonic()
        begin = begun.setdefault(what, now)
        if now - shown.setdefault(what, now) < _EVERY or not done:
            return
        shown[what] = now
        left = (now - begin) / done * (of - done)
        print(f"{what}: {done} of {of}, {left:.0f} s left", file=sys.stderr, flush=True)

    yield report


_EVERY = 10.0
"""Seconds between lines of a log."""
