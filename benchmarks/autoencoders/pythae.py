"""pythae's VAE, of its own layers, for a number of seconds of the processor: writes what it makes.

Run with the interpreter that has it: `python -m benchmarks.autoencoders.pythae IN.npz OUT.npz`.
IN has `train (N, D)` and `test` in [0, 1], `latent`, `seconds`, `loss` ("mse" or "bce"), `beta`,
`seed` and `eps (L, n, latent)`. OUT has `mean` and `log_var` of the test examples' latents,
`decoded` means of the draws that eps makes of them, `(L, n, D)`, and `train_decoded (N, D)`, of one
draw each.
"""

import sys
import time

import numpy as np
import torch
from pythae.models import BetaVAE, BetaVAEConfig  # type: ignore[import-not-found]

BATCH, RATE = 128, 1e-3


def main(given: str, out: str) -> None:
    torch.set_num_threads(1)
    asked = np.load(given)
    torch.manual_seed(int(asked["seed"]))
    train, test = (torch.from_numpy(asked[name]) for name in ("train", "test"))
    size, latent = train.shape[1], int(asked["latent"])
    config = BetaVAEConfig(
        input_dim=(size,), latent_dim=latent, reconstruction_loss=str(asked["loss"]),
        beta=float(asked["beta"]),
    )  # fmt: skip
    model = BetaVAE(config)  # with beta 1 its VAE
    seconds, steps = float(asked["seconds"]), 0
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    began = time.process_time()
    while (part := (time.process_time() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 + np.cos(np.pi * part)) / 2
        rows = torch.randint(len(train), (BATCH,))
        optimizer.zero_grad()
        model({"data": train[rows]}).loss.backward()
        optimizer.step()
        steps += 1
    model.eval()
    with torch.no_grad():
        q, own = model.encoder(test), model.encoder(train)
        z = q.embedding + (q.log_covariance / 2).exp() * torch.from_numpy(asked["eps"])
        one = own.embedding + (own.log_covariance / 2).exp() * torch.randn_like(own.embedding)
        found = {
            "mean": q.embedding,
            "log_var": q.log_covariance,
            "decoded": model.decoder(z.flatten(0, 1)).reconstruction.view(*z.shape[:2], size),
            "train_decoded": model.decoder(one).reconstruction,
            "steps": torch.tensor(steps),
            "parameters": torch.tensor(sum(p.numel() for p in model.parameters())),
        }
    np.savez(out, **{name: value.numpy() for name, value in found.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
