"""Levels of pairs: the kernel, what is seen, the flow by R, the reverse SDE; each with a twin."""

import dataclasses
import math
from typing import cast

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from scorefield.base import CLEAN, Level, Pairs, Seeded, Shown, Zero, join
from scorefield.base.pairs import inverse_of, lower
from scorefield.catalogue.spec import build
from scorefield.denoise import Gaussian, Mixture
from scorefield.draw import Asked, Plan, draw
from scorefield.likelihood import flow_log_prob, path
from scorefield.objective.weight import HybridScore, Likelihood
from scorefield.process import VP, Momentum, grids
from scorefield.process.momentum import Damped
from scorefield.solve import DDIM, DDPM, DEIS, RK, Arc, EulerMaruyama, damped, sample, trajectory
from scorefield.solve.loop import showing
from scorefield.tune import fit_grid
from tests.refusal import fails, refused

PROCESS = Momentum()
PAIRING = PROCESS.pairing
ONE = Gaussian(torch.tensor([0.7]).double(), torch.tensor([[0.09]]).double())
TWO = Mixture(
    torch.tensor([[-1.0], [0.5]]), torch.tensor([[[0.01]], [[0.2]]]), torch.tensor([1, 3])
)


def time(*t: float) -> torch.Tensor:
    return torch.tensor(t, dtype=torch.float64).squeeze()


def at_time(*t: float) -> Pairs:
    return PROCESS(time(*t)).pairs


def root_grid(steps: int, stop: float = 1e-3) -> Pairs:
    return PROCESS(torch.linspace(1, stop ** (1 / 3), steps + 1).double() ** 3).pairs


def joint(at: Pairs, mean: float = 0.7, variance: float = 0.09):
    """Mean and covariance of z of Gaussian data."""
    return at.mean * mean, at.covariance + variance * torch.outer(at.mean, at.mean)


# --- the kernel -----------------------------------------------------------------------------------


def van_loan(p: Damped, b: float) -> tuple[np.ndarray, np.ndarray]:
    big = np.zeros((4, 4))
    big[:2, :2], big[2:, 2:] = -p.drift.numpy(), p.drift.numpy().T
    big[1, 3] = p.push
    found = expm(big * b)
    return found[2:, 2:].T, found[2:, 2:].T @ found[:2, 2:]


def check_kernel(p: Damped) -> None:
    for b in (1e-6, 0.004, 0.1, 0.2, 0.5):
        psi, noise = van_loan(p, b)
        assert np.allclose(p.transition(time(b)), psi, rtol=1e-12, atol=1e-14), "kernel"
        assert np.allclose(p.spread(time(b)), noise, rtol=1e-10, atol=0), "kernel"


@pytest.mark.parametrize("damping", [0.3, 1.0, 1.7])
def test_the_kernel_is_that_of_the_matrix_exponential(damping):
    p = Momentum(damping=damping).pairing
    check_kernel(p)
    a, b = time(1.3), time(2.5)
    psi = p.transition(b)
    assert torch.allclose(p.spread(a + b), psi @ p.spread(a) @ psi.mT + p.spread(b), atol=1e-14)


class Loses(Damped):
    """The closed form at every time."""

    def spread(self, h):
        psi, full = self.transition(h), torch.tensor([1.0, self.mass]).double()
        return full.diag() - (psi * full) @ psi.mT


class Swapped(Damped):
    def transition(self, h):
        return super().transition(h).mT


@pytest.mark.parametrize("twin", [Loses, Swapped])
def test_a_kernel_that_cancels_or_is_another_fails(twin):
    fails("kernel", check_kernel, twin(0.25, 1.0, 0.04))


def test_values_of_the_kernel():
    for t, values in {
        0.05: (0.050298, 0.074049, 0.193205),
        0.3: (0.859357, 0.046850, 0.234278),
        1.0: (0.999984, 0.000007, 0.249997),
    }.items():
        s = at_time(t).covariance
        assert np.allclose((s[0, 0], s[0, 1], s[1, 1]), values, atol=6e-7)
    l2 = at_time(1e-2, 1e-3, 1e-4).precise[:, 1, 1]
    assert np.allclose(l2, (47.8, 397, 3776), rtol=2e-3)


def test_the_schedule_is_one_of_levels():
    t = torch.rand(64, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(PROCESS.inverse(PROCESS(t).logsnr), t, rtol=1e-11)
    assert (PROCESS(t.sort().values).logsnr.diff() < 0).all()
    levels = join([PROCESS(time(0.5, 0.2)), CLEAN])
    assert isinstance(levels, Shown)
    assert levels.at(-1) == CLEAN
    assert torch.equal(levels.at(1).expand(3).pairs.covariance[2], at_time(0.2).covariance)
    refused("mass is -1", Momentum, mass=-1)


# --- what is seen ---------------------------------------------------------------------------------


def exact(z: torch.Tensor, at: Pairs) -> torch.Tensor:
    """E[x0 | z] of TWO, in the plane of z."""
    logs, means = [], []
    for m, c, w in zip(TWO.means.double().flatten(), TWO.covs.double().flatten(), (1, 3)):
        mean, cov = joint(at, float(m), float(c))
        away = z[:, :, 0] - mean
        normal = torch.distributions.MultivariateNormal(mean, cov)
        logs.append(normal.log_prob(z[:, :, 0]) + math.log(w))
        means.append(m + c * away @ inverse_of(cov) @ at.mean)
    return (torch.stack(logs).softmax(0) * torch.stack(means)).sum(0)


def check_seen(kind: type[Pairs]) -> None:
    z = torch.randn(50, 2, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for t in (0.02, 0.2, 0.6):
        at = kind(4 * time(t), PAIRING)
        found = showing(TWO.denoise, at)(z, at, None)
        assert torch.allclose(found.flatten(), exact(z, at), atol=1e-8), "seen"


class Position(Pairs):
    """Of a pair only x is shown."""

    def seen(self, z):
        return z[:, 0], Level(self.mean[..., 0], self.covariance[..., 0, 0].sqrt())


def test_the_denoiser_of_pairs_is_that_of_what_is_seen():
    check_seen(Pairs)
    fails("seen", check_seen, Position)


def test_a_pair_is_lifted_from_what_is_seen():
    for t in (0.01, 0.4, 1.0):
        at = at_time(t)
        unit = torch.eye(2, dtype=torch.float64)
        lifted = at.lift(unit[:, :1], unit[:, 1:])[..., 0]
        assert torch.allclose(at.seen(lifted[..., None])[0].flatten(), unit[:, 0], atol=1e-12)
        noise = lifted.T @ (unit * torch.stack([at.sigma**2, time(1.0)])) @ lifted
        assert torch.allclose(noise, at.covariance, atol=1e-12)


def slope_by_regression(last: int) -> torch.Tensor:
    """Hybrid score matching by least squares on (1, x, v), of the pivot `last`."""
    at, rng = at_time(0.2), torch.Generator().manual_seed(0)
    x0 = 0.7 + 0.3 * torch.randn(400_000, 1, dtype=torch.float64, generator=rng)
    eps = torch.randn(400_000, 2, dtype=torch.float64, generator=rng)
    root = lower(at.covariance)
    z = x0 * at.mean + eps @ root.T
    target = -eps[:, last] / root[last, last]
    return torch.linalg.lstsq(torch.column_stack((torch.ones_like(x0), z)), target[:, None])[0]


def check_regression(last: int) -> None:
    at, z = at_time(0.2), torch.zeros(3, 2, 1, dtype=torch.float64)
    z[1, 0], z[2, 1] = 1, 1
    rows = at.slope(z, showing(ONE.denoise, at)(z, at, None)).flatten()
    exact = torch.stack([rows[0], rows[1] - rows[0], rows[2] - rows[0]])
    assert torch.allclose(exact, time(-0.8025, 0.7087, -4.7948), atol=1e-4)
    assert torch.allclose(slope_by_regression(last).flatten(), exact, atol=0.03), "score"


def test_hybrid_score_matching_learns_the_score_of_v():
    check_regression(1)
    fails("score", check_regression, 0)


def test_weights_of_pairs():
    """That of hybrid matching is the error of eps_v; -(d snr/dt)/2 is Gamma (S^-1 A)_v^2."""
    level = PROCESS(time(0.02, 0.3, 0.9))
    at = level.pairs
    apart = torch.linalg.solve(lower(at.covariance), at.mean[..., None])[..., 1, 0]
    assert torch.allclose(HybridScore(PROCESS)(level), apart**2)
    assert torch.allclose(HybridScore(PROCESS)(Level(*at)), apart**2, rtol=1e-6)
    assert torch.allclose(
        Likelihood(PROCESS)(level), 4 * PAIRING.friction * at.toward**2, rtol=1e-6
    )
    refused("hybrid-score is of pairs", HybridScore, VP())


# --- the flow -------------------------------------------------------------------------------------


class Cholesky(Damped):
    def root(self, b):
        return lower(self.covariance(b))


class Symmetric(Damped):
    def root(self, b):
        values, vectors = torch.linalg.eigh(self.covariance(b))
        return (vectors * values.sqrt()[..., None, :]) @ vectors.mT


TWINS = {Cholesky: 2.20, Symmetric: 2.46}


def leap(kind: type[Damped]) -> torch.Tensor:
    pairing = kind(0.25, 1.0, 0.04)
    here, there = (Pairs(4 * time(t), pairing) for t in (1.0, 0.01))
    return here.transfer(there)[0].matrix


def test_one_step_of_the_flow_of_a_point():
    assert np.allclose(leap(Damped).flatten(), (-0.0269, 0.0199, -0.2693, -0.1094), atol=6e-5)
    for twin, off in TWINS.items():
        error = (leap(twin) - leap(Damped)).norm() / leap(Damped).norm()
        assert abs(float(error) - off) < 0.01


def flow_map(solver, levels: Pairs) -> torch.Tensor:
    z = torch.tensor([[0.0, 0], [1, 0], [0, 1]]).double()[..., None]
    return sample(solver, ONE.denoise, z, levels, Zero())[..., 0]


def check_order(solver, kind: type[Damped] = Damped) -> None:
    grid = root_grid(160, 0.02)
    ends = [
        flow_map(solver, Pairs(grid.time[:: 160 // n], kind(0.25, 1.0, 0.04))) for n in (40, 80)
    ]
    truth = flow_map(DEIS(3), grid)
    errors = [float((end - truth).abs().max()) for end in ends]
    slope = math.log2(errors[0] / errors[1])
    assert slope > solver.order - 0.3, f"measured {slope:.2f}"


@pytest.mark.parametrize("solver", [DDIM(), DEIS(1), DEIS(2)])
def test_orders_on_the_flow_of_pairs(solver):
    check_order(solver)
    fails("measured", check_order, solver, Cholesky)


def test_the_flow_ends_on_the_data():
    end = flow_map(DEIS(2), root_grid(160))
    spread = (end[1:] - end[0]).T
    found = spread @ torch.diag(time(1.0, 0.25)) @ spread.T
    mean, cov = joint(at_time(1e-3))
    assert torch.allclose(end[0], mean, atol=2e-3)
    assert torch.allclose(found, cov, atol=2e-3)


# --- the reverse SDE ------------------------------------------------------------------------------


def moments(solver, steps: int) -> float:
    """Greatest error of the mean and of the covariance at t = 1e-3, carried exactly: the step is
    an affine map of z and two draws."""
    mean, cov = torch.zeros(2).double(), torch.diag(time(1.0, 0.25))
    grid, unit = PROCESS(torch.linspace(1, 1e-3, steps + 1).double()).pairs, torch.eye(6).double()
    inputs = torch.cat([torch.zeros_like(unit[:1]), unit])
    for k in range(steps):
        draws = iter((inputs[:, 2:4], inputs[:, 4:]))
        noise = lambda x, here, there: next(draws)[..., None]  # noqa: B023, E731
        out = sample(solver, ONE.denoise, inputs[:, :2, None], grid.at(slice(k, k + 2)), noise)
        push = (out[1:, :, 0] - out[0, :, 0]).T
        mean = push[:, :2] @ mean + out[0, :, 0]
        cov = push[:, :2] @ cov @ push[:, :2].T + push[:, 2:] @ push[:, 2:].T
    true = joint(at_time(1e-3))
    return float((mean - true[0]).abs().max() + (cov - true[1]).abs().max())


def check_moments(solver, *errors: float) -> None:
    found = [moments(solver, n) for n in (25, 50, 100)]
    assert np.allclose(found, errors, rtol=5e-3), f"moments {found}"


def test_errors_of_the_reverse_process(monkeypatch):
    check_moments(EulerMaruyama(), 0.519, 0.178, 0.0792)
    split = (EulerMaruyama(split=True), 0.179, 0.0904, 0.0355)
    check_moments(*split)
    with monkeypatch.context() as at:  # the score at the start of the step
        at.setattr(Pairs, "between", lambda here, there, share: here)
        check_moments(split[0], 0.190, 0.101, 0.0473)
        fails("moments", check_moments, *split)
    monkeypatch.setattr(damped, "TURN", time(1.0, 1.0))  # x does not run the other way
    fails("moments", check_moments, *split)


def test_ancestral_steps_keep_the_law_of_a_point():
    here, there = at_time(0.7), at_time(0.3)
    keep, gain, spread = (p.matrix for p in here.posterior(there))
    found = keep @ here.covariance @ keep.mT + spread @ spread.mT
    assert torch.allclose(found, there.covariance, atol=1e-13)
    assert torch.allclose(keep @ here.mean + gain[:, 0], there.mean, atol=1e-13)
    assert moments(DDPM(), 100) < 0.5 * moments(EulerMaruyama(), 100)


# --- samples --------------------------------------------------------------------------------------

WALK = [DDIM(), DDIM(1.0), DEIS(2), DDPM(), EulerMaruyama(), EulerMaruyama(split=True), Arc()]


@pytest.mark.parametrize("solver", WALK, ids=repr)
def test_samples_of_every_kind(solver):
    """In the shape of the data; alone as in a batch; and of the data's law."""
    plan = Plan(solver, grids.vp_root(PROCESS, 40))
    x = draw(ONE.denoise, plan, Asked(torch.arange(1000)), (1,)).x
    assert x.shape == (1000, 1)
    assert abs(float(x.mean()) - 0.7) < 0.04
    assert 0.22 < float(x.std()) < 0.36
    few = draw(ONE.denoise, plan, Asked(torch.arange(3, 6)), (1,)).x
    assert torch.allclose(few, x[3:6], atol=1e-5)


def test_levels_of_each_sample_and_pauses():
    grid = cast(Shown, grids.vp_root(PROCESS, 6, stop=0.01)).pairs.time
    each = Pairs(torch.stack([grid, 0.9 * grid], 1), PAIRING)
    z = torch.randn(2, 2, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for solver in WALK[:-1]:
        given = (solver, TWO.denoise)
        both = sample(*given, z, each, Seeded([0, 1]))
        alone = sample(*given, z[1:], Pairs(0.9 * grid, PAIRING), Seeded([1]))
        assert torch.allclose(both[1:], alone, atol=1e-9)
        (*_, (state, _)) = trajectory(*given, z, each.at(slice(0, 4)), Seeded([0, 1]))
        assert torch.equal(sample(*given, state, each.at(slice(3, 7)), Seeded([0, 1])), both)


def test_a_method_of_pairs_alone_needs_them():
    refused("not such", draw, ONE.denoise, Plan(EulerMaruyama(True), grids.uniform_t(VP(), 4)),
            Asked(torch.arange(2)), (1,))  # fmt: skip
    refused("not such", sample, Arc(), ONE.denoise, torch.ones(1, 2, 1), root_grid(3), Zero())
    assert build("schedules", "momentum:damping=2") == dataclasses.replace(PROCESS, damping=2.0)


def learned(x, level, cond=None):
    """D of no data."""
    return 0.9 * TWO.denoise(x, level) + 0.05 * torch.tanh(3 * x)


def check_density(denoise) -> None:
    """log p of where the walk of what is seen leads, by its own slope in the noise."""
    z = torch.linspace(-2, 2, 9).double()[:, None].requires_grad_()
    levels = path(PROCESS, 96)
    (*_, (state, _)) = trajectory(RK(), learned, z, levels, Zero())
    y = state.x / levels.alpha[-1]
    (slope,) = torch.autograd.grad(y.sum(), z)
    truth = -(z**2 + math.log(2 * math.pi))[:, 0] / 2 - slope.log()[:, 0]
    found = flow_log_prob(denoise, y.detach(), PROCESS, floor=True).log_prob
    assert torch.allclose(found, truth.detach(), atol=0.03), "density"


def test_the_likelihood_of_a_learned_denoiser_is_that_of_its_samples():
    check_density(learned)
    fails("density", check_density, TWO.denoise)


def test_the_flow_of_pairs_of_a_learned_denoiser_is_another():
    """Deviations at the end of the flow of pairs and of what is seen, both affine here."""
    shown = cast(Shown, grids.vp_root(PROCESS, 100))
    z = torch.cat([torch.zeros(1, 2), torch.eye(2)])[..., None].double()
    for off, own, other in ((0.0, 0.3, 0.3), (0.3, 0.26544, 0.2662)):
        D = lambda x, at, cond=None: (1 - off * at.sigma) * ONE.denoise(x, at)  # noqa: B023, E731
        ends = sample(DEIS(2), D, z, shown.pairs, Zero())[:, 0, 0]
        pairs = torch.hypot(ends[1] - ends[0], PAIRING.mass**0.5 * (ends[2] - ends[0]))
        ends = sample(DEIS(2), D, z[:2, 0], shown, Zero())[:, 0]
        found = float(pairs), float(ends[1] - ends[0])
        assert found == pytest.approx((own, other), abs=2e-4)


def test_grids_are_fitted_to_what_is_seen():
    fitted = fit_grid(TWO.denoise, PROCESS, DDIM(), 4, (1,), starts=16, rounds=6, reference=48)
    assert fitted.error < fitted.error_before
    assert type(fitted.levels) is Level


def test_the_likelihood_of_what_is_seen_is_that_of_the_data():
    x = torch.tensor([[-1.0], [0.2], [1.1]]).double()
    found = flow_log_prob(TWO.denoise, x, PROCESS).log_prob
    assert torch.allclose(found, TWO.log_prob(x), atol=2e-3)
