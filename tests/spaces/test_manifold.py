"""Steps, noise, exact scores and likelihoods on circles, tori, spheres and rotations."""

import math

import pytest
import torch

from scorefield.base import Level, Seeded
from scorefield.draw import Asked, Plan, draw
from scorefield.likelihood.spaced import geodesic_log_prob
from scorefield.objective.spaced import GeodesicMatching, KernelScore
from scorefield.process import VE, Flow, grids
from scorefield.solve.geodesic import GeodesicFlow, GeodesicWalk
from scorefield.spaces import KernelMixture, Rotations, Sphere, Torus
from tests.refusal import fails, refused

SPACES = [Sphere(1), Sphere(2), Sphere(4), Torus(3), Rotations()]
D = torch.float64


def normal(n, space, seed=0):
    return torch.randn(n, space.ambient, dtype=D, generator=torch.Generator().manual_seed(seed))


def pair(n, space):
    return space.start(normal(n, space)), space.start(normal(n, space, 1))


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_exp_undoes_log_and_stays(space):
    x, y = pair(500, space)
    v = space.log(x, y)
    torch.testing.assert_close(space.exp(x, v), y, atol=1e-10, rtol=0)
    torch.testing.assert_close(space.tangent(x, v), v, atol=1e-10, rtol=0)
    torch.testing.assert_close(space.project(y), y, atol=1e-10, rtol=0)


def test_log_of_half_turns_and_of_none():
    eye = torch.eye(3, dtype=D).flatten()[None]
    for axis in torch.eye(3, dtype=D):
        turned = (2 * axis[:, None] * axis - torch.eye(3)).flatten()[None]
        v = Rotations().log(eye, turned)
        assert float(Rotations().norm(v)) == pytest.approx(math.pi)
        torch.testing.assert_close(Rotations().exp(eye, v), turned, atol=1e-12, rtol=0)
    assert not Rotations().log(eye, eye).any()


CLOCK = {Sphere: lambda s, t: math.exp(-s.dim * t / 2), Rotations: lambda s, t: 3 * math.exp(-t),
         Torus: lambda s, t: s.dim * math.exp(-t / 2)}  # fmt: skip


@pytest.mark.parametrize("space", SPACES[1:], ids=str)
@pytest.mark.parametrize("t", [0.001, 0.3, 2.0])
def test_noise_keeps_the_clock(space, t):
    x, _ = pair(10_000, space)
    there = space.diffuse(x, torch.full((len(x),), t, dtype=D), normal(len(x), space, 2))
    seen = (x * there).sum(1)
    error = float(seen.std()) / math.sqrt(len(x))
    assert abs(float(seen.mean()) - CLOCK[type(space)](space, t)) < 4 * error + 1e-4


def check_haar(start):
    x = start(normal(40_000, Rotations()))
    trace = x[:, ::4].sum(1)
    assert abs(float(trace.mean())) < 0.02
    assert abs(float(trace.square().mean()) - 1) < 0.03
    angle = ((trace - 1) / 2).clamp(-1, 1).acos().mean()
    assert abs(float(angle) - (math.pi / 2 + 2 / math.pi)) < 0.02


def test_the_start_of_rotations_is_haar():
    check_haar(Rotations().start)


def test_a_planted_start():
    """A uniform axis and a uniform angle."""

    def start(eps):
        axis = torch.nn.functional.normalize(eps[:, :3], dim=1)
        w = math.pi * torch.special.ndtr(eps[:, 3:4]) * axis
        eye = torch.eye(3, dtype=D).flatten().expand(len(eps), 9)
        return Rotations().exp(eye, Rotations.hat(w).flatten(1))

    fails("", check_haar, start)


def walked(steps, move, n=4000):
    """E cos after Brownian motion to t = 1 on S^2 in so many steps."""
    x, noise = torch.tensor([[0.0, 0, 1]]).to(D).expand(n, 3), Seeded(range(n))
    for k in range(steps):
        z = noise(x, Level.of(1.0, float(k)), Level.of(1.0, float(k + 1)))
        x = move(x, Sphere(2).tangent(x, z) / math.sqrt(steps))
    return float(x[:, 2].mean())


def test_a_geodesic_walk_is_brownian_and_a_retraction_is_not_yet():
    assert walked(16, Sphere(2).exp) == pytest.approx(0.3640, abs=0.02)
    assert walked(16, lambda x, v: Sphere(2).project(x + v)) == pytest.approx(0.415, abs=0.02)


def mixture(space, k=3):
    centres = space.start(normal(k, space, 5))
    return KernelMixture(
        space, centres, torch.tensor([0.1, 0.4, 0.2]), torch.tensor([0.5, 0.3, 0.2])
    )


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_scores_of_mixtures_are_gradients(space):
    data, (x, _), t, h = mixture(space), pair(200, space), torch.tensor(0.1), 1e-5
    v = space.noise(x, normal(len(x), space, 3))
    ahead, behind = (data.both(space.exp(x, s * h * v), t)[0] for s in (1, -1))
    metric = 2 if space == Rotations() else 1
    found = (data.both(x, t)[1] * v).sum(1) / metric
    torch.testing.assert_close((ahead - behind) / (2 * h), found, atol=1e-6, rtol=1e-6)


def harmonics(x):
    return torch.cat([x.mean(0), (x.T @ x / len(x)).flatten()])


def test_reverse_walks_reach_a_mixture_of_four_kernels():
    """10,000 samples in 200 steps take 5 s; here 4,000."""
    s = Sphere(2)
    centres = s.project(torch.tensor([[0, 0, 1.0], [1, 0, 0], [0, 1, 0.3], [-1, -0.5, -0.8]]))
    w, t = torch.tensor([0.4, 0.3, 0.2, 0.1]), torch.tensor([0.1, 0.2, 0.05, 0.3])
    data = KernelMixture(s, centres, t, w)
    first = (w * (-t).exp()) @ centres
    outer = torch.einsum("ki,kj->kij", centres, centres) - torch.eye(3) / 3
    second = ((w * (-3 * t).exp())[:, None, None] * outer).sum(0) + torch.eye(3) / 3
    truth = torch.cat([first, second.flatten()])
    levels = grids.karras(VE(0.02, 2.5), 200, rho=1.0)
    plan, asked = Plan(GeodesicWalk(space=s), levels), Asked(torch.arange(4000))
    found = draw(data.pull, plan, asked, (3,), batch=4000).x
    assert float((harmonics(found) - truth).abs().max()) < 0.02
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4000), atol=1e-5, rtol=0)


@pytest.mark.parametrize("space, widest", [(Sphere(2), 3.0), (Torus(2), 4.5)])
def test_the_flow_knows_the_density(space, widest):
    """With exact scores: of data with the noise of the cleanest level."""
    data, x = mixture(space), pair(12, space)[0]
    sigma = torch.logspace(math.log10(widest), math.log10(0.05), 31, dtype=D)
    found = geodesic_log_prob(data.pull, space, x, Level(torch.ones_like(sigma), sigma))
    wanted = data.both(x, torch.tensor(0.05**2))[0]
    torch.testing.assert_close(found, wanted, atol=5e-3, rtol=0)
    assert abs(float((found + space.log_volume).mean())) > 0.1  # it is not uniform
    refused("spheres and tori", geodesic_log_prob, data.pull, Rotations(), x, Level(sigma, sigma))


def test_the_regressions_are_least_for_the_exact_pull():
    """Of a kernel about one point: the pull of score matching is t score, that of matching by
    geodesics is certain for a point."""
    s = Torus(2)
    x0 = s.start(normal(2000, s)).float()[:1].expand(2000, 4)
    near = KernelMixture(s, x0[:1].to(D), torch.zeros(1))

    def told(objective, pull, share):
        def denoise(x, level, cond=None):
            return share * pull(x, level, cond)

        vars(denoise)["space"] = s
        chance = objective.draw(tuple(x0.shape), torch.Generator().manual_seed(0))
        return float(objective.loss(denoise, x0, None, chance).per_sample.mean())

    def geodesic(x, level, cond):
        return s.log(x, x0)

    for pair in ((KernelScore(VE(0.02, 2.5)), near.pull), (GeodesicMatching(Flow()), geodesic)):
        assert told(*pair, 1.0) < 1e-5 < told(*pair, 0.9)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_points_off_the_manifold_are_refused(space):
    x = pair(5, space)[0]
    assert space.check(x * (1 + 2e-5), "x").shape == x.shape
    x[3] *= 1 + 2e-4
    refused("point 3 of x lies", space.check, x, "x")
    refused("has shape", space.check, x[:, 1:], "x")


def test_a_flow_by_geodesics_ends_at_its_point():
    s, x0 = Sphere(2), torch.tensor([[0.0, 0.6, 0.8]])
    plan = Plan(GeodesicFlow(space=s), grids.uniform_t(Flow(), 3))
    found = draw(
        lambda x, level, cond: s.log(x, x0.expand_as(x)), plan, Asked(torch.arange(5)), (3,)
    )
    torch.testing.assert_close(found.x, x0.expand(5, 3), atol=1e-5, rtol=0)
