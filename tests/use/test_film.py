"""Films of samples and flows over the plane, of N(0, s^2 I): closed forms, and the walk itself."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.denoise import Denoiser
from scorefield.draw.film import MOMENTS, film
from scorefield.process import VP
from scorefield.use.generate import generate
from scorefield.use.plan import asked_of, plan_of
from scorefield.use.plane import NOISES, _flow
from scorefield.use.sample import check_film

S = 0.5


class Perfect(nn.Module):
    """F of the edm view for which D is that of N(0, s^2 I): 0 (Karras et al.)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, noise: Tensor, cond: object) -> Tensor:
        return self.weight * x


def model(*shape: int) -> Denoiser:
    return Denoiser(Perfect(), "edm", S, schedule=VP(), shape=shape)


def filmed(denoiser: Denoiser, n: int, **settings) -> list[Tensor]:
    asked = asked_of(denoiser, n)
    return list(film(denoiser, plan_of(denoiser, False, **settings), asked))


@pytest.mark.parametrize("shape", [(2,), (1, 4, 4)])
@pytest.mark.parametrize("solver", ["heun", "ddpm", "dpmpp2m"])
def test_a_film_ends_with_the_samples_to_the_bit(shape, solver):
    denoiser = model(*shape)
    seen = filmed(denoiser, 5, solver=solver, steps=6)
    assert len(seen) == 1 + 5 + 1
    assert torch.equal(seen[-1], generate(denoiser, 5, solver=solver, steps=6))


def test_the_flow_of_a_gaussian_moves_no_point_of_a_film():
    """x keeps its place in units of the deviation of its level, sqrt(alpha^2 s^2 + sigma^2)."""
    seen = filmed(model(2), 50, solver="rk4", steps=20)
    for moment in seen[:-1]:
        torch.testing.assert_close(moment, seen[0], atol=1e-3, rtol=0)


def test_pictures_are_seen_as_their_estimates():
    """Between noise and sample D, whose deviation, s^2 alpha over that of x, only grows."""
    noise, *between, _ = filmed(model(1, 8, 8), 60, solver="heun", steps=8)
    sizes = [float(seen.std()) for seen in between]
    assert float(noise.std()) == pytest.approx(S, rel=0.05)
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.1 * S


def test_a_film_is_bounded():
    assert len(filmed(model(2), 3, solver="ddim", steps=500)) <= MOMENTS + 2
    for most, shape in ((64, (1, 2, 2)), (2000, (2,))):
        check_film(most, shape)
        with pytest.raises(BadInput, match=f"at most {most} samples, and `n` is {most + 1}"):
            check_film(most + 1, shape)


def test_arrows_are_the_flow_of_a_gaussian():
    """D - x/alpha = -r^2 / (s^2 + r^2) x/alpha."""
    denoiser = model(2)
    levels = plan_of(denoiser, False, steps=200).levels
    run = SimpleNamespace(denoiser=denoiser, info=SimpleNamespace(sigma_data=S))
    made = S * torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))
    for noise in NOISES:
        flow = _flow(run, levels, made, torch.tensor([0.3, -0.1]), 2.0, noise)  # type: ignore
        r = flow.ratio
        assert r == pytest.approx(noise * S, rel=0.1)
        torch.testing.assert_close(flow.towards, -(r**2) / (S**2 + r**2) * flow.at)
        assert float(flow.seen.std()) == pytest.approx((S**2 + r**2) ** 0.5, rel=0.05)
