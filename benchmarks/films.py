"""Moving digits: does each frame show the digit, and does it move by the law?

    python -m benchmarks.films --work WORK

A run of the recipe `moving-digits` is told the first frames of held-out films, and makes the rest
of `MOMENTS` by windows that overlap by those: drawn, and each the mean of its forecast (one step).
A judge of single frames, trained on the training films', says which digit each made frame shows;
the centre of its light is compared with that of the true film, in pixels, beside a film that stands
still and one that goes straight on, through the walls.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from scorefield.cli import main as scorefield
from scorefield.data import Data, Split
from scorefield.data.moving import moving_digits
from scorefield.measure.agreement import wilson
from scorefield.report.picture import frames, picture
from scorefield.run.open import open_run
from scorefield.run.pairs import continued, horizon_of
from scorefield.store import write_gif, write_png
from scorefield.use.judge import train_judge

N, MOMENTS, SHOWN = 200, 20, 8


def centres(x0: Tensor) -> Tensor:
    """Of light (n, T, 2), in pixels, of films (n, 1, T, H, W)."""
    light = ((x0[:, 0] + 1) / 2).clamp(min=0)
    total = light.sum((2, 3)).clamp(min=1e-6)
    place = torch.arange(x0.shape[-1], dtype=x0.dtype)
    return (
        torch.stack([(light.sum(3) * place).sum(2), (light.sum(2) * place).sum(2)], 2)
        / total[..., None]
    )


def single_frames(data: Data) -> Data:
    """The middle frame of each film."""
    parts = (Split(s.x[:, :, s.x.shape[2] // 2], s.cond) for s in (data.train, data.test))
    train, test = parts
    return replace(data, name="digit-frames", train=train, test=test)


def rms(found: Tensor, truth: Tensor) -> list[float]:
    """Of each moment."""
    return [round(float(v), 2) for v in (found - truth).square().sum(2).mean(0).sqrt()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int)
    args = parser.parse_args()
    out, began = args.work / "run", time.process_time()
    words = ["--images", str(args.images)] if args.images else []
    if not (out / "ema.safetensors").is_file():
        assert scorefield(["train", "moving-digits", "--out", str(out), *words]) == 0
    seconds = time.process_time() - began
    run = open_run(out)
    size = run.info.shape[1]
    told = size - horizon_of(run.config)
    long = moving_digits(run.config.training.seed, MOMENTS)
    judge, report = train_judge(single_frames(moving_digits()), epochs=3)
    x0 = long.scaling.encode(long.test.x[:N])
    label = long.test.cond["label"][:N]
    y = torch.zeros(N, 1, size, 16, 16)
    y[:, :, :told] = x0[:, :, :told]
    turns = -(-(MOMENTS - size) // (size - told))
    given = run.denoiser, run.config, run.info, y, list(range(N)), turns
    films, sampling = {"truth": x0}, {}
    for name, steps in (("drawn", None), ("mean", 1)):
        began = time.process_time()
        films[name] = continued(*given, steps)[:, :, :MOMENTS]
        sampling[name] = round(time.process_time() - began)
    agreed = {
        name: [
            round(float((judge(film[:, :, t]).argmax(1) == label).float().mean()), 3)
            for t in range(MOMENTS)
        ]
        for name, film in films.items()
    }
    longer = films["mean"]
    truth = centres(x0)
    last, step = (
        truth[:, told - 1 : told],
        truth[:, told - 1 : told] - truth[:, told - 2 : told - 1],
    )
    still = last.expand_as(truth)
    straight = last + step * (torch.arange(MOMENTS) - told + 1)[:, None]
    hits = int((judge(longer[:, :, SHOWN - 1]).argmax(1) == label).sum())
    record = {
        "processor seconds": round(seconds), "to sample": sampling, "told": told,
        "judge": report.accuracy,
        "digit agreement by frame": agreed,
        f"agreement at frame {SHOWN - 1}": [hits, N, wilson(hits, N).low, wilson(hits, N).high],
        "pixels off by frame": {name: rms(centres(film), truth) for name, film in films.items()},
        "standing still": rms(still, truth), "straight through walls": rms(straight, truth),
    }  # fmt: skip
    (args.work / "films.json").write_text(json.dumps(record, indent=1))
    print(json.dumps(record, indent=1))
    pairs = torch.stack([x0[:6, :, :12], longer[:6, :, :12]], 1).flatten(0, 1)
    write_png(picture(pairs, 8), args.work / "films.png")
    write_gif(frames([longer[:24]], 6, None), args.work / "films.gif")


if __name__ == "__main__":
    main()
