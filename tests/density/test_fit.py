"""A fit hits a Gaussian, is the same again, goes on after a kill, and warns of a mode it missed."""

import dataclasses
import math

import pytest
import torch

from scorefield import density
from scorefield.density import DDS, FittedDensity, Target, fit
from scorefield.density.figures import missed
from scorefield.density.fit import estimate, fit_density, seeded
from scorefield.density.known import double_well, gaussians, normal
from scorefield.density.path import Noised, even, of_normal
from scorefield.measure.apart import energy_distance, sliced_w2
from scorefield.smc import Annealing, Tempering
from scorefield.store import write_json
from tests.refusal import refused

PLAIN = DDS(width=16, layers=1)


def small(folder=None, target=None, **more) -> FittedDensity:
    """Forty steps, whatever the machine's load."""
    if folder is not None:
        write_json(folder / "config.json", {"config": {"density": 1}, "data": 1}, seal=False)
        write_json(folder / "length.json", {"images": 160})
    return fit(target or normal(2, 0.7, 0.5), PLAIN, 8, 60.0, folder=folder, n=500, **more)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return small(tmp_path_factory.mktemp("fit"))


def test_a_fit_hits_a_gaussian(fitted):
    torch.manual_seed(0)
    assert fitted.task is not None
    fresh = PLAIN.task(fitted.task.target, 8)
    untrained = dataclasses.replace(fitted, task=fresh)
    assert fitted.ess > 0.7
    assert untrained.ess < fitted.ess - 0.05
    assert abs(untrained.log_z) < 4 * untrained.stderr + 1e-3
    assert abs(fitted.log_z) < 4 * fitted.stderr + 1e-3
    assert fitted.upper is not None
    assert fitted.found.mean - 0.01 < 0 < fitted.upper.mean + 0.01
    assert fitted.calls > 160 * 32 * 8
    assert len(fitted.losses) == 40


def test_a_sample_is_that_of_its_seed(fitted):
    many = fitted.sample(300)
    assert torch.allclose(many[:20], fitted.sample(20), atol=1e-5)
    assert torch.allclose(many[5:7], fitted.draw([5, 6]).x, atol=1e-5)
    assert torch.equal(many, fitted.sample(300))


def test_a_fit_that_was_stopped_ends_as_one_that_was_not(fitted, tmp_path):
    class Stop(Exception):
        pass

    def watch(done, total, unit):
        if unit == "step" and done == 17:
            raise Stop

    with pytest.raises(Stop):
        small(tmp_path, watch=watch)
    again = small(tmp_path)
    assert 0 < len(again.losses) < 40
    assert torch.equal(again.drawn.log_weight, fitted.drawn.log_weight)


@pytest.mark.parametrize("kind", ["kl", "tb", "lv"])
@pytest.mark.parametrize("method", ["dds", "dis", "pis", "cmcd", "dbs", "uds"])
def test_every_path_learns_by_every_loss(method, kind):
    torch.manual_seed(0)
    target = double_well(2, 1, 2.0).standard()
    task = density.METHODS[method](loss=kind, width=8, layers=1).task(target, 4)
    before = task.module.state_dict()["net.leave.weight"].clone()
    chance = task.draw((2, 2), torch.Generator().manual_seed(0))
    loss = task.loss(None, chance)
    loss.per_sample.mean().backward()
    (grad,) = [p.grad for n, p in task.module.named_parameters() if n == "net.leave.weight"]
    assert grad is not None
    assert float(grad.abs().max()) > 0
    assert loss.per_sample.shape == loss.at.shape == (2,)
    rows = [task.loss(None, chance._replace(z=chance.z[i : i + 1])).per_sample for i in (0, 1)]
    assert torch.allclose(torch.cat(rows), loss.per_sample, rtol=1e-4)
    assert before.abs().max() == 0


def blind(x, here):
    """A control that knows one of two modes, the one at 3."""
    alpha, sigma = here.like(x)
    mean, variance = 3.0 / 2.55, (0.5 / 2.55) ** 2
    total = alpha**2 * variance + sigma**2
    denoised = mean + alpha * variance / total * (x - alpha * mean)
    return denoised, (variance * sigma**2 / total).expand(x.shape)


def test_a_mode_that_is_missed_is_told(fitted):
    """One of two modes: the weights are even and log Z is off by log 2; the population and the
    upper bound see it."""
    target = gaussians(torch.tensor([[-2.5], [2.5]]), 0.5, "two")
    target = dataclasses.replace(target, centre=0.5, scale=2.55, draw=target.draw)
    whole = fit_density(target, PLAIN, 4, 1.0, n=300)
    assert whole.task is not None
    at = dataclasses.replace(target, centre=-0.5).standard()

    class Blind(torch.nn.Module):
        def forward(self, x, here, *rest):
            return blind(x, here)

    task = dataclasses.replace(whole.task, module=Blind(), target=at, route=Noised(even(24)))
    assert missed(fitted) == []
    narrow = dataclasses.replace(whole, task=task, n=2000)
    assert narrow.ess > 0.8
    assert abs(narrow.log_z + math.log(2)) < 0.1
    assert "may miss modes" in missed(narrow)[0]
    assert narrow.upper is not None
    assert narrow.upper.mean > 5


def test_a_target_without_a_scale_is_found():
    bell = Target(lambda x: -((x - 20) / 3).square().sum(1) / 2, 2)
    found = fit(bell, Annealing(adaptive=0.9, particles=400), 10, 5.0)
    log_z = math.log(2 * math.pi * 9)
    assert abs(found.log_z - log_z) < 4 * found.stderr + 0.02
    centre, scale = found.target.place()
    assert float((centre - 20).abs().max()) < 0.5
    assert float((scale @ scale.T - 9 * torch.eye(2)).abs().max()) < 3
    x = found.sample(2000)
    assert float((x.mean(0) - 20).abs().max()) < 0.4


def test_tempering_finds_the_wells():
    target = double_well(2, 2, 3.0)
    method = Tempering(ladder=6, particles=50, rounds=60)
    found = fit(target, method, seconds=5.0)
    assert target.log_z is not None
    assert abs(found.log_z - target.log_z) < 0.1
    assert target.modes is not None
    which = target.modes.which(found.sample(3000)).flatten()
    shares = torch.bincount(which, minlength=4) / 3000
    assert float((shares - 0.25).abs().max()) < 0.05


def test_estimates_of_known_weights():
    w = torch.tensor([1.0, 3.0]).log()
    found = estimate(w)
    assert math.isclose(found.log_z, math.log(2), rel_tol=1e-6)
    assert math.isclose(found.ess, 16 / 20, rel_tol=1e-6)
    assert math.isclose(found.stderr, math.sqrt(0.25 / 2), rel_tol=1e-6)


def test_normals_of_a_path_are_all_different():
    draw, x = seeded([3, 4]), torch.zeros(2, 400)
    z = torch.cat([draw(k, x) for k in range(3)])
    assert float(torch.corrcoef(z).triu(1).abs().max()) < 0.2
    assert abs(float(z.std()) - 1) < 0.1


def test_distances_of_known_laws():
    """N(0, 1) and N(1, 1): W2 is 1, and |a - b| of N(1, 2) less that of N(0, 2), twice."""
    z = torch.special.ndtri((torch.arange(2000).double() + 0.5) / 2000)[:, None]
    assert abs(sliced_w2(z, z + 1) - 1) < 1e-6
    s = math.sqrt(2)
    apart = s * math.sqrt(2 / math.pi) * math.exp(-1 / 4) + math.erf(1 / 2)
    wanted = 2 * (apart - s * math.sqrt(2 / math.pi))
    assert abs(energy_distance(z, z + 1) - wanted) < 0.01
    assert of_normal(z, even(2).at(0))[0].shape == z.shape


def test_what_cannot_be_asked_is_refused():
    refused("unknown method 'ddss'", fit, normal(1), "ddss")
    refused("seconds", fit, normal(1), "dds", seconds=-1.0)
    refused("steps is 1", fit, normal(1), "dds", 1)
    refused("loss", DDS, loss="mse")
    refused("ratios", fit, normal(1), DDS(smallest=20.0), 4)
    refused("rounds", Tempering, rounds=1)
