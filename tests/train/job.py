"""A training run as one of several processes: `job.py KIND FOLDER IMAGES DROPOUT [resume]`.

KIND is ddp (what Accelerate chooses on CPUs) or fsdp: Accelerate turns FSDP on for accelerators
only, so its state is told here that this is one; all that follows is its own version 2 path.
IMAGES is where the run is stopped.
"""

import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

from scorefield.data import Data, Scaling, Split
from scorefield.denoise import Denoiser
from scorefield.nets import MLP
from scorefield.objective import Adaptive, Objective
from scorefield.process import Cosine
from scorefield.train import Denoising, Training, fit

BATCH = 32
SETTINGS = Training(
    images=320, batch=BATCH, lr=1e-2, warmup=64, checkpoint_every=96, log_every=BATCH,
    ema_lengths=(0.05, 0.1), snapshot_every=64,
)  # fmt: skip


def run(folder: Path, images: int = 320, dropout: float = 0.1, resume: bool = False) -> Denoiser:
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(1))
    split = Split(x, {"label": torch.arange(100) % 2})
    data = Data("points", split, split, ("l", "r"), Scaling((0.0,), (1.0,)))
    torch.manual_seed(0)
    denoiser = Denoiser(MLP((2,), width=16, blocks=2, classes=2), sigma_data=1.0)
    objective = Objective(Cosine(), Adaptive(bins=4, history=3), dropout=dropout)
    seen = [0]
    for step in fit(
        Denoising(denoiser, objective), data, SETTINGS, folder, resume,
        stop=lambda: seen[0] + BATCH >= images,
    ):  # fmt: skip
        seen[0] = step.images
    return denoiser


if __name__ == "__main__":
    kind, folder, images, dropout, *resume = sys.argv[1:]
    torch.set_num_threads(1)
    if kind == "fsdp":
        Accelerator(cpu=True)
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        state = AcceleratorState()
        state.distributed_type = DistributedType.FSDP
        state.fsdp_plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2, auto_wrap_policy="no_wrap", cpu_ram_efficient_loading=False
        )
    denoiser = run(Path(folder), int(images), float(dropout), bool(resume))
    kinds = {type(weight.data).__name__ for weight in denoiser.parameters()}
    print(f"{PartialState().num_processes} processes, {kinds}")
