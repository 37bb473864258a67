"""Molecules in space against held-out ones: how long bonds are, how they meet, what holds."""

import numpy as np
import torch
from torch import Tensor

from scorefield.base.finding import Figure
from scorefield.data import Data
from scorefield.data.letters import END
from scorefield.data.molecules import chemistry

BONDED = 1.3
"""Times the sum of covalent radii: atoms closer than this are bonded."""


def conformer_figures(x0: Tensor, data: Data) -> tuple[Figure, ...]:
    """Of x0 (N, 3 + kinds, atoms) as `data.readers.molecules.conformers` has them; beside each
    figure that of training molecules. Distances between laws are Wasserstein's, of order 1."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    known = data.train.x[order[: len(x0)]]
    made, train, real = (Geometry(x, data.alphabet) for x in (x0, known, data.test.x))
    (lengths, floor), (angles, widest) = (
        [quantiles_apart(getattr(g, what), getattr(real, what)) for g in (made, train)]
        for what in ("lengths", "angles")
    )
    whole = "Molecules whose bonds join all atoms, and no atom is on another."
    return (
        Figure("In one piece", made.whole, None, real.whole, unit="%", best="high", key="whole",
               words=whole),
        Figure("Bond length", *_law(made.lengths), *_law(real.lengths), unit="A", best="real",
               key="length", words="Beside it the deviation, not an error."),
        Figure("Bond angle", *_law(made.angles), *_law(real.angles), unit="degrees", best="real",
               key="angle", words="Beside it the deviation, not an error."),
        Figure("Lengths apart", lengths, None, floor, unit="A", best="low", key="lengths_apart"),
        Figure("Angles apart", angles, None, widest, unit="degrees", best="low",
               key="angles_apart"),
        Figure("Heavy atoms", made.atoms, None, real.atoms, best="real", key="atoms"),
    )  # fmt: skip


class Geometry:
    """Bond lengths, angles in degrees, the fraction that is in one piece, and atoms a molecule."""

    def __init__(self, x: Tensor, alphabet: tuple[str, ...]) -> None:
        table = chemistry("rdchem").GetPeriodicTable()
        radii = np.array([table.GetRcovalent(kind) if kind != END else -9.0 for kind in alphabet])
        at, kind = x[:, :3].double().numpy(), x[:, 3:].numpy().argmax(1)
        radius = radii[kind]
        there = radius > 0
        apart = at[:, :, :, None] - at[:, :, None]
        distance = np.linalg.norm(apart, axis=1)
        other = ~np.eye(at.shape[2], dtype=bool)
        bonded = (distance < BONDED * (radius[:, :, None] + radius[:, None])) & other
        bonded &= there[:, :, None] & there[:, None]
        self.lengths = distance[bonded & np.tri(at.shape[2], k=-1, dtype=bool)]
        cosines = np.einsum("ncij,ncik->nijk", apart, apart)
        norms = distance[:, :, :, None] * distance[:, :, None]
        pairs = bonded[:, :, :, None] & bonded[:, :, None] & np.tri(at.shape[2], k=-1, dtype=bool)
        self.angles = np.degrees(np.arccos((cosines[pairs] / norms[pairs]).clip(-1, 1)))
        reach = np.linalg.matrix_power(bonded.astype(float) + np.eye(at.shape[2]), at.shape[2]) > 0
        joined = (reach | ~there[:, :, None] | ~there[:, None]).all((1, 2)) & there.any(1)
        on = (distance < 0.5) & other & there[:, :, None] & there[:, None]
        self.whole = float((joined & ~on.any((1, 2))).mean())
        self.atoms = float(there.sum(1).mean())


def quantiles_apart(one: np.ndarray, two: np.ndarray) -> float:
    """The mean distance of quantiles.

    >>> quantiles_apart(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    1.0
    """
    if not (len(one) and len(two)):
        return float("nan")
    at = (np.arange(500) + 0.5) / 500
    return float(np.abs(np.quantile(one, at) - np.quantile(two, at)).mean().round(9))


def _law(values: np.ndarray) -> tuple[float, float]:
    none = float("nan")
    return (float(values.mean()), float(values.std())) if len(values) else (none, none)
