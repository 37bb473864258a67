"""The same numbers of 10,000 samples of 28x28 by this package and by torchmetrics: processor time.

    python -m benchmarks.measures ours [--n 10000]
    PEER -m benchmarks.measures torchmetrics [--n 10000]     PEER: a Python that has torchmetrics

Both use one judge's features, its weights from one seed; each prints Frechet distance, kernel
distance, Inception-type score and the seconds of processor that they took, as one JSON object.
"""

import json
import sys
import time
from typing import Any

import torch
from torch import Tensor, nn

from scorefield.measure import Judge, frechet, inception_score, mmd2

SHAPE, BATCH = (1, 28, 28), 500


def sets(n: int) -> tuple[Tensor, Tensor]:
    """Two sets of blurred noise, the second a little brighter."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, n, *SHAPE, generator=rng)
    x = nn.functional.avg_pool2d(x.flatten(0, 1), 5, 1, 2).unflatten(0, (2, n))
    return x[0].clamp(-1, 1), (1.2 * x[1] + 0.1).clamp(-1, 1)


def judge() -> Judge:
    """One that has learned nothing, which makes no difference to time."""
    torch.manual_seed(0)
    return Judge(SHAPE, 10).eval().requires_grad_(False)


def ours(a: Tensor, b: Tensor) -> dict[str, float]:
    """Each example is looked at once."""
    net = judge()
    with torch.no_grad():
        x, y = (torch.cat([net.features(part) for part in s.split(BATCH)]) for s in (a, b))
        logits = net.head(x)
    return {"frechet": frechet(x, y), "kid": mmd2(x, y).value, "inception": inception_score(logits)}


class Seen(nn.Module):
    """The judge as torchmetrics takes it: features, or logits."""

    def __init__(self, logits: bool = False) -> None:
        super().__init__()
        self.net, self.logits, self.num_features = judge(), logits, 10 if logits else 64

    def forward(self, x: Tensor) -> Tensor:
        f = self.net.features(x)
        return self.net.head(f) if self.logits else f


def torchmetrics(a: Tensor, b: Tensor) -> dict[str, float]:
    """Its three metrics, with its own defaults of subsets."""
    from torchmetrics.image.fid import FrechetInceptionDistance  # type: ignore[import-not-found]
    from torchmetrics.image.inception import InceptionScore  # type: ignore[import-not-found]
    from torchmetrics.image.kid import KernelInceptionDistance  # type: ignore[import-not-found]

    far = FrechetInceptionDistance(Seen())
    kid = KernelInceptionDistance(Seen(), subset_size=1000)
    plain = InceptionScore(Seen(logits=True), splits=1)
    with torch.no_grad():
        for real, s in ((True, b), (False, a)):
            for part in s.split(BATCH):
                far.update(part, real=real)
                kid.update(part, real=real)
                if not real:
                    plain.update(part)
    found: dict[str, Any] = {
        "frechet": far.compute(), "kid": kid.compute()[0], "inception": plain.compute()[0],
    }  # fmt: skip
    return {name: float(value) for name, value in found.items()}


def main(argv: list[str]) -> None:
    """Measure, and print one JSON object."""
    torch.set_num_threads(1)
    n = int(argv[argv.index("--n") + 1]) if "--n" in argv else 10_000
    a, b = sets(n)
    call = {"ours": ours, "torchmetrics": torchmetrics}[argv[0]]
    if argv[0] == "torchmetrics":
        call(a[:1000], b[:1000])  # its imports
    began = time.process_time()
    found = call(a, b)
    print(json.dumps({"of": argv[0], "n": n, **found, "seconds": time.process_time() - began}))


if __name__ == "__main__":
    main(sys.argv[1:])
