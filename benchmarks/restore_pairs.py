"""Restoration at few calls: runs on pairs beside the unconditional methods, on held-out pictures.

    python benchmarks/restore_pairs.py OPERATOR PRIOR [PAIRS ...] [--pictures 64] [--n 16]
        [--sheet FILE]

OPERATOR is blur:2, pool:2, ...; PRIOR an unconditional run and PAIRS runs of restore-pairs on the
same data, operator and noise. One row each: the mean energy score over pictures (samples against
samples; low is good), PSNR of the mean of n samples (means against means), and of single ones.
Ten steps each; classes are not told. The sheet has the truth and then one sample of each row.
"""

import argparse
from pathlib import Path

import torch

from scorefield.base import BadInput, Seeded
from scorefield.catalogue.spec import build
from scorefield.distill.sampler import energy_score
from scorefield.inverse import measure, restore
from scorefield.report.picture import picture
from scorefield.run.config import build_levels
from scorefield.run.open import data_of, open_run
from scorefield.run.pairs import lead, lifted
from scorefield.store import write_png
from scorefield.use.restore import psnr

METHODS = ("ddrm", "pigdm", "mmps", "tmpd", "diffpir", "dps", "replacement")
STEPS, SHOWN = 10, 12


def row(name: str, x: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Print one; the first sample of each of the pictures that are shown."""
    each = x.unflatten(0, (len(truth), -1)).cpu()
    score = float(energy_score(each, truth).mean())
    mean, single = psnr(each.mean(1), truth), psnr(each[:, 0], truth)
    print(f"{name:<44} {score:7.3f} {mean:7.2f} {single:7.2f}", flush=True)
    return each[:SHOWN, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("operator")
    parser.add_argument("prior", type=Path)
    parser.add_argument("pairs", type=Path, nargs="*")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--sheet", type=Path)
    said = parser.parse_args()
    prior = open_run(said.prior)
    data = data_of(prior)
    truth = data.batch(data.test, torch.arange(said.pictures))[0]
    operator = build("operators", said.operator, shape=prior.facts.shape)
    measured = measure(operator, truth, said.noise, Seeded(range(2**31, 2**31 + len(truth))))
    y = measured.repeat_interleave(said.n, 0)
    seeds = list(range(len(y)))
    print(f"{said.operator}, {said.pictures} pictures, {said.n} samples each, noise {said.noise:g}")
    print(f"{'by':<44} {'energy':>7} {'mean dB':>7} {'one dB':>7}")
    levels = build_levels("vp-root", prior.schedule, STEPS)
    x1 = lifted(operator, truth, measured).repeat_interleave(said.n, 0)
    shown = [truth[:SHOWN], row("what was measured", x1, truth)]
    for method in METHODS:
        try:
            x = restore(prior.denoiser, operator, y, said.noise, method, levels, seeds)
        except BadInput as error:
            print(f"{method:<44} {error.fact}")
            continue
        shown.append(row(method, x.detach(), truth))
    for path in said.pairs:
        run = open_run(path)
        led = lead(run.denoiser, run.config, run.facts, x1, seeds, STEPS)
        shown.append(row(f"{path.name}: {run.config.objective.kind}", led.x, truth))
    if said.sheet:
        write_png(picture(torch.cat(shown), len(shown[0])), said.sheet)


if __name__ == "__main__":
    main()
