"""Bits a number: known truths, units, errors, and that batches and order change nothing."""

import math
import warnings

import pytest
import torch
from torch import nn

from scorefield.base import Level, Seeded
from scorefield.data import Data, Scaling, Split, load
from scorefield.denoise import Denoiser, Gaussian
from scorefield.likelihood import flow_log_prob, path, sde_bound, start_log_prob, truncated_normal
from scorefield.likelihood.cells import Beyond, begins, cell_of, chain_levels
from scorefield.likelihood.measured import How, usual
from scorefield.process import EDM, VP, Cosine, DiscreteVP, Learned
from scorefield.solve import DDPM, Arc
from scorefield.use.bits import measure_bits
from tests.refusal import refused

torch.set_num_threads(1)
DIMS = 3


class Perfect(nn.Module):
    """F of the edm view for which D is that of N(0, s^2 I), sigma_data = s: 0 (Karras et al.)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x, noise, cond):
        return self.weight * x


def model(s: float = 0.5, schedule=None, scale: float = 1.0) -> Denoiser:
    return Denoiser(
        Perfect(), "edm", s, schedule=schedule or Cosine(), shape=(DIMS,),
        scaling=Scaling((0.0,), (scale,)),
    )  # fmt: skip


def normal(n: int = 200, s: float = 0.5) -> torch.Tensor:
    return s * Seeded(range(n))(torch.empty(n, DIMS), Level.of(0.0, 1.0), Level.of(1.0, 0.0))


def truth(x0: torch.Tensor, s: float = 0.5) -> torch.Tensor:
    """Bits a number of N(0, s^2 I)."""
    nats = (x0**2).sum(1) / (2 * s**2) + DIMS * math.log(2 * math.pi * s**2) / 2
    return nats / (DIMS * math.log(2))


def test_the_flow_of_a_gaussian_is_its_density():
    x0 = normal(20)
    found = measure_bits(model(), x0, How("flow", "exact", steps=64))
    torch.testing.assert_close(found.each, truth(x0), atol=1e-3, rtol=0)
    assert found.chance == 0
    assert found.error == pytest.approx(float(truth(x0).std()) / 20**0.5, rel=1e-2)


@pytest.mark.parametrize("method", ["elbo", "vlb", "bound"])
def test_the_bounds_lie_above_in_bits_and_near(method):
    x0 = normal()
    found = measure_bits(model(), x0, How(method, draws=4))
    excess = found.mean - float(truth(x0).mean())
    assert found.chance
    assert -3 * found.chance < excess < 0.02 + 3 * found.chance
    parts = found.parts
    assert parts
    assert parts.prior + sum(parts.cells) + parts.decoder + parts.units == pytest.approx(
        found.mean, abs=1e-4
    )
    assert len(parts.edges) == len(parts.cells) + 1


def test_another_unit_of_the_data_costs_its_logarithm():
    x0 = normal(5)
    how = How("flow", "exact", steps=8)
    plain, doubled = (measure_bits(model(scale=s), x0, how) for s in (1.0, 2.0))
    assert doubled.mean - plain.mean == pytest.approx(1.0, abs=1e-5)


def levels(cell: float, n: int = 150) -> tuple[torch.Tensor, float]:
    """N(0, 1/4) rounded to levels, and the mean bits of their true probabilities."""
    x0 = (normal(n) / cell).round() * cell
    edges = [torch.special.ndtr((x0 + s * cell / 2) / 0.5) for s in (1, -1)]
    return x0, float(-(edges[0] - edges[1]).log2().mean())


@pytest.mark.parametrize(
    "how",
    [
        How("flow", "exact", "truncated", 2), How("flow", "exact", "uniform", 2),
        How("bound", "exact", "truncated", 4), How("bound", "exact", "uniform", 4),
        How("elbo", draws=4), How("vlb", draws=4), How("vlb", dequantise="uniform", draws=4),
    ],
    ids=lambda how: f"{how.method}-{how.dequantise}",
)  # fmt: skip
def test_data_with_levels_have_a_probability(how):
    """The density is smooth over a cell, so that every bound of eq. 1 is nearly sharp. A decoder
    of levels asks the model for noisy points, which it, made for all of the cell, has not."""
    x0, true = levels(0.125)
    found = measure_bits(model(), x0, how, cell=0.125)
    slack = 0.06 if how.dequantise else 0.25
    assert found.chance is not None
    assert -3 * found.chance - 0.01 < found.mean - true < slack + 3 * found.chance
    wrong = measure_bits(model(), x0, how, cell=0.25).mean - true  # the twin: half the cells
    assert abs(wrong) > 0.3


def test_what_is_left_of_a_process_is_a_process():
    schedule, start = Cosine(), 0.1
    rest = Beyond(schedule, start)
    r2 = float(rest.r2)
    data, wider = (Gaussian(torch.zeros(1), torch.tensor([[v]])) for v in (0.25, 0.25 + r2))
    t = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    level, x = rest(t), torch.tensor([[0.3], [-1.0], [2.0]])
    known = wider.denoise(x, level)
    torch.testing.assert_close(rest.denoise(data.denoise)(x, level, None), known)
    torch.testing.assert_close(rest.inverse(rest(t).logsnr), t)
    assert float(rest(torch.tensor(start, dtype=torch.float64)).sigma) == pytest.approx(0, abs=1e-8)
    assert not torch.allclose(data.denoise(x, level), known)  # the twin: not shifted


def test_example_i_is_the_same_alone():
    x0 = normal(7)
    how = How("bound", 1, "truncated", 2)
    whole = measure_bits(model(), x0, how, cell=0.25, batch=4)
    alone = measure_bits(model(), x0[5:6], how, cell=0.25, seeds=[5])
    torch.testing.assert_close(whole.nats[5:6], alone.nats, atol=1e-3, rtol=0)
    assert (alone.error, len(alone)) == (None, 1)


def test_the_floor_is_data_with_the_last_levels_noise():
    x0, schedule = normal(10), EDM(0.2, 80.0)
    how = How("flow", "exact", steps=64, floor=True)
    found = measure_bits(model(schedule=schedule), x0, how)
    wider = (0.5**2 + 0.2**2) ** 0.5
    torch.testing.assert_close(found.each, truth(x0, wider), atol=2e-3, rtol=0)
    assert float((found.each - truth(x0)).abs().max()) > 0.05  # the twin: clean data


@pytest.mark.parametrize(
    "how", [{"method": "vlb"}, {"dequantise": "truncated"}, {"dequantise": "uniform"}]
)
def test_the_floor_is_of_the_flow_from_clean_data(how):
    refused("has no clean end", How, **how, floor=True)


def test_rough_ends_are_said_once():
    x0 = normal(8, 0.01)
    with pytest.warns(UserWarning, match="bits a dimension rough") as said:
        measure_bits(model(0.01, VP()), x0, How("flow", "exact"), batch=2)
    assert [str(w.message)[:45] for w in said] == ["between the schedule's last level and clean d"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure_bits(model(0.5, VP()), normal(8), How("flow", "exact"), batch=2)


def test_the_flow_is_of_what_samplers_draw():
    """Not of data: where signal is left at the noisiest level, a model starts without it."""
    x0, schedule = normal(6), Learned(gamma_1=2.0)
    levels = path(schedule, 16)
    given = {"levels": levels, "prior": start_log_prob}
    by_hand = flow_log_prob(model(), x0, schedule, **given).log_prob
    found = measure_bits(model(schedule=schedule), x0, How("flow", "exact"))
    torch.testing.assert_close(found.nats, by_hand, atol=1e-3, rtol=0)
    assert float((found.each - truth(x0)).abs().max()) > 0.01


def test_the_place_in_the_cell_is_not_the_probe():
    """A probe of one draw with the dequantisation would be the signs of x - x0."""
    x0 = torch.zeros(4000, 1)
    level = Cosine()(torch.tensor(0.05).double())
    place, noise = (Seeded(torch.arange(4000) + (k << 32)) for k in (1, 0))
    x = truncated_normal(x0, 0.25, level, place).x
    probe = noise(x0, Level.of(1.0, 0.0), Level.of(1.0, 0.0)).sign()
    assert abs(float((x.sign() * probe).mean())) < 4 / 4000**0.5


def test_one_draw_and_one_probe_leave_the_chance_unknown():
    found = measure_bits(model(), normal(6), How("flow", 1, steps=4))
    assert found.chance is None
    assert found.error


def test_cells_and_beginnings():
    assert cell_of(load("digits")) == 0.125
    points = torch.zeros(3, 2)
    assert cell_of(Data("p", Split(points), Split(points), (), Scaling((0.0,), (1.0,)))) is None
    uneven = Split(torch.zeros(3, 2, 4, 4, dtype=torch.uint8))
    refused("scales", cell_of, Data("p", uneven, uneven, (), Scaling((0.0, 0.0), (1.0, 2.0))))
    schedule = VP()
    level = schedule(torch.tensor(begins(schedule, 0.125)).double())
    assert 0.0625 / float(level.ratio) == pytest.approx(1.5)
    assert begins(schedule, None) == begins(schedule, 1e-5) == schedule.floor
    assert [usual(m, 0.1) for m in ("flow", "bound", "elbo", "vlb")] == [
        "truncated", "truncated", None, None,
    ]  # fmt: skip
    assert usual("flow", None) is None


def test_a_chain_is_its_own_steps_or_a_thousand():
    own = DiscreteVP()
    assert len(chain_levels(own, own.floor).sigma) == 1000
    cut = chain_levels(own, float(own.inverse(torch.tensor(4.0).double())))
    assert len(cut.sigma) < 1000
    assert float(cut.logsnr.max()) <= 4.0 + 1e-6
    assert len(chain_levels(EDM(), EDM().floor).sigma) == 1001


def test_settings_that_are_none_are_refused():
    refused("unknown method 'exact'", How, method="exact")
    refused("unknown dequantisation", How, dequantise="gauss")
    refused("draws is 0", How, draws=0)
    refused("steps is 0", How, steps=0)
    refused("no truncated dequantisation", How, method="vlb", dequantise="truncated")


def test_what_does_not_fit_is_refused():
    x0, vlb = torch.zeros(2, DIMS), How("vlb")
    refused("have shape", measure_bits, model(), torch.zeros(2, 4), vlb)
    refused("2 examples and 1 seeds", measure_bits, model(), x0, vlb, seeds=[1])
    refused("no levels", lambda: measure_bits(model(), x0, How("vlb", dequantise="uniform")))
    refused("stochastic", lambda: measure_bits(model(), x0, How("flow", solver=DDPM())))
    broken = model()
    nn.init.constant_(next(broken.parameters()), math.nan)
    refused("2 of 2 examples are not finite", measure_bits, broken, x0, vlb)


def test_it_is_what_the_library_says():
    """One draw is a plain call, with the seeds of the data."""
    x0 = normal(3)
    m, noise = model(), Seeded(range(3))
    found = measure_bits(m, x0, How("bound", "exact"))
    by_hand = sde_bound(m, x0, m.schedule, "exact", draws=1, noise=noise)  # type: ignore[arg-type]
    torch.testing.assert_close(found.nats, by_hand.log_prob)
    flow = measure_bits(m, x0, How("flow", 2, steps=8))
    walk = {"solver": Arc(), "levels": path(m.schedule, 8), "noise": noise}  # type: ignore[arg-type]
    by_hand = flow_log_prob(m, x0, m.schedule, 2, **walk)  # type: ignore[arg-type]
    torch.testing.assert_close(flow.nats, by_hand.log_prob)
    torch.testing.assert_close(flow.stderr, by_hand.stderr)


def test_a_vlb_of_many_draws_its_levels_where_they_pay():
    """By a pilot in the order of seeds: that of examples changes nothing."""
    x0, back = normal(64, 0.05), torch.arange(63, -1, -1)
    m = model(0.05)
    found = measure_bits(m, x0, How("vlb", draws=2))
    turned = measure_bits(m, x0[back], How("vlb", draws=2), seeds=back, batch=7)
    torch.testing.assert_close(turned.nats[back], found.nats)
    few = [measure_bits(m, x0[k : k + 31], How("vlb", draws=2)) for k in (0, 31)]
    widths = [torch.tensor(v.parts.edges).diff() for v in (found, few[0]) if v.parts]
    assert float(widths[1].std()) < 1e-6 < 0.05 < float(widths[0].std())
    spread = torch.cat([v.stderr for v in few]).square().mean()
    assert float(found.stderr.square().mean()) < float(spread) / 1.5
