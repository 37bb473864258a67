"""A VAE's bound in bits a dimension beside pythae's, of equal size and time, under one decoder.

    python -m benchmarks.autoencoders --peer PYTHON [--data digits] [--seconds 30] [--seeds 3]

PYTHON is an interpreter that has pythae. Both have 512 units each way and as many latents, batches
of 128 and the same seconds of one core. pythae decodes means alone, so that both are measured under
one law: the 8-bit discretised logistic (`likelihood.Logistic`) about the decoded mean, with one
deviation for each pixel, fitted to the training examples after training for either. What is
reported is the bound on the test examples in bits a dimension,

    [KL(q(z|x) || N(0, I)) - 1/L sum_l log P(x | z_l)] / (D log 2),

with the same eps of L = 16 draws for both, and pythae under either of its losses. Its "mse" has the
deviation 1, more than that of any pixel in [0, 1], so that no latent pays; a beta-VAE whose beta is
the variance that pixels have is the same with a deviation that fits, and is run too.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.autoencoders.ours import BATCH, made, pixels, trained
from scorefield.likelihood import Logistic, bits_per_dim
from scorefield.nets import Posterior

DRAWS, LATENT = 16, 16
PEERS = (("mse", 1.0), ("mse", 0.02), ("bce", 1.0))
PILOT, FITTED = 200, 4000
"""Steps by which our speed is found, and training examples that deviations are fitted to."""


def fitted(train: Tensor, decoded: Tensor) -> Tensor:
    """The deviation of each pixel that makes the training examples likeliest: the best of 200 in
    geometric steps, each pixel by itself."""
    x, mean = (2 * part[:FITTED] - 1 for part in (train, decoded))
    best = torch.full(train.shape[1:], -np.inf)
    chosen = torch.ones(train.shape[1:])
    for std in torch.logspace(-5, 1, 200, base=10).tolist():
        rows = Logistic()(x.T.reshape(-1, 1), mean.T.reshape(-1, 1), torch.tensor(std**2))
        score = rows.view(train.shape[1], -1).mean(1)
        chosen, best = torch.where(score > best, std, chosen), torch.maximum(score, best)
    return chosen


def bits(found: dict[str, Tensor], train: Tensor, test: Tensor) -> dict[str, float]:
    """The bound, its standard error over the examples, and its two parts, bits a dimension."""
    std = fitted(train, found["train_decoded"])
    x, D = 2 * test - 1, test.shape[1]
    log_p = torch.stack([Logistic()(x, 2 * mean - 1, std**2) for mean in found["decoded"]]).mean(0)
    kl = Posterior(found["mean"], found["log_var"]).kl().sum(1)
    total = bits_per_dim(log_p - kl, D)
    error = float(total.std()) / len(x) ** 0.5
    return {
        "bits": float(total.mean()), "stderr": error, "kl": float(bits_per_dim(-kl, D).mean()),
        "reconstruction": float(bits_per_dim(log_p, D).mean()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    train, test = pixels(asked.data)
    eps = torch.randn(DRAWS, len(test), LATENT, generator=torch.Generator().manual_seed(0))
    _, pilot = trained(train, LATENT, PILOT * BATCH, 0)
    images = int(asked.seconds / pilot * PILOT) * BATCH
    for seed in range(asked.first, asked.first + asked.seeds):
        net, seconds = trained(train, LATENT, images, seed)
        found = made(net, train, test, eps)
        row = {"seed": seed, "seconds": seconds, "steps": images // BATCH}
        row["parameters"] = int(found["parameters"])
        print(json.dumps({"package": "scorefield", **row, **bits(found, train, test)}), flush=True)
        for loss, beta in PEERS:
            with tempfile.TemporaryDirectory() as folder:
                given, out = Path(folder, "in.npz"), Path(folder, "out.npz")
                leaves = {"train": train, "test": test, "eps": eps}
                about = {
                    "latent": LATENT,
                    "seconds": seconds,
                    "seed": seed,
                    "loss": loss,
                    "beta": beta,
                }
                np.savez(given, **{k: v.numpy() for k, v in leaves.items()}, **about)  # type: ignore[arg-type]
                module = ["-m", "benchmarks.autoencoders.pythae", str(given), str(out)]
                subprocess.run([asked.peer, *module], check=True)
                found = {name: torch.from_numpy(v) for name, v in np.load(out).items()}
            row["steps"], row["parameters"] = int(found["steps"]), int(found["parameters"])
            name = f"pythae ({loss}, beta {beta:g})"
            print(json.dumps({"package": name, **row, **bits(found, train, test)}), flush=True)


if __name__ == "__main__":
    main()
