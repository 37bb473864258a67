"""What targets say of themselves is true, and one that cannot be sampled is refused in words."""

import math

import pytest
import torch

from scorefield.catalogue.targets import targets
from scorefield.density.known import double_well, gaussians, lennard_jones
from scorefield.density.target import Target, check_target
from tests.refusal import fails, refused

SMALL = {
    "log-gaussian-cox": {"grid": 4},
    "lennard-jones": {"particles": 4},
    "gmm-40-wide": {"dim": 8},
}
MADE = {name: targets[name](**SMALL.get(name, {})) for name in targets if name != "logistic"}
KNOWN = [name for name, t in MADE.items() if t.draw is not None]
PUBLISHED = {"double-well": -0.541056, "double-well-50": 42.817243, "many-well": 164.695675}


@pytest.mark.parametrize("name", MADE)
def test_a_target_can_be_sampled(name):
    assert check_target(MADE[name]) == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_integrals(name):
    assert abs(MADE[name].log_z - PUBLISHED[name]) < 2e-6


def check_samples(target: Target, x: torch.Tensor):
    """Stein: over exact samples, `E x_i d/dx_i log rho = -1`."""
    each = x * target.gradient(x)
    error = each.std(0) / math.sqrt(len(x))
    assert bool(((each.mean(0) + 1).abs() < 5 * error + 1e-6).all())


@pytest.mark.parametrize("name", KNOWN)
def test_samples_are_those_of_the_density(name):
    target = MADE[name]
    x = target.exact(10_000, torch.Generator().manual_seed(0))
    check_samples(target, x)
    fails("", check_samples, target, 1.1 * x)


def check_integral(target: Target):
    """log Z by a sum over a lattice of 12 scales."""
    centre, scale = target.place()
    line = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    u = torch.cartesian_prod(*[line] * target.dim).view(-1, target.dim)
    total = target(centre + scale * u).logsumexp(0) + (0.01 * scale).log().sum()
    assert target.log_z is not None
    assert abs(float(total) - target.log_z) < 1e-5


@pytest.mark.parametrize("name", ["quartic", "ring"])
def test_integrals(name):
    check_integral(MADE[name])
    off = Target(MADE[name].log_prob, MADE[name].dim, MADE[name].log_z + 1e-3,
                 centre=MADE[name].centre, scale=MADE[name].scale)  # fmt: skip
    fails("", check_integral, off)


@pytest.mark.parametrize("name", KNOWN)
def test_shares_are_those_of_exact_samples(name):
    target = MADE[name]
    x = target.exact(4000, torch.Generator().manual_seed(0))
    assert x.shape == (4000, target.dim)
    if target.modes is not None:
        which = target.modes.which(x).flatten()
        found = torch.bincount(which, minlength=len(target.modes.fractions)) / len(which)
        assert float((found - target.modes.fractions).abs().max()) < 0.03
        standard = target.standard()
        assert standard.modes is not None
        u = standard.exact(4000, torch.Generator().manual_seed(0))
        assert torch.equal(standard.modes.which(u).flatten(), which)


def test_particles_have_their_symmetries():
    """Turns of space and the particles' order change nothing; a planted charge on one does."""
    from scorefield.density.known import _free

    target, basis = lennard_jones(5), _free(5, 3)
    u = torch.randn(4, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = (2 * u @ basis.T).unflatten(1, (5, 3))
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    plain = target(x.flatten(1) @ basis)
    for moved in (x @ turn, x[:, [3, 1, 0, 2, 4]]):
        assert torch.allclose(target(moved.flatten(1) @ basis), plain)
    assert not torch.allclose(target((x * torch.tensor([1.1, 1, 1])).flatten(1) @ basis), plain)


def log_gauss(x):
    return -x.square().sum(1) / 2


BAD = {
    "one number a row": lambda x: log_gauss(x)[:, None],
    "NaN": lambda x: log_gauss(x) + x[:, 0].log() * 0,
    "no gradient": lambda x: log_gauss(x.detach()),
    "all of": lambda x: torch.full_like(x[:, 0], -math.inf) + x[:, 0] * 0,
    "differences": lambda x: log_gauss(x) + 3 * x[:, 0].detach(),
    "rows beside": lambda x: log_gauss(x - x.mean(0)),
    "no finite integral": lambda x: -(x[:, 0] - x[:, 1]).square() / 2,
}
"""Each log_prob, by words of its refusal."""


@pytest.mark.parametrize("says", BAD)
def test_a_target_that_cannot_be_sampled_is_refused(says):
    refused(says, check_target, Target(BAD[says], 2))


def test_a_flat_and_a_growing_target_are_refused():
    refused("no finite integral", check_target, Target(lambda x: 0 * x.sum(1), 3))
    refused("no finite integral", check_target, Target(lambda x: x.square().sum(1), 3))
    cauchy = Target(lambda x: -(1 + x.square()).log().sum(1), 3)
    assert check_target(cauchy) == []


def test_half_a_space_and_narrow_numbers_are_told():
    half = Target(lambda x: torch.where(x[:, 0] > 0, log_gauss(x), -math.inf), 2)
    (said,) = check_target(half)
    assert "-inf at" in said
    rough = Target(lambda x: log_gauss(x) + 1e7 - 1e7 * torch.ones_like(x[:, 0]), 2)
    assert any("float32" in line for line in check_target(rough))


@pytest.mark.parametrize("dim", [1, 1000])
def test_one_and_a_thousand_dimensions(dim):
    assert check_target(Target(log_gauss, dim)) == []


def test_settings_that_cannot_be_are_refused():
    refused("dim", Target, log_gauss, 0)
    refused("scale", Target, log_gauss, 1, scale=-1.0)
    refused("wells", double_well, 3, 4)
    refused("no exact samples", Target(log_gauss, 1).exact, 1, torch.Generator())
    assert gaussians(torch.zeros(1, 1), 2.0, "one").log_z == 0
