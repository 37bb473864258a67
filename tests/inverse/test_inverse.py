"""Methods for inverse problems: which are exact on Gaussian data, and all of them at the ends."""

import math
from typing import Any

import pytest
import torch

from scorefield import inverse
from scorefield.base import BadInput, Level, Seeded, Zero
from scorefield.catalogue.spec import build
from scorefield.denoise import Gaussian, Mixture
from scorefield.inverse import METHODS, diffpir, dps, mmps, pigdm, replacement, restore, tmpd
from scorefield.inverse.operators import Mask, Matrix, Nonlinear
from scorefield.process import EDM, VP, Flow, grids
from scorefield.solve import DDIM, DDPM, Heun, sample, trajectory
from tests.refusal import refused

D, ROWS = 32, 12


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def eye(n: int) -> torch.Tensor:
    return torch.eye(n, dtype=torch.float64)


def prior(d: int = D, variance: float | None = None) -> Gaussian:
    if variance is not None:
        return Gaussian(torch.zeros(d).double(), variance * eye(d))
    root = normal(d, d, seed=5) / math.sqrt(d)
    return Gaussian(normal(d, seed=6), root @ root.T + 0.05 * eye(d))


def posterior(data: Gaussian, a: torch.Tensor, y: torch.Tensor, noise_std: float) -> Gaussian:
    gain = data.cov @ a.T @ torch.linalg.inv(a @ data.cov @ a.T + noise_std**2 * eye(len(a)))
    cov = data.cov - gain @ a @ data.cov
    return Gaussian(data.mean + gain @ (y[0] - a @ data.mean), (cov + cov.T) / 2)


def defect(guide, data: Gaussian, a, y, noise_std: float) -> float:
    """Largest error of `D_y` against the posterior's own denoiser, at noisy and clean levels."""
    truth, x = posterior(data, a, y, noise_std), 3 * normal(5, len(data.mean), seed=9)
    alpha, sigma = torch.tensor([[0.02, 0.3, 0.7, 0.99, 1.0], [1, 0.9, 0.7, 0.1, 0.003]])
    level = Level.of(alpha, sigma)
    found = guide(data.denoise)(x, level, None)
    return float((found - truth.denoise(x, level)).abs().max())


A, Y = normal(ROWS, D, seed=1) / math.sqrt(D), normal(1, ROWS, seed=2)
SEEN = Matrix(A, (D,))


def test_mmps_is_exact_on_gaussian_data():
    """Against the denoiser of the posterior; and not with the residual's sign turned."""
    assert defect(mmps(SEEN, Y, 0.3), prior(), A, Y, 0.3) < 1e-8
    assert defect(mmps(SEEN, -Y, 0.3), prior(), A, Y, 0.3) > 0.1


@pytest.mark.parametrize("guide", [pigdm, diffpir, dps, tmpd])
def test_the_others_are_not(guide):
    assert defect(guide(SEEN, Y, 0.3), prior(), A, Y, 0.3) > 0.05


def test_mmps_has_the_posterior_mean_and_covariance():
    """Law (c), d = 32, without Monte Carlo: the flow is affine, x_end = M z + c, so c is the mean
    and M M^T the covariance. Equal to the run under the posterior's own denoiser; to the posterior
    itself within what 100 Heun steps from sigma = 300 leave of any denoiser (.007 and .003)."""
    data, truth = prior(), posterior(prior(), A, Y, 0.3)
    levels = grids.karras(EDM(0.002, 300.0), 100)
    starts = 300 * torch.cat([torch.zeros(1, D).double(), eye(D)])
    end = sample(Heun(), mmps(SEEN, Y, 0.3)(data.denoise), starts, levels, Zero())
    assert torch.allclose(end, sample(Heun(), truth.denoise, starts, levels, Zero()), atol=1e-9)

    def defects(end: torch.Tensor) -> tuple[float, float]:
        m = end[1:] - end[:1]
        return float((end[0] - truth.mean).abs().max()), float((m.T @ m - truth.cov).abs().max())

    assert max(defects(end)) < 0.01
    rest = sample(Heun(), pigdm(SEEN, Y, 0.3)(data.denoise), starts, levels, Zero())
    assert min(defects(rest)) > 0.01


def test_pigdm_is_exact_on_isotropic_data():
    data = prior(variance=1.7**2)
    assert defect(pigdm(SEEN, Y, 0.3, sigma_data=1.7), data, A, Y, 0.3) < 1e-10
    assert defect(pigdm(SEEN, Y, 0.3), data, A, Y, 0.3) > 0.05


def test_replacement_is_exact_on_isotropic_data():
    """And at n = 0 the pseudoinverse; not with another deviation, nor with eq. 5's V that once was
    `(r^2 + noise_std^2) I`."""
    data = prior(variance=1.7**2)
    assert defect(replacement(SEEN, Y, 0.3, sigma_data=1.7), data, A, Y, 0.3) < 1e-10
    assert defect(replacement(SEEN, Y, 0.3), data, A, Y, 0.3) > 0.05
    level, x = Level.of(0.6, 0.8), normal(4, D)
    r2 = 1.7**2 * 0.8**2 / (0.6**2 * 1.7**2 + 0.8**2)
    more = replacement(SEEN, Y, 0.3 * (r2 / (r2 + 0.09)) ** 0.5, sigma_data=1.7)
    truth = posterior(data, A, Y, 0.3).denoise(x, level)
    assert not torch.allclose(more(data.denoise)(x, level, None), truth, atol=1e-3)
    exact = replacement(SEEN, Y)(data.denoise)(x, level, None)
    assert torch.allclose(exact @ A.T, Y.expand(4, -1))


def test_dps_is_exact_if_also_the_rows_are_orthonormal():
    data, q = prior(variance=1.7**2), torch.linalg.qr(A.T)[0].T
    assert defect(dps(Matrix(q, (D,)), Y, 0.3, sigma_data=1.7), data, q, Y, 0.3) < 1e-10
    assert defect(dps(SEEN, Y, 0.3, sigma_data=1.7), data, A, Y, 0.3) > 0.05


def test_tmpd_is_exact_for_masks_on_independent_data():
    data = Gaussian(normal(6), torch.diag(normal(6, seed=3).abs() + 0.1))
    known = torch.tensor([True, False, True, True, False, False])
    a, y = eye(6)[known], normal(1, 3)
    assert defect(tmpd(Mask(known), y, 0.2), data, a, y, 0.2) < 1e-10
    assert defect(tmpd(Mask(~known), y, 0.2), data, a, y, 0.2) > 0.1


def test_diffpir_is_exact_for_flat_priors():
    """A prior of variance 1e8: x0 given x has variance (sigma/alpha)^2."""
    data = prior(variance=1e8)
    found = diffpir(SEEN, Y, 0.3)(data.denoise)
    truth, x, level = posterior(data, A, Y, 0.3), normal(4, D), Level.of(0.8, 0.6)
    assert torch.allclose(found(x, level, None), truth.denoise(x, level), atol=1e-5)
    other = diffpir(SEEN, Y, 0.3, weight=3.0)(data.denoise)
    assert not torch.allclose(other(x, level, None), found(x, level, None), atol=1e-3)


def test_the_covariance_is_the_posterior_s():
    data, level = prior(), Level.of(0.6, 0.8)
    cov = torch.linalg.inv(torch.linalg.inv(data.cov) + 0.6**2 / 0.8**2 * eye(D))
    covariance = inverse.moments(data.denoise, normal(D, D), level, None).covariance
    assert torch.allclose(covariance(eye(D)), cov, atol=1e-10)
    pure = inverse.moments(data.denoise, normal(D, D), Level.of(0.0, 1.0), None)
    assert torch.allclose(pure.covariance(eye(D)), data.cov, atol=1e-4)
    assert torch.equal(pure.denoised, data.mean.expand(D, D))  # not that of the level beside it


LEVELS = {
    "vp": grids.uniform_t(VP(), 6),
    "edm": grids.karras(EDM(), 6),
    "flow": grids.uniform_t(Flow(), 6),
    "pure": Level(torch.tensor([0.0, 0.5, 1.0]).double(), torch.tensor([1.0, 0.7, 0.0]).double()),
}
OPERATORS = ("box:2,2,4,4", "pool:2", "blur:1.0", "radon:5", "fourier:2", "project:10")
PICTURES = Mixture(normal(3, 64), 0.2 * eye(64).expand(3, 64, 64), torch.ones(3).double())


def made(method: str, noise_std: float) -> float:
    return max(noise_std, 0.05) if method == "twisted" else noise_std


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("process", LEVELS)
@pytest.mark.parametrize("noise_std", [0.0, 0.1])
def test_finite_from_noise_to_data(method, process, noise_std):
    for text in OPERATORS if process == "pure" else OPERATORS[:2]:
        a = build("operators", text, shape=(1, 8, 8))
        noise_std = made(method, noise_std)
        y = inverse.measure(a, PICTURES.sample(1, seed=0).view(1, 1, 8, 8), noise_std, Seeded([5]))
        options: dict[str, Any] = {"sigma_data": 1.0} if method == "twisted" else {}
        asked = method, LEVELS[process], range(4)
        found = restore(PICTURES.denoise, a, y, noise_std, *asked, **options)
        assert found.shape == (4, 1, 8, 8)
        assert bool(found.isfinite().all()), text


@pytest.mark.parametrize("method", [m for m in METHODS if m != "twisted"])
def test_a_sample_is_its_own(method):
    """Its level, its measurement and its seed: alone it is the same as in a batch. Conjugate
    gradients end at the precision of float64, hence the tolerance."""
    a = build("operators", "pool:2", shape=(1, 8, 8))
    y = inverse.measure(a, PICTURES.sample(3, seed=1).view(3, 1, 8, 8), 0.1, Seeded(range(3)))
    grid = LEVELS["vp"]
    many = Level(*(torch.stack([v, v, 0.9 * v + 0.1 * v[-1]], 1) for v in grid))
    whole = restore(PICTURES.denoise, a, y, 0.1, method, many, range(3))
    for i in range(3):
        own = Level(*(v[:, i] for v in many))
        alone = restore(PICTURES.denoise, a, y[i : i + 1], 0.1, method, own, [i])
        assert torch.allclose(alone[0], whole[i], rtol=1e-6, atol=1e-7)
    assert not torch.allclose(whole[0], whole[1], atol=1e-2)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_dtype_follows_y(method, dtype):
    a = build("operators", "blur:1.0", shape=(1, 8, 8))
    y = normal(1, 1, 8, 8).to(dtype)
    options: dict[str, Any] = {"sigma_data": 1.0} if method == "twisted" else {}
    x = restore(PICTURES.denoise, a, y, 0.1, method, LEVELS["vp"], range(2), **options)
    assert x.dtype == dtype
    assert bool(x.isfinite().all())


@pytest.mark.parametrize("method", ["replacement", "repaint", "ddrm", "diffpir", "mmps", "pigdm"])
def test_an_exact_measurement_is_kept(method):
    a = build("operators", "pool:2", shape=(1, 8, 8))
    y = a(PICTURES.sample(1, seed=0).view(1, 1, 8, 8))
    found = restore(PICTURES.denoise, a, y, 0.0, method, grids.karras(EDM(0.001), 30), range(4))
    assert torch.allclose(a(found), y.expand(4, -1, -1, -1), atol=0.02)
    x, levels = 80 * normal(4, 1, 8, 8), grids.karras(EDM(), 30)
    free = sample(DDIM(1.0), PICTURES.denoise, x, levels, Seeded(range(4)))
    assert not torch.allclose(a(free), y.expand(4, -1, -1, -1), atol=0.02)


def test_repaint_once_is_replacement_of_the_known_part():
    known = torch.tensor([True, False, True, False])
    y, noise = normal(1, 2), Zero()
    here, there = Level.of(0.5, 0.8), Level.of(0.8, 0.5)
    solver, data = inverse.RePaint(Mask(known), y, times=1), prior(4, 1.0)
    state, _ = solver.step(data.denoise, solver.init(normal(3, 4)), here, there, noise)
    plain, _ = DDPM().step(data.denoise, DDPM().init(normal(3, 4)), here, there, noise)
    assert torch.allclose(state.x[:, known], 0.8 * y.expand(3, 2))
    assert torch.allclose(state.x[:, ~known], plain.x[:, ~known])


def test_repaint_rounds_bring_the_parts_together():
    """Two equal numbers, one of them seen to be 1. Each round halves what is left to agree."""
    data = Gaussian(torch.zeros(2).double(), torch.tensor([[1.0, 0.99], [0.99, 1.0]]).double())
    seen, levels = Mask(torch.tensor([True, False])), grids.uniform_t(VP(), 30)
    y, x = torch.full((1, 1), 2.0).double(), normal(400, 2)
    gap = []
    for times in (1, 8):
        found = sample(inverse.RePaint(seen, y, times), data.denoise, x, levels, Seeded(range(400)))
        gap.append(abs(float(found[:, 1].mean()) - 1.98))
    assert gap[1] < 0.4 * gap[0]


def test_published_dps_is_a_step_and_a_gradient():
    data, x = prior(), normal(3, D)
    here, there = Level.of(0.5, 0.8), Level.of(0.8, 0.5)
    solver = inverse.DPS(SEEN, Y, scale=0.7, solver=DDIM())
    after, _ = solver.step(data.denoise, solver.init(x), here, there, Zero())
    plain, _ = DDIM().step(data.denoise, DDIM().init(x), here, there, Zero())
    x = x.requires_grad_()
    norm = (Y - SEEN(data.denoise(x, here))).norm(dim=1)
    (slope,) = torch.autograd.grad(norm.sum(), x)
    assert torch.allclose(after.x, plain.x - 0.7 * slope)


def test_ddrm_has_the_levels_law_for_a_point():
    """Data at one point m: at every level x is N(alpha m, sigma^2) where y tells nothing, and where
    it does, of variance sigma^2 - (alpha k e)^2: y's own noise makes up the rest."""
    m = normal(1, 4)
    a = Mask(torch.tensor([True, True, False, False]))
    y = a(m)
    here = Level.of(1.0, 2.0)
    x = m + 2 * normal(20_000, 4, seed=8)
    near, far = Level.of(1.0, 1.0), Level.of(1.0, 0.2)  # far: more than halved, y's noise is all
    draws, point = Seeded(range(20_000)), lambda x, level, cond: m.expand_as(x)
    for mix, k in ((1.0, 1.0), (0.5, 0.5), (None, 4 / 4.25), (None, 0)):
        solver, there = inverse.DDRM(a, y, 0.5, eta=0.85, mix=mix), near if k else far
        state, _ = solver.step(point, solver.init(x), here, there, draws)
        variance = float(there.sigma) ** 2
        told = variance - (0.5 * k) ** 2 if k else 0.0
        expected = torch.tensor([told, told, variance, variance]).double()
        assert torch.allclose((state.x - m).var(0), expected, atol=0.04 * variance)  # 4 errors
        assert torch.allclose(state.x.mean(0), m[0], atol=0.03)


def test_nonlinear_dps_finds_what_was_squared():
    data = prior(2, 1.0)
    square = Nonlinear(torch.square, (2,))
    y = torch.tensor([[2.25, 0.25]]).double()
    found = restore(data.denoise, square, y, 0.05, "dps", grids.karras(EDM(0.002), 100), range(64))
    assert float((found**2 - y).abs().median()) < 0.1
    refused("linear", mmps, square, y, 0.1)


def test_evidence_of_gaussian_data():
    """log p(y) of one number in closed form; a narrow prior, whose chain is right, and 200 groups:
    the mean of the estimates is within 3 of their standard errors of it. With a wrong y not."""
    data, a = prior(2, 0.01), Matrix(torch.tensor([[1.0, 0.5]]).double(), (2,))
    y, levels = torch.tensor([[0.2]]).double(), grids.karras(EDM(0.002), 60)
    log_p = torch.distributions.Normal(0.0, math.sqrt(0.01 * 1.25 + 0.04)).log_prob(y).item()
    seeds = Seeded(range(200 * 8))
    x = seeds.start((2,), levels, dtype=torch.float64)
    *_, (state, _) = trajectory(inverse.twisted(a, y, 0.2, 8), data.denoise, x, levels, seeds)
    z = (state.log_evidence[::8] - log_p).exp()
    assert abs(float(z.mean() - 1)) < 3 * float(z.std()) / math.sqrt(200) + 5e-3
    *_, (state, _) = trajectory(inverse.twisted(a, -2 * y, 0.2, 8), data.denoise, x, levels, seeds)
    z = (state.log_evidence[::8] - log_p).exp()
    assert abs(float(z.mean() - 1)) > 3 * float(z.std()) / math.sqrt(200) + 5e-3


def test_what_is_refused():
    refused("exact measurement", inverse.twisted, SEEN, Y, 0.0, 8)
    refused("y has shape", mmps, SEEN, Y[:, 1:], 0.1)
    refused("noise_std is -1", pigdm, SEEN, Y, -1.0)
    with pytest.raises(BadInput, match="Did you mean 'pigdm'"):
        restore(prior().denoise, SEEN, Y, 0.1, "pigmd", LEVELS["vp"], [1])
    with pytest.raises(BadInput, match="2 measurements meet 3 samples"):
        replacement(SEEN, Y.expand(2, -1))(prior().denoise)(normal(3, D), Level.of(0.6, 0.8), None)
    with pytest.raises(BadInput, match="y has 81 numbers"):
        inverse.moment_twist(
            build("operators", "pool:1", shape=(1, 9, 9)), torch.zeros(1, 1, 9, 9), 0.1
        )
