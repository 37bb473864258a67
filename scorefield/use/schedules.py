"""The choice of schedule: what a short training under each comes to.

A schedule says how a run's effort is laid out, and only where its time t is used: so the short runs
draw levels evenly in t (Ho et al. 2020; `times=uniform`) and are sampled in even steps of it. All
else is the run's own. Three things are drawn by schedule: the error of D at each level and how the
paths of the flow bend (`measure.course`), and the quality of samples, beside real data.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.finding import Findings, Line, Mark, Series, Strip, Table
from scorefield.catalogue.spec import canonical, specs
from scorefield.denoise import Denoiser
from scorefield.draw import Job, walk
from scorefield.measure.course import LOGSNR, CurvePoints, bend_along, error_by_level
from scorefield.run.config import Config
from scorefield.run.open import Run, open_run
from scorefield.run.train import fit_run
from scorefield.store import claim_folder
from scorefield.use.asked import at_least
from scorefield.use.plan import asked_of, plan_of, schedule_of
from scorefield.use.request import Request, versions
from scorefield.use.rivals import QUALITY, SHOWN, Field, Rival, corners, notes_of, tried

GRID = "uniform-t"
IMAGES = 20_000
"""Of a short run."""
PATHS, STEPS = 64, 40
"""Paths that are followed, and in how many steps."""


@dataclass(frozen=True)
class ShortRun:
    """What a short run under a schedule came to: D's `error` by log snr, or nothing where there is
    no one level; the `bend` of its paths by t; and the run as a rival."""

    error: CurvePoints
    bend: CurvePoints
    rival: Rival

    @property
    def curvature(self) -> float:
        """Mean of the bend over t."""
        return sum(b for _, b in self.bend) / len(self.bend)


def by_schedule(request: Request, schedules: str, images: int | None) -> Findings:
    """Short runs of so many images, one under each of the schedules, kept in RUN/schedules/NAME:
    those that are there and at least as long are used again.

    Raises BadInput for an unknown schedule, before any training, and if none can be trained.
    """
    at_least("images", images)
    images = IMAGES if images is None else images
    run, names = request.opened, specs(schedules)
    if twice := [n for n in names if [canonical("schedules", m) for m in names].count(
            canonical("schedules", n)) > 1]:  # fmt: skip
        raise BadInput(f"the schedule {twice[0]} is listed twice.", "List it once.", "schedules")
    if run.info.space or run.config.student or (run.info.codec and not run.config.codec):
        raise BadInput(f"{run.path} is no diffusion run.", "Give one.", "run")
    seeds = request.chosen_seeds(500, least=2)
    field = Field(seeds, request.watch, request.features)
    field.begin([run])
    found: list[ShortRun] = []
    failed: list[Rival] = []
    for name in names:
        done = tried(lambda name=name: _course(request, field, name, images))
        if isinstance(done, BadInput):
            failed.append(Rival(name, failure=str(done)))
        else:
            found.append(done)
    if not found:
        raise BadInput(f"no schedule can be compared: {failed[0].failure}", "Give others.")
    return _findings(found, failed, field, str(request.path), images)


def _course(request: Request, field: Field, name: str, images: int) -> ShortRun:
    run = _trained(request, name, images)
    own = Request(run, grid=GRID, steps=request.steps, solver=request.solver,
                  guidance=request.guidance, watch=request.watch)  # fmt: skip
    rival = replace(field.measured(run, own), name=name)
    assert field.data
    bend = bend_of(own.denoiser, run.info.in_turn(PATHS))
    return ShortRun(error_by_level(own.denoiser, field.data), bend, rival)


def _trained(request: Request, name: str, images: int) -> Run:
    run, own = request.opened, request.opened.config
    folder = request.path / "schedules" / (re.sub(r"[^\w.=-]+", "-", name))
    claim_folder(folder, "config.json", field="run")
    short: Config = replace(
        own,
        objective=replace(own.objective, schedule=name, times="uniform"),
        training=replace(own.training, images=images, checkpoint_every=images),
        sample=replace(own.sample, grid=GRID),
        codec=str(run.path) if run.info.codec else own.codec,
    )
    fit_run(short, folder, resume=True, watch=lambda step: request.watch(
        min(step.images, step.total), step.total, "img"))  # fmt: skip
    return open_run(folder)


@torch.no_grad()
def bend_of(denoiser: Denoiser, labels: Tensor | None = None, steps: int = STEPS) -> CurvePoints:
    """Pairs (t, b) of `bend_along` the flow, by differences over even steps of t."""
    asked = asked_of(denoiser, PATHS, labels=labels)
    plan = plan_of(denoiser, bool(asked.cond), steps=steps, solver="arc", grid=GRID, guidance=1.0)
    job = Job.of(plan, asked, denoiser.shape, next(denoiser.parameters()))
    x = torch.stack([job.x, *(event.job.x for event in walk(job, denoiser))]).double().cpu()
    t = schedule_of(denoiser).inverse(plan.levels.overall.logsnr[:-1]).clamp(0, 1).tolist()
    if t[-1] > 0:  # else the step to clean data takes no time
        t.append(0.0)
    return bend_along(t, x[: len(t)])


def _findings(
    found: Sequence[ShortRun], failed: Sequence[Rival], field: Field, run: str, images: int
) -> Findings:
    rivals = [c.rival for c in found]
    space, notes = field.reference(rivals[0].label).space, notes_of([*rivals, *failed], field)
    how = (
        f"Runs of {images:,} images each, as {run} but for the schedule: levels drawn evenly in "
        f"its t, samples in even steps of it. {field.n:,} samples of each from the same seeds; "
        f"measured in: {space}."
    )
    errors = [Line.of(c.rival.name, *zip(*c.error)) for c in found if c.error]
    bends = [Line.of(c.rival.name, *zip(*c.bend)) for c in found]
    real, points = None, []
    for c in found:
        if figure := c.rival.figures.get(QUALITY):
            real = figure
            points.append(Line(c.rival.name, (c.curvature,), (figure.value,), (figure.spread,)))
    charts = (
        Series("Error of D by level", "log snr", "mean square", tuple(errors), (), (False, True),
               "of held-out examples, the same noise for all"),
        Series("Bend of the paths", "t", "off the straight path", tuple(bends), (), (False, True),
               "mean square of dx/dt less that of the straight path, over the latter's"),
        Series(f"{QUALITY} by curvature", "curvature", "frechet distance", tuple(points),
               Mark.floor(real), (True, True), "the mean bend"),
    )  # fmt: skip
    known = [dict(c.error) for c in found if c.error]
    shared = [v for v in LOGSNR if known and all(v in errors for errors in known)]

    def mean(error: CurvePoints) -> float | None:
        here = [e for v, e in error if v in shared]
        return sum(here) / len(here) if here else None

    rows = [(c.rival.name, c.rival.images, mean(c.error), c.curvature) for c in found]
    head = ("schedule", "images", "mean error of D", "curvature")
    words = "The error over the levels that all have: D of a network does not know its schedule."
    strips = (Strip(r.name, r.samples, SHOWN // 2, r.label, words=r.plan) for r in rivals)
    items = (
        *(c for c in charts if c.lines), *strips, Table("Schedules", head, tuple(rows), words),
        corners([*rivals, *failed], " ".join(notes)),
    )  # fmt: skip
    record: dict[str, Any] = {
        "n": field.n, "seeds": list(field.seeds), "feature_space": space, "versions": versions(),
        "images": images, "notes": notes,
        "schedules": [
            {"name": c.rival.name, "error": c.error, "bend": c.bend, "curvature": c.curvature}
            for c in found
        ],
    }  # fmt: skip
    return Findings("compare", run, how, items, record)
