"""Averages of any length from snapshots: the error is the one that the theory says."""

import numpy as np
import pytest
import torch
from torch import nn

from scorefield.base import BadInput
from scorefield.store import Snapshot, write_tensors
from scorefield.train import EMA, Power, coefficients, combine, posthoc

STEPS = 400
LENGTHS = (0.05, 0.1)
HAVE = [(t, length) for t in range(40, STEPS + 1, 40) for length in LENGTHS]
WANTED = (0.06, 0.075, 0.13, 0.2)

CELLS = (Power(min(LENGTHS)).gamma / STEPS) ** 2
"""A run's weights are constant within a step, a profile is not: its product with itself differs
from the sum over steps by the spread within them, about (gamma / t)^2 / 12 of it."""


class Path(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, dtype=torch.float64))


def averages(path: torch.Tensor, profiles) -> dict[tuple[int, float], torch.Tensor]:
    """What training would keep of a path of weights `(steps, width)`: profile -> average."""
    module, kept = Path(path.shape[1]), {}
    emas = {length: EMA.of(module, Power(length)) for length in {b for _, b in profiles}}
    for k, theta in enumerate(path):
        module.weight.data.copy_(theta)
        for length, ema in emas.items():
            ema.update(module, k)
            if (k + 1, length) in profiles:
                kept[k + 1, length] = ema.average.weight.detach().clone()
    return kept


def missed(path: torch.Tensor, want: tuple[int, float], x: np.ndarray) -> torch.Tensor:
    """How far the combination of snapshots lies from the average that training would have kept."""
    kept = averages(path, {*HAVE, want})
    made = sum(share * kept[have] for share, have in zip(x.tolist(), HAVE, strict=True))
    return kept[want] - made


def residual_holds(want: tuple[int, float], inner=None) -> bool:
    """Over white noise as weights, the mean square error is the residual; without Monte Carlo.

    The path e_1, e_2, ... of unit vectors shows how much each step counts, so that the square of
    its error is the mean over white noise of unit variance.
    """
    with pytest.MonkeyPatch.context() as patch:
        if inner:
            patch.setattr(posthoc, "inner", inner)
        x, error = coefficients(HAVE, want)
    steps = torch.eye(STEPS, dtype=torch.float64)
    whole = averages(steps, {want})[want].square().sum()
    measured = float((missed(steps, want, x).square().sum() / whole).sqrt())
    return abs(measured - error) <= CELLS * max(error, measured) + 1e-7


@pytest.mark.parametrize("length", WANTED)
def test_the_error_is_the_least_squares_residual(length):
    assert residual_holds((STEPS, length))


def test_earlier_in_the_run_too():
    have = [h for h in HAVE if h[0] <= 240]
    x, error = coefficients(have, (240, 0.075))
    later = np.concatenate([x, np.zeros(len(HAVE) - len(have))])
    steps = torch.eye(STEPS, dtype=torch.float64)
    whole = averages(steps, {(240, 0.075)})[240, 0.075].square().sum()
    got = float((missed(steps, (240, 0.075), later).square().sum() / whole).sqrt())
    assert got == pytest.approx(error, rel=(400 / 240) ** 2 * CELLS)


def test_a_wrong_inner_product_would_be_seen():
    """The twin: gamma_a + gamma_b + 2 where it should be + 1."""

    def wrong(t_a, a, t_b, b):
        return posthoc_inner(t_a, a, t_b, b) * (a[:, None] + b + 1) / (a[:, None] + b + 2)

    posthoc_inner = posthoc.inner
    assert not all(residual_holds((STEPS, length), wrong) for length in WANTED)


@pytest.mark.parametrize("kind", ["walk", "cubic", "cosine", "jump"])
@pytest.mark.parametrize("length", WANTED)
def test_no_path_of_weights_errs_by_more_than_the_bound(kind, length):
    """Cauchy-Schwarz: the error is at most the residual times the path's norm."""
    s = torch.arange(1, STEPS + 1, dtype=torch.float64)[:, None] / STEPS
    noise = torch.randn(STEPS, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    path = {
        "walk": noise.cumsum(0),
        "cubic": s**3 - s,
        "cosine": torch.cos(9 * s),
        "jump": (s > 0.9).double(),
    }[kind]
    want = (STEPS, length)
    x, error = coefficients(HAVE, want)
    whole = averages(torch.eye(STEPS, dtype=torch.float64), {want})[want].square().sum()
    bound = error * whole.sqrt() * path.square().sum(0).sqrt()
    assert (missed(path, want, x).abs() <= bound * (1 + CELLS)).all()


def test_a_cubic_path_has_the_average_of_calculus():
    """int p(s) s^3 ds = (gamma + 1)/(gamma + 4) t^3; a step ends where its cell does."""
    s = torch.arange(1, 20_001, dtype=torch.float64)[:, None] / 20_000
    for length in (0.05, 0.1, 0.25):
        gamma = Power(length).gamma
        ((_, got),) = averages(s**3, {(20_000, length)}).items()
        # The end of a step is half a step later than its middle: 3/2 of 1/20,000.
        assert float(got) == pytest.approx((gamma + 1) / (gamma + 4), rel=2e-4)


@pytest.mark.parametrize("have", HAVE[:4] + HAVE[-2:])
def test_a_snapshot_of_that_very_length_is_the_answer(have):
    x, error = coefficients(HAVE[: HAVE.index((have[0], LENGTHS[1])) + 1], have)
    at = HAVE.index(have)
    assert x[at] == pytest.approx(1, abs=1e-9)
    assert np.abs(np.delete(x, at)).max() < 1e-9
    assert error < 1e-7


def test_more_snapshots_err_less():
    def error(n: int) -> float:
        have = [(t / n, length) for t in range(1, n + 1) for length in LENGTHS]
        return coefficients(have, (1, 0.13))[1]

    assert error(64) < error(16) / 10 < error(4) / 100


def test_the_unit_of_time_does_not_matter():
    a, e = coefficients(HAVE, (STEPS, 0.13))
    b, f = coefficients([(1e6 * t, length) for t, length in HAVE], (1e6 * STEPS, 0.13))
    np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
    assert e == pytest.approx(f, rel=1e-6)


def test_the_length_is_the_profiles_deviation_and_the_inverse_of_gamma():
    for gamma in (0.0, 0.5, 3.0, 6.94, 16.97, 200.0):
        assert Power.of_gamma(gamma).gamma == pytest.approx(gamma, rel=1e-9, abs=1e-6)
    s = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    for length in (0.01, 0.05, 0.1, 0.288):
        assert Power.of_gamma(Power(length).gamma).length == pytest.approx(length, rel=1e-9)
    for length in (0.05, 0.1, 0.2):
        gamma = Power(length).gamma
        p = (gamma + 1) * s**gamma
        mean = torch.trapezoid(p * s, s)
        assert float(torch.trapezoid(p * (s - mean) ** 2, s).sqrt()) == pytest.approx(length)


@pytest.mark.parametrize("length", [0.0, -0.1, 0.3, float("nan")])
def test_a_length_that_is_none_is_refused(length):
    with pytest.raises(BadInput, match="relative length"):
        Power(length)


def saved(folder, images: int, **tensors: torch.Tensor) -> Snapshot:
    path = folder / f"{images}-0.1.safetensors"
    write_tensors(path, tensors)
    return Snapshot(images, 0.1, path)


def test_only_what_is_averaged_is_combined(tmp_path):
    some = [
        saved(tmp_path, i, w=torch.full((2,), float(i)), table=torch.tensor([i, i])) for i in (1, 2)
    ]
    calls = []
    made = combine(some, np.array([0.25, 0.5]), ["w"], lambda: calls.append(1))
    assert (made["w"].tolist(), made["w"].dtype) == ([1.25, 1.25], torch.float32)
    assert (made["table"].tolist(), len(calls)) == ([2, 2], 2)


@pytest.mark.parametrize("other", [{"w": torch.zeros(3)}, {"v": torch.zeros(2)}], ids=str)
def test_snapshots_of_two_networks_are_refused(tmp_path, other):
    some = [saved(tmp_path, 1, w=torch.zeros(2)), saved(tmp_path, 2, **other)]
    with pytest.raises(BadInput, match="2-0.1.safetensors is not a snapshot of the run's network"):
        combine(some, np.ones(2), ["w"])
