"""What each method's fixed point is, by the methods' own steps; values of truths in closed form."""

import math
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import jvp

from scorefield import catalogue
from scorefield.base import BadInput, Level, Zero, join
from scorefield.base.noise import first_weights
from scorefield.denoise import DataSet, Denoiser
from scorefield.distill import (
    METHODS,
    Consistency,
    ConsistencyTraining,
    Matching,
    MeanFlow,
    Progressive,
    TrigFlow,
    consistency,
    flowmap,
    trigflow,
)
from scorefield.distill.progressive import HALVING
from scorefield.nets import UNet
from scorefield.nets.maps import as_map
from scorefield.objective import Batch
from scorefield.process import VP, Flow
from scorefield.solve import DDIM, DDPM, DormandPrince, Heun, Solver, sample
from scorefield.solve.transfer import transfer
from tests.distill.test_fixed_points import SPREAD, Exact, losses, mean
from tests.refusal import fails

ONE = torch.ones(1, dtype=torch.float64)


def made(cls, module, **options) -> Any:
    """A task, its module a stand-in for a denoiser."""
    return cls(module, mean, **options)


# --- MeanFlow: u = v - (t - r)(v . d/dx + d/dt) u on N(0, 1/4) -----------------------------------

POINTS = [(0.7, 0.1, 0.8, 0.42822813), (-1.3, 0.3, 0.95, -1.02985750)]


def residual(x: float, r: float, t: float, **options: bool) -> float:
    """Of the identity, as MeanFlow computes it at the exact map."""
    task, given = made(MeanFlow, Exact(), **options), torch.tensor([[x]], dtype=torch.float64)
    task.times = lambda u: (t * ONE, r * ONE)  # type: ignore[method-assign]
    chance = task.draw((1, 1), torch.Generator())._replace(eps=0 * given)
    return float(task.loss(Batch(given / (1 - t), None), chance).per_sample.detach().sqrt())


@pytest.mark.parametrize(("x", "r", "t", "u"), POINTS)
def test_the_mean_velocity_satisfies_its_identity(x, r, t, u):
    given = torch.tensor([[x]], dtype=torch.float64)
    found = made(MeanFlow, Exact()).u(given, t * ONE, r * ONE, {}).detach()
    assert float(found) == pytest.approx(u, abs=1e-7)
    assert residual(x, r, t) < 1e-7


@pytest.mark.parametrize(("normalise", "degree"), [(True, 1), (False, 2)])
def test_a_normalised_loss_grows_as_the_error(monkeypatch, normalise, degree):
    """The twin is the plain one. At the exact map both are 0."""
    assert residual(*POINTS[0][:3], normalise=normalise) < 1e-6
    found = []
    for scale in (1e3, 1e4):
        monkeypatch.setattr(flowmap, "along", lambda f, x, *way, scale=scale: x * 0 + scale)
        found.append(residual(*POINTS[0][:3], normalise=normalise) ** 2)
    assert found[1] / found[0] == pytest.approx(10**degree, rel=0.01)


def slope(velocity: bool = True, own: bool = False, sign: float = 1.0):
    right = flowmap.along

    def along(f, x, a, v, *unit):
        return sign * right(f, x, a, f(x, a).detach() if own else v * velocity, *unit)

    return along


WRONG = {
    "plus sign": (slope(sign=-1), (0.759, 0.639)),
    "no velocity": (slope(velocity=False), (0.346, 0.695)),
    "u for v": (slope(own=True), (0.162, 0.165)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_twin_wrong_forms_of_the_identity(monkeypatch, wrong):
    along, off = WRONG[wrong]
    monkeypatch.setattr(flowmap, "along", along)
    found = [residual(*point[:3]) for point in POINTS]
    assert found == pytest.approx(off, abs=2e-3)


@pytest.mark.parametrize("method", [MeanFlow, TrigFlow])
@pytest.mark.parametrize("sloped", [True, False])
def test_slopes_are_of_float32_in_a_run_of_bfloat16(monkeypatch, method, sloped):
    """The twin: in bfloat16, whose rounding a difference of two near values divides by h."""
    monkeypatch.setattr(method, "sloped", sloped)
    with first_weights(0):
        net = UNet((1, 8, 8), width=8, multipliers=(1,), blocks=1, attention=())
        for weight in net.parameters():
            nn.init.normal_(weight, std=0.2)
    batch = Batch(torch.ones(256, 1, 8, 8), None)
    found = {}
    for half in (False, True):
        module = Denoiser(as_map(net), "edm", SPREAD, schedule=Flow(), shape=(1, 8, 8))
        module.precision = "bf16" if half else "fp32"
        task = method(module, mean)
        chance = task.draw((256, 1, 8, 8), torch.Generator().manual_seed(0))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found[half] = float(task.loss(batch, chance).per_sample.detach().mean())
    assert (abs(found[True] / found[False] - 1) < 0.015) == sloped, found


# --- TrigFlow: the tangent is that of sCM, of any network ----------------------------------------


def scm(denoise, x: Tensor, a: Tensor, velocity: Tensor, s: float, wrong: str = "") -> Tensor:
    """g = -cos^2 (s F - dx/da) - (cos sin x + s dF), D = cos x - sin s F (Lu and Song 2025)."""

    def F(x, a):
        return (a.cos() * x - denoise(x, a)) / (a.sin() * s)

    sin, cos = a.sin(), a.cos()
    value, change = jvp(F, (x, a), (cos * sin * velocity, cos * sin))[:2]
    sign, rest = (-1 if wrong == "sign" else 1), (0 if wrong == "rest" else 1)
    return -(cos**2) * (s * value - sign * velocity) - (rest * cos * sin * x + s * change)


def check_scm(wrong: str = "") -> None:
    x, a = torch.tensor([0.7, -1.3]).double(), torch.tensor([0.9, 1.4]).double()
    velocity = torch.tensor([0.4, -0.2]).double()

    def denoise(x, a):
        return (x + a).sin() * a.cos()

    change = trigflow.along(denoise, x, a, velocity, torch.ones_like(a))
    assert torch.allclose(a.cos() * change, scm(denoise, x, a, velocity, 0.8, wrong), atol=1e-9)


def test_the_tangent_is_that_of_scm():
    check_scm()
    fails("", check_scm, "sign")
    fails("", check_scm, "rest")


def check_slope_near_the_top(distance: float = 3e-3) -> None:
    """Of second order up to the top, which is not passed: that of one side is off by .005 f''."""
    x, a = torch.tensor([[0.7], [-1.3]]), torch.tensor([1.5, 1.5]).double()

    def f(x, a):
        assert (a < 1.5 + distance).all()
        return (x + a.float()[:, None]).sin()

    slope = trigflow.along(f, x, a, torch.ones(2, 1), torch.ones(2), 1.5 + distance)
    assert torch.allclose(slope, 2 * (x + 1.5).cos(), atol=5e-4)


def test_a_slope_near_the_top(monkeypatch):
    check_slope_near_the_top()

    def aside(f, x, a, velocity, unit, top):
        h = 0.01 * unit
        return (f(x, a) - f(x - h[:, None] * velocity, a - h)) / h[:, None]

    monkeypatch.setattr(trigflow, "along", aside)
    fails("", check_slope_near_the_top)


# --- fixed points by number of levels: N(0, 1/4) on EDM's grid -----------------------------------


def angles(levels: int) -> Tensor:
    ends = [80 ** (1 / 7), 0.002 ** (1 / 7)]
    return torch.linspace(*ends, levels, dtype=torch.float64).pow(7).atan()  # type: ignore[misc]


def lower(task: Consistency, x: Tensor, a: Tensor, b: Tensor, x0: Tensor) -> Tensor:
    return task.lower(x, a[None], b[None], Batch(x0, None), None, ONE)


def distilled(levels: int) -> float:
    """The variance of what a student of no error makes: x followed by the task's own steps."""
    task, a = made(Consistency, Exact()), angles(levels)
    x = a[0].cos() * torch.ones(1, 1, dtype=torch.float64)
    for here, there in pairwise(a):
        x = lower(task, x, here, there, x)
    return float(x / a[-1].cos()) ** 2 * (80**2 + SPREAD**2)


def trained(levels: int) -> float:
    """The same from data: the product of the regressions of x' on x, both linear in (x0, eps)."""
    task, a, gain = ConsistencyTraining(Exact()), angles(levels), 1.0  # type: ignore[arg-type]
    one, zero = torch.ones(1, 1).double(), torch.zeros(1, 1).double()
    for here, there in pairwise(a):
        x = here.cos() * SPREAD, here.sin()
        far = [
            float(lower(task, here.cos() * x0 + here.sin() * eps, here, there, x0))
            for x0, eps in ((one, zero), (zero, one))
        ]
        gain *= float((far[0] * SPREAD * x[0] + far[1] * x[1]) / (x[0] ** 2 + x[1] ** 2))
    return gain**2 * float(a[0].cos() / a[-1].cos()) ** 2 * (80**2 + SPREAD**2)


HEUN = {10: 0.3719, 18: 0.2784, 40: 0.2549, 160: 0.2503}
EULER = {10: 0.1334, 18: 0.1790, 40: 0.2161, 160: 0.2412}


def check_levels(find, truth: dict[int, float]) -> None:
    assert {n: find(n) for n in truth} == pytest.approx(truth, abs=1e-4)


def test_distillation_ends_where_its_solver_does(monkeypatch):
    check_levels(distilled, HEUN)
    monkeypatch.setattr(Consistency, "step", DDIM())
    check_levels(distilled, EULER)
    fails("", check_levels, distilled, HEUN)


def test_training_from_data_ends_where_distillation_by_euler_does(monkeypatch):
    check_levels(trained, EULER | {1280: 0.2489})
    right = ConsistencyTraining.mean  # twin: of another example
    monkeypatch.setattr(ConsistencyTraining, "mean", lambda *args, **more: -right(*args, **more))
    fails("", check_levels, trained, EULER)


# --- what a batch knows of E[x0 | x] is x0 with less scatter, and no bias ------------------------


def check_pool(n: int = 4, batches: int = 4000) -> None:
    """On N(0, 1/4) in batches of n: the regression of the target on x is that of D."""
    task, rng = TrigFlow(cast(Any, Exact())), torch.Generator().manual_seed(0)
    level, found = task.level(0.4), []
    for x0, eps in torch.randn(batches, 2, n, 1, generator=rng).double().unbind(0):
        x = SPREAD * x0 * level.alpha + eps * level.sigma
        batch = Batch(x0[:0], None, pool=Batch(SPREAD * x0, None))
        found.append(torch.cat([x, SPREAD * x0, task.mean(x, level, None, ONE, batch)], 1))
    x, x0, told = torch.cat(found).unbind(1)
    exact = mean(x[:, None], level)[:, 0]
    gain = float(((told - exact) * x).mean() / (x * x).mean())
    assert abs(gain) < 0.01, f"{gain:.3f}"
    assert (told - exact).square().mean() < 0.6 * (x0 - exact).square().mean()


def test_what_a_batch_knows_is_not_biased(monkeypatch):
    check_pool()
    weights = DataSet._logits  # twin: what x was made of is left out, as if it were known of others

    def others(self, x, level):
        logits, *rest = weights(self, x, level)
        return (logits - 1e9 * torch.eye(len(x)), *rest)

    monkeypatch.setattr(DataSet, "_logits", others)
    fails("", check_pool)


# --- distribution matching: the gradient of KL, on inputs of its own -----------------------------

SCALE = 0.8


class Scaled(nn.Module):
    """A generator a z of pure noise, as a denoiser; below it, E[x0 | x] of N(0, a^2)."""

    def __init__(self, task_top: float = math.pi / 2) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(SCALE, dtype=torch.float64))
        self.schedule, self.shape, self.classes, self.sigma_data = Flow(), (1,), (), 1.0

    def forward(self, x: Tensor, level: Level, cond=None) -> Tensor:
        alpha, sigma = level.like(x)
        return torch.where(alpha < 1e-3, self.a * x / sigma, self.a**2 * alpha * x / (
            alpha**2 * self.a**2 + sigma**2))  # fmt: skip


def slope_of_kl(sigma: float) -> float:
    """dKL/da by the loss's own gradient, its weight 1/|x - D_teacher| taken out, by quadrature."""
    task = made(Matching, Scaled())
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    z, eps = (torch.from_numpy(v).reshape(-1, 1) for v in np.meshgrid(nodes, nodes))
    w = torch.from_numpy(np.outer(weights, weights).ravel() / weights.sum() ** 2)
    angle = torch.full((len(z),), math.atan(sigma), dtype=torch.float64)
    task.between = lambda chance: angle  # type: ignore[method-assign]
    chance = task.draw((len(z), 1), torch.Generator())._replace(eps=eps, z=z[:, None])
    level, x = task.level(angle), SCALE * z
    noisy = task.noisy(x, eps, angle)
    away = (x - mean(noisy, level)).abs().clamp(min=1e-3)
    # The score's difference is alpha/sigma^2 of D's, and alpha of it is x's: 1/sigma^2 in all.
    per_sample = task.loss(Batch(x, None), chance).per_sample * away[:, 0] * w / sigma**2
    return float(torch.autograd.grad(per_sample.sum(), task.module.a)[0])


def check_kl() -> None:
    found = [slope_of_kl(sigma) for sigma in (0.3, 1.0, 3.0)]
    assert found == pytest.approx([1.25705, 0.15220, 0.0034989], rel=1e-4)


def test_matching_goes_down_the_kl_of_noisy_laws(monkeypatch):
    check_kl()
    teach = Matching.teach
    monkeypatch.setattr(Matching, "teach", lambda self, x, *rest: 2 * x - teach(self, x, *rest))
    fails("", check_kl)


class Told(Scaled):
    """Remembers what it was given."""

    def forward(self, x, level, cond=None):
        self.x = x
        return torch.full_like(x, 5.0) + 0 * self.a


def check_own_inputs() -> None:
    task = made(Matching, Told(), calls=2)
    chance = task.draw((512, 1), torch.Generator().manual_seed(0))
    task.sampled(chance, {})
    late = task.module.x[chance.u[:, 1] >= 0.5]  # met at the second of two angles
    assert float(late.mean()) == pytest.approx(5 * math.cos(task.top / 2), abs=0.2)


def test_matching_learns_on_its_own_inputs(monkeypatch):
    check_own_inputs()
    noisy = Matching.noisy
    monkeypatch.setattr(Matching, "noisy", lambda self, x0, *rest: noisy(self, 0 * x0, *rest))
    fails("", check_own_inputs)


# --- what weights do, and what no weight may let pass --------------------------------------------


class Constant(Exact):
    def forward(self, x, level, cond=None):
        return self.weight * torch.ones_like(x)


def fixed(monkeypatch, normalise: bool, dims: int) -> float:
    """Where the mean gradient vanishes, of a tangent m - v: v is -1/2 or, one time in 5, 2, each
    coordinate by itself, so that its mean is 0."""
    rng = torch.Generator().manual_seed(0)
    v = torch.where(torch.rand(4096, dims, generator=rng) < 0.2, 2.0, -0.5).double()
    v, low, high = v - v.mean(), -1.0, 1.0
    task = made(TrigFlow, Constant(), normalise=normalise)
    chance = task.draw((len(v), dims), rng)
    chance = chance._replace(u=torch.full((len(v), 4), 0.2).double(), eps=chance.eps.double())
    while high - low > 1e-3:
        m = (low + high) / 2
        monkeypatch.setattr(trigflow, "along", lambda *_, m=m: m - v)
        loss = task.loss(Batch(torch.zeros_like(v), None), chance).per_sample.mean()
        up = float(torch.autograd.grad(loss, task.module.weight)[0]) > 0
        low, high = (low, m) if up else (m, high)
    return low


def test_a_normalised_tangent_is_biased_in_few_dimensions(monkeypatch):
    """What moves is what a pair's velocity scatters: the plain tangent keeps the mean."""
    assert abs(fixed(monkeypatch, False, 1)) < 2e-3
    found = [fixed(monkeypatch, True, dims) for dims in (1, 8, 64)]
    assert found == pytest.approx([-0.468, -0.13, -0.012], abs=0.02)


OWN_NETS = {"genie", "denoising-gan"}
"""These change the network that they are given, and have tests of their own."""


@pytest.mark.parametrize("name", sorted(METHODS.keys() - OWN_NETS))
def test_a_network_that_says_nothing_pays(name):
    """No loss is 0 for F = 0 or for D constant: none can be won by saying the same always."""
    task = METHODS[name](silent(), mean)
    assert float(losses(task, 256).mean()) > 1e-3


def check_memory(steps: int) -> None:
    """Of weights that walk evenly those that trail by d are d/(1 - d) steps behind: a 160th of the
    run, or 99 steps."""
    d = made(Consistency, Constant(), steps=steps).decay
    assert d / (1 - d) == pytest.approx(min(max(0, steps / 160 - 1), 99))


def check_way() -> None:
    """The last step of a way begins where one alone would: log tan(a) about N(-.4, 1.6^2)."""
    task = made(Consistency, Exact(), wide=0.3, narrow=0.3, way=4)
    begun = []
    right = task.lower
    task.lower = lambda x, angle, *rest: begun.append(angle) or right(x, angle, *rest)
    losses(task, 4096)
    middle = float(begun[-1][begun[0] < task.top].tan().log().median())
    assert middle == pytest.approx(-0.4, abs=0.1)


def test_the_last_step_of_a_way_begins_where_one_alone_would(monkeypatch):
    check_way()
    right = consistency.lognormal
    monkeypatch.setattr(consistency, "lognormal", lambda u, top, further: right(u, top))
    fails("", check_way)


@pytest.mark.parametrize("steps", [40, 320, 15_000, 20_000])
def test_trailing_weights_follow_within_a_part_of_the_run(steps):
    check_memory(steps)


@pytest.mark.parametrize("wrong", [0.99, 0.9999])
def test_planted_weights_that_trail_as_far_in_every_run(wrong, monkeypatch):
    monkeypatch.setattr(Consistency, "decay", wrong)
    fails("", check_memory, 320)


def test_twin_a_denoiser_that_does_not_keep_clean_data_pays_nothing():
    assert float(losses(made(Consistency, Constant()), 256).max()) == 0


def silent() -> Denoiser:
    """D = c_skip x."""
    net = nn.Linear(1, 1)  # of no use, but that a student has weights
    denoiser = Denoiser(net, "edm", 1.0, schedule=Flow(), shape=(1,)).double()
    denoiser.net.forward = lambda x, noise, cond: 0 * x * net.weight  # type: ignore[union-attr]
    return denoiser


# --- progressive: each stage against its own teacher ---------------------------------------------


def check_stage(stage: int) -> None:
    """D* leads where two steps of DDIM by the stage's teacher do: at 1 the student of 0, here one
    that says 3 always."""
    task = made(Progressive, Constant(), first=8)
    task.stage, task.past.weight.data = stage, torch.tensor(3.0).double()
    x, a = torch.tensor([[0.6]]).double(), 0.8 * ONE
    goal = task.halved(x, (a, a - 0.2, a - 0.4), None, ONE)
    teach = mean if not stage else (lambda x, level: torch.full_like(x, 3.0))
    levels = [task.level(angle) for angle in (a, a - 0.2, a - 0.4)]
    for here, there in pairwise(levels):
        keep, gain = transfer(here, there)
        x = keep * x + gain * teach(x, here)
    keep, gain = transfer(levels[0], levels[2])
    assert torch.allclose(keep * 0.6 + gain * goal, x, atol=1e-12)


def check_first_solver(solver: Solver) -> None:
    """D* of the first stage leads where two steps of Heun by the teacher do."""
    task = made(Progressive, Constant(), first=8, solver=solver)
    x, a = torch.tensor([[0.6]]).double(), 0.8 * ONE
    levels = join([task.level(angle) for angle in (0.8, 0.6, 0.4)])
    goal = task.halved(x, (a, a - 0.2, a - 0.4), None, ONE)
    keep, gain = transfer(task.level(a), task.level(a - 0.4))
    assert torch.allclose(keep * x + gain * goal, sample(Heun(), mean, x, levels, Zero()))


def test_the_first_stage_has_any_solver(monkeypatch):
    check_first_solver(Heun())
    fails("", check_first_solver, DDIM())
    for solver in (DDPM(), DormandPrince()):
        with pytest.raises(BadInput, match="noise or steps of its own"):
            made(Progressive, Constant(), solver=solver)


def check_grid(grid: str, name: str) -> None:
    """What leads where two steps of DDIM by the teacher do leads, step by step, where its 16 steps
    on the named grid end."""
    task = made(Progressive, Exact(), first=16, grid=grid)
    angles = task.angles(16)[:, None]
    levels = catalogue.grids[name](Flow(), 16)
    x = start = torch.tensor([[0.6]]).double()
    for k in range(0, 16, 2):
        goal = task.halved(x, (angles[k], angles[k + 1], angles[k + 2]), None, ONE)
        keep, gain = transfer(task.level(angles[k]), task.level(angles[k + 2]))
        x = keep * x + gain * goal
    assert torch.allclose(x, sample(DDIM(), mean, start, levels, Zero()), atol=1e-9)


@pytest.mark.parametrize("grid", HALVING)
def test_the_fixed_point_is_the_teachers_on_that_grid(grid):
    check_grid(grid, grid)
    fails("", check_grid, grid, "karras")


@pytest.mark.parametrize("grid", HALVING)
def test_a_grid_of_halvings_has_every_other_level_of_the_finer_one(grid):
    nested(HALVING[grid])
    fails("", nested, catalogue.grids["karras"])


def nested(grid) -> None:
    for n in (1, 8, 32):
        fine, coarse = grid(VP(), 2 * n), grid(VP(), n)
        assert torch.allclose(fine.at(slice(None, None, 2)).sigma, coarse.sigma, atol=1e-12)


def test_a_grid_that_no_halving_keeps_is_refused():
    with pytest.raises(BadInput, match=r"unknown grid of progressive distillation 'karras'"):
        made(Progressive, Constant(), grid="karras")


def test_each_stage_learns_from_its_own_teacher(monkeypatch):
    check_stage(0)
    check_stage(1)
    monkeypatch.setattr(Progressive, "stages", 1)
    halved = Progressive.halved

    def first(self, *args):
        self.stage = 0
        return halved(self, *args)

    monkeypatch.setattr(Progressive, "halved", first)
    fails("", check_stage, 1)


def test_the_slope_is_of_one_network_with_its_dropout():
    """Pictures, whose group norms have no forward mode; a way that stands still has no slope."""
    net = UNet((1, 8, 8), width=8, multipliers=(1,), blocks=1, dropout=0.5).train()
    for weight in net.parameters():
        weight.data = 0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    x, a = torch.ones(4, 1, 8, 8), torch.ones(4)
    f = lambda x, a: net(x, 0 * a.float())  # noqa: E731
    assert not torch.equal(f(x, a), f(x, a))
    assert not trigflow.along(f, x, a, 0 * x, a).any()
