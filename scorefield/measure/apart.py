"""Distances between two sets of points: sliced Wasserstein and energy."""

from collections.abc import Callable

import torch
from torch import Tensor

from scorefield.base.finding import Figure
from scorefield.measure.fractions import pick
from scorefield.measure.kernel import mmd2
from scorefield.measure.reference import Outcome, Reference, Seen

MOST = 2000
"""Points that are compared pair by pair."""
GROUPS = 10
"""That are left out in turn."""


def sliced_w2(a: Tensor, b: Tensor, directions: int | Tensor = 64, seed: int = 0) -> float:
    """Root of the mean over directions of the squared 2-Wasserstein distance of what two sets
    `(n, d)` of one size are seen as along them (Bonneel et al. 2015). `directions`: so many random
    ones, or unit vectors `(d, K)`.

    >>> a = torch.tensor([[0.0], [1.0]])
    >>> sliced_w2(a, a + 2)
    2.0
    """
    v = directions if isinstance(directions, Tensor) else random_directions(a, directions, seed)
    seen = ((x.double() @ v.to(x.device)).sort(0).values for x in (a, b))
    return float((next(seen) - next(seen)).square().mean().sqrt())


def random_directions(a: Tensor, count: int, seed: int = 0) -> Tensor:
    """Unit vectors `(d, count)` for sets `(n, d)`, even over the sphere."""
    rng = torch.Generator().manual_seed(seed)
    v = torch.randn(a.shape[1], count, generator=rng, dtype=torch.float64)
    return v / v.norm(dim=0)


def energy_distance(a: Tensor, b: Tensor) -> float:
    """`2 E|a - b| - E|a - a'| - E|b - b'|` without the pairs of a point with itself, over the first
    MOST of each set (Szekely and Rizzo 2013): 0 for two sets of one law, on average.

    >>> energy_distance(torch.tensor([[0.0], [1.0]]), torch.tensor([[5.0], [6.0]]))
    8.0
    """
    return mmd2(a[:MOST], b[:MOST], "distance").value


def jackknife(call: Callable[..., float], *sets: Tensor, groups: int = GROUPS) -> float:
    """Standard error of `call(*sets)` by leaving out each of `groups` parts of every set in turn,
    the i-th being rows i, i + groups, ... (Shao and Tu 1995, eq. 2.52):

        stderr^2 = (G - 1)/G sum_i (call_i - mean)^2

    >>> x = torch.tensor([[0.0], [1.0], [2.0], [5.0]])  # of a mean: std / sqrt(n)
    >>> error = jackknife(lambda x: x.mean().item(), x, groups=4)
    >>> round(error / (x.std().item() / 2), 6)
    1.0
    """
    least = min(map(len, sets))
    if least < 4:  # too few to leave any out
        return 0.0
    groups = min(groups, least)
    kept = [[x[torch.arange(len(x), device=x.device) % groups != i] for x in sets]
            for i in range(groups)]  # fmt: skip
    values = torch.tensor([call(*some) for some in kept], dtype=torch.float64)
    return ((groups - 1) * values.var(correction=0)).sqrt().item()


def sliced_figure(samples: Seen, reference: Reference, draws: int = 8, seed: int = 0) -> Outcome:
    """Mean squared 2-Wasserstein distance along random directions, less that of as many training
    examples: two finite sets of one law are not at 0, and the least that a model can reach is the
    floor. Below 0 is chance."""

    def squared(a: Tensor, b: Tensor) -> float:
        return sliced_w2(a, b) ** 2

    some, train, test = reference.trio(samples, seed)
    rng = torch.Generator().manual_seed(seed)
    like, counts = reference.like_train, torch.bincount(train.label)
    picks = [pick(like.label, counts, rng).to(test.features.device) for _ in range(draws)]
    floors = torch.tensor([squared(like.features[i], test.features) for i in picks])
    value, floor = squared(some.features, test.features), floors.mean().item()
    error, spread = jackknife(squared, some.features, test.features), floors.std().item()
    words = f"Of {len(some.x0):,} samples; as many training examples are at {floor:.3g}, its 0."
    figure = Figure("Sliced W2², less its floor", value - floor, error, 0.0, spread, best="low",
                    words=words)  # fmt: skip
    record = {"value": value, "stderr": error, "floor": floor, "floor_std": spread}
    return Outcome({"sliced_w2": record}, (figure,))
