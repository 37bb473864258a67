"""Two moons -> eight Gaussians: bridges of this package beside those of torchcfm, in equal time.

    python benchmarks/bridges.py METHOD [--seconds 120 | --steps N] [--seed 0] [--out FILE]

METHOD is ours-ot, ours-sb, or torchcfm's cfm-ot, cfm-ot-once (its pairs drawn without replacement:
a permutation of the batch), cfm-sb (by its default exact pairs) or cfm-sb-entropic. Theirs need
torchcfm 1.0.7 in an environment of its own (`pip install --no-deps torchcfm`, then pot and what
this package needs: of its other requirements nothing is used here); all need POT. All have the same
network, batch, rate and average of weights; a probe of 150 steps says how many fit into the time,
of which the processor's own is counted. Printed, as one line of JSON: W2^2 between 2,000 ends of
held-out moons and held-out Gaussians less its floor (two sets of real ones), and the energy of the
paths int E|v|^2 dt, which is W2^2 of the two laws for optimal paths. `bias` prints how far
mini-batch plans are from the plan of the laws.
"""

import argparse
import copy
import json
import math
import time
from functools import partial
from pathlib import Path
from typing import cast

import torch

from scorefield.base import Level
from scorefield.data import Data, Scaling, Split, toys
from scorefield.denoise import Denoiser, Timed
from scorefield.denoise.precondition import EVEN_RANGE
from scorefield.nets import MLP
from scorefield.objective import Bridged, Denoising, MinibatchTransport, Uniform
from scorefield.process import Flow
from scorefield.train import Training, learn
from scorefield.train.optimizer import optimizer_of

BATCH, RATE, SPREAD, KEPT = 256, 2e-3, 0.5, 0.999
STEPS, HELD = 100, 2000
METHODS = ("ours-ot", "ours-sb", "cfm-ot", "cfm-ot-once", "cfm-sb", "cfm-sb-entropic")


def points(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    data = {"moons": toys.moons, "8-gaussians": toys.eight_gaussians}[name](0)
    return data.train.x, data.test.x


def network(seed: int) -> MLP:
    torch.manual_seed(seed)
    return MLP((2,), width=128, blocks=3)


def ours(kind: str, seconds: float, steps: int | None, seed: int):
    """The velocity from moons to Gaussians, the steps that were made, and their seconds."""
    x0, x1 = points("8-gaussians")[0], points("moons")[0]
    eps = 0.0 if kind == "ot" else SPREAD**2
    objective = Bridged(
        Flow(), Uniform(), spread=0.0 if kind == "ot" else SPREAD, learn="flow", ends=x1,
        coupling=MinibatchTransport(eps),
    )  # fmt: skip
    scaling = Scaling((0.0,), (1.0,))
    data = Data("8-gaussians", Split(x0), Split(x0[:8]), (), scaling)

    def train(steps: int) -> Denoiser:
        about = {"schedule": Flow(), "shape": (2,)}
        model = Timed(network(seed), objective.convention, 1.0, "flow", **about)
        own = Training(images=BATCH * steps, batch=BATCH, lr=RATE, ema=KEPT, seed=seed,
                       warmup=20 * BATCH, checkpoint_minutes=0)  # fmt: skip
        return learn(Denoising(model, objective), data, own)

    steps = steps or fitting(train, seconds)
    began = time.process_time()
    denoiser = train(steps).eval()
    took = time.process_time() - began

    @torch.no_grad()
    def velocity(t: float, x: torch.Tensor) -> torch.Tensor:
        left = max(1 - t, 1e-3)
        return (denoiser(x, Level.of(1 - left, left)) - x) / left

    return velocity, steps, took


def theirs(kind: str, seconds: float, steps: int | None, seed: int):
    import numpy as np
    from torchcfm import conditional_flow_matching as cfm  # type: ignore[import-not-found]

    x1, x0 = points("8-gaussians")[0], points("moons")[0]  # their time runs the other way
    if kind.startswith("ot"):
        matcher = cfm.ExactOptimalTransportConditionalFlowMatcher(0.0)
    else:
        plan = "sinkhorn" if kind == "sb-entropic" else "exact"
        matcher = cfm.SchrodingerBridgeConditionalFlowMatcher(SPREAD, ot_method=plan)
    if kind == "ot-once":
        sampler = matcher.ot_sampler
        sampler.sample_plan = partial(sampler.sample_plan, replace=False)
    np.random.seed(seed)  # its pairs are drawn by numpy

    def train(steps: int):
        net = network(seed)
        average = copy.deepcopy(net)
        adam = optimizer_of(net, Training(lr=RATE))
        for k in range(steps):
            rows = [torch.randint(len(x), (BATCH,)) for x in (x0, x1)]
            t, x, goal = matcher.sample_location_and_conditional_flow(x0[rows[0]], x1[rows[1]])
            told = (t / (1 - t)).log().clamp(-EVEN_RANGE, EVEN_RANGE)
            loss = (net(x, told, None) - goal).square().mean()
            for group in adam.param_groups:
                rise = min(1.0, (k + 1) / 20)
                group["lr"] = RATE * rise * (1 + math.cos(math.pi * k / steps)) / 2
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            adam.step()
            keep = min(KEPT, (1 + k) / (10 + k))
            with torch.no_grad():
                for own, new in zip(average.parameters(), net.parameters()):
                    own.lerp_(new, 1 - keep)
        return average

    steps = steps or fitting(train, seconds)
    began = time.process_time()
    net = train(steps).eval()
    took = time.process_time() - began

    @torch.no_grad()
    def velocity(t: float, x: torch.Tensor) -> torch.Tensor:
        told = torch.full((len(x),), t).logit().clamp(-EVEN_RANGE, EVEN_RANGE)
        return net(x, told, None)

    return velocity, steps, took


def fitting(train, seconds: float) -> int:
    """Steps that fit into the time, by how long 150 of them take."""
    train(20)
    began = time.process_time()
    train(150)
    return round(seconds / (time.process_time() - began) * 150)


def walked(velocity, x: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Ends, and the energy of the paths, by the midpoint rule."""
    energy, h = 0.0, 1 / STEPS
    for k in range(STEPS):
        half = x + h / 2 * velocity(k * h, x)
        v = velocity((k + 0.5) * h, half)
        energy += h * float(v.square().sum(1).mean())
        x = x + h * v
    return x, energy


def squared_w2(a: torch.Tensor, b: torch.Tensor) -> float:
    import ot  # type: ignore[import-not-found]

    one, two = (torch.full((len(x),), 1 / len(x)).double().numpy() for x in (a, b))
    cost = torch.cdist(a.double(), b.double()).square().numpy()
    return cast(float, ot.emd2(one, two, cost, numItermax=10_000_000))


def bias() -> None:
    """E[x.y]/d of exact mini-batch pairs of N(0, I) with N(0, I), whose plan has 1."""
    print(f"{'d':>4} " + " ".join(f"{n:>6}" for n in (16, 64, 256)))
    for d in (1, 2, 8, 32):
        row = []
        for n in (16, 64, 256):
            rng, found = torch.Generator().manual_seed(0), []
            for _ in range(max(4, 2048 // n)):
                x, y = (torch.randn(n, d, generator=rng).double() for _ in range(2))
                pick = MinibatchTransport().pick(x, y, torch.zeros(n))
                found.append(float((x * y[pick]).sum(1).mean()) / d)
            row.append(sum(found) / len(found))
        print(f"{d:>4} " + " ".join(f"{v:>6.3f}" for v in row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=[*METHODS, "bias"])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--steps", type=int, help="in place of what fits into the time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    said = parser.parse_args()
    if said.method == "bias":
        return bias()
    who, kind = said.method.split("-", 1)
    learned = ours if who == "ours" else theirs
    velocity, steps, took = learned(kind, said.seconds, said.steps, said.seed)
    (_, moons), (train, held) = points("moons"), points("8-gaussians")
    ends, energy = walked(velocity, moons[:HELD])
    floor = squared_w2(train[:HELD], held[:HELD])
    optimal = squared_w2(moons[:HELD], held[:HELD])
    record = {
        "method": said.method, "seed": said.seed, "seconds": round(took, 1), "steps": steps,
        "w2": round(squared_w2(ends, held[:HELD]) - floor, 5), "floor": round(floor, 5),
        "energy": round(energy, 4), "optimal": round(optimal, 4),
    }  # fmt: skip
    print(json.dumps(record), flush=True)
    if said.out:
        said.out.write_text(json.dumps({"moons": moons[:HELD].tolist(), "ends": ends.tolist()}))


if __name__ == "__main__":
    main()
