"""`scorefield compare RUN`."""

import shlex
from pathlib import Path
from typing import Annotated

import tyro

from scorefield.cli import flags
from scorefield.cli.frame import Bar, Found


class Options(flags.OnRun, flags.Rows):
    """Compare solvers on a run, from the same seeds: how far each is from the model's own
    probability flow, Frechet distance beside its real-vs-real floor, class agreement, network
    calls and seconds, at several counts of steps (5,10,20,50). Writes curves.png, strips.png,
    compare.csv and compare.json into RUN/compare.

    Stochastic solvers draw other samples of the same law: they have no distance from the flow.

    examples:
      scorefield compare runs/digits
      scorefield compare runs/digits --solvers ddim,dpmpp2m@karras,dpmpp2m@uniform-t
          --steps 5,10,20 --n 1000
      scorefield compare runs/digits runs/digits-consistency --solvers arc --n 1000
      scorefield compare runs/digits runs/digits-vae runs/digits-gan --page --out page.html
      scorefield compare runs/digits --schedules cosine,flow,vp,edm --images 20000
      scorefield compare runs/digits --guidance 3 --labels 3,5 --out runs/digits/guided --json
    """

    students: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Students of the run, that scorefield distill made, beside it: in 1, 2 and 4 steps. With
    --page any runs on the same data."""
    solvers: str | None = None
    """Solvers, each with a grid of its own if you like: ddim,heun@karras (default: the run's
    beside a short list; see scorefield catalogue solvers)."""
    steps: flags.StepCount = None
    grid: flags.GridSpec = None
    guidance: flags.GuidanceScale = None
    precision: flags.Arithmetic = None
    page: flags.Switch = False
    """Set the runs themselves side by side, whatever they are, on one page that needs no other
    file: quality, coverage, seconds a sample, training, samples of the same seeds."""
    features: flags.FeatureSpace = None
    schedules: str | None = None
    """Schedules (scorefield catalogue schedules), each with a short run of its own in
    RUN/schedules, beside one another on a page: loss, curvature of paths, quality."""
    images: flags.ImageCount = None
    out: flags.OutPath = None


def work(o: Options, bar: Bar) -> Found:
    from scorefield.use.asked import idle

    if o.schedules:
        from scorefield.report.rivals import schedules_page

        idle("students", " ".join(map(str, o.students)) or None, "`schedules` are those of one run")
        words = f"scorefield compare {shlex.quote(str(o.run))} --schedules {o.schedules}"
        return schedules_page(o.request(bar, solver=o.solvers), o.schedules, o.images, words)
    idle("images", o.images, "there are no `schedules`")
    if o.page:
        from scorefield.report.rivals import paged

        runs = o.run, *o.students
        several = [o.request(bar, run=run, solver=o.solvers) for run in runs]
        words = " ".join(shlex.quote(str(run)) for run in runs)
        return paged(several, f"scorefield compare {words} --page", bar)
    idle("features", o.features, "solvers are compared in the judge's")
    from scorefield.report.strips import keep
    from scorefield.use.compare import compare_run

    return keep(*compare_run(o.request(bar), o.solvers, o.students), o.out or o.run / "compare")
