"""Parallel in time: the serial run in fewer calls one after another, each sample at its pace."""

import importlib
from typing import Any

import pytest
import torch

from scorefield import catalogue
from scorefield.base import BadInput, Level, Seeded, Zero
from scorefield.denoise import Mixture
from scorefield.process import EDM, VP, Flow, grids
from scorefield.solve import DDIM, DDPM, PNDM, DPMSolverPP, Heun, sample, trajectory
from scorefield.solve.laws import DOWN, EIGHT, close, eight
from scorefield.solve.parallel import parallel
from tests.laws.batches import CounterNoise
from tests.laws.truths import LABELS, two_classes
from tests.refusal import fails

module = importlib.import_module("scorefield.solve.parallel")  # the package has a function so named
side = torch.linspace(-1.4, 1.4, 5, dtype=torch.float64)
GRID = Mixture(
    torch.cartesian_prod(side, side),
    (0.01 * torch.eye(2, dtype=torch.float64)).expand(25, 2, 2),
    torch.full((25,), 1 / 25, dtype=torch.float64),
)
MIXTURES = {"eight": EIGHT, "twenty-five": GRID}
LEVELS = {
    "vp": grids.uniform_t(VP(), 100),
    "flow": grids.uniform_t(Flow(), 100),
    "edm": grids.karras(EDM(), 100),
}
SEEDS = list(range(8))
SOLVERS = {name: factory() for name, factory in catalogue.solvers.items()}
ONE_CALL = {k: v for k, v in SOLVERS.items() if v.evals == 1 and not hasattr(v, "start_evals")}


def start(levels, seeds=SEEDS):
    return Seeded(seeds).start((2,), levels, dtype=torch.float64)


def check_serial(solver, mixture, levels, tolerance, most, window=None, noise: Any = Seeded):
    """Every sample within the tolerance of its serial run, in `most` rounds or fewer."""
    walk, options = (mixture.denoise, start(levels), levels), {"window": window}
    done = parallel(solver, *walk, noise(SEEDS), tolerance=tolerance, **options)
    serial = sample(solver, *walk, noise(SEEDS))
    error = (done.x - serial).square().mean(1).sqrt()
    assert (error <= tolerance + 1e-12).all(), f"error {float(error.max()):.2e}"
    assert (done.rounds <= most).all(), f"{int(done.rounds.max())} rounds"


def check_own_pace():
    """Rounds, rows and x of a sample are the same alone and in a batch of others. Data at one point
    needs two rounds and the mixture several times as many; the denoiser is called for those that
    are still on their way only.

    1e-12: sums over a batch of another size round in another order.
    """
    levels, rows = grids.karras(EDM(), 40), []

    def denoise(x, level, cond):
        rows.append(len(x))
        return torch.where(cond["vector"] > 0, GRID.denoise(x, level), torch.ones_like(x))

    def run(seeds):
        hard = torch.tensor(seeds)[:, None] % 2
        return parallel(DDIM(), denoise, start(levels, seeds), levels, Zero(), {"vector": hard})

    whole = run(SEEDS)
    assert (len(rows), sum(rows)) == (int(whole.rounds.max()), int(whole.evals.sum()))
    for seeds in ([0], [1], [3, 6], SEEDS[::-1]):
        some = run(seeds)
        assert torch.equal(some.rounds, whole.rounds[seeds]), "a sample pays for its neighbours"
        assert torch.equal(some.evals, whole.evals[seeds])
        assert close(some.x, whole.x[seeds])
    assert (whole.rounds[::2] == 2).all()
    assert (whole.rounds[1::2] > 6).all()


def check_worst_case():
    """D that turns with every digit of x: no value of a guessed path is ever right, and the serial
    run is what is left, to the last bit."""
    levels = grids.uniform_t(VP(), 30)
    wild = lambda x, level, cond=None: torch.sin(1e6 * x)  # noqa: E731
    done = parallel(DDIM(), wild, start(levels), levels, Zero())
    assert torch.equal(done.x, sample(DDIM(), wild, start(levels), levels, Zero())), "another run"
    assert (done.rounds <= 30).all()


# a fifth of the calls, in windows a fourth; at 1000 steps a twenty-fifth
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3])
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("mixture", MIXTURES)
def test_the_serial_run_in_a_fourth_of_the_calls(mixture, levels, tolerance):
    check_serial(DDIM(), MIXTURES[mixture], LEVELS[levels], tolerance, 25, window=20)


def test_in_a_fifth_without_a_window_a_thousand_steps_in_forty_calls_and_with_noise():
    for mixture in MIXTURES.values():
        check_serial(DDIM(), mixture, LEVELS["vp"], 1e-3, 20)
    check_serial(DDIM(), GRID, grids.uniform_t(VP(), 1000), 1e-3, 40, window=100)
    check_serial(DDPM(), EIGHT, grids.uniform_t(VP(), 60), 1e-3, 20)


@pytest.mark.parametrize("solver", ONE_CALL)
def test_every_solver_with_one_call_a_step(solver):
    """1e-6 after three quarters of the rounds: its history comes along."""
    check_serial(ONE_CALL[solver], EIGHT, grids.uniform_logsnr(VP(), 20), 1e-6, 16)


@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize("solver", [DDIM(), DDPM(), DPMSolverPP()])
def test_no_tolerance_is_the_serial_run(solver, window):
    check_serial(solver, EIGHT, grids.uniform_t(VP(), 20), 0.0, 20, window)


def test_a_window_of_one_level_is_the_serial_run():
    levels = grids.uniform_t(VP(), 30)
    one = parallel(DDIM(), EIGHT.denoise, start(levels), levels, Zero(), window=1)
    assert torch.equal(one.x, sample(DDIM(), EIGHT.denoise, start(levels), levels, Zero()))
    assert (one.rounds == 30).all()
    assert (one.evals == 30).all()


# --- planted defects ------------------------------------------------------------------------------

stride = module._stride


def batch_mean(change, allowed):
    return stride(change.mean(1, keepdim=True).expand_as(change), allowed)


def test_every_sample_goes_at_its_own_pace(monkeypatch):
    check_own_pace()
    monkeypatch.setattr(module, "_stride", batch_mean)
    fails("pays for its neighbours", check_own_pace)


def test_the_worst_case_is_the_serial_run(monkeypatch):
    check_worst_case()
    monkeypatch.setattr(module, "_stride", lambda *given: stride(*given) + 1)
    fails("another run", check_worst_case)


def test_a_planted_tolerance_in_every_round(monkeypatch):
    last = lambda change, allowed: stride(change, allowed[-1:].expand_as(allowed))  # noqa: E731
    monkeypatch.setattr(module, "_stride", last)
    fails("error", check_serial, DDIM(), EIGHT, LEVELS["vp"], 1e-3, 20)


def test_planted_noise_anew_each_round():
    levels = grids.uniform_t(VP(), 20)
    check_serial(DDPM(), EIGHT, levels, 1e-3, 20)
    fails("error", check_serial, DDPM(), EIGHT, levels, 1e-3, 20, noise=CounterNoise)


# --- whatever a run may be ------------------------------------------------------------------------


def test_levels_of_each_sample():
    """A column of levels each; one stands still at its end, one begins in the middle."""
    seeds, n = [1, 2, 3], 20
    fine = grids.uniform_t(VP(), n)
    short = Level(*(torch.cat((v[::2], v[-1:].expand(n // 2))) for v in fine))
    late = Level(*(torch.cat((v[n // 2 :: 2], v[-1:].expand(n - n // 4))) for v in fine))
    levels = Level(*(torch.stack(leaves, 1) for leaves in zip(fine, short, late)))
    x = Seeded(seeds).start((2,), levels, dtype=torch.float64)
    for solver in (DDIM(), DDPM(), DPMSolverPP()):
        done = parallel(solver, EIGHT.denoise, x, levels, Seeded(seeds), tolerance=1e-6)
        serial = sample(solver, EIGHT.denoise, x, levels, Seeded(seeds))
        assert close(done.x, serial, 1e-6)


def test_a_state_goes_on_with_its_past():
    levels = grids.uniform_logsnr(VP(), 20)
    states = [s for s, _ in trajectory(DPMSolverPP(), GRID.denoise, start(levels), levels, Zero())]
    rest = levels.at(slice(5, None))
    done = parallel(DPMSolverPP(), GRID.denoise, states[4], rest, Zero(), tolerance=1e-8)
    assert close(done.x, states[-1].x, 1e-7)
    anew = parallel(DPMSolverPP(), GRID.denoise, states[4].x, rest, Zero(), tolerance=1e-8)
    assert not close(anew.x, states[-1].x, 1e-7)


def test_conditions_go_with_their_samples():
    x, levels = start(DOWN, [1, 2, 3]), grids.uniform_logsnr(VP(), 20)
    walk = DDIM(), two_classes, x, levels, Zero(), LABELS
    assert close(parallel(*walk, window=6, tolerance=1e-8).x, sample(*walk), 1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_numbers(dtype):
    """No tolerance is finer than the rounding of x, and a run ends all the same."""
    denoise, levels = eight(torch.float32).denoise, grids.uniform_t(VP(), 20)
    x = Seeded(SEEDS).start((2,), levels, dtype=dtype)
    done = parallel(DDIM(), denoise, x, levels, Zero(), tolerance=0.0)
    assert done.x.dtype == dtype
    assert (done.rounds <= 20).all()
    serial = sample(DDIM(), denoise, x, levels, Zero())
    assert close(done.x.float(), serial.float(), 10 * torch.finfo(dtype).eps)


def test_values_that_are_not_finite_end_too():
    nan = lambda x, level, cond=None: x * torch.nan  # noqa: E731
    levels = grids.uniform_t(VP(), 10)
    done = parallel(DDIM(), nan, start(levels), levels, Zero())
    assert done.x.isnan().all()


def test_pictures_and_no_gradients():
    x = torch.zeros(2, 3, 4, 4, requires_grad=True)
    half = lambda x, level, cond=None: 0.5 * x + 0.1  # noqa: E731
    levels = grids.uniform_logsnr(VP(), 10)
    done = parallel(DDIM(), half, x, levels, Zero(), tolerance=1e-5)
    assert not done.x.requires_grad
    assert close(done.x, sample(DDIM(), half, x, levels, Zero()), 1e-4)


@pytest.mark.parametrize("solver", [Heun(), PNDM(), catalogue.solvers["dormand-prince"]()])
def test_a_solver_with_more_calls_is_refused(solver):
    with pytest.raises(BadInput, match="one call a step"):
        parallel(solver, EIGHT.denoise, start(LEVELS["vp"]), LEVELS["vp"], Zero())


@pytest.mark.parametrize("options", [{"window": 0}, {"tolerance": -1.0}, {"tolerance": torch.nan}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(BadInput, match=next(iter(options))):
        parallel(DDIM(), EIGHT.denoise, start(LEVELS["vp"]), LEVELS["vp"], Zero(), **options)
