"""Encoding: the inverse of a run, near by a walk up and exact by descent on every step."""

import math

import pytest
import torch

from scorefield import catalogue
from scorefield.base import BadInput, Level, Zero
from scorefield.denoise import Gaussian
from scorefield.process import EDM, VP, Flow, grids
from scorefield.solve import DDIM, DDPM, RK, DPMSolver, DPMSolverPP2S, Heun, laws, sample
from scorefield.solve.inverse import encode
from scorefield.solve.laws import COV, EIGHT, GAUSSIAN, MEAN, close, eight, logsnr_levels
from scorefield.solve.laws import order_shown as slope
from scorefield.solve.rk import MIDPOINT
from tests.laws.truths import LABELS, two_classes
from tests.laws.walks import Counted
from tests.refusal import fails, refused
from tests.solve.test_parallel import GRID, MIXTURES

LEVELS = {
    "vp": grids.uniform_t(VP(), 10, stop=0.01),
    "flow": grids.uniform_t(Flow(), 10, stop=0.01),
    "edm": grids.karras(EDM(), 10, stop=0.01),
}
ONE_STEP = {
    "ddim": DDIM(), "heun": Heun(), "midpoint": RK(MIDPOINT), "rk4": RK(), "dpm2": DPMSolver(),
    "dpm3": DPMSolver(order=3), "dpmpp2s": DPMSolverPP2S(),
}  # fmt: skip


def errors(solver, mixture, levels, refine=0, up=None):
    """RMS of decode(encode(x0)) - x0, `(64,)`; `up` encodes in the place of the solver."""
    x = mixture.sample(64, 0) * levels.at(-1).alpha
    code = encode(up or solver, mixture.denoise, x, levels, refine=refine)
    assert code.isfinite().all()
    return (sample(solver, mixture.denoise, code, levels, Zero()) - x).square().mean(1).sqrt()


def check_exact(mixture, levels, up=None):
    """Ten long steps of DDIM, inverted to 1e-10 for every sample."""
    error = errors(DDIM(), mixture, levels, 20, up)
    assert (error < 1e-10).all(), f"error {float(error.max()):.2e}"


def check_order(solver, up=None):
    """There and back at the order of the method; at an even one the leading errors cancel.

    .15: what the next term of the error still shows at 80 steps.
    """
    coarse, fine = (
        float(errors(solver, EIGHT, logsnr_levels(VP(), n), up=up).norm()) for n in (40, 80)
    )
    shown, expected = slope(coarse, fine), solver.order + (solver.order % 2 == 0)
    assert abs(shown - expected) < 0.15, f"order {shown:.2f}, {expected} expected"


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("mixture", MIXTURES)
def test_ddim_is_inverted_exactly(mixture, levels):
    check_exact(MIXTURES[mixture], LEVELS[levels])


@pytest.mark.parametrize("solver", ONE_STEP)
def test_every_one_step_method_is_inverted_exactly(solver):
    """Twenty steps, twelve rounds."""
    error = errors(ONE_STEP[solver], EIGHT, grids.uniform_t(VP(), 20, stop=0.01), 12)
    assert (error < 1e-10).all(), f"error {float(error.max()):.2e}"


@pytest.mark.parametrize("solver", ONE_STEP)
def test_a_walk_up_has_the_order_of_the_solver(solver):
    check_order(ONE_STEP[solver])


def test_the_code_of_a_gaussian_is_in_closed_form():
    """RK4 in 160 steps: each eigenmode keeps its quantile, to 1e-8."""
    levels = logsnr_levels(VP(), 160)
    x = GAUSSIAN.sample(32, 1)
    truth = laws.gaussian_flow(x, levels.at(-1), levels.at(0))
    assert close(encode(RK(), GAUSSIAN.denoise, x, levels), truth, 1e-8)


def test_codes_of_data_are_standard_normal():
    """The quantiles of N(.7, .3^2) become those of N(0, 1), of which pure noise is a sample: 1e-3,
    the error of 200 second-order steps and of x0 for the x at ratio .005."""
    z = torch.erfinv(torch.linspace(-0.99, 0.99, 21, dtype=torch.float64))[:, None] * math.sqrt(2)
    data = Gaussian(torch.tensor([0.7]).double(), torch.tensor([[0.09]]).double())
    levels = grids.uniform_t(Flow(), 200, stop=0.005)
    x = levels.at(-1).alpha * (0.7 + 0.3 * z)
    assert close(encode(Heun(), data.denoise, x, levels), z, 1e-3)


# --- planted defects ------------------------------------------------------------------------------


class LevelThere(DDIM):
    """D at the level that the step goes to."""

    def step(self, denoise, state, here, there, *rest):
        return super().step(lambda x, _, c: denoise(x, there, c), state, here, there, *rest)


class OtherSign(DDIM):
    """x - gain D."""

    def step(self, denoise, *rest):
        return super().step(lambda *args: -denoise(*args), *rest)


def test_a_planted_defect_is_no_inverse_and_a_planted_sign_has_no_order():
    for twin in (LevelThere(), OtherSign(), Heun()):
        fails("", check_exact, EIGHT, LEVELS["vp"], twin)
    fails("order", check_order, DDIM(), OtherSign())


def test_the_fixed_point_of_the_papers_diverges_on_long_steps():
    """Why each round takes the length that the last one taught."""
    levels = LEVELS["vp"]
    here, there = levels.at(-1), levels.at(-2)
    y = EIGHT.sample(64, 0) * here.alpha
    keep, gain = here.sigma / there.sigma, here.alpha - there.alpha * here.sigma / there.sigma
    x = y / keep
    for _ in range(20):
        x = (y - gain * EIGHT.denoise(x, there)) / keep
    assert float((keep * x + gain * EIGHT.denoise(x, there) - y).abs().max()) > 1e3


# --- the ends of a grid ---------------------------------------------------------------------------


def test_from_clean_data_the_walk_begins_without_noise():
    """decode(encode(x0)) = D(x0) at the last noisy level: sigma^2 (C + sigma^2)^-1 (x0 - m) away,
    nearer with the square of the last sigma."""
    x0, mean, cov = GAUSSIAN.sample(16, 2), MEAN, COV
    for last in (0.2, 0.1):
        sigma = torch.tensor([10.0, 3.0, 1.0, last, 0.0, 0.0], dtype=torch.float64)
        levels = Level.of(1.0, sigma)
        code = encode(DDIM(), GAUSSIAN.denoise, x0, levels, refine=30)
        back = sample(DDIM(), GAUSSIAN.denoise, code, levels, Zero())
        noisy = cov + last**2 * torch.eye(3, dtype=torch.float64)
        away = last**2 * torch.linalg.solve(noisy, (x0 - mean).T).T
        assert close(back, x0 - away, 1e-10)


def test_pure_noise_is_reached_and_left():
    assert float(LEVELS["flow"].at(0).alpha) == 0  # check_exact runs from there; and in one step:
    levels = LEVELS["flow"].at(torch.tensor([0, 10]))
    x = GAUSSIAN.sample(8, 3)
    code = encode(DDIM(), GAUSSIAN.denoise, x, levels, refine=1)  # D is the mean: linear
    assert close(sample(DDIM(), GAUSSIAN.denoise, code, levels, Zero()), x, 1e-10)


def test_levels_of_each_sample():
    """One column ends clean, one noisy, one stands still: as each alone."""
    noisy = grids.uniform_t(VP(), 6, stop=0.05)
    still = Level(*(torch.cat((v[:4], v[3:4].expand(3))) for v in noisy))
    columns = [grids.uniform_t(VP(), 6), noisy, still]
    levels = Level(*(torch.stack(leaves, 1) for leaves in zip(*columns)))
    x = EIGHT.sample(3, 4)
    for refine in (0, 8):
        together = encode(DDIM(), EIGHT.denoise, x, levels, refine=refine)
        for k, column in enumerate(columns):
            alone = encode(DDIM(), EIGHT.denoise, x[k : k + 1], column, refine=refine)
            assert close(together[k : k + 1], alone, 1e-10)


def test_a_sample_is_its_own():
    x, levels = GRID.sample(20, 5), LEVELS["vp"]
    whole = encode(DDIM(), GRID.denoise, x, levels, refine=5)
    for rows in ([7], [3, 19], list(range(19, -1, -1))):
        alone = encode(DDIM(), GRID.denoise, x[rows], levels, refine=5)
        assert close(alone, whole[rows], 1e-9)


def test_conditions_reach_the_denoiser():
    x, levels = EIGHT.means[LABELS["label"]] + 0.1, LEVELS["vp"]
    code = encode(DDIM(), two_classes, x, levels, LABELS, refine=20)
    back = sample(DDIM(), two_classes, code, levels, Zero(), LABELS)
    assert close(back, x, 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_numbers(dtype):
    """To the rounding of x: a few hundred, ten long steps deep, and then no further from it."""
    denoise, levels = eight(torch.float32).denoise, LEVELS["vp"]
    x = EIGHT.sample(16, 0).to(dtype)
    code = encode(DDIM(), denoise, x, levels, refine=30)
    assert code.dtype == dtype
    back = sample(DDIM(), denoise, code, levels, Zero())
    assert close(back.double(), x.double(), 300 * torch.finfo(dtype).eps)


def test_calls_are_as_said():
    counted = Counted(EIGHT.denoise)
    levels = grids.uniform_t(VP(), 7)
    encode(DDIM(), counted, EIGHT.sample(4, 0), levels)
    assert counted.calls == 6  # the step from clean data needs none
    encode(DDIM(), counted, EIGHT.sample(4, 0), levels, refine=3)
    assert counted.calls == 6 + 6 * 4


@pytest.mark.parametrize(
    "solver", [DDPM(), DDIM(0.1), *(catalogue.solvers[n]() for n in ("dpmpp2m", "dormand-prince"))]
)
def test_what_has_no_inverse_is_refused(solver):
    with pytest.raises(BadInput, match=type(solver).__name__):
        encode(solver, EIGHT.denoise, EIGHT.sample(2, 0), LEVELS["vp"])


def test_bad_input_is_refused():
    x = EIGHT.sample(2, 0)
    up = LEVELS["vp"].at(torch.arange(10, -1, -1))
    for says, levels, refine in (("refine is -1", LEVELS["vp"], -1), ("Flip a grid", up, 0)):
        refused(says, encode, DDIM(), EIGHT.denoise, x, levels, refine=refine)
