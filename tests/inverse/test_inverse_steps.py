"""What the methods do in one step: fresh noise, the variance of DPS, what counts as measured."""

import math

import pytest
import torch

from benchmarks.restore import energy, psnr, ssim
from scorefield.base import Level, Seeded, Zero
from scorefield.denoise import Gaussian
from scorefield.inverse import DDRM, Renewed, RePaint, dps, moments, replacement
from scorefield.inverse.operators import Mask, Matrix
from scorefield.solve import DDIM, DDPM, Solver
from tests.refusal import refused

UNIT = Gaussian(torch.zeros(2).double(), torch.eye(2).double())
HERE, THERE = Level.of(0.6, 0.8), Level.of(0.8, 0.6)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stepped(solver: Solver, denoise, x: torch.Tensor) -> torch.Tensor:
    state, _ = solver.step(denoise, solver.init(x), HERE, THERE, Seeded(range(len(x))))
    return state[0]


def test_renewed_has_the_levels_law_for_a_point():
    """Data at m: x of law N(alpha m, sigma^2) stays so, with every share; and a share of 1 forgets
    x where DDIM(1) does not."""
    m, n = normal(1, 3), 20_000
    x = 0.6 * m + 0.8 * normal(n, 3, seed=1)

    def point(x, level, cond=None):
        return m.expand_as(x)

    for share in (0.3, 1.0):
        found = stepped(Renewed(share), point, x)
        assert torch.allclose(found.mean(0), 0.8 * m[0], atol=4 * 0.6 / math.sqrt(n))
        assert torch.allclose(found.var(0), torch.full((3,), 0.36).double(), rtol=0.04)
    assert torch.allclose(stepped(Renewed(1.0), point, x), stepped(Renewed(1.0), point, 5 * x))
    assert not torch.allclose(stepped(DDIM(1.0), point, x), stepped(DDIM(1.0), point, 5 * x))
    refused("fraction is 0", Renewed, 0.0)


def test_temperature_takes_fresh_noise_away():
    """Data at 0, x of the level's law: the variance reached is 1 - share (1 - T^2) of sigma^2."""
    n = 20_000
    x = 0.8 * normal(n, 3, seed=1)

    def point(x, level, cond=None):
        return torch.zeros_like(x)

    for share, temperature in ((0.6, 0.5), (1.0, 0.8), (1.0, 0.0)):
        found = stepped(Renewed(share, temperature), point, x).var(0)
        expected = 0.36 * (1 - share * (1 - temperature**2))
        assert torch.allclose(found, torch.full((3,), expected).double(), rtol=0.04)
    y = torch.zeros(1, 3).double()
    seen = Mask(torch.tensor([True, True, True]))
    still = stepped(DDRM(seen, y, 0.1, temperature=0.0), point, x)
    assert float(still.abs().max()) == 0.0
    k = (0.8 / 0.6) ** 2 / ((0.8 / 0.6) ** 2 + 0.1**2)
    spread = (0.36 - (0.8 * k * 0.1) ** 2) ** 0.5
    for temperature in (1.0, 0.5):
        found = stepped(DDRM(seen, y, 0.1, temperature=temperature), point, x).std()
        assert float(found) == pytest.approx(temperature * spread, rel=0.02)
    refused("temperature is 1.5", Renewed, 0.6, 1.5)
    refused("temperature is -1", DDRM, seen, y, 0.1, temperature=-1.0)


def test_ddrm_takes_the_probable_share_of_y():
    """Without noise in a step, by hand: alpha (c + k (y - c)), k = r^2 / (r^2 + e^2), r = .8/.6;
    the number that y does not tell is alpha c + sigma sqrt(1 - eta^2) eps. A stated mix is another
    share, and below its noise (sigma = .6 < alpha e) the published pull towards y."""
    c, x, y = normal(1, 3), normal(4, 3, seed=2), normal(1, 2, seed=3)
    seen, noise_std = Mask(torch.tensor([True, True, False])), 1.0

    def found(**options) -> torch.Tensor:
        solver = DDRM(seen, y, noise_std, sigma_data=2.0, eta=0.8, **options)
        point = lambda x, level, cond: c.expand_as(x)  # noqa: E731
        return solver.step(point, solver.init(x), HERE, THERE, Zero())[0][0]

    r2 = (0.8 / 0.6) ** 2
    told = 0.8 * (c[:, :2] + r2 / (r2 + 1) * (y - c[:, :2]))
    rest = 0.8 * c[:, 2] + 0.6 * 0.6 * (x[:, 2] - 0.6 * c[0, 2]) / 0.8
    assert torch.allclose(found()[:, :2], told.expand(4, 2))
    assert torch.allclose(found()[:, 2], rest)
    assert not torch.allclose(found(mix=1.0)[:, :2], told.expand(4, 2), atol=0.01)
    rough = 0.8 * c[:, :2] + 0.6 * 0.6 * (y - c[:, :2])
    assert torch.allclose(found(mix=1.0)[:, :2], rough.expand(4, 2))
    noise_std = 0.5  # now sigma >= alpha e
    assert torch.allclose(found(mix=1.0)[:, :2], 0.8 * y.expand(4, 2))


def defect(a: torch.Tensor) -> float:
    """Of dps, told the data's deviation 1.7, from the posterior's denoiser."""
    data, y = Gaussian(torch.zeros(5).double(), 1.7**2 * torch.eye(5).double()), normal(1, 3)
    gain = data.cov @ a.T @ torch.linalg.inv(a @ data.cov @ a.T + 0.09 * torch.eye(3).double())
    truth = Gaussian((gain @ y[0]), data.cov - gain @ a @ data.cov)
    x = normal(4, 5, seed=3)
    found = dps(Matrix(a, (5,)), y, 0.3, sigma_data=1.7)(data.denoise)(x, HERE, None)
    return float((found - truth.denoise(x, HERE)).abs().max())


def test_dps_is_exact_if_all_rows_shrink_alike():
    q = torch.linalg.qr(normal(5, 3))[0].T
    assert defect(0.5 * q) < 1e-10
    assert defect(torch.tensor([1.0, 0.5, 0.2]).double()[:, None] * q) > 0.01


def test_dps_reads_the_variance_from_the_residual():
    """By hand, where the residual is large and where the noise is; not if sigma_data is told."""
    data, y = Gaussian(torch.zeros(4).double(), torch.eye(4).double()), 3 * normal(1, 2)
    a, x = Matrix(torch.eye(4).double()[:2], (4,)), normal(3, 4, seed=2)
    denoised, covariance = moments(data.denoise, x, HERE, None)
    away = y - denoised[:, :2]
    slope = torch.nn.functional.pad(away, (0, 2))
    for noise_std in (0.1, 30.0):
        first = noise_std**2 + 0.8**2  # r^2 is .64 at this level
        v = ((away**2).sum(1) + first) / 3
        v = v.clamp(min=noise_std**2)[:, None]
        found = dps(a, y, noise_std)(data.denoise)(x, HERE, None)
        assert torch.allclose(found, denoised + covariance(slope) / v)
    told = dps(a, y, 0.1, sigma_data=1.0)(data.denoise)(x, HERE, None)
    assert not torch.allclose(told, dps(a, y, 0.1)(data.denoise)(x, HERE, None), atol=1e-2)


def test_ddrm_leaves_out_what_is_noise():
    """A number of error 10 counts if data may be as large, else y does not matter."""
    a = Matrix(torch.diag(torch.tensor([1.0, 0.01])).double(), (2,))
    data, x, y = UNIT, normal(3, 2), normal(1, 2)
    other = y + torch.tensor([[0.0, 1.0]])
    kept = [stepped(DDRM(a, v, 0.1), data.denoise, x) for v in (y, other)]
    assert torch.equal(kept[0], kept[1])
    wide = [stepped(DDRM(a, v, 0.1, sigma_data=20.0), data.denoise, x) for v in (y, other)]
    assert not torch.allclose(wide[0], wide[1], atol=1e-3)


def test_noise_damps_what_a_small_singular_value_would_divide():
    """By hand: each singular value's share of y is that of r^2 s^2 beside the noise."""
    a = Matrix(torch.diag(torch.tensor([1.0, 1e-4])).double(), (2,))
    data, x, y = UNIT, normal(3, 2), normal(1, 2)
    found = replacement(a, y, 0.1)(data.denoise)(x, HERE, None)
    away = y - data.denoise(x, HERE) @ a.matrix.T
    r2 = 0.8**2  # sigma^2 / (alpha^2 + sigma^2)
    expected = away * torch.tensor([r2 / (r2 + 0.01), 1e-4 * r2 / (1e-8 * r2 + 0.01)])
    assert torch.allclose(found, data.denoise(x, HERE) + expected)
    nearly = Level.of(1.0, 1e-6)  # near clean data a noisy y says nothing more, an exact one all
    for noise_std, share in ((0.1, 0.0), (0.0, 1.0)):
        found = replacement(a, y, noise_std)(data.denoise)(x, nearly, None)
        assert torch.allclose(found[:, 0], x[:, 0] + share * (y[0, 0] - x[:, 0]), atol=1e-4)
        clean = replacement(a, y, noise_std)(data.denoise)(x, Level.of(1.0, 0.0), None)
        assert torch.allclose(clean[:, 0], x[:, 0] + share * (y[0, 0] - x[:, 0]))
    assert float(stepped(RePaint(a, y, 1, DDPM(), 0.1), data.denoise, x).abs().max()) < 10
    assert float(stepped(RePaint(a, y, 1), data.denoise, x).abs().max()) > 100


def test_repaint_draws_anew_what_y_tells():
    """Without chance, by hand: (I - K) x + K alpha D_y, K = r^2 s^2 / (r^2 s^2 + n^2) of each
    number at the level reached, where the step is the solver's under D_y."""
    a = Matrix(torch.diag(torch.tensor([1.0, 0.3])).double(), (2,))
    data = Gaussian(torch.zeros(2).double(), 4 * torch.eye(2).double())
    x, y, n, s = normal(3, 2), normal(1, 2), 0.5, 2.0
    told = replacement(a, y, n, s)(data.denoise)
    before = DDPM().step(told, DDPM().init(x), HERE, THERE, Zero())[0].x
    solver = RePaint(a, y, 1, DDPM(), n, s)
    after = solver.step(data.denoise, solver.init(x), HERE, THERE, Zero())[0].x
    r2 = s**2 * 0.36 / (0.64 * s**2 + 0.36)
    k = r2 * torch.tensor([1, 0.09]).double()
    k = k / (k + n**2)
    assert torch.allclose(after, (1 - k) * before + k * 0.8 * told(x, HERE, None))


@pytest.mark.parametrize("a", [1.0, 0.3])
@pytest.mark.parametrize("noise_std", [0.2, 1.0, 5.0])
def test_repaint_leaves_the_law_given_y(a, noise_std):
    """x of the level's law given y, redrawn at the same level with D of that x, has that law: mean
    and variance of 40,000 within five errors. With K alpha y in place of K alpha x0, what it was
    before, not. s = 1.5."""
    s, y, count = 1.5, torch.full((1, 1), 2.0).double(), 40_000
    v = 1 / (1 / s**2 + a**2 / noise_std**2)
    mean, spread = THERE.alpha * v * a * y / noise_std**2, THERE.alpha**2 * v + THERE.sigma**2
    x = mean + spread.sqrt() * normal(count, 1)
    data = Gaussian(torch.zeros(1).double(), s**2 * torch.eye(1).double())
    operator = Matrix(torch.full((1, 1), a).double(), (1,))
    solver = RePaint(operator, y, 1, noise_std=noise_std, sigma_data=s)
    told = replacement(operator, y, noise_std, s)(data.denoise)(x, THERE, None)
    found = solver._drawn_anew(solver.init(x), told, Seeded(range(count)), THERE, 0).x
    assert abs(float(found.mean() - mean)) < 5 * float((spread / count) ** 0.5)
    assert float(found.var() / spread) == pytest.approx(1.0, abs=5 * (2 / count) ** 0.5)
    wrong = solver._drawn_anew(solver.init(x), y / a + 0 * x, Seeded(range(count)), THERE, 0).x
    assert noise_std > 1 or abs(float(wrong.mean() - mean)) > 5 * float((spread / count) ** 0.5)


def test_the_benchmark_s_measures():
    """Closed forms, of constant pictures; and draws of the right law have a lower energy score than
    their mean repeated, unlike in PSNR."""
    one, two = torch.full((1, 1, 12, 12), 0.5), torch.full((1, 1, 12, 12), -0.25)
    c1 = 0.01**2  # as intensities in [0, 1] they are 3/4 and 3/8
    expected = (2 * 0.75 * 0.375 + c1) / (0.75**2 + 0.375**2 + c1)
    assert float(ssim(one, two)) == pytest.approx(expected, abs=1e-4)
    assert float(ssim(one[..., :8, :8], two[..., :8, :8])) == pytest.approx(expected, abs=1e-4)
    noise = normal(1, 1, 12, 12).float()
    assert float(ssim(noise, noise)) == pytest.approx(1.0)
    assert float(ssim(noise, normal(1, 1, 12, 12, seed=1).float())) < 0.3
    assert psnr(one, one - 0.2) == pytest.approx(20.0, abs=1e-4)
    truth, sets = normal(400, 8), normal(400, 4, 8, seed=1)
    assert energy(sets, truth) < energy(torch.zeros_like(sets), truth)
    assert psnr(torch.zeros_like(truth), truth) > psnr(sets[:, 0], truth)
