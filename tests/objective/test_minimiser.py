"""Every objective, in every view: what it is least at, and that all views ask for the same."""

import math

import pytest
import torch
from torch import nn

from scorefield import objective as objectives
from scorefield.base import Level, like
from scorefield.denoise import Denoiser, Gaussian, convert, views
from scorefield.objective import P2, VLB, EDMWeight, Fixed, Geometric, Hybrid, Objective, Sliced
from scorefield.process import EDM, VE, VP, Cosine, DiscreteVP, Flow, Learned, SubVP
from tests.objective.quadrature import at, rng
from tests.refusal import fails

CHAIN = DiscreteVP()
WEIGHTS = {
    "unit": objectives.unit, "snr": objectives.snr, "truncated": objectives.truncated_snr,
    "min-snr": objectives.MinSNR(2.0), "edm": EDMWeight(0.7), "sigmoid": objectives.Sigmoid(-1.0),
    "p2": P2(), "likelihood": objectives.Likelihood(CHAIN), "vlb": VLB(CHAIN),
    "vlb large": VLB(CHAIN, "large"),
}  # fmt: skip
OBJECTIVES = {
    **{name: Objective(CHAIN, weight=weight) for name, weight in WEIGHTS.items()},
    "sliced": Sliced(CHAIN),
    "hybrid": Hybrid(CHAIN),
    "variational": objectives.Variational(Learned()),
}
SCHEDULES = [VP(), SubVP(), VE(), EDM(), Cosine(), Flow(), CHAIN, Learned()]
MEAN, STD = 0.4, 0.6
TRUTH = Gaussian(torch.tensor([MEAN]).double(), torch.tensor([[STD**2]]).double())


class Line(nn.Module):
    """F = p x + q, and a variance if asked for one: the family that holds the answer."""

    def __init__(self, p, q, variance=False):
        super().__init__()
        self.p, self.q, self.variance = p, q, variance

    def forward(self, x, noise, cond):
        out = self.p * x + self.q
        return torch.cat([out, 0 * out], 1) if self.variance else out


def learned_line(objective, view, t) -> Denoiser:
    """The denoiser at the minimum of the exact expectation: it is a parabola in (p, q), so one
    Newton step from anywhere ends there."""
    expectation, hybrid = at(t, mean=MEAN, std=STD), isinstance(objective, Hybrid)

    def model(w):
        return Denoiser(Line(w[0], w[1], hybrid), view, 0.7, variance=hybrid)

    def loss(w):
        return expectation(objective, model(w))

    w = torch.tensor([0.3, -0.2], dtype=torch.float64)
    gradient = torch.autograd.functional.jacobian(loss, w)
    hessian = torch.autograd.functional.hessian(loss, w)
    assert (torch.linalg.eigvalsh(hessian) > 0).all()
    return model(w - torch.linalg.solve(hessian, gradient))


def check_closed_form(objective, view, t) -> None:
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    level = Level(*(leaf.detach() for leaf in objective.schedule(torch.tensor(t).double())))
    found = learned_line(objective, view, t)(x, level)
    # the Hessian's condition is up to 1e6 (the score view near data), its digits 1e-16
    assert torch.allclose(found, TRUTH.denoise(x, level), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("view", views)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_minimiser_on_gaussian_data_is_the_posterior_mean(name, view):
    check_closed_form(OBJECTIVES[name], view, 0.25)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("kind", [Objective, Sliced])
def test_on_every_schedule(kind, schedule):
    for t in (0.1, 0.8):
        check_closed_form(kind(schedule), "v", t)


class Halved(Sliced):
    """The trace half as large: the planted defect of a sliced loss."""

    def loss(self, denoiser, x0, cond, chance):
        return super().loss(denoiser, x0, cond, chance._replace(probe=chance.probe * 0.5**0.5))


class Noiseless(Objective):
    """x without its share of the signal: the planted defect of a regression."""

    def loss(self, denoiser, x0, cond, chance):
        return super().loss(lambda x, level, c: denoiser(x + x0, level, c), x0, cond, chance)


@pytest.mark.parametrize("kind", [Halved, Noiseless])
def test_planted_objectives(kind):
    fails("", check_closed_form, kind(CHAIN), "v", 0.25)


# --- score matching at one sigma and at many ------------------------------------------------------


@pytest.mark.parametrize("view", views)
def test_the_score_at_one_sigma(view):
    """N(0, 1) data and sigma = 1/2: the score at x = 1 is -1/(1 + 1/4) = -.8."""
    law, t = Fixed(0.5), 0.5 / 80
    assert float(law(EDM(), 3, torch.Generator())[0]) == pytest.approx(t)
    expectation = at(t)

    def loss(w):
        return expectation(Objective(EDM(), law), Denoiser(Line(w[0], w[1]), view))

    w = torch.zeros(2, dtype=torch.float64)
    step = torch.linalg.solve(
        torch.autograd.functional.hessian(loss, w), torch.autograd.functional.jacobian(loss, w)
    )
    x, level = torch.ones(1, 1).double(), Level.of(1.0, 0.5)
    model = Denoiser(Line(*(w - step)), view)
    assert float(convert.score(x, model(x, level), level)) == pytest.approx(-0.8, abs=1e-9)


def test_the_eps_loss_of_the_perfect_model_is_a_half():
    """N(0, 1) data, sigma = alpha = 1: Var(eps | x) = 1/2, exactly, and 1 for a blind model."""
    for objective in (Objective(EDM()), Sliced(EDM())):
        for gain, truth in ((0.5, 0.5), (0.0, 1.0)):
            found = at(1 / 80)(objective, lambda x, level, cond, g=gain: g * x).detach()
            assert float(found) == pytest.approx(truth, abs=1e-12)


# --- one function, every view ---------------------------------------------------------------------


class AsView(nn.Module):
    """A network in a view whose denoiser is `(a + b x) tanh`, whatever the view, on levels with
    alpha^2 + sigma^2 = 1, which the noise input alone tells."""

    def __init__(self, view, a, b, told=None):
        super().__init__()
        self.view, self.told, self.a, self.b = view, told or view, a, b

    def forward(self, x, noise, cond):
        level = Level(torch.sigmoid(-2 * noise).sqrt(), torch.sigmoid(2 * noise).sqrt())
        c_in = 1 / (level.alpha**2 * 0.49 + level.sigma**2).sqrt()
        x = x / like(c_in, x)
        c_skip, c_out = views[self.told](level, 0.7)
        return (torch.tanh(self.a + self.b * x) - like(c_skip, x) * x) / like(c_out, x)


def gradients(view, objective, told=None):
    a, b = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.1, 0.8))
    model = Denoiser(AsView(view, a, b, told), view, 0.7)
    x0 = torch.randn(64, 3, dtype=torch.float64, generator=rng())
    loss = objective(model, x0, None, rng(1)).per_sample.mean()
    return torch.stack([loss.detach(), *torch.autograd.grad(loss, (a, b))])


def check_equal_views(view, objective, told=None) -> None:
    same = gradients("x0", objective)
    # rounding of eps ~ 1e-16 grows with (sigma/alpha)^2 <= 5e3 in the views that divide by alpha
    assert torch.allclose(gradients(view, objective, told), same, rtol=1e-8)


@pytest.mark.parametrize("view", views)
@pytest.mark.parametrize("name", [n for n in OBJECTIVES if n not in ("hybrid", "variational")])
def test_gradients_agree_in_every_view(name, view):
    """The objective is of D: one D in two views has one loss and one gradient."""
    check_equal_views(view, OBJECTIVES[name])


def test_a_planted_view():
    fails("", check_equal_views, "v", Objective(CHAIN), told="flow")


def test_the_error_of_a_view_is_a_weight():
    """(F - F_target)^2 of each view is the x0 error times 1/c_out^2: losses and gradients."""
    x0 = torch.randn(32, 2, dtype=torch.float64, generator=rng())
    for view in views:
        a, b = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.1, 0.8))
        model = Denoiser(AsView(view, a, b), view, 0.7)

        def weight(level, view=view):
            return views[view](level, 0.7)[1] ** -2

        objective = Objective(VP(), weight=weight)
        chance = objective.draw(tuple(x0.shape), rng(1))
        ours = objective.loss(model, x0, None, chance).per_sample.mean()
        level = VP()(chance.t)
        alpha, sigma = level.like(x0)
        x = alpha * x0 + sigma * chance.eps.to(x0)
        c_in = 1 / (level.alpha**2 * 0.49 + level.sigma**2).sqrt()
        output = model.net(like(c_in, x) * x, level.ratio.log(), None)
        theirs = (output - model.target(x, x0, level)).square().mean()
        assert torch.allclose(ours, theirs, rtol=1e-8)
        pair = [torch.stack(torch.autograd.grad(loss, (a, b))) for loss in (ours, theirs)]
        assert torch.allclose(*pair, rtol=1e-8)


def test_many_sigmas_are_visited_equally():
    law = Geometric(0.1, 10.0, 5)
    t = law(VP(), 50_000, rng())
    ratio, count = VP()(t).ratio.log10().mul(1e6).round().div(1e6).unique(return_counts=True)
    assert torch.allclose(ratio, torch.linspace(-1, 1, 5).double(), atol=1e-5)
    assert (count - 10_000).abs().max() < 5 * math.sqrt(50_000 * 0.2 * 0.8)
    assert isinstance(Objective(VP(), law).times, Geometric)
    assert not isinstance(law, objectives.Uniform)
