"""Plans before runs: a verdict first, then what the tiles of a request cost."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from time import perf_counter

from convsmith.tiling.geometry import Geometry
from convsmith.tiling.job import Recipe, computes
from convsmith.tiling.plan import Plan, compiled_costs, costs
from convsmith.tiling.request import Request, peak_of
from convsmith.tiling.stores.source import Source
from convsmith.tiling.survey import Survey
from convsmith.tiling.windows import windows_run

__all__ = ["impossible", "plan_of", "why_not"]


def verdict_of(surveyed: Survey, recipe: Recipe, passes: bool) -> str:
    """Whether the result is that of the whole image: `exact`, `exact in n sweeps`, or not."""
    if recipe.mode == "window":
        return "window"
    if not surveyed.obstacles:
        return "exact"
    if not passes or not all(obstacle.swept for obstacle in surveyed.obstacles):
        return "impossible"
    return f"exact in {len(surveyed.levels) + 1} sweeps"


def impossible(surveyed: Survey, recipe: Recipe, passes: bool, image: Source) -> Plan | None:
    """The plan of a run that cannot be done, None for one that can."""
    verdict = verdict_of(surveyed, recipe, passes)
    if verdict != "impossible":
        return None
    return Plan(
        network=surveyed.network.name,
        image=(image.channels, *image.size),
        output=surveyed.result.shape,
        dtype=surveyed.result.results[0].dtype,
        mode=recipe.mode,
        verdict=verdict,
        obstacles=surveyed.obstacles,
    )


def why_not(plan: Plan) -> str:
    """Why a network cannot be tiled exactly, and what would help."""
    names = "; ".join(map(str, plan.obstacles[:4]))
    more = f" and {len(plan.obstacles) - 4} more" if len(plan.obstacles) > 4 else ""
    swept = all(obstacle.swept for obstacle in plan.obstacles)
    hint = (
        "passes=True gathers their statistics in sweeps over the image"
        if swept
        else "mode='window' runs overlapping windows instead, which is not exact"
    )
    return f"{plan.network} cannot be tiled exactly: {names}{more}; {hint}"


def plan_of(request: Request, passes: bool, measure: bool = False) -> Plan:
    """What a run would do, and what it would cost."""
    surveyed, geometry = request.survey, request.geometry
    plan = Plan(
        network=surveyed.network.name,
        image=(request.source.channels, *request.source.size),
        output=request.form.shape,
        dtype=request.form.dtype,
        mode=request.recipe.mode,
        verdict=verdict_of(surveyed, request.recipe, passes),
        obstacles=surveyed.obstacles if request.recipe.mode == "exact" else (),
        tile=geometry.tile if request.recipe.mode == "exact" else request.recipe.window,
        unit=geometry.unit,
        precision=request.recipe.precision if request.recipe.backend == "compiled" else None,
        notes=request.notes,
    )
    if request.recipe.mode == "window":
        return _window_plan(plan, request)
    if request.recipe.backend == "compiled":
        figures = compiled_costs(surveyed, geometry, request.kept)
    else:
        figures = costs(surveyed, geometry, request.source, request.expected)
    seconds = None
    if measure and not surveyed.levels:
        seconds = _seconds(request) / max(figures.tile_share, 1e-12)
    return replace(
        plan,
        tiles=_tiles(geometry),
        units=geometry.number,
        halo=figures.halo,
        recompute=figures.recompute,
        peak_bytes=figures.peak_bytes,
        read_amplification=figures.read_amplification,
        written_bytes=request.form.bytes,
        seconds=seconds,
    )


def _tiles(geometry: Geometry) -> int:
    total = geometry.images
    for length, unit, tile in zip(geometry.size, geometry.unit, geometry.tile, strict=True):
        total *= sum(-(-min(unit, length - at) // tile) for at in range(0, length, unit))
    return total


def _window_plan(plan: Plan, request: Request) -> Plan:
    recipe, size, frame = request.recipe, request.source.size, request.geometry
    windows = frame.images * windows_run(request.survey, recipe.overlap, size, frame.unit)
    share = windows * prod(recipe.window) / (prod(size) * frame.images)
    return replace(
        plan,
        tiles=windows,
        units=frame.number,
        recompute=max(0.0, share - 1),
        peak_bytes=peak_of(request.survey, recipe, frame, request.kept),
        written_bytes=request.form.bytes,
        read_amplification=share,
        notes=(*plan.notes, "not the whole image's result: each window is padded at its border"),
    )


def _seconds(request: Request) -> float:
    """The time of one middle tile, the second of two."""
    compute = computes(request.survey, request.recipe, request.prepare, request.geometry.tile)
    geometry = request.geometry
    spans = [
        ((n - t) // 2, (n - t) // 2 + t) for n, t in zip(geometry.size, geometry.tile, strict=True)
    ]
    took = 0.0
    for _ in range(2):
        begin = perf_counter()
        compute(request.source, 0, spans, request.expected)
        took = perf_counter() - begin
    return took
