"""A character RNN beside a run of molecules: the same strings, as much processor time, one page.

    scorefield sample RUN --n 10000 --steps 57 --out ours.smi
    python benchmarks/molecules.py --data train.csv --test test.csv.gz --seconds 440 \
        --made ours.smi --out figures.json

The RNN is the plain one (embedding, LSTM, softmax; Segler et al. 2018; MOSES, arXiv:1811.12823), by
Adam in bfloat16 as the run, its rate falling to 0 at the end of its time. Needs the package fcd.
Figures of both, and the floor: training molecules, as many, to the same test ones.
"""

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from fcd import (  # type: ignore[import-not-found]
    calculate_frechet_distance,
    get_predictions,
    load_ref_model,
)
from torch import nn
from torch.nn.functional import cross_entropy

from scorefield.data.letters import letter_data, spelled
from scorefield.data.molecules import tokens_of
from scorefield.data.readers.molecules import read_smiles
from scorefield.measure.molecules import canonical_of, molecules_in, sizes


class RNN(nn.Module):
    """log p(x_l | x_<l) of numbers of letters (B, L); letter 0 ends a text, K begins it."""

    def __init__(self, letters: int, width: int, layers: int) -> None:
        super().__init__()
        self.letters = letters
        self.enter = nn.Embedding(letters + 1, 64)
        self.inner = nn.LSTM(64, width, layers, batch_first=True)
        self.out = nn.Linear(width, letters)

    def forward(self, x: torch.Tensor, state=None):
        h, state = self.inner(self.enter(x), state)
        return self.out(h), state

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, : int((x > 0).sum(1).max()) + 1].long()
        before = torch.cat([torch.full((len(x), 1), self.letters), x[:, :-1]], 1)
        with torch.autocast("cpu", torch.bfloat16):
            out = self(before)[0].float()
        nats = cross_entropy(out.flatten(0, 1), x.flatten(), reduction="none").view(x.shape)
        return (nats * (before > 0)).sum(1)

    @torch.no_grad()
    def sample(self, n: int, length: int) -> torch.Tensor:
        x, state, made = torch.full((n, 1), self.letters), None, []
        for _ in range(length):
            out, state = self(x, state)
            x = torch.multinomial(out[:, 0].softmax(-1), 1)
            made.append(x)
        made = torch.cat(made, 1)
        return made * ((made == 0).cumsum(1) == 0)


def learned(x: torch.Tensor, letters: int, seconds: float, width: int, layers: int) -> RNN:
    torch.manual_seed(0)
    net, begun, seen = RNN(letters, width, layers), time.process_time(), 0
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    order = torch.randperm(len(x))
    while (share := (time.process_time() - begun) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, seen / 5000) * (1 - share)
        rows = order[torch.arange(seen, seen + 128) % len(x)]
        (net.loss(x[rows]).mean() / 36).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seen += 128
    print(
        f"RNN of {width} x {layers}: {seen:,} strings in {seconds:.0f} s of processor", flush=True
    )
    return net.eval()


class Law(NamedTuple):
    """Mean and covariance of molecules' ChemNet features."""

    mean: np.ndarray
    cov: np.ndarray

    @classmethod
    def of(cls, smiles: list[str]) -> "Law":
        found = get_predictions(load_ref_model(), smiles)
        return cls(found.mean(0), np.cov(found.T))


def figures(texts: list[str], test: Law, known: set[str]) -> dict[str, float]:
    made = molecules_in(texts)
    own = canonical_of(made)
    valid = [m for m in made if m is not None]
    kinds = set(own)
    fcd = float(calculate_frechet_distance(*Law.of(own), *test)) if len(own) > 300 else float("nan")
    return {
        "n": len(texts), "valid": len(own) / len(texts), "unique": len(kinds) / max(1, len(own)),
        "new": len(kinds - known) / max(1, len(kinds)), "atoms": float(sizes(valid).mean()),
        "fcd": fcd, "fcd_n": len(own),
    }  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--made", type=Path, nargs="*", default=[], help="files of samples, .smi")
    for name in ("data", "test", "out"):
        ask.add_argument(f"--{name}", type=Path, required=True)
    ask.add_argument("--seconds", type=float, default=0.0, help="0: no RNN")
    ask.add_argument("--n", type=int, default=10_000)
    ask.add_argument("--width", type=int, default=384)
    ask.add_argument("--layers", type=int, default=2)
    asked = ask.parse_args()
    train, test = read_smiles(asked.data), read_smiles(asked.test)
    found, known = {}, set(train)  # MOSES is canonical by itself
    sets = {path.stem: path.read_text().splitlines()[: asked.n] for path in asked.made}
    if asked.seconds:
        data = letter_data("smiles", map(tokens_of, train))
        net = learned(data.train.x, len(data.alphabet), asked.seconds, asked.width, asked.layers)
        with torch.no_grad():
            nats = float(net.loss(data.test.x[::16].float()).mean())
        print(f"held-out: {nats:.2f} nats a string", flush=True)
        sets["rnn"] = spelled(
            torch.cat([net.sample(1000, data.train.x.shape[1]) for _ in range(asked.n // 1000)]),
            data.alphabet,
        )
        (asked.out.parent / "rnn.smi").write_text("\n".join(sets["rnn"]))
    rng = np.random.default_rng(0)
    held = Law.of(
        canonical_of(molecules_in([test[i] for i in rng.permutation(len(test))[: asked.n]]))
    )
    sets["training"] = [train[i] for i in rng.permutation(len(train))[: asked.n]]
    for name, texts in sets.items():
        found[name] = figures(texts, held, known)
        print(name, json.dumps(found[name]), flush=True)
    asked.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
