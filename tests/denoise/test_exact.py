"""Exact denoisers against Bayes by brute force."""

import math

import numpy as np
import pytest
import torch

from scorefield.base import Level
from scorefield.denoise import DataSet, Gaussian, Mixture, convert
from tests.refusal import fails, refused


def f64(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


LINE = Mixture(f64([-1.5], [0.2], [2.0]), f64([[0.3]], [[0.02]], [[0.8]]), f64(0.5, 0.2, 0.3))
PLANE = Mixture(
    f64([-1.0, 0.5], [1.0, -0.3]),
    f64([[0.5, 0.3], [0.3, 0.4]], [[0.2, -0.1], [-0.1, 0.6]]),
    f64(2.0, 1.0),  # need not add up to 1
)
POINTS = DataSet(f64([-1.0, 0.5], [1.0, -0.3], [0.2, 0.2], [0.2, 0.2]))
NORMAL = Gaussian(f64(0.3, -0.8), f64([0.9, 0.4], [0.4, 0.5]))
LEVELS = [(1.0, 0.3), (0.8, 0.6), (0.1, 0.995), (0.6, 0.3), (1.0, 4.0), (0.0, 1.0)]
each_data = pytest.mark.parametrize("data", [PLANE, POINTS, NORMAL], ids=lambda d: type(d).__name__)
each_level = pytest.mark.parametrize("alpha, sigma", LEVELS)


def quadrature(mixture: Mixture, x: np.ndarray, alpha: float, sigma: float):
    """E[x0 | x] and p(x) of one x by the trapezoid rule on the prior: spectrally accurate here."""
    d = len(x)
    axis = np.linspace(-9, 9, 20_001 if d == 1 else 401)
    grid = np.stack(np.meshgrid(*[axis] * d, indexing="ij"), -1).reshape(-1, d)
    prior = np.zeros(len(grid))
    weights = (mixture.weights / mixture.weights.sum()).numpy()
    for w, m, c in zip(weights, mixture.means.numpy(), mixture.covs.numpy()):
        y = grid - m
        square = (y @ np.linalg.inv(c) * y).sum(1)
        prior += w * np.exp(-square / 2) / np.sqrt(np.linalg.det(2 * np.pi * c))
    likelihood = np.exp(-((x - alpha * grid) ** 2).sum(1) / (2 * sigma**2))
    joint = prior * likelihood / (2 * np.pi * sigma**2) ** (d / 2)
    cell = (axis[1] - axis[0]) ** d
    return (joint[:, None] * grid).sum(0) / joint.sum(), joint.sum() * cell


def check_bayes(mixture, denoise, x, alpha, sigma):
    level = Level.of(alpha, sigma)
    for row in x:
        mean, density = quadrature(mixture, row.numpy(), alpha, sigma)
        found = denoise(row[None], level)[0]
        assert found.tolist() == pytest.approx(mean.tolist(), abs=1e-10)
        log_p = float(mixture.log_prob(row[None], level))
        assert log_p == pytest.approx(math.log(density), abs=1e-9)


@each_level
def test_mixtures_are_bayes(alpha, sigma):
    check_bayes(LINE, LINE.denoise, f64([-2.0], [0.1], [0.7], [1.4]), alpha, sigma)
    check_bayes(PLANE, PLANE.denoise, f64([-1.2, 0.3], [0.4, 0.9]), alpha, sigma)


def test_planted_tweedie_with_the_conditional_score():
    """(x + sigma^2 score(x | x0)) / alpha gives back the x0 it was handed, here the mean of the
    data: no posterior mean. With the marginal score by autograd it is one."""

    def conditional(x, level):
        alpha, sigma = level.like(x)
        x0 = torch.einsum("k,kd->d", LINE.weights, LINE.means)
        return (x + sigma**2 * (-(x - alpha * x0) / sigma**2)) / alpha

    def tweedie(x, level):
        alpha, sigma = level.like(x)
        return (x + sigma**2 * autograd_score(LINE, x, level)) / alpha

    x = f64([-2.0], [0.1])
    check_bayes(LINE, tweedie, x, 0.8, 0.6)
    fails("", check_bayes, LINE, conditional, x, 0.8, 0.6)


def test_a_data_set_is_its_sum():
    x, level = f64([0.3, -0.2], [-2.0, 1.0]), Level.of(0.8, 0.5)
    for row, found, log_p in zip(x.tolist(), POINTS.denoise(x, level), POINTS.log_prob(x, level)):
        points = POINTS.x0.tolist()
        squares = [sum((a - 0.8 * b) ** 2 for a, b in zip(row, point)) for point in points]
        shares = [math.exp(-s / (2 * 0.25)) for s in squares]
        for d in range(2):
            mean = sum(w * point[d] for w, point in zip(shares, points)) / sum(shares)
            assert float(found[d]) == pytest.approx(mean, abs=1e-12)
        density = sum(shares) / len(shares) / (2 * math.pi * 0.25)
        assert float(log_p) == pytest.approx(math.log(density), abs=1e-12)


def test_a_gaussian_in_matrices():
    x, alpha, sigma = f64([1.0, -2.0], [0.3, 0.4]), 0.7, 0.4
    total = alpha**2 * NORMAL.cov + sigma**2 * torch.eye(2).double()
    gain = alpha * NORMAL.cov @ torch.linalg.inv(total)
    expected = NORMAL.mean + (x - alpha * NORMAL.mean) @ gain.T
    assert torch.allclose(NORMAL.denoise(x, Level.of(alpha, sigma)), expected, atol=1e-13)
    law = torch.distributions.MultivariateNormal(alpha * NORMAL.mean, total)
    found = NORMAL.log_prob(x, Level.of(alpha, sigma))
    assert torch.allclose(found, law.log_prob(x), atol=1e-12)
    data = torch.distributions.MultivariateNormal(NORMAL.mean, NORMAL.cov)
    assert torch.allclose(NORMAL.log_prob(x), data.log_prob(x), atol=1e-12)


def autograd_score(data, x, level):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(data.log_prob(x, level).sum(), x)[0]


@each_data
def test_the_score_is_the_gradient_of_log_p(data):
    """At a level of its own for each sample: (alpha D - x)/sigma^2 = grad log p."""
    x = f64([1.0, -2.0], [0.3, 0.4], [-0.5, 0.1], [2.0, 2.0])
    level = Level.of(f64(0.9, 0.5, 1.0, 0.0), f64(0.4, 0.8, 0.05, 1.0))
    found = convert.score(x, data.denoise(x, level), level)
    truth = autograd_score(data, x, level)
    assert torch.allclose(found, truth, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(-found, truth)  # the sign is minus the noise's


def test_known_scores():
    """N(0,1) at alpha=1, sigma=.5 and x=1: -1/1.25 = -.8; eps = -sigma score = .4."""
    unit = Gaussian(f64(0.0), f64([1.0]))
    x, level = f64([1.0]), Level.of(1.0, 0.5)
    d = unit.denoise(x, level)
    assert float(convert.score(x, d, level)) == pytest.approx(-0.8, abs=1e-14)
    assert float(convert.eps(x, d, level)) == pytest.approx(0.4, abs=1e-14)


@each_data
def test_a_level_per_sample_is_each_alone(data):
    x = f64([1.0, -2.0], [0.3, 0.4], [-0.5, 0.1])
    level = Level.of(f64(0.9, 0.5, 0.0), f64(0.4, 0.8, 1.0))
    for f in (data.denoise, data.log_prob):
        whole = f(x, level)
        for i in range(3):
            assert torch.allclose(whole[i], f(x[i : i + 1], level.at(i))[0], atol=1e-13)


def test_equal_components_are_one():
    twice = Mixture(torch.stack([NORMAL.mean] * 2), torch.stack([NORMAL.cov] * 2), f64(0.3, 0.7))
    x, level = f64([1.0, -2.0]), Level.of(0.7, 0.4)
    assert torch.allclose(twice.denoise(x, level), NORMAL.denoise(x, level), atol=1e-14)
    assert torch.allclose(twice.log_prob(x, level), NORMAL.log_prob(x, level), atol=1e-14)


def test_a_mixture_of_points_is_the_data_set():
    points = Mixture(POINTS.x0, torch.zeros(4, 2, 2).double(), torch.ones(4).double())
    x = f64([1.0, -2.0], [0.3, 0.4])
    for level in (Level.of(0.7, 0.4), Level.of(1.0, 0.05), Level.of(0.0, 1.0)):
        assert torch.allclose(points.denoise(x, level), POINTS.denoise(x, level), atol=1e-11)
        assert torch.allclose(points.log_prob(x, level), POINTS.log_prob(x, level), atol=1e-9)


def test_shapes_of_pictures():
    data = DataSet(torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0)))
    x = data.x0[:3] + 0.01
    found = data.denoise(x, Level.of(1.0, 0.01))
    assert found.shape == x.shape
    assert torch.allclose(found, data.x0[:3], atol=1e-6)
    flat = Gaussian(torch.zeros(16), torch.eye(16))
    assert flat.denoise(x, Level.of(0.6, 0.8)).shape == x.shape


# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [1e-2, 1e-4, 1e-8, 0.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_data_set_at_small_sigma_gives_the_nearest_point(sigma, dtype):
    points = DataSet(POINTS.x0.to(dtype))
    x = torch.tensor([[0.9, -0.2], [-40.0, 30.0], [0.25, 0.25]], dtype=dtype)
    found = points.denoise(x, Level.of(1.0, sigma))
    assert torch.equal(found, points.x0[[1, 0, 2]])


def test_large_data_far_from_the_origin():
    """Squares of 1e4 must not swamp distances of .1."""
    points = DataSet(f64([100.0, 0.0], [100.1, 0.0]))
    x, sigma = f64([100.04, 0.0]), 0.1
    share = 1 / (1 + math.exp((0.04**2 - 0.06**2) / (2 * sigma**2)))
    found = points.denoise(x, Level.of(1.0, sigma))
    assert float(found[0, 0]) == pytest.approx(100 * share + 100.1 * (1 - share), abs=1e-9)


def test_singular_covariances():
    """A line in the plane: across it all is noise, along it the Gaussian shrinks."""
    line = Gaussian(f64(0.0, 1.0), f64([4.0, 0.0], [0.0, 0.0]))
    x, level = f64([1.0, 3.0]), Level.of(1.0, 0.5)
    found = line.denoise(x, level)
    assert found[0].tolist() == pytest.approx([4 / 4.25, 1.0], abs=1e-14)
    expected = -0.5 * (1 / 4.25 + 4 / 0.25) - 0.5 * math.log(4.25 * 0.25) - math.log(2 * math.pi)
    assert float(line.log_prob(x, level)) == pytest.approx(expected, abs=1e-12)
    drawn = line.sample(1000, seed=0)
    assert torch.equal(drawn[:, 1], torch.ones(1000).double())
    clean = line.denoise(x, Level.of(1.0, 0.0))
    assert clean.isfinite().all()
    assert float(clean[0, 1]) == 1.0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("far", [0.3, 5.0, 30.0, 300.0])
def test_points_at_clean_data_off_the_support(dtype, far):
    """A step that ends on clean data may ask for D at an x between the points: finite, the nearest
    point or one of those that tie."""
    points = torch.tensor([[-far, 0.0], [far, 0.0]], dtype=dtype)
    mixture = Mixture(points, torch.zeros(2, 2, 2, dtype=dtype), torch.ones(2, dtype=dtype))
    x = torch.tensor([[0.1 * far, 0.0]], dtype=dtype)
    found = mixture.denoise(x, Level.of(1.0, 0.0))
    assert found.isfinite().all(), f"{found}"
    assert torch.equal(found, points[1:])


@each_data
def test_samples_of_other_sizes_are_refused(data):
    """A batch's shape given to `Seeded.start` for a sample's makes (4, 4, 2)."""
    x, level = torch.zeros(4, 4, 2).double(), Level.of(0.6, 0.8)
    for f in (data.denoise, data.log_prob):
        refused(r"x \(4, 4, 2\) has 8 numbers a sample, the data 2", f, x, level)


def test_one_number_is_not_summed_over_and_no_density_without_noise():
    """The twin of a size-1 axis that broadcasts: sixteen numbers are no sample of N(0, 1)."""
    unit, x = Gaussian(f64(0.0), f64([1.0])), torch.ones(2, 16).double()
    refused("16 numbers a sample, the data 1", unit.log_prob, x, Level.of(0.6, 0.8))
    refused("no density", POINTS.log_prob, POINTS.x0)
    refused("no density", POINTS.log_prob, POINTS.x0[:2], Level.of(1.0, f64(0.1, 0.0)))


def test_at_pure_noise_d_is_the_mean():
    x, level = f64([5.0, -3.0]), Level.of(0.0, 1.0)
    assert torch.allclose(NORMAL.denoise(x, level)[0], NORMAL.mean)
    assert torch.allclose(POINTS.denoise(x, level)[0], POINTS.x0.mean(0))
    mean = (PLANE.weights[:, None] * PLANE.means).sum(0) / PLANE.weights.sum()
    assert torch.allclose(PLANE.denoise(x, level)[0], mean)


def test_on_clean_data_d_is_x():
    x = f64([5.0, -3.0], [0.2, 0.1])
    for data in (NORMAL, PLANE):
        assert torch.allclose(data.denoise(x, Level.of(1.0, 0.0)), x, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@each_data
def test_dtype_follows_x(data, dtype):
    x = torch.tensor([[1.0, -2.0]], dtype=dtype)
    level = Level.of(0.8, 0.6)
    assert (data.denoise(x, level).dtype, data.log_prob(x, level).dtype) == (dtype, dtype)
    near = data.denoise(x.double(), level)
    assert torch.allclose(data.denoise(x, level).double(), near, atol=0.03, rtol=0.03)


# --- samples --------------------------------------------------------------------------------------


def test_samples_have_the_moments():
    """Five standard errors at 50,000."""
    n = 50_000
    for data, mean, cov in (
        (NORMAL, NORMAL.mean, NORMAL.cov),
        (PLANE, *_moments(PLANE)),
        (POINTS, POINTS.x0.mean(0), POINTS.x0.T.cov(correction=0)),
    ):
        x = data.sample(n, seed=1)
        assert x.shape == (n, 2)
        assert ((x.mean(0) - mean).abs() < 5 * (cov.diag() / n).sqrt()).all()
        assert ((x.T.cov() - cov).abs() < 5 * 3 * cov.diag().max() / math.sqrt(n)).all()


def _moments(m: Mixture):
    w = m.weights / m.weights.sum()
    mean = (w[:, None] * m.means).sum(0)
    y = m.means - mean
    return mean, torch.einsum("k,kij->ij", w, m.covs + y[:, :, None] * y[:, None])


@each_data
def test_seeds_of_samples(data):
    assert torch.equal(data.sample(5, seed=3), data.sample(5, seed=3))
    assert not torch.equal(data.sample(50, seed=3), data.sample(50, seed=4))
    assert not torch.equal(data.sample(50), data.sample(50))


@pytest.mark.parametrize(
    "build",
    [
        lambda: Mixture(torch.zeros(2, 3), torch.zeros(2, 2, 2), torch.ones(2)),
        lambda: Mixture(torch.zeros(2, 1), torch.ones(2, 1, 1), torch.tensor([1.0, -1.0])),
        lambda: Mixture(torch.zeros(2, 1), torch.ones(2, 1, 1), torch.zeros(2)),
        lambda: Gaussian(torch.zeros(1), -torch.ones(1, 1)),
        lambda: Gaussian(torch.zeros(1, 1), torch.ones(1, 1)),
        lambda: DataSet(torch.zeros(0, 2)),
        lambda: DataSet(torch.zeros(3)),
        # only its lower triangle would be read, as the identity
        lambda: Gaussian(torch.zeros(2), torch.tensor([[1.0, 0.9], [0.0, 1.0]])),
    ],
)
def test_data_that_is_none_is_refused(build):
    refused("", build)
