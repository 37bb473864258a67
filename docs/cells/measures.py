"""What each says of eight modes on a ring beside 1,000 real points: of as many others, of a ring
that is one mode short, and of one that is wider, which moments do not show. What each is blind to:
[the page of measures](../trilemma.md)."""

import torch

from scorefield.denoise import Mixture
from scorefield.measure import energy_distance, frechet, mmd2, precision_recall, sliced_w2

angle = torch.arange(8) * torch.pi / 4
means = torch.stack([angle.cos(), angle.sin()], 1).double()


def ring(modes: int, variance: float) -> Mixture:
    one = variance * torch.eye(2).double()
    return Mixture(means[:modes], one.expand(modes, 2, 2), torch.ones(modes).double())


real, floor = (ring(8, 0.01).sample(1000, seed) for seed in (0, 1))
sets = {
    "as many real": floor,
    "a mode short": ring(7, 0.01).sample(1000, 2),
    "wider": ring(8, 0.02).sample(1000, 3),
}
for name, x in sets.items():
    found = precision_recall(x, real)
    print(
        f"{name:13} frechet {frechet(x, real):.4f}, kid {mmd2(x, real).value:+.5f}, "
        f"energy {energy_distance(x, real):+.4f}, sliced-w2 {sliced_w2(x, real):.3f}, "
        f"precision {found.precision:.2f}, recall {found.recall:.2f}"
    )
