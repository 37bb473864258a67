"""Molecules through latents: an autoencoder of SMILES, a Gaussian diffusion of what it keeps.

    python -m benchmarks.letter_latents --data train.csv --seconds 100 --out latents.json

Half of the time teaches `LetterVAE`, half a transformer of its latents, as a run on a file of
sequences. Said are the share of held-out strings that come back letter by letter, what two slips
leave of it (latents with their places turned round, latents of another string), the shares of
valid, unique and new samples, and what is valid of strings made of noise alone.
"""

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from scorefield.data.letters import spelled
from scorefield.data.readers.molecules import smiles
from scorefield.latent.lettered import LetterVAE, exact
from scorefield.measure.molecules import canonical_of, molecules_in, sizes
from scorefield.nets.lettered import LetterCoder
from scorefield.run.recipes import muon
from scorefield.run.settings import Config, DataConfig, ObjectiveConfig
from scorefield.run.train import fit_run
from scorefield.train import finish, fit
from scorefield.use.generate import generate


def count_of(seconds: float, learn: Any, first: int) -> int:
    """How many examples take so many seconds of processor, found by the `first` of them."""
    begun = time.process_time()
    learn(first)
    return int(first * seconds / (time.process_time() - begun)) // 128 * 128


def valid(texts: list[str], known: set[str]) -> dict[str, float]:
    made = molecules_in(texts)
    own = canonical_of(made)
    found = [m for m in made if m is not None]
    return {
        "valid": len(own) / len(texts), "unique": len(set(own)) / max(1, len(own)),
        "new": len(set(own) - known) / max(1, len(set(own))),
        "atoms": float(sizes(found).mean()) if found else 0.0,
    }  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--data", type=Path, required=True)
    ask.add_argument("--size", type=int, default=60_000)
    ask.add_argument("--seconds", type=float, required=True)
    ask.add_argument("--patch", type=int, default=4)
    ask.add_argument("--channels", type=int, default=16)
    ask.add_argument("--net", default="dit:width=128,depth=4,patch=1,heads=4")
    ask.add_argument("--n", type=int, default=1000)
    ask.add_argument("--out", type=Path, required=True)
    asked = ask.parse_args()
    data = smiles(str(asked.data), size=asked.size)
    known = set(spelled(data.train.x, data.alphabet))  # MOSES is canonical by itself
    how = {"patch": asked.patch, "channels": asked.channels}

    def coded(images: int) -> LetterCoder:
        torch.manual_seed(0)
        module = LetterCoder(data.shape, letters=len(data.alphabet), **how)
        training = muon(images=images, batch=128, lr=2e-3, warmup=5000)
        return finish(fit(LetterVAE(module), data, training), lambda step: None).eval()

    coder = coded(count_of(asked.seconds / 2, coded, 2560))
    held = data.test.x.float()
    with torch.no_grad():
        modes = [coder.encode(x).mode for x in (data.train.x, held)]
        turned = (coder.decode(modes[1].flip(2)) == held).all(1).double().mean()
        others = (coder.decode(modes[1].roll(1, 0)) == held).all(1).double().mean()
        nats = -coder.log_p(modes[1]).gather(-1, held.long()[..., None]).flatten(1).sum(1).mean()
    found = {
        "exact": exact(coder, held), "turned": float(turned), "others": float(others),
        "nats": float(nats), "numbers": int(modes[0][0].numel()),
    }  # fmt: skip
    print(json.dumps(found), flush=True)
    with TemporaryDirectory() as folder:
        path = Path(folder, "latents.npy")
        np.save(path, modes[0].numpy())

        def prior(images: int) -> Any:
            return fit_run(
                Config(
                    muon(images=images, batch=128, lr=2e-3, warmup=5000),
                    DataConfig("npz", str(path), kind="series"),
                    asked.net,
                    ObjectiveConfig(),
                )
            )

        denoiser = prior(count_of(asked.seconds / 2, prior, 1280))
    texts = []
    for z in (generate(denoiser, asked.n, steps=50), torch.randn(asked.n, *coder.latent_shape)):
        x = coder.decode(denoiser.scaling.decode(z) if not texts else z)
        texts.append(spelled(x, data.alphabet))
    found |= valid(texts[0], known) | {"of_noise": valid(texts[1], known)["valid"]}
    print(json.dumps(found), texts[0][:6], flush=True)
    asked.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
