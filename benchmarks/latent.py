"""Diffusion in latents beside diffusion in pixels, and beside the autoencoder's own prior.

    make bench-latent
    python -m benchmarks.latent --beside PIXELS CODEC LATENT

The three recipes of the digits are trained into a folder that is thrown away (or --runs DIR, which
is gone on from), and their samples measured by one judge, on one core and in processor time. The
page docs/benchmarks/latent.md is made of what is found. scikit-learn has the classifier that is to
tell latents apart; it comes with the extra [dev].

With --beside three runs that are there, on any data, are measured in the same way, with the signal
to noise of what the codec gives back, and the memory that training takes above what there is
before its first step, in a process of its own for each.
"""

import argparse
import ctypes
import dataclasses
import json
import math
import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import Level, Seeded
from scorefield.base.memory import keep_freed_memory
from scorefield.data import Data
from scorefield.data.latents import spread_of
from scorefield.draw import draw
from scorefield.measure import Reference, quality, real_quality
from scorefield.measure.quality import psnr
from scorefield.run.open import Run, data_of, open_run
from scorefield.run.recipes import recipe
from scorefield.run.settings import Config
from scorefield.run.train import fit_run
from scorefield.use.generate import decoded
from scorefield.use.judge import judge_of
from scorefield.use.plan import asked_of, plan_of, settings_of

OUT = Path("docs/benchmarks/latent.md")
RECIPES = ("digits", "digits-autoencoder", "digits-latent", "digits-vae")
"""The last is the same autoencoder with the whole KL term, whose prior is nearer to its latents."""
N, REPEATS, BATCH = 1000, 3, 128
"""Samples of a set, sets with seeds of their own, and examples a step where memory is measured."""


class Figures(NamedTuple):
    """What is found of one model: Frechet distances of the sets, seconds for 1,000 samples, seconds
    of training, parameters of what is called in every step."""

    frechet: list[float]
    floor: float
    seconds: list[float]
    training: float
    parameters: int


def trained(folder: Path, recipes: Sequence[str] = RECIPES) -> dict[str, float]:
    """The runs, and the processor seconds that each took, which are kept beside them."""
    file = folder / "seconds.json"
    spent = json.loads(file.read_text()) if file.exists() else {}
    for name in (name for name in recipes if name not in spent):
        began, config = time.process_time(), recipe(name.replace("vae", "autoencoder"))
        if name == "digits-vae":
            whole = dataclasses.replace(config.objective, kind="vae")
            config = dataclasses.replace(config, objective=whole)
        if config.codec:
            config = dataclasses.replace(config, codec=str(folder / "digits-autoencoder"))
        fit_run(config, folder / name, resume=(folder / name).exists())
        spent[name] = time.process_time() - began
        print(f"{name}: {spent[name]:.0f} s", flush=True)
        file.write_text(json.dumps(spent))
    return spent


def samples(run: Run, seeds: range, labels: Tensor | None, **settings: Any) -> Tensor:
    """As the run samples by default, decoded; classes in turn where it knows them."""
    of = run.denoiser
    asked = asked_of(of, seeds=seeds, labels=labels)
    plan = plan_of(of, labels is not None, **{**settings_of(run), **settings})
    return decoded(of, plan, asked).x


def measured(run: Run, data: Data, judge: Any, training: float, **settings: Any) -> Figures:
    labels = torch.arange(N) % 10 if run.info.classes else None
    reference, found, seconds = Reference(data, judge, N, labels), [], []
    samples(run, range(8), None if labels is None else labels[:8])  # what is done once
    for k in range(REPEATS):
        began = time.process_time()
        x = samples(run, range(k * N, (k + 1) * N), labels, **settings)
        seconds.append(time.process_time() - began)
        found.append(quality(x, reference).frechet)
    weights = run.denoiser.net.parameters() if run.info.classes else ()  # type: ignore[union-attr]
    size = sum(p.numel() for p in weights)
    return Figures(found, real_quality(reference).frechet, seconds, training, size)


def signal_to_noise(run: Run, data: Data) -> float:
    """Decibels of held-out pictures that went through the codec, the mode of each posterior."""
    x0, _ = data.batch(data.test, torch.arange(min(N, len(data.test))))
    codec: Any = run.denoiser.codec
    with torch.no_grad():
        return psnr(codec.decode(codec.encode(x0)), x0)


def memory(config: Config) -> float:
    """MB that five steps take at most above what there is before the first of them."""
    before: list[float] = []

    def status(name: str) -> float:
        line = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(line[1]) / 1024 if line else 0.0

    def begun(_: str) -> None:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed is not there for the first step
        Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
        before[:] = [status("VmRSS")]

    fit_run(config, say=begun, images=5 * BATCH, batch=BATCH, precision="fp32", compile=False)
    return status("VmHWM") - before[0]


def beside(folders: Sequence[Path]) -> None:
    """Three runs, a line of JSON each."""
    pixels, codec, latent = (open_run(folder) for folder in folders)
    data = data_of(pixels)
    judge, _ = judge_of(folders[0], data)
    spawn = multiprocessing.get_context("spawn")
    for name, run in (("pixels", pixels), ("codec", codec), ("latent", latent)):
        found = measured(run, data, judge, math.nan)._asdict()
        if run is latent:
            found["psnr"] = signal_to_noise(latent, data)
        with spawn.Pool(1) as apart:
            found["memory"] = apart.apply(memory, (run.config,))
        print(name, json.dumps(found), flush=True)
    half = measured(latent, data, judge, math.nan, steps=settings_of(latent)["steps"] // 2)
    print("latent in half the steps", json.dumps(half._asdict()), flush=True)


def told_apart(a: Tensor, b: Tensor) -> float:
    """Accuracy with which a classifier tells rows of a from rows of b that it has not seen, over
    five folds: .5 if they are of one law (Lopez-Paz and Oquab 2017)."""
    from sklearn.model_selection import cross_val_score
    from sklearn.neural_network import MLPClassifier

    n = min(len(a), len(b))
    rows = torch.cat([a[:n], b[:n]]).flatten(1).numpy()
    side = torch.arange(2).repeat_interleave(n).numpy()
    order = torch.randperm(2 * n, generator=torch.Generator().manual_seed(0)).numpy()
    net = MLPClassifier((64, 64), alpha=1e-2, early_stopping=True, max_iter=200, random_state=0)
    return float(cross_val_score(net, rows[order], side[order], cv=5).mean())


def two_samples(run: Run, data: Data) -> dict[str, float]:
    """Encoded examples, a draw of each posterior, beside N(0, I) and beside latents of the run."""
    codec: Any = run.denoiser.codec
    parts = [spread_of(codec, data, split) for split in (data.train, data.test)]
    mean, std = (torch.cat(leaves) for leaves in zip(*parts))
    label = torch.cat([split.cond["label"] for split in (data.train, data.test)])
    noise = Seeded(range(len(mean)))(mean, Level.of(1.0, 0.0), Level.of(0.0, 1.0))
    encoded, of = mean + std * noise, run.denoiser
    plan = plan_of(of, True, **{**settings_of(run), "guidance": 1.0})
    asked = asked_of(of, seeds=range(len(mean)), labels=label)
    z = draw(of, plan, asked, of.shape, batch=512).x
    normal = torch.randn(mean.shape, generator=torch.Generator().manual_seed(1))
    return {
        "encoded, N(0, I)": told_apart(encoded, codec.scale * normal),
        "encoded, latents of the run": told_apart(encoded, z),
    }


def page(found: dict[str, Figures], accuracies: dict[str, float], machine: str) -> str:
    lines = [
        "# Diffusion in latents",
        "",
        f"Made by `make bench-latent` on {machine}: processor time on one core. Frechet",
        f"distance of {REPEATS} sets of {N:,} samples to the held-out digits in the features of a",
        "judge, beside what as many training examples get; seconds for 1,000 samples, decoded, as",
        "each recipe samples (10 steps of arc, guidance 1.3; of the autoencoder 20 of N(0, I)).",
        "",
        "| model | Frechet distance | real data | seconds for 1,000 | training, s | parameters |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, f in found.items():
        spread = f"{statistics.mean(f.frechet):.3f} +- {statistics.stdev(f.frechet):.3f}"
        seconds = f"{statistics.median(f.seconds):.2f}"
        row = name, spread, f"{f.floor:.2f}", seconds, f"{f.training:.0f}", f"{f.parameters:,}"
        lines.append(f"| {' | '.join(row)} |")
    pixel, coder, latent, vae = (statistics.mean(found[name].frechet) for name in RECIPES)
    slow, fast = (statistics.median(found[n].seconds) for n in ("digits", "digits-latent"))
    lines += [
        "",
        f"Latent diffusion is at {latent / coder:.2f} of the distance of the autoencoder's own",
        f"prior, at {latent / vae:.2f} of that of `digits-vae`, the same trained with the whole KL",
        f"term for its own samples' sake, and at {latent / pixel:.2f} of that of the model on",
        f"pixels, in {fast / slow:.3f} of its time.",
        "",
        "How well a classifier tells two sets of latents apart, over five folds (1,797 each):",
        "",
        "| sets | accuracy |",
        "| --- | --- |",
        *(f"| {name} | {value:.3f} |" for name, value in accuracies.items()),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=Path, help="where the runs are, or are to be kept")
    parser.add_argument("--machine", default="one core of a shared machine")
    parser.add_argument("--beside", type=Path, nargs=3, metavar=("PIXELS", "CODEC", "LATENT"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if options.beside:
        return beside(options.beside)
    with tempfile.TemporaryDirectory() as work:
        folder = options.runs or Path(work)
        spent = trained(folder)
        data = recipe("digits").load_data()
        judge, _ = judge_of(folder / "digits", data)
        found = {}
        for name in RECIPES:
            found[name] = measured(open_run(folder / name), data, judge, spent[name])
            print(name, json.dumps(found[name]._asdict()), flush=True)
        accuracies = two_samples(open_run(folder / "digits-latent"), data)
        print(json.dumps(accuracies), flush=True)
        OUT.write_text(page(found, accuracies, options.machine))


if __name__ == "__main__":
    main()
