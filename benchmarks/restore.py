"""Inverse problems on trained models: every method and operator, beside deepinv on the same ones.

Held-out pictures are measured with noise of deviation NOISE (data lie in [-1, 1]), and each is
restored a few times by the same unconditional denoiser in the same number of network calls. Each
method has a few settings of its own, ours and the peer's alike; those are taken that have the best
PSNR on other held-out pictures, operator by operator.

    python -m benchmarks.restore SMALL LARGE --peer ENV/bin/python    # docs/benchmarks/restore.md

SMALL and LARGE are run folders; the second takes the settings of the first, but for DPS, DiffPIR
and DDRM, which choose anew. ENV has deepinv and torch. What was finished stays in `--work`, and a
second call goes on from there. Without a peer ours run alone.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Level, Seeded
from scorefield.catalogue.spec import build
from scorefield.guide import threshold
from scorefield.inverse import METHODS, Renewed, measure, restore
from scorefield.inverse.operators import Linear
from scorefield.measure.quality import psnr
from scorefield.run.config import build_levels
from scorefield.run.open import Run, data_of, open_run
from scorefield.solve import DDIM

OUT = Path("docs/benchmarks")
OURS, PEER = "scorefield", "deepinv"
NOISE = 0.05
FAR = 2.0
"""A sample with a number beyond this has failed; data end at 1."""

Knobs = dict[str, Any]
Row = dict[str, Any]


class Setup(NamedTuple):
    """What is restored: operators, how many pictures, to choose settings by and to report."""

    operators: tuple[str, ...]
    calls: int
    pictures: int
    samples: int
    tried_on: tuple[int, int]
    """Pictures, and samples of each, by which settings are chosen."""


SMALL = ("box:2,2,4,4", "random:.5", "pool:2", "blur:1.0", "radon:6", "fourier:2")
LARGE = ("box:8,8,12,12", "random:.5", "pool:2", "blur:1.0", "radon:12", "fourier:4")
SETUPS = {8: Setup(SMALL, 50, 16, 4, (12, 2)), 28: Setup(LARGE, 50, 8, 2, (4, 1))}
"""By the side of the pictures."""


# --- the problems, which both sides read ----------------------------------------------------------


@dataclass
class Counted:
    """A denoiser that counts, per sample, its calls and the vector-Jacobian products of them."""

    denoise: Denoise
    samples: int
    calls: float = 0
    products: float = 0

    def __call__(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        self.calls += len(x) / self.samples
        out = self.denoise(x, level, cond)
        if out.requires_grad:
            out.register_hook(self._backward)
        return out

    def _backward(self, slope: Tensor) -> None:
        self.products += len(slope) / self.samples


class Case(NamedTuple):
    """An operator, the pictures `(P, *shape)` and their measurements `(P, ...)`."""

    text: str
    a: Linear
    truth: Tensor
    y: Tensor
    samples: int

    @property
    def each(self) -> Tensor:
        """y for each sample, the samples of a picture in a row."""
        return self.y.repeat_interleave(self.samples, 0)

    @property
    def seeds(self) -> range:
        return range(self.samples * len(self.y))


Restore = Callable[[Counted, Case, int, Knobs], Tensor]
"""(denoise, case, calls, knobs) -> x0 `(P samples, *shape)`."""


class Method(NamedTuple):
    restore: Restore
    tries: list[Knobs]
    """Settings to choose from."""
    anew: bool = False
    """Whether they are chosen anew on the second run."""


def setup(run: Run) -> Setup:
    return SETUPS[run.info.shape[-1]]


def case(run: Run, text: str, tried: bool = False) -> Case:
    """The problem that is reported, or the one that settings are chosen on."""
    s, data = setup(run), data_of(run)
    begin, (count, samples) = (s.pictures, s.tried_on) if tried else (0, (s.pictures, s.samples))
    truth = data.batch(data.test, torch.arange(begin, begin + count))[0]
    a = build("operators", text, shape=tuple(run.info.shape))
    assert isinstance(a, Linear)
    y = measure(a, truth, NOISE, Seeded(range(2**32 + begin, 2**32 + begin + count)))
    return Case(text, a, truth, y, samples)


def grid(**choices: Sequence[Any]) -> list[Knobs]:
    """All combinations, the first of each first."""
    return [dict(zip(choices, values)) for values in product(*choices.values())]


def race(
    run: Run, methods: Mapping[str, Method], who: str, work: Path, settings: Path | None = None
) -> None:
    """Choose each method's settings, restore, measure: a row in `work` for method and operator.

    `settings`: the work of a run of small pictures, whose settings are taken for the same kind of
    operator, but for methods that choose `anew`.
    """
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    s = setup(run)
    for text in s.operators:
        trial, real = case(run, text, tried=True), case(run, text)
        for name, method in methods.items():
            path = work / f"{who} {name} {text}.json"
            if path.exists():
                continue
            if settings and not method.anew:
                (known,) = settings.glob(f"{who} {name} {text.partition(':')[0]}:*.json")
                knobs = json.loads(known.read_text(encoding="utf-8"))["knobs"]
            else:
                tried = [measured(run, method, trial, s.calls, k)[0]["psnr"] for k in method.tries]
                knobs = method.tries[max(range(len(tried)), key=tried.__getitem__)]
            row, x0 = measured(run, method, real, s.calls, knobs)
            row |= {"who": who, "method": name, "operator": text, "knobs": knobs}
            row["tries"] = len(method.tries)
            np.save(path.with_suffix(".npy"), x0.numpy(), allow_pickle=False)
            path.write_text(json.dumps(row), encoding="utf-8")
            print(
                f"{who} {name} {text} {row['psnr']:.2f} dB, misfit {row['misfit']:.2f}, "
                f"{row['seconds']:.1f} s, {knobs}",
                flush=True,
            )


# --- how good it is -------------------------------------------------------------------------------


def measured(run: Run, method: Method, c: Case, calls: int, knobs: Knobs) -> tuple[Row, Tensor]:
    denoise = Counted(run.denoiser, len(c.seeds))
    begun = time.process_time()
    x0 = method.restore(denoise, c, calls, knobs).detach().float()
    spent = {
        "seconds": time.process_time() - begun,
        "calls": denoise.calls,
        "products": denoise.products,
    }
    return quality(x0, c) | spent, x0


def quality(x0: Tensor, c: Case) -> Row:
    """Of samples clipped to the data's range; the misfit is of the samples as they are."""
    far = ~(x0.flatten(1).abs().amax(1) <= FAR)
    misfit = (c.a(x0.nan_to_num()) - c.each).square().flatten(1).mean(1).sqrt() / NOISE
    x0 = x0.nan_to_num().clamp(-1, 1)
    truth = c.truth.repeat_interleave(c.samples, 0)
    sets = x0.unflatten(0, (-1, c.samples))
    return {
        "psnr": psnr(x0, truth),
        "psnr_of_mean": psnr(sets.mean(1), c.truth),
        "ssim": float(ssim(x0, truth).mean()),
        "energy": energy(sets, c.truth),
        "misfit": float(misfit.square().mean().sqrt()),
        "deviation": float(sets.var(1, correction=min(1, c.samples - 1)).mean().sqrt()),
        "failed": int(far.sum()),
        "samples": len(x0),
    }


def energy(sets: Tensor, truth: Tensor) -> float:
    """Energy score `E|x - x0| - E|x - x'|/2` of `(P, S, ...)` in root mean square, lower is better:
    least, on average, for draws of the posterior itself (Gneiting and Raftery 2007)."""
    s, x = sets.shape[1], sets.flatten(2)
    away = torch.linalg.vector_norm(x - truth.flatten(1)[:, None], dim=-1).mean(1)
    apart = torch.linalg.vector_norm(x[:, :, None] - x[:, None], dim=-1).sum((1, 2))
    apart = apart / max(1, s * (s - 1))
    return float((away - apart / 2).mean()) / math.sqrt(x.shape[-1])


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity `(B,)` of pictures `(B, C, H, W)`, mean over windows inside them.

        (2 mx my + c1)(2 sxy + c2) / ((mx^2 + my^2 + c1)(sx^2 + sy^2 + c2))

    of intensities in [0, 1], which [-1, 1] is brought to, with c1 = .01^2, c2 = .03^2; windows are
    11 x 11 Gaussians of deviation 1.5, for pictures smaller than that 7 x 7 uniform.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural
    similarity".
    """
    x, y = (x + 1) / 2, (y + 1) / 2
    if min(x.shape[-2:]) >= 11:
        side = torch.exp(-(torch.arange(-5, 6, device=x.device) ** 2) / (2 * 1.5**2)).to(x)
    else:
        side = x.new_ones(7)
    side = side / side.sum()
    window = (side[:, None] * side)[None, None]

    def mean(v: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(v.flatten(0, 1)[:, None], window)

    mx, my = mean(x), mean(y)
    sx, sy, sxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    at = (2 * mx * my + c1) * (2 * sxy + c2) / ((mx**2 + my**2 + c1) * (sx + sy + c2))
    return at.flatten(1).mean(1).view(len(x), -1).mean(1)


# --- ours -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Own:
    """A method of `scorefield.inverse.restore`, under knobs of its own and of the walk."""

    run: Run = field(repr=False)
    name: str

    def __call__(self, denoise: Counted, c: Case, calls: int, knobs: Knobs) -> Tensor:
        options = dict(knobs)
        path, limit = options.pop("grid", self.run.config.sample.grid), options.pop("limit", None)
        walk = None
        if "fraction" in options:
            fraction, warm = options.pop("fraction"), options.pop("temperature", 1.0)
            walk = DDIM(1.0) if fraction is None else Renewed(fraction, warm)
        clipped = denoise if limit is None else threshold(limit=limit)(denoise)
        if self.name == "repaint":
            calls = calls // options["times"]
        if self.name == "twisted":
            options["particles"] = c.samples
        levels = build_levels(path, self.run.schedule, calls)
        return restore(
            clipped, c.a, c.each, NOISE, self.name, levels, c.seeds, solver=walk, **options
        )


PAIRS = {
    "DPS": ("dps", "dps-published"),
    "DiffPIR": ("diffpir",),
    "DDRM": ("ddrm",),
    "PiGDM": ("pigdm",),
    "MMPS": ("mmps",),
}
"""The peer's methods, which it has under the last of these names, and ours."""


def own(run: Run) -> dict[str, Method]:
    paths, cool = ("vp-root", "uniform-t"), (1.0, 0.9)
    tries = {
        "dps": grid(fraction=(None,)) + grid(fraction=(0.6, 1.0), temperature=cool),
        "mmps": grid(fraction=(None, 0.6, 1.0)),
        "tmpd": grid(fraction=(None, 0.6, 1.0)),
        "pigdm": grid(fraction=(None, 0.6, 1.0), sigma_data=(0.5, 0.3)),
        "diffpir": grid(
            fraction=(1.0,), weight=(0.5,), temperature=cool, limit=(None, 1.0), grid=paths
        ),
        "replacement": grid(fraction=(None, 1.0)),
        "ddrm": grid(temperature=cool, limit=(None, 1.0), grid=paths),
        "repaint": grid(times=(5, 2)),
        "dps-published": grid(scale=(1.0, 2.0, 3.0), grid=paths),
        "twisted": grid(sigma_data=(0.5,)),
    }
    assert set(tries) == set(METHODS)
    both = [name for title in ("DPS", "DiffPIR", "DDRM") for name in PAIRS[title]]
    return {name: Method(Own(run, name), tries[name], anew=name in both) for name in tries}


# --- the page -------------------------------------------------------------------------------------

COLUMNS = {
    "PSNR": ("psnr", ".2f"),
    "of the mean": ("psnr_of_mean", ".2f"),
    "SSIM": ("ssim", ".3f"),
    "energy": ("energy", ".4f"),
    "misfit": ("misfit", ".2f"),
    "deviation": ("deviation", ".3f"),
    "failed": ("failed", "d"),
    "tries": ("tries", ".0f"),
    "calls": ("calls", ".0f"),
    "products": ("products", ".0f"),
    "seconds": ("seconds", ".1f"),
}
HEAD = """# Restorations by trained models

Made by `make bench-restore`. Held-out pictures, measured with noise of deviation {noise} (data lie
in [-1, 1]), restored by the unconditional denoiser of a run, in as many network calls for each
method. Methods choose among a few settings of their own, operator by operator, by the PSNR on other
held-out pictures, and so do the peer's: `tries` is how many. Both have seeds of their own. What
is tried was narrowed by earlier runs of this page, which `tries` does not count: DiffPIR's fraction
and weight on both data sets, and on digits the temperatures, 1 and .9 for 1 and .8, which gained
PSNR and lost energy.

PSNR is that of a sample, then that of the mean of a picture's samples; SSIM (Wang et al. 2004) of a
sample, 11 x 11 Gaussian windows, 7 x 7 uniform for 8 x 8 pictures. The energy score
`E|x - x0| - E|x - x'|/2`, root mean square, is lower the nearer samples are to the posterior's:
unlike PSNR it does not reward samples for being the mean. Misfit is the deviation of `A(x) - y`
over that of the noise: 1 is right. Deviation is that of a picture's samples from each other. A
sample with a number beyond {far:g} has failed. Calls of the network and its vector-Jacobian
products are per sample, counted in the denoiser that both sides call; seconds are processor time
for all samples on one thread. `fraction` is that of `Renewed`; without it DDIM(eta=1);
`temperature` is a factor of the fresh noise, 1/sqrt(2) in the peer's DDRM; `limit` clips D to the
data's range, as the peer's DPS and DiffPIR do. {machine}
"""


def rows_of(work: Path) -> list[Row]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(work.glob("*.json"))]


def table(rows: list[Row], first: str) -> str:
    lines = [
        f"| {first} | " + " | ".join(COLUMNS) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
    ]
    for row in rows:
        cells = [format(row[key], form) for key, form in COLUMNS.values()]
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mean_of(rows: list[Row]) -> Row:
    """Means over operators; failures add up."""
    out = {key: sum(row[key] for row in rows) / len(rows) for key, _ in COLUMNS.values()}
    return out | {"failed": sum(row["failed"] for row in rows)}


def of(rows: list[Row], who: str, method: str) -> list[Row]:
    return [row for row in rows if (row["who"], row["method"]) == (who, method)]


def against(rows: list[Row]) -> str:
    """Each method beside the peer's, means over operators, then the best of each side by PSNR."""
    found = []
    for title, names in PAIRS.items():
        for who, name in [*((OURS, name) for name in names), (PEER, names[-1])]:
            told = f"{title}, {PEER}" if who == PEER else f"{title}, our `{name}`"
            found.append(mean_of(of(rows, who, name)) | {"name": told})
    for who in (OURS, PEER):
        names = dict.fromkeys(row["method"] for row in rows if row["who"] == who)
        best = max(names, key=lambda name, who=who: mean_of(of(rows, who, name))["psnr"])
        found.append(mean_of(of(rows, who, best)) | {"name": f"**best: {best}, {who}**"})
    return table(found, "means over operators")


def section(run: Run, name: str, work: Path, first: str) -> str:
    s, rows = setup(run), rows_of(work)
    taken = "" if name == first else f" for DPS, DiffPIR and DDRM, else those of {first}"
    size = " x ".join(map(str, run.info.shape))
    parts = [
        f"## {name}, {size}\n\n{s.pictures} pictures, {s.samples} samples of each, {s.calls} "
        f"calls; settings of their own, chosen on {s.tried_on[0]} other pictures{taken}.",
    ]
    if any(row["who"] == PEER for row in rows):
        parts.append(f"Ours beside {PEER}:\n\n{against(rows)}")
    ours = [
        mean_of(of(rows, OURS, method)) | {"name": f"`{method}`"}
        for method in dict.fromkeys(row["method"] for row in rows if row["who"] == OURS)
    ]
    ours.sort(key=lambda row: row["psnr"], reverse=True)
    parts.append(f"All of ours, means over operators:\n\n{table(ours, 'method')}")
    parts.append(f"![{name}: truth, measurement, and a sample of each](restore-{name}.png)")
    for text in s.operators:
        here = [row for row in rows if row["operator"] == text]
        here.sort(key=lambda row: row["psnr"], reverse=True)
        for row in here:
            told = ", ".join(f"{k} {v}" for k, v in row["knobs"].items() if v is not None)
            row["name"] = f"{row['who']} `{row['method']}`" + (f", {told}" if told else "")
        parts.append(f"`{text}`\n\n{table(here, 'method')}")
    return "\n\n".join(parts)


def sheet(run: Run, name: str, work: Path) -> None:
    """A row for each operator: a picture, its measurement, and a sample of each method."""
    from matplotlib import pyplot as plt

    s, rows = setup(run), rows_of(work)
    columns = list(dict.fromkeys((row["who"], row["method"]) for row in rows))
    columns.sort(key=lambda key: (key[0] == PEER, key[1]))
    titles = ["truth", "y"] + [
        m.replace("-", "\n") + (f"\n({PEER})" if who == PEER else "") for who, m in columns
    ]
    size = (0.8 * len(titles), 0.8 * len(s.operators) + 0.4)
    figure, axes = plt.subplots(len(s.operators), len(titles), figsize=size, layout="constrained")
    for k, text in enumerate(s.operators):
        c, which = case(run, text), k % s.pictures
        pictures = [c.truth[which], c.a.picture(c.y[which : which + 1])[0]]
        for who, method in columns:
            x0 = np.load(work / f"{who} {method} {text}.npy", allow_pickle=False)
            pictures.append(torch.from_numpy(x0[which * c.samples]))
        for axis, x in zip(axes[k], pictures):
            axis.imshow(x[0].clamp(-1, 1), cmap="gray", vmin=-1, vmax=1)
            axis.set(xticks=[], yticks=[])
        axes[k, 0].set_ylabel(text.split(":")[0], fontsize=8)
    for axis, title in zip(axes[0], titles):
        axis.set_title(title, fontsize=7)
    figure.savefig(OUT / f"restore-{name}.png", dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of pictures")
    parser.add_argument("--peer", help="a Python that has deepinv")
    parser.add_argument("--work", type=Path, default=Path("runs/bench-restore"))
    options = parser.parse_args()
    first = options.work / options.runs[0].name
    for path in options.runs:
        run, work = open_run(path), options.work / path.name
        settings = None if work == first else first
        race(run, own(run), OURS, work, settings)
        if options.peer:
            command = [options.peer, "-m", "benchmarks.rivals.deepinverse", str(path), str(work)]
            command += [] if settings is None else [str(settings)]
            environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
            subprocess.run(command, check=True, env=environment)
    cpu = torch.backends.cpu.get_cpu_capability()
    machine = f"{platform.machine()}, {cpu}, torch {torch.__version__}."
    parts = [HEAD.format(noise=NOISE, far=FAR, machine=machine)]
    for path in options.runs:
        run = open_run(path)
        parts.append(section(run, path.name, options.work / path.name, first.name))
        sheet(run, path.name, options.work / path.name)
    (OUT / "restore.md").write_text("\n\n".join(part.strip() for part in parts) + "\n")


if __name__ == "__main__":
    main()
