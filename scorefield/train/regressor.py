"""A regressor of letters that are seen from the left, which guides samples to properties.

    p(y | x_1 .. x_n) = prod_i N(y_i; m_i, s_i^2),    m_i, s_i read by a causal network

of every n in one pass: what a beginning says of y is learned from the texts that begin so, and s is
what it leaves open. y is as the run is told it, standardised.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput, Cond, Level
from scorefield.data import Data
from scorefield.denoise import Denoiser
from scorefield.nets.causal import CausalNet, FromLeft
from scorefield.objective import Batch, Loss, Task
from scorefield.objective.task import Buckets
from scorefield.store import digest_tensors, short
from scorefield.train.settings import Training
from scorefield.train.trainer import Progress, learn

LOOKED_AT = 2000
"""Held-out examples it is measured on, at most."""
PARTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of each text that is seen where the error is measured."""


class LetterRegressor(nn.Module):
    """log p(y | x), for `scorefield.guide.tokens.regressor(found.log_prob, space, scale)`. `about`
    is what is kept of its training."""

    def __init__(self, net: CausalNet, about: dict[str, Any]) -> None:
        super().__init__()
        self.net, self.about = net, about

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """m and log s (B, L + 1, V), of the first 0 .. L of the letters x (B, L)."""
        out = self.net(F.pad(x, (0, 1)), x.new_zeros(len(x)))
        m, log_s = out.chunk(2, -1)
        return m, log_s.clamp(-5, 5)

    def log_prob(self, state: Tensor, level: Level, cond: Cond | None) -> Tensor:
        """log p(y | x) (B,) of the properties cond["vector"], of one-hot states (B, L, letters + 1)
        whose first letters are seen."""
        x, y = state.argmax(-1).float(), (cond or {})["vector"]
        last = (x < self.net.letters).sum(1)
        rows = torch.arange(len(x), device=x.device)
        m, log_s = (v[rows, last] for v in self(x))
        return normal_log_prob(y.to(m), m, log_s).sum(1)

    @property
    def digest(self) -> str:
        """Of its weights."""
        return short(digest_tensors(self.state_dict()))


def normal_log_prob(y: Tensor, m: Tensor, log_s: Tensor) -> Tensor:
    """log N(y; m, s^2) less the constant."""
    return -0.5 * ((y - m) * (-log_s).exp()).square() - log_s


@dataclass(frozen=True)
class LetterRegression(Task[LetterRegressor]):
    """-log p(y | x_1 .. x_n), the mean over n."""

    module: LetterRegressor
    buckets = Buckets("n", 0.0, 1.0, 1)

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> None:
        return None

    def loss(self, batch: Batch, chance: None) -> Loss:
        assert batch.cond
        m, log_s = self.module(batch.x0)
        nats = -normal_log_prob(batch.cond["vector"].to(m)[:, None], m, log_s).sum(-1)
        return Loss(nats.mean(1), nats.new_zeros(len(nats)), {})


def train_regressor(
    denoiser: Denoiser,
    data: Data,
    images: int = 200_000,
    folder: Path | None = None,
    *,
    width: int = 32,
    blocks: int = 2,
    seed: int = 0,
    watch: Callable[[Progress[LetterRegressor]], object] = lambda step: None,
) -> LetterRegressor:
    """A regressor of the properties that the data of a run from left to right come with: Muon,
    batches of 128. Raises BadInput for data without any, and for another run."""
    if not isinstance(denoiser.net, FromLeft) or "vector" not in data.train.cond:
        raise BadInput(
            "a regressor reads letters from the left, and foretells what they come with.",
            "Give a run of smiles that was trained with `data.properties`.",
        )
    config, sizes = denoiser.net.config, data.conditions.sizes
    training, began = Training(
        images=images, batch=128, optimizer="muon", lr=3e-3, warmup=images // 10, decay="linear",
        seed=seed, checkpoint_minutes=0.5,
    ), time.monotonic()  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = CausalNet(
            (config["shape"][0] + 1,), letters=config["letters"], width=width, depth=blocks,
            heads=max(1, width // 32), out_channels=2 * sizes["vector"],
        )  # fmt: skip
        found = LetterRegressor(net, {})
        found = learn(LetterRegression(found), data, training, folder, net.config, watch)
    names = [column.name for column in data.columns]
    found.about = {
        "images": images,
        "seed": seed,
        "parameters": sum(p.numel() for p in found.parameters()),
        "seconds": round(time.monotonic() - began, 1),
        "error_by_seen": dict(zip(names, errors(found, data), strict=True)),
        "examples": min(len(data.test), LOOKED_AT),
    }
    return found


@torch.no_grad()
def errors(found: LetterRegressor, data: Data) -> list[dict[str, float]]:
    """The mean distance of m from y on held-out texts, in units of each property's deviation, by
    the part of the text (or of its longest) that is seen."""
    x0, cond = data.batch(data.test, torch.arange(min(len(data.test), LOOKED_AT)))
    m = torch.cat([found(x)[0] for x in x0.float().split(256)])
    off = (m - cond["vector"].to(m)[:, None]).abs().mean(0)
    places = [round(part * x0.shape[1]) for part in PARTS]
    return [
        {f"{part:g}": round(float(off[n, k]), 4) for part, n in zip(PARTS, places)}
        for k in range(off.shape[1])
    ]
