"""Bases: exact inverses and isometries, and what the coordinates are."""

import math

import pytest
import torch

from scorefield.spaces import DCT, Haar, Identity, band_deviations
from tests.refusal import fails, refused

CASES = [
    (DCT(), (1, 8, 8)), (DCT(), (5,)), (DCT(), (2, 6)), (DCT(), (1, 4, 6, 2)), (Haar(), (3, 8, 8)),
    (Haar(2), (1, 8, 4)), (Haar(2), (2, 8)), (Haar(), (1, 4, 4, 2)), (Identity(2), (5,)),
]  # fmt: skip


def check_isometry(basis, shape) -> None:
    x, z = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0)).double()
    y = basis.forward(x)
    assert y.shape[1:] == basis.shape(shape)
    assert (basis.inverse(y) - x).abs().max() < 1e-14
    dots = (x * z).flatten(1).sum(1), (y * basis.forward(z)).flatten(1).sum(1)
    assert torch.allclose(*dots, rtol=1e-12, atol=1e-12)
    assert basis.bands(tuple(y.shape[1:])).expand(y.shape[1:]).min() == 0


@pytest.mark.parametrize("basis, shape", CASES, ids=str)
def test_an_inverse_and_an_isometry(basis, shape):
    check_isometry(basis, shape)


def test_averages_and_differences_are_no_isometry():
    class Averages(Haar):
        def forward(self, x):
            return super().forward(x) / 2**0.5

        def inverse(self, y):
            return super().inverse(y) * 2**0.5

    fails("", check_isometry, Averages(), (2, 8))
    z = torch.randn(20_000, 1, 2, generator=torch.Generator().manual_seed(0))
    assert float(Averages().forward(z).std()) == pytest.approx(0.7071, abs=0.01)


def test_haar_of_a_pair_and_bands():
    y = Haar().forward(torch.tensor([[[1.0, 3.0]]]))
    assert y.flatten().tolist() == pytest.approx([4 / 2**0.5, -2 / 2**0.5])
    assert Haar(2).bands((16, 2, 2)).flatten().tolist()[:4] == [0, 1, 2, 2]
    flat = torch.ones(4, 1, 8, 8) * torch.arange(4.0).reshape(-1, 1, 1, 1)
    assert max(band_deviations(Haar(2), flat)[1:]) < 1e-12
    refused("blocks of 4", Haar(2).forward, torch.zeros(1, 1, 6, 6))


def blurred_by_image_sum(x: torch.Tensor, s: float) -> torch.Tensor:
    """A Gaussian kernel, sampled, at reflecting ends."""
    n = len(x)
    far = torch.arange(-4 * n, 4 * n)
    w = (-(far.double() ** 2) / (2 * s * s)).exp()
    index = (torch.arange(n)[:, None] + far) % (2 * n)
    index = torch.where(index < n, index, 2 * n - 1 - index)
    return (x[index] * (w / w.sum())).sum(1)


@pytest.mark.parametrize(
    "s, off, within", [(5, 0, 1e-12), (2, 0, 1e-8), (1, 2e-3, 2e-3), (0.5, 0.2, 0.15)]
)
def test_blur_is_exact_and_a_sampled_kernel_is_not(s, off, within):
    x = torch.zeros(32).double()
    x[11] = 1.0
    y = DCT().forward(x[None])
    ours = DCT().inverse(y * (-DCT().rates((32,)) * s * s / 2).exp())[0]
    wrong = float((ours - blurred_by_image_sum(x, s)).abs().max())
    assert abs(wrong - off) < within + 1e-15
    assert float(DCT().rates((32,))[3]) == pytest.approx((3 * math.pi / 32) ** 2)
