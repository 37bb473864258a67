"""The prior of a VAE's latents, learned after it (two stages) or with it (LSGM), on equal terms.

    python -m benchmarks.autoencoders.priors [--data digits] [--seconds 60] [--seeds 3] [--width 48]

All have `seconds` of one core, the same networks and batches. A VAE is trained for half of them
(or, a second division, for three quarters) and then a prior alone, on latents times 1/std; LSGM
goes on from the VAE of half the time with autoencoder and prior together. What is reported is the
bound on the test examples in nats an example and bits a dimension, under the 8-bit logistic
decoder, the prior's part by the bound of continuous time (`joint_bound`); and how much LSGM is
above the better of the two divisions, in nats, with the standard error of the mean over the test
examples.
"""

import argparse
import copy
import json
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.autoencoders.ours import BATCH, as_given, pixels
from scorefield.denoise import Denoiser
from scorefield.latent import LSGM, VAE, LatentModel, joint_bound
from scorefield.latent.lsgm import PriorTask
from scorefield.likelihood import Logistic, bits_per_dim
from scorefield.nets import MLP, MLPAutoencoder
from scorefield.objective import Objective, Stratified, Turn
from scorefield.process import VP
from scorefield.train import Training, learn

LATENT, PILOT, SCHEDULE, DECODER = 16, 50, VP(), Logistic()
OBJECTIVE = Objective(SCHEDULE, Stratified())
MOST = 2000
"""Test examples that are looked at."""


class SecondStage(PriorTask):
    """The prior's turn alone."""

    @property
    def turns(self) -> tuple[Turn, ...]:
        return (Turn("model", self.module.prior, self.prior_loss),)

    def loss(self, batch: Any, chance: Any) -> Any:
        return self.prior_loss(batch, chance)


def timed(make: Any, x: Tensor, seconds: float, lr: float, seed: int) -> Any:
    """What a task has learned after so many seconds, of which a pilot finds the steps."""
    data = as_given(x)

    def run(steps: int) -> tuple[Any, float]:
        torch.manual_seed(seed)
        training = Training(
            images=steps * BATCH, batch=BATCH, lr=lr, warmup=2000, ema=0.998, clip=1e3, seed=seed
        )
        began = time.process_time()
        return learn(make(), data, training), time.process_time() - began

    run(PILOT)  # imports and first calls
    return run(max(PILOT, int(seconds / run(PILOT)[1] * PILOT)))[0].requires_grad_(True)


def prior() -> Denoiser:
    net = MLP((LATENT,), width=128, blocks=3)
    return Denoiser(net, "v", 1.0, schedule=SCHEDULE, shape=(LATENT,))


@torch.no_grad()
def scale_of(net: Any, x: Tensor) -> float:
    """1 / std of the latents over the data."""
    q = net.encode(x)
    return float((q.mean.var() + q.log_var.exp().mean()).rsqrt())


def told(name: str, seed: int, model: LatentModel, test: Tensor) -> Tensor:
    """The bound of each test example, and a line of what it is made of."""
    found = joint_bound(model, test, DECODER, draws=8, cells=64)
    row = {
        "seed": seed, "model": name, "nats": float(-found.log_prob.mean()),
        "bits": float(bits_per_dim(found.log_prob, test.shape[1]).mean()),
        "kl": float(found.terms.mean()), "reconstruction": float(found.decoder.mean()),
    }  # fmt: skip
    print(json.dumps(row), flush=True)
    return found.log_prob


def vae(width: int, size: int) -> VAE:
    net = MLPAutoencoder((size,), width=width, depth=1, latent=LATENT, spread="each")
    return VAE(net, DECODER)


def second(net: Any, x: Tensor) -> SecondStage:
    held = copy.deepcopy(net).requires_grad_(False)
    return SecondStage(LatentModel(held, prior(), scale_of(held, x)), OBJECTIVE, DECODER)


def joint(net: Any) -> LSGM:
    return LSGM(LatentModel(copy.deepcopy(net), prior()), OBJECTIVE, DECODER)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--width", type=int, default=48)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    x, test = (2 * part - 1 for part in pixels(asked.data))
    test, seconds = test[:MOST], asked.seconds
    first = partial(vae, asked.width, x.shape[1])
    for seed in range(asked.first, asked.first + asked.seeds):
        half, most = (timed(first, x, seconds * part, 2e-3, seed) for part in (0.5, 0.75))
        stages = []
        for name, net, rest in (("half", half, 0.5), ("three quarters", most, 0.25)):
            model = timed(partial(second, net, x), x, seconds * rest, 2e-3, seed)
            stages.append(told(f"two stages, {name}", seed, model, test))
        model = timed(partial(joint, half), x, seconds / 2, 3e-3, seed)
        best = max(stages, key=lambda bound: float(bound.mean()))
        over = told("LSGM", seed, model, test) - best
        error = float(over.std()) / len(over) ** 0.5
        print(json.dumps({"seed": seed, "gain": float(over.mean()), "stderr": error}), flush=True)


if __name__ == "__main__":
    main()
