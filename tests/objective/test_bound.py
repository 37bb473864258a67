"""The weights that are a bound of the likelihood: of the chain, and in continuous time."""

import math
from typing import Literal

import pytest
import torch

from scorefield import objective as objectives
from scorefield import process
from scorefield.base import Level
from scorefield.denoise import Gaussian
from scorefield.objective import P2, VLB, Hybrid, Likelihood, Objective, Sigmoid, Variational, snr
from scorefield.process import EDM, VE, VP, Cosine, DiscreteVP, Flow, Learned, SubVP, linear_betas
from tests.objective.quadrature import UNIT, Expectation, at, over_times, rng
from tests.refusal import fails, refused

ENTROPY = 0.5 * math.log(2 * math.pi * math.e)
CHAINS = {
    "linear": DiscreteVP(linear_betas(12, 1e-3, 0.6)),
    "cosine": DiscreteVP(process.cosine_betas(12)),
    "zero": DiscreteVP(process.zero_terminal_snr(linear_betas(12, 1e-3, 0.6))),
}
each = pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
STD = 0.6
DATA = Gaussian(torch.tensor([0.0]).double(), torch.tensor([[STD**2]]).double())


def steps(chain: DiscreteVP) -> torch.Tensor:
    return torch.arange(1, chain.steps + 1, dtype=torch.float64) / chain.steps


def test_the_weights_of_a_chain_that_ends_in_pure_noise():
    """snr falls by abar_{T-1} in the last step: T L_{T-1} has that weight, and its limit too."""
    chain = CHAINS["zero"]
    pure, before = chain(torch.tensor(1.0)), float(chain.abar[-2])
    assert float(pure.alpha) == 0
    assert float(VLB(chain)(pure)) == pytest.approx(before / (1 - before) / 2)
    # -dsnr/dt at abar = 0, where abar falls by `before` in 1/T; 1e-9 from the end
    assert float(Likelihood(chain)(pure)) == pytest.approx(chain.steps * before / 2, rel=1e-6)
    for schedule in (Flow(), Cosine()):
        assert abs(float(Likelihood(schedule)(schedule(torch.tensor(1.0))))) < 1e-8


def kl_of_step(chain: DiscreteVP, k: int, variance: str) -> float:
    """E KL(q(x_{k-1} | x_k, x0) || p(x_{k-1} | x_k)) on N(0, STD^2), p with the exact D: from the
    chain's own kernels by Gaussian conditioning, with no formula of ours."""
    beta = float(chain.betas[k - 1])
    before = float((1 - chain.betas[: k - 1]).prod())
    prior, keep = 1 - before, math.sqrt(1 - beta)
    gain = prior * keep / (keep**2 * prior + beta)  # of x_{k-1} on x_k, given x0
    small = prior - gain * keep * prior
    slope = math.sqrt(before) * (1 - gain * keep)  # of the posterior's mean on x0
    alpha2, sigma2 = before * (1 - beta), 1 - before * (1 - beta)
    remaining = STD**2 * sigma2 / (alpha2 * STD**2 + sigma2)  # E Var(x0 | x_k)
    s2 = small if variance == "small" else beta
    return 0.5 * (math.log(s2 / small) + (small + slope**2 * remaining) / s2 - 1)


@each
@pytest.mark.parametrize("variance", ["small", "large"])
def test_the_vlb_weight_is_each_term_of_the_bound(chain, variance: Literal["small", "large"]):
    objective = Objective(chain, weight=VLB(chain, variance))
    for k in range(2, chain.steps + 1):
        found = float(at(k / chain.steps, std=STD)(objective, DATA.denoise))
        abar = (1 - chain.betas).cumprod(0)
        ratio = float((1 - abar[k - 1]) / (1 - abar[k - 2]))
        extra = 0.5 * (math.log(ratio) + 1 / ratio - 1) if variance == "large" else 0
        assert found + extra == pytest.approx(kl_of_step(chain, k, variance), rel=1e-9)


@each
def test_the_vlb_weight_by_its_papers_formula(chain):
    """beta^2 / (2 s^2 (1-beta)(1-abar)) on the error of eps, as published."""
    beta, abar = chain.betas, chain.abar
    before = torch.cat([torch.ones(1).double(), abar[:-1]])
    small = beta * (1 - before) / (1 - abar)
    small[0] = small[1]
    level, known = chain(steps(chain)), abar > 0  # at pure noise eps says nothing
    for weight, s2 in ((VLB(chain), small), (VLB(chain, "large"), beta)):
        truth = beta**2 / (2 * s2 * (1 - beta) * (1 - abar)) * snr(level)
        assert torch.allclose(weight(level)[known], truth[known], rtol=1e-9)


def check_discrete_bound(chain, denoise) -> None:
    """The sum over the chain, with the end terms, is the entropy: on N(0, 1) data beta is the true
    reverse variance, so the bound has no gap. Nats a sample."""
    weight, beta = VLB(chain, "large"), chain.betas
    total = 0.0
    for k in range(1, chain.steps + 1):
        total += float(at(k / chain.steps)(Objective(chain, weight=weight), denoise))
    first, after = (chain(steps(chain)[1:] - back) for back in (1 / chain.steps, 0))
    share = first.sigma**2 / after.sigma**2
    total += float((0.5 * (share - 1 - share.log())).sum())  # what the variances cost
    total += 0.5 * math.log(2 * math.pi * float(beta[0]))  # the decoder's normaliser
    last = chain(torch.tensor(1.0).double())
    total += -0.5 * math.log(float(last.sigma) ** 2)  # the prior: alpha^2 + sigma^2 = 1
    assert (total, total) == (pytest.approx(ENTROPY, abs=1e-9), pytest.approx(1.4189, abs=1e-4))


@each
def test_the_bound_of_the_chain_is_the_entropy(chain):
    check_discrete_bound(chain, UNIT.denoise)


def test_a_planted_model_has_a_gap():
    with pytest.raises(AssertionError):
        check_discrete_bound(CHAINS["linear"], lambda x, level, cond: 0.9 * UNIT.denoise(x, level))


class ShareOf(torch.nn.Module):
    """The exact D with a fixed share of the log-variance for each step."""

    def __init__(self, chain: DiscreteVP, truth: Gaussian, share: torch.Tensor) -> None:
        super().__init__()
        self.chain, self.truth, self.share = chain, truth, share

    def forward(self, x, level, cond=None, moments=False):
        k = (self.chain.inverse(level.logsnr) * self.chain.steps).round().long()
        return self.truth.denoise(x, level), self.share[k - 1][:, None] + 0 * x


def bound_of_hybrid(chain, model) -> torch.Tensor:
    """The whole bound from the hybrid's own part."""
    hybrid = Hybrid(chain)
    terms = [at(float(t))(hybrid, model, "vlb") / chain.steps for t in steps(chain)]
    last = chain(torch.tensor(1.0).double()).sigma
    return torch.stack(terms).sum() - last.log()


@each
def test_the_hybrids_bound_is_the_entropy_at_beta(chain):
    ones = torch.ones(chain.steps, dtype=torch.float64)
    right, wrong = (
        float(bound_of_hybrid(chain, ShareOf(chain, UNIT, v))) for v in (ones, 0 * ones)
    )
    assert right == pytest.approx(ENTROPY, abs=1e-9)
    assert wrong > ENTROPY + 1e-3


def learned_shares(chain, truth, std, first=1) -> torch.Tensor:
    """The shares that the hybrid loss itself is least at, for the steps from `first`."""
    share = torch.full((chain.steps,), 0.5, dtype=torch.float64, requires_grad=True)
    hybrid, model = Hybrid(chain, lam=1.0), ShareOf(chain, truth, share)
    expectation = Expectation(steps(chain)[first - 1 :], std=std, order=2)
    optimiser = torch.optim.LBFGS([share], max_iter=80, tolerance_grad=1e-12, tolerance_change=0)

    def closure():
        optimiser.zero_grad()
        loss = expectation(hybrid, model)
        loss.backward()
        return loss

    optimiser.step(closure)
    return share.detach()[first - 1 :]


def test_the_learned_variance_is_right_where_each_fixed_one_is_wrong():
    """beta for N(0, 1) data, the posterior's for a point mass: the optimum of the hybrid loss."""
    chain = CHAINS["linear"]
    point = Gaussian(torch.zeros(1).double(), torch.zeros(1, 1).double())
    ones = torch.ones(chain.steps, dtype=torch.float64)
    broad = learned_shares(chain, UNIT, 1.0)
    assert torch.allclose(broad, ones, atol=1e-4)
    assert not torch.allclose(broad, 0 * ones, atol=1e-4)
    # at k = 1 the density of one point grows without limit as the decoder narrows
    assert torch.allclose(learned_shares(chain, point, 0.0, first=2), 0 * ones[1:], atol=1e-4)


def test_the_bound_teaches_the_variance_only():
    """L_vlb does not move D, and L_simple does not move the share."""
    chain = CHAINS["linear"]
    d, v = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.5, 0.3))

    def model(x, level, cond=None, moments=False):
        return d * x, v + 0 * x

    def gradients(lam):
        x0 = torch.randn(50, 3, dtype=torch.float64, generator=rng())
        hybrid = Hybrid(chain, lam=lam)
        loss = hybrid(model, x0, None, rng(1)).per_sample.mean()
        return torch.autograd.grad(loss, (d, v))

    (d1, v1), (d2, v2) = gradients(1.0), gradients(2.0)
    assert torch.equal(d1, d2)
    assert float(v2) == pytest.approx(2 * float(v1))
    assert float(v1.abs()) > 0


# --- continuous time ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schedule",
    [VP(), SubVP(), VE(), EDM(), Cosine(), Flow(), Learned()],
    ids=lambda s: type(s).__name__,
)
def test_the_likelihood_weight_is_half_g2_on_the_score(schedule):
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    (a, s), _, _, g2 = process.rates(schedule, t)
    found = Likelihood(schedule)(Level(a, s))
    assert torch.allclose(found, g2 / 2 * a**2 / s**4, rtol=1e-6)
    assert Likelihood(schedule)(schedule(torch.tensor([1e-5, 1.0]))).isfinite().all()


def test_the_likelihood_weight_is_the_limit_of_the_chain():
    """T times VLB on a chain of T steps, as T grows: the gap falls like 1/T."""
    gaps = []
    for T in (100, 400):
        chain = DiscreteVP(linear_betas(T, 10 / T / 100, 10 / T))
        level = chain(torch.tensor([0.3, 0.7]).double())
        gaps.append((T * VLB(chain)(level) / Likelihood(chain)(level) - 1).abs().max())
    assert float(gaps[0]) < 0.1
    assert float(gaps[0] / gaps[1]) == pytest.approx(4, rel=0.1)


def bend(schedule: Learned, seed: int = 0) -> Learned:
    """The same ends, another interior."""
    draws = rng(seed)
    with torch.no_grad():
        for weight in schedule.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=draws)
    return schedule


def check_interior_does_not_matter(objective_of) -> None:
    """The bound of a wrong model too is the same on every curve with the same ends; and for the
    right one it is 1/2 integral of alpha^2 dgamma."""

    def wrong(x, level, cond=None):
        return 0.8 * UNIT.denoise(x, level) + 0.05 * x

    for denoise in (UNIT.denoise, wrong):
        values = [
            float(over_times(200, order=2)(objective_of(schedule), denoise).detach())
            for schedule in (Learned(), bend(Learned(), 1), bend(Learned(), 2))
        ]
        assert values[1] == pytest.approx(values[0], rel=1e-6)
        assert values[2] == pytest.approx(values[0], rel=1e-6)
        if denoise is not wrong:
            softplus = torch.nn.functional.softplus(torch.tensor([13.3, -5.0]).double())
            assert values[0] == pytest.approx(float(softplus[0] - softplus[1]) / 2, rel=1e-6)


@pytest.mark.parametrize("of", [Variational, lambda s: Objective(s, weight=Likelihood(s))])
def test_the_bound_does_not_depend_on_the_schedules_interior(of):
    check_interior_does_not_matter(of)


def test_a_planted_slope():
    """Without gamma' it is the eps loss, and depends on the curve."""
    fails("", check_interior_does_not_matter, lambda s: Objective(s, weight=snr))


def test_the_continuous_bound_is_the_entropy():
    """Of N(0, 1) data with the perfect model, to the width of the decoder: exp(-13.3)."""
    expectation, objective = over_times(200, order=2), Variational(Learned())
    names = ("diffusion", "prior", "reconstruction")
    parts = [float(expectation(objective, UNIT.denoise, name)) for name in names]
    assert sum(parts) == pytest.approx(ENTROPY, abs=1e-5)
    last = Learned()(torch.tensor(1.0).double())
    assert parts[1] == pytest.approx(-math.log(float(last.sigma.detach())), rel=1e-9)
    assert parts[2] == pytest.approx(ENTROPY - 13.3 / 2, rel=1e-9)


# --- the other weights ----------------------------------------------------------------------------


OTHERS = (objectives.unit, objectives.MinSNR(), objectives.EDMWeight())


def test_weights_by_hand():
    level = VP()(torch.linspace(0.01, 1, 50, dtype=torch.float64))
    ratio, logsnr = level.alpha**2 / level.sigma**2, level.logsnr
    assert torch.allclose(objectives.truncated_snr(level), ratio.clamp(min=1))
    assert torch.allclose(Sigmoid(-1.5)(level), ratio * torch.sigmoid(-1.5 - logsnr), rtol=1e-9)
    assert torch.allclose(P2(1.0, 1.0)(level), ratio / (1 + ratio))
    assert torch.allclose(P2(2.0, 0.5)(level), ratio / (2 + ratio).sqrt())
    assert torch.allclose(P2(1.0, 0.0)(level), snr(level))


@pytest.mark.parametrize("weight", [objectives.truncated_snr, Sigmoid(), P2(), snr, *OTHERS])
def test_weights_are_finite_and_follow_the_level(weight):
    level = Flow()(torch.tensor([0.2, 1.0]))
    assert weight(level).isfinite().all()
    assert (weight(level).dtype, weight(level.at(0)).shape) == (torch.float64, ())


@pytest.mark.parametrize(
    "bad, says",
    [
        (lambda: P2(k=0.0), "k is 0"),
        (lambda: P2(gamma=-1.0), "gamma"),
        (lambda: VLB(VP()), "VP has none"),  # type: ignore[arg-type] the point
        (lambda: VLB(CHAINS["linear"], "medium"), "medium"),  # type: ignore[arg-type] the point
        (lambda: Hybrid(VP()), "VP has none"),  # type: ignore[arg-type] the point
        (lambda: Hybrid(CHAINS["linear"], lam=0.0), "lam is 0"),
        (lambda: Variational(VP()), "VP is fixed"),  # type: ignore[arg-type] the point
    ],
)
def test_what_does_not_fit_is_refused(bad, says):
    refused(says, bad)
