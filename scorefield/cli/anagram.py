"""`scorefield anagram RUN`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from scorefield import catalogue
from scorefield.base import BadInput, Cond
from scorefield.catalogue.spec import build, specs
from scorefield.cli.options import (
    FEW,
    Switch,
    at_least,
    check_guided,
    device,
    labels_of,
    note_absent,
    out_file,
    parse,
    say,
    seeds_of,
    settings_for,
)
from scorefield.guide import Part, View, anagram, chain, hybrid
from scorefield.report import picture
from scorefield.run.open import Run, open_run
from scorefield.store import write_png
from scorefield.use.generate import generate


@dataclass(frozen=True)
class Options:
    """Make pictures that show one class or another as one looks at them: a row for each view.

    Views turn, mirror or rearrange a picture: identity, flip, upside-down, rot90, rot180, rot270,
    negate, patches:K (and patches:K,SEED), jigsaw. Parts divide it: low:R with high:R (up to R
    periods a side, and beyond), grey with colour; the first row is then the whole.

    examples:
      scorefield anagram runs/digits --labels 6,9 --views identity,rot180
      scorefield anagram runs/digits --labels 3,8 --views identity,flip --guidance 3 --n 16
          --out flips.png
      scorefield anagram runs/digits --labels 1,0 --views low:2,high:2
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    views: str = "identity,rot180"
    """Views, or parts, between commas."""
    labels: str | None = None
    """The class that each view shows, in their order (default: no class)."""
    n: int | None = None
    """How many pictures (default: as many as seeds, or 8)."""
    steps: int | None = None
    """Solver steps (default: the run's)."""
    solver: str | None = None
    """Solver (default: the run's; see scorefield catalogue solvers)."""
    grid: str | None = None
    """Noise levels visited (default: the run's; see scorefield catalogue grids)."""
    guidance: float | None = None
    """Scale of classifier-free guidance; 1 is none (default: the run's)."""
    seeds: str | None = None
    """Seeds, one per picture: 0-7 or 1,2,7 (default: 0 to n-1)."""
    out: Path | None = None
    """The .png to write (default: RUN/samples/anagram.png)."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "anagram", argv)
    run = open_run(options.run)
    at_least("--steps", options.steps)
    seeds = seeds_of(options.n, options.seeds, FEW)
    if len(run.facts.shape) != 3:
        raise BadInput(
            f"{options.run} makes points of {run.facts.shape[0]} numbers.", "Views are of pictures."
        )
    texts = specs(re.sub(r"\b(patches:\d+):", r"\1,", options.views))  # as it was written once
    views = [build("views", text, shape=run.facts.shape) for text in texts]
    labels = _labels(options, run, len(views))
    check_guided(options.guidance, options.labels is not None)
    conds: list[Cond | None] = [
        None if label is None else {"label": torch.full((len(seeds),), label, device=device())}
        for label in labels
    ]
    guide, looks = _guide(views, run.facts.shape, conds)
    out = out_file(options.out or options.run / "samples" / "anagram.png", ".png")
    settings = settings_for(run, options)
    scale = settings["guidance"] if options.labels else 1.0
    guided = chain(catalogue.guides["cfg"](scale), guide)
    x0 = generate(
        run.denoiser.to(device()),
        **settings,
        seeds=seeds,
        batch=len(seeds),
        guide=guided,
        progress=True,
    )
    rows = torch.cat([look(x0) for look in looks])
    write_png(picture(rows, len(seeds)), out)
    names = [v.name for v in views]
    result = {"out": str(out), "n": len(seeds), "views": names, "labels": labels}
    told = ["" if k is None else f" as {run.facts.classes[k]}" for k in labels]
    pairs = ", ".join(name + said for name, said in zip(names, told))
    say(result, f"{out}: {len(seeds)} pictures; rows: {pairs}", options.json)
    return 0


def _labels(options: Options, run: Run, count: int) -> list[int | None]:
    if options.labels is None:
        return [None] * count
    labels = labels_of(options.labels, run.facts.classes)
    note_absent(labels, run.facts)
    if len(labels) != count:
        raise BadInput(
            f"--labels has {len(labels)} classes and --views {count} views.",
            "Give one class for each view.",
        )
    return [*labels]


def _guide(views: list[View | Part], shape: tuple[int, ...], conds: list[Cond | None]):
    """The guide, and what to draw of its samples, row by row."""
    whole = [v for v in views if isinstance(v, View)]
    parts = [v for v in views if isinstance(v, Part)]
    if whole and parts:
        raise BadInput(
            f"--views mixes {whole[0].name}, a view of all, and {parts[0].name}, a part.",
            "Give views only, or parts that add up, such as low:2,high:2.",
        )
    if parts:
        return hybrid(parts, shape, conds), [lambda x: x, *(p.project for p in parts)]
    return anagram(whole, shape, conds), [v.forward for v in whole]
