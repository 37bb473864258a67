"""Autoencoder and prior together: the cross entropy, the start, and what each turn moves."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from scorefield.denoise import Denoiser, Gaussian
from scorefield.latent import LSGM, VAE, LatentModel, cross_entropy, joint_bound
from scorefield.latent.lsgm import JointDraws, mismatch
from scorefield.nets import MLP, MLPAutoencoder
from scorefield.objective import Batch, Objective, unit
from scorefield.process import EDM, VE, VP, Cosine, DiscreteVP, Flow, linear_betas
from scorefield.store import read_tensors
from scorefield.train import Training, learn
from tests.latent.linear import best, examples, loglik
from tests.latent.test_vae import data_of, loss_of
from tests.refusal import fails, refused

CELLS = 20_000
NODES = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)


def normal(mean: float, variance: float) -> Gaussian:
    return Gaussian(
        torch.tensor([mean], dtype=torch.float64), torch.tensor([[variance]], dtype=torch.float64)
    )


def evenly(cells: int) -> Tensor:
    return (torch.arange(cells, dtype=torch.float64) + 0.5) / cells


def found(entropy, q: tuple[float, float], p: Gaussian, schedule: Any) -> float:
    """The mean over z ~ N(*q), noise and u, by nodes that are exact for squares."""
    u = evenly(CELLS).repeat_interleave(4)
    nodes = NODES.repeat(CELLS, 1)
    z = q[0] + math.sqrt(q[1]) * nodes[:, :1]
    return float(entropy(p.denoise, z, schedule, u, nodes[:, 1:])[0].mean())


def without_mismatch(denoise, z, schedule, u, noise):
    """As in the paper: the last term left out."""
    value, at = cross_entropy(denoise, z, schedule, u, noise)
    last = schedule(torch.ones((), dtype=torch.float64))
    return value - (
        last.alpha**2 * z[:, 0] ** 2 - last.alpha**2 - torch.log1p(-(last.alpha**2))
    ) / 2, at


PAPER = [
    ((0.0, 1.0), (0.0, 1.0), {1e-5: 1.418917}),
    ((0.5, 0.2), (0.0, 1.0), {1e-5: 1.143929, 1e-3: 1.143959, 1e-2: 1.144477}),
    ((0.5, 0.2), (0.3, 0.6), {1e-5: 0.863521, 1e-3: 0.863612, 1e-2: 0.865180}),
]


def paper_law(entropy) -> None:
    """The published formula's values, by quadrature (truths 3)."""
    for q, p, values in PAPER:
        for floor, value in values.items():
            assert abs(found(entropy, q, normal(*p), VP(floor=floor)) - value) < 2e-6


def truth(q: tuple[float, float], p: tuple[float, float]) -> float:
    return (math.log(2 * math.pi * p[1]) + (q[1] + (q[0] - p[0]) ** 2) / p[1]) / 2


def test_the_values_of_the_paper():
    paper_law(without_mismatch)


@pytest.mark.parametrize(
    "schedule", [VP(floor=1e-5), VE(1e-4, 50.0), EDM(), Flow(floor=1e-4), Cosine(floor=1e-4)]
)
def test_with_the_mismatch_of_the_prior_it_is_the_cross_entropy(schedule):
    """On any schedule, to what a floor costs; of a prior that is N(0, n^2) at t = 1."""
    for q, p, _ in PAPER:
        wide = schedule(torch.ones((), dtype=torch.float64))
        own = float(wide.alpha**2 * p[1] + wide.sigma**2), float(wide.alpha * p[0])
        end = float(wide.alpha**2 + wide.sigma**2)
        value = found(cross_entropy, q, normal(*p), schedule)
        slack = 2e-4 + abs(math.log(own[0] / end)) + own[1] ** 2 / end
        assert abs(value - truth(q, p)) < slack


class Plain:
    """Two planted defects of the formula."""

    @staticmethod
    def dropped(denoise, z, schedule, u, noise):
        """The constant's sigma_0^2 is left out."""
        value, at = without_mismatch(denoise, z, schedule, u, noise)
        first = schedule(torch.tensor(schedule.floor, dtype=torch.float64))
        return value - first.sigma.log() * z[0].numel(), at

    @staticmethod
    def marginal(denoise, z, schedule, u, noise, q=(0.5, 0.2)):
        """The score of q(z_t) in place of that of q(z_t | z): the Fisher form."""
        ends = schedule(torch.tensor([schedule.floor, 1.0], dtype=torch.float64)).logsnr
        level = schedule(schedule.inverse(torch.lerp(ends[1], ends[0], u)))
        alpha, sigma = level.like(z)
        z_t = alpha * z + sigma * noise
        own = normal(*q).denoise(z_t, level)
        apart = alpha / sigma * (own - denoise(z_t, level, None))
        return (ends[0] - ends[1]) / 2 * apart[:, 0] ** 2, level.logsnr


def test_twins_of_the_constant_and_of_the_marginal_score_fail():
    fails("", paper_law, Plain.dropped)
    fails("", paper_law, Plain.marginal)
    schedule = VP(floor=1e-5)
    shift = found(Plain.dropped, (0.5, 0.2), normal(0, 1), schedule) - 1.143929
    assert abs(shift - 6.91) < 0.005
    kl = found(Plain.marginal, (0.5, 0.2), normal(0, 1), schedule)
    own = 0.5 * math.log(2 * math.pi * math.e * 0.2)
    assert abs(kl - (truth((0.5, 0.2), (0.0, 1.0)) - own)) < 2e-3


def test_levels_even_in_logsnr_vary_least():
    """Uniform t with its weight has the same mean and many times the variance."""
    n, schedule, p = 400_000, VP(floor=1e-3), normal(0.3, 0.6)
    rng = torch.Generator().manual_seed(0)
    draws = torch.randn(n, 2, generator=rng, dtype=torch.float64)
    z, u = 0.5 + math.sqrt(0.2) * draws[:, :1], torch.rand(n, generator=rng, dtype=torch.float64)
    importance, _ = cross_entropy(p.denoise, z, schedule, u, draws[:, 1:])
    t = schedule.floor + (1 - schedule.floor) * u
    ends = schedule(torch.tensor([schedule.floor, 1.0], dtype=torch.float64)).logsnr
    lam = schedule(t).logsnr
    share = (1 - schedule.floor) * (0.1 + 19.9 * t) / schedule(t).sigma ** 2
    back = (lam - ends[1]) / (ends[0] - ends[1])
    at_t, _ = cross_entropy(p.denoise, z, schedule, back, draws[:, 1:])
    constant = 0.5 * math.log(2 * math.pi * math.e * float(schedule(torch.tensor(1e-3)).sigma) ** 2)
    uniform = (at_t - constant) / (ends[0] - ends[1]) * share + constant
    assert abs(float(importance.mean() - uniform.mean())) < 5 * float(uniform.std()) / math.sqrt(n)
    assert float(uniform.var()) > 5 * float(importance.var())


# -- the whole


def model_of(net: Any, view: str = "v", **options: Any) -> LatentModel:
    torch.manual_seed(0)
    prior = Denoiser(
        MLP(net.latent_shape, width=16, blocks=1).double(), view, 1.0,
        schedule=VP(floor=1e-5), shape=net.latent_shape, **options,
    )  # fmt: skip
    return LatentModel(net, prior)


def task_of(net: Any, **options: Any) -> LSGM:
    model = model_of(net, **options)
    return LSGM(model, Objective(model.schedule))


def nodes(x: Tensor, cells: int) -> tuple[Batch, JointDraws]:
    """Every x with draws exact for squares of eps and noise, at even u."""
    axes = 2 * torch.eye(4, dtype=torch.float64)
    pairs = torch.cat([axes, -axes])
    rows, n = len(x), 8 * cells
    draws = pairs.repeat(cells, 1).repeat(rows, 1)
    u = evenly(cells).repeat_interleave(8).repeat(rows)
    batch = Batch(x.repeat_interleave(n, 0), None)
    return batch, JointDraws(draws[:, :2], draws[:, 2:], u, u, None)


def start_law(task: LSGM, net: Any) -> None:
    """At the start the loss and its slope in the autoencoder are those of the VAE."""
    x = examples()[:4]
    loss = task.loss(*nodes(x, 400)).per_sample.unflatten(0, (4, -1)).mean(1)
    assert (loss - loss_of(VAE(net, draws=4), x)).abs().max() < 1e-3
    slopes = []
    for value in (loss.mean(), loss_of(VAE(net, draws=4), x).mean()):
        net.zero_grad()
        value.backward()
        slopes.append(torch.cat([w.grad.flatten() for w in net.parameters()]))
    assert torch.allclose(*slopes, rtol=0, atol=2e-3)


@pytest.mark.parametrize("view", ["v", "edm"])
def test_the_initial_bound_is_that_of_the_vae(view):
    net = best(0.7)
    start_law(task_of(net, view=view), net)


class Blind(LSGM):
    """The prior is not mixed with the exact score of N(0, I)."""

    def __post_init__(self) -> None:
        pass


def test_twin_a_prior_that_is_not_mixed_fails_and_is_refused():
    net = best(0.7)
    model = model_of(net, view="eps")
    fails("", start_law, Blind(model, Objective(model.schedule)), net)
    refused("view is eps", LSGM, model, Objective(model.schedule))


def test_each_turn_moves_its_own_and_the_weight_is_the_priors_alone():
    net = best(0.7)
    task = task_of(net)
    other = replace(task, objective=Objective(task.module.schedule, weight=unit))
    batch, chance = nodes(examples()[:2], 3)
    first = task.loss(batch, chance).per_sample
    assert torch.equal(first, other.loss(batch, chance).per_sample)
    a, b = (t.prior_loss(batch, chance).per_sample for t in (task, other))
    assert not torch.allclose(a, b)
    net.zero_grad()
    a.sum().backward()
    assert all(w.grad is None or not w.grad.any() for w in net.parameters())
    assert [turn.module for turn in task.turns] == [net, task.module.prior]


def test_the_joint_bound_of_an_exact_model_is_the_likelihood():
    """Of probabilistic PCA, whose latents are N(0, I): a prior of zero is exact."""
    x, net = examples()[:16], best()
    exact = loglik(x, net.decoder[0].weight.detach(), float(net.variance.detach()))
    bound = joint_bound(model_of(net), x, draws=64, cells=16)
    assert ((bound.log_prob - exact).abs() < 5 * bound.stderr + 1e-3).all()
    assert torch.allclose(-(bound.terms[:, 0] + bound.decoder), bound.log_prob)
    alone = joint_bound(model_of(net), x[3:4], draws=64, cells=16, seeds=torch.tensor([3]))
    assert torch.allclose(alone.log_prob, bound.log_prob[3:4], rtol=0, atol=1e-9)
    points = MLPAutoencoder((5,), latent=2, regulariser="none").double()
    refused("no density", joint_bound, model_of(points), x)


def test_a_scale_changes_the_density_by_its_logarithm_alone():
    """Latents twice as wide, halved, under the same prior."""
    x, net = examples()[:8], best()
    wide = best()
    with torch.no_grad():
        wide.encoder[-1].weight[:2] *= 2
        wide.encoder[-1].bias[2:] += 2 * math.log(2)
        wide.decoder[0].weight /= 2
    model = model_of(net)
    scaled = LatentModel(wide, model.prior, 0.5)
    one, two = (joint_bound(m, x, draws=8).log_prob for m in (model, scaled))
    assert torch.allclose(one, two, rtol=0, atol=1e-9)
    unscaled = joint_bound(LatentModel(wide, model.prior), x, draws=8).log_prob
    assert (one - unscaled).mean() > 1


def test_latents_of_the_wrong_scale_leave_a_mean_at_the_last_level():
    """Stable Diffusion's schedule, with the factor .18215 forgotten: .0042 nats a dimension."""
    betas = linear_betas(1000, 0.00085**0.5, 0.012**0.5) ** 2
    last = DiscreteVP(betas)(torch.ones((), dtype=torch.float64)).alpha
    assert abs(float(last**2) - 4.7e-3) < 5e-5
    assert abs(float(mismatch(5.49, last)) - 0.0042) < 5e-5
    assert float(mismatch(1.0, last)) == 0.0
    assert float(mismatch(5.49, torch.zeros(()))) == 0.0  # zero terminal signal


def test_a_run_of_two_turns_goes_on_from_what_a_kill_left(tmp_path):
    data = data_of(examples())

    def fresh() -> LSGM:
        net = MLPAutoencoder((5,), width=8, depth=1, latent=2)
        prior = Denoiser(MLP((2,), width=16, blocks=1), "v", 1.0, schedule=VP(), shape=(2,))
        return LSGM(LatentModel(net, prior), Objective(VP()))

    def run(folder, stop: int) -> dict[str, Tensor]:
        torch.manual_seed(0)
        training = Training(images=4 * 64, batch=64, checkpoint_every=64, lr=1e-2, warmup=0)

        def watch(step):
            if step.images == stop:
                raise KeyboardInterrupt

        learn(fresh(), data, training, folder, watch=watch)
        return read_tensors(folder / "ema.safetensors")

    whole = run(tmp_path / "whole", 0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 128)
    again = run(tmp_path / "cut", 0)
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert any(name.startswith("prior.") for name in whole)
