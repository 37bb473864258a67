"""FastGen (NVlabs, Apache-2.0): one of its losses on the ring, its code as it is.

    PYTHONPATH=CODE:. ENV/bin/python -m benchmarks.rivals.fastgen_ring cm|meanflow SECONDS LR

ENV has what FastGen's requirements.txt names, CODE is a copy of it. Its models (`CMModel`,
`MeanFlowModel`, distillation by `use_cd`), their noise schedules, optimisers, averages and the
schedule of ratios are its own, with its settings for CIFAR-10 but for the learning rate, its
warm-up (a twentieth), a batch of 512 and the length of the average, as ours. The network is ours,
the same `Denoiser` with the same clock, and the teacher the exact one. Data are scaled to the
deviation of .5 that those settings are for. It runs on a processor as it is, forward mode and all.

Prints a line of JSON: steps, seconds, and RMS and law of one step from the ring's held-out starts.
"""

# pyright: reportMissingImports=false
# ruff: noqa: E402

import json
import math
import sys
import time
from typing import Any, cast
from unittest.mock import MagicMock

import torch
from omegaconf import DictConfig

UNUSED = "fastgen.configs.net", "fastgen.configs.data", "fastgen.callbacks.wandb"
"""Settings of its large networks and data, and its log of pictures, that load much and are not used
here; all else is its own code."""
sys.modules.update({name: MagicMock() for name in UNUSED})
cast(Any, sys.modules["fastgen.configs.net"]).EDM_CIFAR10_Config = DictConfig({})

from fastgen.callbacks.ct_schedule import CTScheduleCallback
from fastgen.callbacks.ema import EMACallback
from fastgen.configs.experiments.EDM import config_cm_cifar10, config_mf_cifar10
from fastgen.networks.network import FastGenNetwork
from fastgen.utils import LazyCall, instantiate
from torch import Tensor

from benchmarks.distilled import ring
from scorefield.base import Level
from scorefield.base.noise import first_weights
from scorefield.denoise.precondition import noise_number
from scorefield.distill import Consistency, MeanFlow, student_of
from scorefield.distill.distil import as_data
from scorefield.nets.maps import MapEmbedding

BATCH, DATA, STAGES, TRIAL = 512, 2**18, 8, 60
HALF = BATCH / 1000 * math.log(0.5) / math.log(0.999)
"""Thousands of images in which its average forgets half: .999 a step, less at the beginning."""
DEVIATION = math.sqrt(ring.RADIUS**2 / 2 + ring.SPREAD**2)
SCALE = 0.5 / DEVIATION
RATIO = float(ring.level(1.0).ratio) * SCALE
"""sigma/alpha of the starts, in scaled units."""


class Net(FastGenNetwork):
    """A D(x, level[, there]) as one of FastGen's networks."""

    def _as_asked(self, x: Tensor, t: Tensor, denoised: Tensor, kind: str | None) -> Tensor:
        if (kind or self.net_pred_type) == "x0":
            return denoised
        _, sigma = self.level(t).like(x)
        return (x - denoised) / sigma

    def level(self, t: Tensor) -> Level:
        t = t.double()
        return Level(1 - t if self.schedule_type == "rf" else torch.ones_like(t), t)


class Student(Net):
    """Ours."""

    def __init__(self, limit: float, floor: float, **kind: Any) -> None:
        super().__init__(**kind)
        with first_weights(0):
            data = as_data(SCALE * ring.DATA.sample(1024, 0))
            self.inner = student_of(None, (2,), ring.SCHEDULE, data)
        for part in self.inner.modules():
            if isinstance(part, MapEmbedding):
                part.limit.fill_(limit)
                part.floor.fill_(floor)

    def forward(
        self, x_t: Tensor, t: Tensor, condition: Any = None, r: Tensor | None = None,
        fwd_pred_type: str | None = None, **_: Any,
    ) -> Tensor:  # fmt: skip
        aim = {} if r is None else {"there": noise_number(self.level(r), x_t)}
        return self._as_asked(x_t, t, self.inner(x_t, self.level(t), aim), fwd_pred_type)


class Teacher(Net):
    """The exact one."""

    def forward(
        self, x_t: Tensor, t: Tensor, condition: Any = None, fwd_pred_type: str | None = None,
        **_: Any,
    ) -> Tensor:  # fmt: skip
        level = self.level(t)
        seen = Level(level.alpha, level.sigma / SCALE)
        denoised = SCALE * ring.DATA.denoise(x_t / SCALE, seen).to(x_t)
        return self._as_asked(x_t, t, denoised, fwd_pred_type)


def made(method: str, lr: float, steps: int) -> tuple[Any, list[Any]]:
    """The model with its optimiser, and what is called after each step."""
    config = (config_cm_cifar10 if method == "cm" else config_mf_cifar10).create_config()
    model, ours = config.model, Consistency if method == "cm" else MeanFlow
    kind = (
        {"schedule_type": "edm", "net_pred_type": "x0"} if method == "cm"
        else {"schedule_type": "rf", "net_pred_type": "flow"}
    )  # fmt: skip
    model.net = LazyCall(Student)(limit=ours.limit, floor=ours.floor, **kind)
    model.teacher = LazyCall(Teacher)(**kind)
    model.device, model.input_shape, model.pretrained_model_path = "cpu", [2], ""
    model.use_ema, model.load_student_weights = ["ema"], False
    model.loss_config.use_cd, model.net_optimizer.lr = True, lr
    model.precision = "float32"
    if method == "meanflow":
        model.net_scheduler.warm_up_steps = [steps // 20]
    config.model_class.config = model
    found = instantiate(config.model_class)
    found.on_train_begin()
    found.init_optimizers()
    after: list[Any] = [EMACallback("halflife", ema_halflife_kimg=HALF, batch_size=BATCH)]
    if method == "cm":
        ratios = CTScheduleCallback(kimg_per_stage=steps * BATCH / STAGES / 1000, batch_size=BATCH)
        ratios.on_train_begin(found)
        after.append(ratios)
    return found, after


def trained(method: str, lr: float, steps: int) -> tuple[Any, list[float]]:
    """The model after so many steps, and the clock at each."""
    data = (SCALE * ring.DATA.sample(DATA, 0)).float()
    torch.manual_seed(0)
    model, after = made(method, lr, steps)
    clock = [time.process_time()]
    for step in range(1, steps + 1):
        x0 = data[torch.randint(len(data), (BATCH,))]
        batch = {"real": x0, "condition": None, "neg_condition": None}
        model.optimizers_zero_grad(step)
        losses, _ = model.single_train_step(batch, step)
        losses["total_loss"].backward()
        model.optimizers_schedulers_step(step)
        for call in after:
            call.on_training_step_end(model, batch, {}, losses, step)
        clock.append(time.process_time())
    return model, clock


@torch.no_grad()
def ends(method: str, model: Any) -> Tensor:
    """One step from the held-out starts, by the averaged network."""
    net, z = model.ema, ring.starts().float()
    ratio = torch.full((len(z),), RATIO, dtype=torch.float64)
    if method == "cm":
        return net(RATIO * z, ratio, fwd_pred_type="x0").double() / SCALE
    t = ratio / (1 + ratio)
    x = t[:, None].float() * z
    u = net(x, t, r=torch.zeros_like(t), fwd_pred_type="flow")
    return (x - t[:, None] * u).double() / SCALE


def main() -> None:
    method, seconds, lr = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    torch.set_num_threads(1)
    clock = trained(method, lr, TRIAL)[1]
    pace = (clock[-1] - clock[TRIAL // 2]) / (TRIAL - TRIAL // 2)
    steps = int(seconds / pace)
    began = time.process_time()
    model, _ = trained(method, lr, steps)
    spent, y = time.process_time() - began, ends(method, model)
    row = {"rms": ring.rms(y), **ring.law(y)._asdict()}
    print(json.dumps({"method": method, "lr": lr, "steps": steps, "seconds": spent, **row}))


if __name__ == "__main__":
    main()
