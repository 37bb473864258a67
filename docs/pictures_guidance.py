"""Draw the pictures of docs/guidance.md, docs/inverse.md and docs/conditions.md from the
quickstart's run, and print what the judge says of the anagrams: `make docs`."""

from pathlib import Path

import torch
from torch import Tensor

from scorefield.base import Seeded
from scorefield.catalogue.spec import build
from scorefield.guide import View, anagram, cfg
from scorefield.inverse import Renewed, measure, restore
from scorefield.inverse.operators import Linear
from scorefield.report import picture
from scorefield.run.config import build_levels
from scorefield.run.open import Run, build_solver, data_of, open_run
from scorefield.solve import sample
from scorefield.store import write_png
from scorefield.use.edit import edit, reencode
from scorefield.use.judge import judge_of
from scorefield.use.plan import asked_of

HERE = Path(__file__).parent
RUN = HERE.parent / "runs" / "digits"
PAIRS = ((6, 9, "rot180"), (1, 7, "rot180"), (5, 2, "flip"))
JUDGED, SHOWN, SCALE = 200, 12, 2.0
OPERATORS = ("box:2,2,4,4", "random:.5", "pool:2", "blur:1.0", "radon:6", "fourier:2")
SAMPLES, NOISE, STEPS = 6, 0.05, 100


def blank(like: Tensor) -> Tensor:
    """The colour between pictures."""
    return torch.full_like(like, 40 / 127.5 - 1)


@torch.no_grad()
def views(run: Run, labels: tuple[int, int], name: str, seeds: range) -> list[Tensor]:
    """Each view of anagrams that show one class or the other."""
    shape, own = tuple(run.info.shape), run.config.sample
    looks: list[View] = [build("views", each, shape=shape) for each in ("identity", name)]
    told = [{"label": torch.full((len(seeds),), k)} for k in labels]
    denoise = anagram(looks, shape, told)(cfg(SCALE)(run.denoiser))
    levels, noise = build_levels(own.grid, run.schedule, own.steps), Seeded(seeds)
    x = noise.start(shape, levels)
    x0 = sample(build_solver(own.solver), denoise, x, levels, noise)
    return [v.forward(x0) for v in looks]


def anagrams(run: Run) -> None:
    """Two rows for each pair of classes: as made, and turned."""
    judge, accuracy = judge_of(RUN, data_of(run))
    print(f"judge: {accuracy:.1%} of held-out digits")
    rows = []
    for first, second, name in PAIRS:
        seen = views(run, (first, second), name, range(JUDGED))
        judged = [judge(x).argmax(1) == k for x, k in zip(seen, (first, second))]
        shares = ", ".join(f"{float(right.float().mean()):.1%}" for right in judged)
        both = float((judged[0] & judged[1]).float().mean())
        print(f"{first} and, under {name}, {second}: {shares}; both {both:.1%}")
        rows += [x[:SHOWN] for x in seen]
    write_png(picture(torch.cat(rows), SHOWN), HERE / "images" / "anagrams.png")


def restorations(run: Run) -> None:
    """A row for each operator: truth, measurement, samples, their mean and deviation."""
    data = data_of(run)
    truth = data.batch(data.test, torch.arange(len(OPERATORS)))[0]
    levels = build_levels(run.config.sample.grid, run.schedule, STEPS)
    rows = []
    for x0, text in zip(truth.split(1), OPERATORS):
        a = build("operators", text, shape=tuple(run.info.shape))
        assert isinstance(a, Linear)
        y = measure(a, x0, NOISE, Seeded([2**32]))
        seeds, walk = range(SAMPLES), Renewed()
        found = restore(run.denoiser, a, y, NOISE, "dps", levels, seeds, solver=walk)
        seen = a.picture(y)
        if seen.shape[-1] < x0.shape[-1]:
            seen = torch.nn.functional.interpolate(seen, x0.shape[2:])
        elif seen.shape != x0.shape:
            seen = a.adjoint(a.solve(y, torch.ones(()), torch.tensor(NOISE**2)))
        spread = 2 * found.std(0, keepdim=True) - 1
        rows += [x0, seen, blank(x0), found, blank(x0), found.mean(0, keepdim=True), spread]
    write_png(picture(torch.cat(rows), SAMPLES + 6), HERE / "images" / "restore.png")


def edits(run: Run) -> None:
    """Variations at three strengths, a new lower half, and one code decoded as each class."""
    data = data_of(run)
    seven = int((data.test.cond["label"] == 7).nonzero()[3])
    x0, seeds = data.batch(data.test, torch.tensor([seven]))[0], range(10)
    lower = torch.zeros(x0.shape[2:], dtype=torch.bool)
    lower[4:] = True
    asked = asked_of(run.denoiser, seeds=seeds)
    rows = [edit(run.denoiser, x0, strength, asked) for strength in (0.3, 0.5, 0.7)]
    sevens = asked_of(run.denoiser, seeds=seeds, labels=[7])
    rows.append(edit(run.denoiser, x0, 1.0, sevens, mask=lower))
    source, each = ({"label": torch.tensor(k)} for k in ([7], [*range(10)]))
    rows.append(reencode(run.denoiser, x0.expand(10, *x0.shape[1:]), 1.0, each, source=source))
    strip = [torch.cat([x0, blank(x0), row]) for row in rows]
    write_png(picture(torch.cat(strip), len(seeds) + 2), HERE / "images" / "edits.png")


if __name__ == "__main__":
    torch.set_num_threads(1)
    run = open_run(RUN)
    anagrams(run)
    restorations(run)
    edits(run)
