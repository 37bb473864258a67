"""Molecules against held-out ones: which are any, which are new, how large, and how they are."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorefield.base import Cond
from scorefield.base.finding import Figure
from scorefield.data import Data
from scorefield.data.letters import spelled
from scorefield.data.molecules import chemistry, molecule_of, properties_of

FEWEST = 300
"""Valid molecules for a Frechet distance in ChemNet's features: of fewer it is their number."""


def molecule_figures(x0: Tensor, data: Data, cond: Cond | None) -> tuple[Figure, ...]:
    """Numbers of tokens (N, L), made for `cond`. A valid string parses in RDKit; fractions of
    unique ones are of the valid, of new ones of the unique, both by their canonical form."""
    order = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))
    away = data.test.x[order]  # a file may be sorted
    texts, train, test = (spelled(x, data.alphabet) for x in (x0, data.train.x, away))
    made, real = map(molecules_in, (texts, test))
    own, held = canonical_of(made), canonical_of(real[: len(texts)])
    known = set(canonical_of(map(molecule_of, train)))
    kinds, valid = set(own), [m for m in made if m is not None]

    def new(found: set[str]) -> float:
        return len(found - known) / max(1, len(found))

    found = [
        Figure("Valid", len(valid) / len(texts), _halfwidth(len(valid), len(texts)), 1.0, unit="%",
               best="high", key="valid"),
        Figure("Unique", len(kinds) / max(1, len(valid)), None, len(set(held)) / len(held),
               unit="%", best="high", key="unique"),
        Figure("New", new(kinds), None, new(set(held)), unit="%", best="real", key="novel",
               words="Unique molecules that no training one is."),
        Figure("Heavy atoms", *_mean(sizes(valid)), *_mean(sizes(real)), best="real", key="atoms",
               words="Short strings are valid easily: size stands beside it."),
    ]  # fmt: skip
    if len(valid) > 1:
        for name in ("logP", "QED"):
            one, two = (properties_of(m, [name])[:, 0] for m in (valid, real[: len(texts)]))
            found.append(Figure(name, *_mean(one), *_mean(two), best="real", key=name))
        found += asked_for(made, data, cond)
        found += chemnet_distance(own, held, known)
    return tuple(found)


def molecules_in(texts: Sequence[str]) -> list[Any]:
    """RDKit's molecule of each text, None of what is none."""
    return [molecule_of(text) for text in texts]


def canonical_of(molecules: Iterable[Any]) -> list[str]:
    """Canonical SMILES of those there are."""
    write = chemistry("rdmolfiles").MolToSmiles
    return [write(m) for m in molecules if m is not None]


def sizes(molecules: Sequence[Any]) -> np.ndarray:
    """How many heavy atoms each has."""
    return np.array([m.GetNumHeavyAtoms() for m in molecules], np.float64)


def asked_for(made: Sequence[Any], data: Data, cond: Cond | None) -> list[Figure]:
    """How far valid molecules lie from the properties that they were made for."""
    scaling = data.conditions.vector_scaling
    if not cond or "vector" not in cond or scaling is None:
        return []
    names, there = [c.name for c in data.columns], [m is not None for m in made]
    asked = scaling.decode(cond["vector"]).numpy()[: len(made)][there]
    got = properties_of([m for m in made if m is not None], names)
    real = data.test.cond["vector"].numpy()
    other = np.abs(
        real - real[torch.randperm(len(real), generator=torch.Generator().manual_seed(0))]
    )
    words = "Mean distance from what was asked for; beside it that of two held-out molecules."
    return [
        Figure(f"{name} off", *_mean(np.abs(got - asked)[:, k]), *_mean(other[:, k]), best="low",
               key=f"{name}_off", words=words)
        for k, name in enumerate(names)
    ]  # fmt: skip


def chemnet_distance(own: Sequence[str], held: Sequence[str], known: set[str]) -> list[Figure]:
    """The Frechet ChemNet distance (Preuer et al. 2018) of canonical SMILES to held-out ones, where
    the package fcd is installed and there are enough."""
    n = min(len(own), len(held))
    try:
        from fcd import get_fcd  # type: ignore[import-not-found]  # of no extra
    except ImportError:
        return []
    if n < FEWEST:
        return []
    floor = float(get_fcd(sorted(known)[:: max(1, len(known) // n)][:n], held[:n]))
    words = f"Of {n:,} valid ones to held-out ones; beside it training ones, as many."
    return [Figure("Frechet ChemNet distance", float(get_fcd(own[:n], held[:n])), None, floor,
                   best="low", key="fcd", words=words)]  # fmt: skip


def _mean(x: np.ndarray) -> tuple[float, float]:
    """The mean, and what it is off by (95%)."""
    if not len(x):
        return float("nan"), float("nan")
    return float(x.mean()), float(1.96 * x.std() / len(x) ** 0.5)


def _halfwidth(count: int, n: int) -> float:
    p = count / n
    return float(1.96 * (p * (1 - p) / n) ** 0.5)
