"""Restoration at few calls: runs on pairs beside the unconditional methods, on held-out pictures.

    python benchmarks/restore_pairs.py OPERATOR RUN [RUN ...] [--cold] [--methods ddrm+mmps]
        [--first 0] [--pictures 64] [--n 16] [--noise .05] [--sheet FILE]
    python benchmarks/restore_pairs.py tinted FILE

OPERATOR is blur:2, pool:2, ...; a RUN is one of restore-pairs, on the same data, operator and
noise, or an unconditional one, whose prior every method takes. `--cold` trains cold diffusion
beside them, as the last run was: its network, told no other end, its images, its rates. One row
each: the mean energy score over pictures (samples against samples; low is good), PSNR of the mean
of n samples (means against means), and of single ones; then, of each, how far the first run on
pairs is ahead of it, with the standard error of the mean over pictures. Ten steps each; classes are
not told. The sheet has the truth and then one sample of each row.

`tinted` writes digits in colours of chance, for the operator grey: `--data.name FILE`.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from scorefield.base import BadInput, Seeded, like
from scorefield.bridge import ColdStep, fading
from scorefield.catalogue.spec import build
from scorefield.data import load
from scorefield.denoise import Denoiser
from scorefield.distill.sampler import energy_score
from scorefield.inverse import lifted, measure, restore
from scorefield.inverse.operators import Blur, Operator
from scorefield.measure.quality import psnr
from scorefield.objective import Degradation, Degraded, Denoising, Uniform
from scorefield.process import Flow
from scorefield.report.picture import picture
from scorefield.run.autoencoder import without_conditions
from scorefield.run.config import build_denoiser, build_levels
from scorefield.run.open import Run, data_of, open_run
from scorefield.run.pairs import is_led, lead
from scorefield.solve import sample
from scorefield.store import write_png
from scorefield.train import learn

METHODS = "ddrm+pigdm+mmps+tmpd+diffpir+dps+replacement"
STEPS, SHOWN, ROWS = 10, 12, 256


class Row(NamedTuple):
    """One who restored: of each picture the energy score and the PSNR of the mean."""

    name: str
    score: torch.Tensor
    mean: torch.Tensor
    led: bool


class Asked(NamedTuple):
    """What is to be restored: pictures `(P, ...)`, the operator, and of each n rows of y and of
    the picture x1 of y."""

    truth: torch.Tensor
    operator: Operator
    noise: float
    y: torch.Tensor
    x1: torch.Tensor

    def by(self, how: Callable[[torch.Tensor, torch.Tensor, list[int]], torch.Tensor]):
        """The restorations of y and x1 by their seeds, some rows at a time."""
        parts = zip(self.y.split(ROWS), self.x1.split(ROWS), torch.arange(len(self.y)).split(ROWS))
        return torch.cat([how(y, x1, seeds.tolist()).detach().cpu() for y, x1, seeds in parts])


def row(name: str, x: torch.Tensor, truth: torch.Tensor, led: bool = False) -> Row:
    """Print one."""
    each = x.unflatten(0, (len(truth), -1))
    score = energy_score(each, truth)
    mean = torch.tensor([psnr(m[None], t[None]) for m, t in zip(each.mean(1), truth)])
    single = psnr(each[:, 0], truth)
    print(f"{name:<44} {float(score.mean()):7.3f} {float(mean.mean()):7.2f} {single:7.2f}",
          flush=True)  # fmt: skip
    return Row(name, score, mean, led)


def compared(rows: list[Row]) -> None:
    """How far the first on pairs is ahead of each."""
    led = [one for one in rows if one.led]
    for other in rows if led else ():
        if other is led[0]:
            continue
        gains = (other.score - led[0].score, led[0].mean - other.mean)
        score, mean = (
            f"{float(v.mean()):+.3f} +- {float(v.std()) / len(v) ** 0.5:.3f}" for v in gains
        )
        print(f"{led[0].name} ahead of {other.name}: energy score {score}, dB {mean}")


def degradation(operator: Operator) -> Degradation:
    """What leads from a picture to what is measured of it without noise: a Gaussian blur's variance
    grows as s^2, all else is faded to."""
    if not isinstance(operator, Blur):
        return fading(lambda x: lifted(operator, x, operator(x)))
    waves = torch.fft.fft2(operator.kernel.double()).real.clamp(min=1e-12)

    def blurred(x0: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return torch.fft.ifft2(waves.to(x0) ** like(s.square(), x0) * torch.fft.fft2(x0)).real

    return blurred


def cold(run: Run, degrade: Degradation) -> Denoiser:
    """Cold diffusion by the network and the training of a run on pairs."""
    data = without_conditions(data_of(run))
    own = replace(run.config, objective=replace(run.config.objective, kind="bridge:conditional=no",
                  schedule="flow", times="uniform"))  # fmt: skip
    began = time.process_time()
    task = Denoising(build_denoiser(own, run.info), Degraded(degrade, times=Uniform()))
    found = learn(task, data, run.config.training)
    print(f"cold diffusion: {time.process_time() - began:.0f} s of training")
    return found


def tinted(file: Path) -> None:
    """Digits whose ink has a colour of chance."""
    data, rng = load("digits"), torch.Generator().manual_seed(0)
    found = {}
    for end, split in (("", data.train), ("_test", data.test)):
        ink = split.taken(torch.arange(len(split))).float() / 16  # (N, 1, 8, 8)
        tint = torch.rand(len(ink), 3, 1, 1, generator=rng)
        tint = tint / tint.amax(1, keepdim=True)
        found[f"x{end}"] = (255 * ink * tint).round().to(torch.uint8).movedim(1, -1).numpy()
    np.savez(file, **found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("operator")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--sheet", type=Path)
    said = parser.parse_args()
    if said.operator == "tinted":
        return tinted(said.runs[0])
    torch.set_num_threads(1)
    runs = [open_run(path) for path in said.runs]
    data = data_of(runs[0])
    truth = data.batch(data.test, torch.arange(said.first, said.first + said.pictures))[0]
    operator = build("operators", said.operator, shape=runs[0].info.shape)
    chance = range(2**31 + said.first, 2**31 + said.first + len(truth))
    measured = measure(operator, truth, said.noise, Seeded(chance))
    x1 = lifted(operator, truth, measured)
    asked = Asked(truth, operator, said.noise, measured.repeat_interleave(said.n, 0),
                  x1.repeat_interleave(said.n, 0))  # fmt: skip
    print(f"{said.operator}, {len(truth)} pictures from {said.first} on, {said.n} samples each, "
          f"noise {said.noise:g}")  # fmt: skip
    print(f"{'by':<44} {'energy':>7} {'mean dB':>7} {'one dB':>7}")
    rows, shown = [], [truth[:SHOWN], x1[:SHOWN]]

    def add(name: str, x: torch.Tensor, led: bool = False) -> None:
        rows.append(row(name, x, truth, led))
        shown.append(x[:: said.n][:SHOWN])

    add("what was measured", asked.x1)
    for run in runs:
        if is_led(run.config, run.info):
            x = asked.by(lambda y, x1, seeds, run=run: lead(
                run.denoiser, run.config, run.info, x1, seeds, STEPS).x)  # fmt: skip
            add(f"{run.path.name}: {run.config.objective.kind}", x, True)
            continue
        levels = build_levels("vp-root", run.schedule, STEPS)
        for method in said.methods.split("+"):
            try:
                x = asked.by(lambda y, x1, seeds, run=run, levels=levels, method=method: restore(
                    run.denoiser, operator, y, said.noise, method, levels, seeds))  # fmt: skip
            except BadInput as error:
                print(f"{method:<44} {error.fact}")
                continue
            add(method, x)
    if said.cold:
        degrade = degradation(operator)
        net = cold(runs[-1], degrade)
        levels = build_levels("uniform-t", Flow(), STEPS)
        for improved in (True, False):
            solver = ColdStep(degrade, improved)
            x = asked.by(lambda y, x1, seeds, solver=solver: sample(
                solver, net, x1, levels, Seeded(seeds)))  # fmt: skip
            add(f"cold diffusion, {'improved' if improved else 'naive'}", x)
    compared(rows)
    if said.sheet:
        write_png(picture(torch.cat(shown), len(shown[0])), said.sheet)


if __name__ == "__main__":
    main()
