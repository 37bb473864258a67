"""Laws of a codec: there and back, volumes, one scale; each with a planted twin."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scorefield.data import Data, Scaling, Split
from scorefield.data.codec import Latents
from scorefield.data.latents import in_latents, spread_of
from scorefield.inverse.operators import Nonlinear, random_mask
from scorefield.latent.posterior import rate_of, silent
from scorefield.nets import ConvAutoencoder, MLPAutoencoder
from tests.refusal import fails, refused

RNG = torch.Generator().manual_seed(0)


def linear(size: int = 4, latent: int = 4) -> Any:
    """A linear autoencoder that is one to one where it has as many numbers."""
    net: Any = MLPAutoencoder((size,), depth=0, latent=latent, regulariser="none").double()
    with torch.no_grad():
        W = torch.randn(size, latent, generator=RNG, dtype=torch.float64)
        net.decoder[0].weight.copy_(W)
        net.decoder[0].bias.fill_(0.3)
        net.encoder[1].weight.copy_(torch.linalg.pinv(W))
        net.encoder[1].bias.copy_(-torch.linalg.pinv(W).sum(1) * 0.3)
    return net.requires_grad_(False)


def volume_law(codec: Any) -> None:
    """`log |dx/dz|` is what a small cube of z becomes."""
    z = torch.randn(3, 4, generator=RNG, dtype=torch.float64)
    cube = 1e-3 * torch.eye(4, dtype=torch.float64)
    for row, found in zip(z, codec.log_det(z)):
        edges = codec.decode(row + cube) - codec.decode(row[None])
        torch.testing.assert_close(found, torch.linalg.slogdet(edges / 1e-3)[1], atol=1e-6, rtol=0)


@dataclass(frozen=True, eq=False)
class Unscaled(Latents):
    """The volume of the autoencoder alone."""

    def log_det(self, x0: Tensor) -> Tensor:
        return Latents(self.module).log_det(x0 / self.scale)


def test_the_volume_of_a_codec_and_back():
    codec = Latents(linear(), 0.2)
    volume_law(codec)
    x = torch.randn(5, 4, generator=RNG, dtype=torch.float64)
    torch.testing.assert_close(codec.decode(codec.encode(x)), x)


def test_twin_the_scale_has_no_volume():
    fails("", volume_law, Unscaled(linear(), 0.2))


def test_what_is_not_one_to_one_has_no_volume():
    refused("makes 4 numbers of 2. There is a bound", Latents(linear(4, 2)).log_det,
            torch.zeros(1, 2).double())  # fmt: skip
    lossy = linear()
    lossy.encoder[1].weight.mul_(0.5)
    refused("and loses", Latents(lossy).log_det, torch.ones(2, 4).double())


def scale_law(encode: Any) -> None:
    """The latents of a data set, however wide the encoder makes them, have deviation 1, and come
    back to what they were."""
    net = linear()
    net.encoder[1].weight.mul_(5.49)
    net.decoder[0].weight.div_(5.49)
    x = torch.randn(500, 4, generator=RNG, dtype=torch.float64) + 2
    raw = Latents(net).encode(x)
    codec = Latents(net, 1 / float(raw.std(correction=0)))
    z = encode(codec, x)
    assert abs(float(z.std(correction=0)) - 1) < 1e-6
    torch.testing.assert_close(codec.decode(z), Latents(net).decode(raw))


def test_latents_are_scaled_once():
    scale_law(lambda codec, x: codec.encode(x))


@pytest.mark.parametrize("power", [0, 2, -1])
def test_twin_scaled_never_twice_or_the_other_way(power):
    fails("", scale_law, lambda codec, x: Latents(codec.module).encode(x) * codec.scale**power)


@pytest.mark.parametrize(
    "net", [MLPAutoencoder((1, 6, 6), latent=5), ConvAutoencoder((1, 6, 6), width=8, latent=2)]
)
def test_a_row_is_the_same_to_the_bit_in_any_batch(net):
    codec = Latents(net.eval().requires_grad_(False), 0.7)
    x = torch.randn(530, 1, 6, 6, generator=RNG)
    whole = codec.decode(codec.encode(x))
    for rows in (slice(0, 1), slice(3, 10), slice(505, 530)):
        assert torch.equal(codec.decode(codec.encode(x[rows])), whole[rows])


def test_gradients_run_through_a_decoder():
    codec = Latents(linear(4, 2), 0.5)
    seen = random_mask((4,), 0.5)
    through = Nonlinear(lambda z: seen(codec.decode(z)), (2,))
    z, v = torch.zeros(3, 2).double(), torch.randn(3, 2, generator=RNG, dtype=torch.float64)
    matrix = (codec.decode(torch.eye(2).double()) - codec.decode(torch.zeros(2, 2).double())).T
    expected = v @ matrix[seen.known]
    torch.testing.assert_close(through.pullback(z, v), expected)


class Known(nn.Module):
    """An encoder whose posterior is known: mean x, and these deviations."""

    def __init__(self, std: Tensor) -> None:
        super().__init__()
        self.std = nn.Parameter(std, requires_grad=False)
        self.shape = self.latent_shape = tuple(std.shape)

    def encode(self, x: Tensor) -> Any:
        from scorefield.nets import Posterior

        return Posterior(x, 2 * self.std.log().expand_as(x))

    def decode(self, z: Tensor) -> Tensor:
        return z


def test_draws_of_a_posterior_have_its_moments():
    std = torch.tensor([0.1, 2.0])
    x = torch.randn(3, 2, generator=RNG)
    data = Data("x", Split(x), Split(x[:1]), (), Scaling((0.0,), (1.0,)))
    inner = in_latents(data, Latents(Known(std), 3.0), drawn=True)
    index = torch.arange(3).repeat(4000)
    noise = torch.randn(12000, 2, generator=RNG)
    drawn = inner.batch(inner.train, index, noise)[0]
    torch.testing.assert_close(drawn[index == 1].mean(0), 3 * x[1], atol=0.4, rtol=0)
    torch.testing.assert_close(drawn[index == 1].std(0), 3 * std, atol=0, rtol=0.05)
    assert torch.equal(inner.batch(inner.train, index)[0], 3 * x[index])  # the mode, without noise
    assert in_latents(data, Latents(Known(std), 3.0), drawn=False).train.std is None


def test_silent_numbers_are_found():
    mean = torch.randn(4000, 3, generator=RNG) * torch.tensor([1.0, 0.0, 0.05])
    std = torch.tensor([0.1, 1.0, 1.0]).expand(4000, 3)
    assert silent(mean, std).tolist() == [False, True, True]
    assert rate_of(mean, std)[0] == pytest.approx(2.3026 - 0.495 + 0.5, abs=0.05)
    points = torch.randn(400, 2, generator=RNG) * torch.tensor([1.0, 1e-4])
    assert silent(points, torch.zeros(400, 2)).tolist() == [False, True]


def test_a_split_keeps_the_order_of_its_examples():
    x = torch.randn(1100, 2, generator=RNG)
    data = Data("x", Split(x), Split(x[:1]), (), Scaling((1.0,), (2.0,)))
    mean, std = spread_of(Latents(Known(torch.ones(2))), data, data.train)
    torch.testing.assert_close(mean, (x - 1) / 2)
    assert std.shape == mean.shape
