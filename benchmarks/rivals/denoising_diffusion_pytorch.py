"""denoising-diffusion-pytorch: its own `Unet`, `GaussianDiffusion` and `Trainer`, unconditional.

Settings are those of its README unless the job says otherwise: width 64, flash attention, 32
pictures twice a step, learning rate 8e-5, EMA .995. In its favour, pictures come from memory and
not from files, they are flipped (its default) only where the data are symmetric, and it trains and
samples in the faster of f32 and bf16 and of the two memory layouts. It is sampled by its own DDIM;
the README's 250 steps are a matter of patience. The package imports torchvision, which it uses for
files alone: empty modules stand in for it.
"""

import math
import sys
from importlib import import_module
from importlib.metadata import version
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.rivals.race import Clock, Job, keep_samples, serve

torchvision = ModuleType("torchvision")
for part in ("transforms", "utils"):
    setattr(torchvision, part, ModuleType(part))
sys.modules["torchvision"] = torchvision
package: Any = import_module("denoising_diffusion_pytorch")
training = package.denoising_diffusion_pytorch

SYMMETRIC = ("cifar10",)
DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
BATCH, REPEATS, EMA = 32, 2, 0.995
TRIED = 3
"""Steps from which a pace is measured, after one that warms up."""


class Pictures(torch.utils.data.Dataset):
    """What its own data set makes of files: pictures in [0, 1], flipped by chance."""

    def __init__(self, path: str, flip: bool) -> None:
        self.x, self.flip = torch.from_numpy(np.load(path)), flip

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Tensor:
        x = self.x[i].float() / 255
        return x.flip(-1) if self.flip and torch.rand(()) < 0.5 else x


class Over(Exception):
    """The time is over."""


def diffusion(job: Job, steps: int, layout: str) -> Any:
    channels, side, _ = job["shape"]
    mults = (1, 2, 4, 8) if side % 8 == 0 and side > 8 else (1, 2, 4)
    net = package.Unet(job["rival"]["width"], dim_mults=mults, channels=channels, flash_attn=True)
    made = package.GaussianDiffusion(net, image_size=side, timesteps=1000, sampling_timesteps=steps)
    return made.to(memory_format=LAYOUTS[layout])


def run(job: Job, clock: Clock, precision: str, layout: str, most: int | None = None) -> None:
    """Its own loop, watched where it updates its average; at `most` so many steps."""
    torch.manual_seed(0)
    AcceleratorState._reset_state(True)  # it allows a process one precision
    training.Dataset = lambda *_, **__: Pictures(job["pictures"], job["recipe"] in SYMMETRIC)
    with TemporaryDirectory() as folder:
        trainer = training.Trainer(
            diffusion(job, job["rival"]["steps"], layout),
            folder,
            train_batch_size=BATCH,
            gradient_accumulate_every=REPEATS,
            train_lr=job["rival"]["lr"],
            train_num_steps=10**9,
            ema_decay=EMA,
            amp=precision != "no",
            mixed_precision_type=precision,
            save_and_sample_every=10**9,
            calculate_fid=False,
            results_folder=folder,
        )
        update = trainer.ema.update

        def watched() -> None:
            update()
            images = BATCH * REPEATS * trainer.step
            if clock.tick(images, trainer.ema.ema_model.state_dict, trainer.step == most):
                raise Over

        trainer.ema.update = watched
        try:
            trainer.train()
        except Over:
            return


def pace(job: Job) -> dict[str, Any]:
    precisions = ("fp16", "bf16") if torch.cuda.is_available() else ("no", "bf16")
    rates = {}
    for precision, layout in product(precisions, LAYOUTS):
        clock = Clock(job["clock"], math.inf)
        run(job, clock, precision, layout, 1 + TRIED)
        rates[precision, layout] = round(clock.pace()["rate"], 1)
    precision, layout = max(rates, key=lambda choice: rates[choice])
    tried = {" ".join(choice): rate for choice, rate in rates.items()}
    return {"precision": precision, "layout": layout, "tried": tried}


def train(job: Job, clock: Clock) -> dict[str, Any]:
    chosen, rival = job["pace"], job["rival"]
    run(job, clock, chosen["precision"], chosen["layout"])
    return {
        "package": f"denoising-diffusion-pytorch {version('denoising-diffusion-pytorch')}",
        "training": {"batch": BATCH * REPEATS, "lr": rival["lr"], "ema": EMA, **chosen},
        "network": {"dim": rival["width"]},
        "sampler": f"its DDIM, {rival['steps']} steps",
    }


def sample(job: Job, folder: Path, marks: list[dict[str, Any]]) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision, layout = job["pace"]["precision"], job["pace"]["layout"]
    steps, more = job["rival"]["steps"], job["rival"]["last_steps"]
    plans = [(mark, steps) for mark in marks] + [(marks[-1], more)] * (more is not None)
    for mark, count in plans:
        torch.manual_seed(0)
        model = diffusion(job, count, layout)
        model.load_state_dict(load_file(folder / mark["weights"]))
        model.to(device).eval()
        sizes = [len(part) for part in torch.arange(job["samples"]).split(250)]
        with torch.autocast(device, DTYPES[precision], enabled=precision != "no"):
            x0 = torch.cat([2 * model.sample(size).float() - 1 for size in sizes])
        keep_samples(folder, mark, f"{count} steps", x0)


if __name__ == "__main__":
    serve(pace, train, sample)
