"""Distributions in the plane: 20000 training and 5000 test draws, the same for a given seed."""

from dataclasses import replace

import numpy as np
import torch

from scorefield.data.sets import EIGHT_BIT, Data, Scaling, Split

TRAIN, TEST = 20_000, 5_000


def swiss_roll(seed: int = 0) -> Data:
    """A spiral: r (cos r, sin r) + 0.3 z with r uniform in [1.5 pi, 4.5 pi] and z ~ N(0, I)."""
    rng = _draws(seed)
    r = rng.uniform(1.5 * np.pi, 4.5 * np.pi, TRAIN + TEST)
    x = r[:, None] * _on_circle(r) + 0.3 * rng.standard_normal((TRAIN + TEST, 2))
    return _toy("swiss-roll", x)


def moons(seed: int = 0) -> Data:
    """Two half circles that interlock, labelled: upper (cos a, sin a) and lower
    (1 - cos a, 1/2 - sin a), with a uniform in [0, pi], plus 0.05 z with z ~ N(0, I)."""
    rng = _draws(seed)
    label = rng.randint(0, 2, TRAIN + TEST)
    upper = _on_circle(rng.uniform(0, np.pi, TRAIN + TEST))
    x = np.where(label[:, None] == 0, upper, np.array([1.0, 0.5]) - upper)
    return _toy("moons", x + 0.05 * rng.standard_normal(x.shape), label, ("upper", "lower"))


def eight_gaussians(seed: int = 0) -> Data:
    """Eight equal Gaussians of standard deviation 0.2, labelled: component k has its mean at
    2 (cos(k pi/4), sin(k pi/4))."""
    rng = _draws(seed)
    label = rng.randint(0, 8, TRAIN + TEST)
    x = 2 * _on_circle(label * np.pi / 4) + 0.2 * rng.standard_normal((TRAIN + TEST, 2))
    return _toy("8-gaussians", x, label, tuple("01234567"))


def checkerboard(seed: int = 0) -> Data:
    """Uniform on the 8 unit squares of [-2, 2]^2 whose integer corner (i, j) has i + j even."""
    rng = _draws(seed)
    column = rng.randint(-2, 2, TRAIN + TEST)
    row = 2 * rng.randint(-1, 1, TRAIN + TEST) + column % 2
    x = np.stack([column, row], axis=1) + rng.uniform(size=(TRAIN + TEST, 2))
    return _toy("checkerboard", x)


def tetrahedra(seed: int = 0) -> Data:
    """Four points of R^3 (3, 4): a regular tetrahedron of edge 1.5 (1 + 0.05 z), at a random turn,
    its corners moved by 0.03 z, z ~ N(0, 1), and centred: edges have the mean 1.5012 and the
    deviation 0.0860."""
    rng, n = _draws(seed), TRAIN + TEST
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(8)
    turns, _ = np.linalg.qr(rng.standard_normal((n, 3, 3)))
    edges = 1.5 * (1 + 0.05 * rng.standard_normal((n, 1, 1)))
    x = edges * (turns @ corners.T) + 0.03 * rng.standard_normal((n, 3, 4))
    data = _toy("tetrahedra", x - x.mean(2, keepdims=True))
    return replace(data, scaling=Scaling((0.0,), (round(float(data.train.x.std()), 6),)))


def phantoms(seed: int = 0) -> Data:
    """Volumes (1, 12, 16, 16) of 2 + 1 shades: an ellipsoid of 128 with half-axes uniform in
    [3, 5], [4, 7] and [4, 7] voxels and its centre within half a voxel of the middle, so that it
    has 4/3 pi 4 5.5^2 = 506.8 voxels on average; in it a ball of 255, its radius uniform in
    [1.5, 2.5], its centre uniform in the ellipsoid of half-axes smaller by 2.5."""
    rng, n = _draws(seed), (TRAIN + TEST) // 10
    size = np.array([12, 16, 16])
    grid = np.stack(np.meshgrid(*[np.arange(s) - (s - 1) / 2 for s in size], indexing="ij"))
    axes = rng.uniform([3, 4, 4], [5, 7, 7], (n, 3))
    middle = rng.uniform(-0.5, 0.5, (n, 3))
    way = rng.standard_normal((n, 3))
    way *= rng.uniform(size=(n, 1)) ** (1 / 3) / np.linalg.norm(way, axis=1, keepdims=True)
    ball, radius = middle + way * (axes - 2.5), rng.uniform(1.5, 2.5, n)
    x = np.zeros((n, 1, *size), np.uint8)
    for shades, at, wide in zip(x, zip(middle, ball), zip(axes, radius), strict=True):
        for shade, centre, half in zip((128, 255), at, wide, strict=True):
            off = (grid - centre[:, None, None, None]).T / half
            shades[0][((off**2).sum(-1) <= 1).T] = shade
    part = n * TRAIN // (TRAIN + TEST)
    whole = torch.from_numpy(x)
    return Data("phantoms", Split(whole[:part]), Split(whole[part:]), (), EIGHT_BIT)


def _draws(seed: int) -> np.random.RandomState:
    # The legacy generator: its stream is frozen, so a seed means the same data for good.
    return np.random.RandomState(seed)


def _on_circle(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _toy(
    name: str, x: np.ndarray, label: np.ndarray | None = None, classes: tuple[str, ...] = ()
) -> Data:
    points = torch.from_numpy(x.astype(np.float32))
    cond = {} if label is None else {"label": torch.from_numpy(label.astype(np.int64))}
    train, test = (
        Split(points[part], {key: value[part] for key, value in cond.items()})
        for part in (slice(None, TRAIN), slice(TRAIN, None))
    )
    return Data(name, train, test, classes, Scaling.standardise(train.x))
