"""Laws of autoencoders against probabilistic PCA; each with a planted twin that it finds."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from scorefield.data import Data, Scaling, Split
from scorefield.latent import AE, VAE, encoder_bound
from scorefield.latent.ladder import latent_size
from scorefield.latent.vae import LatentDraws
from scorefield.likelihood import Discretised, Logistic, bits_per_dim
from scorefield.likelihood.decoder import gaussian
from scorefield.nets import ConvAutoencoder, MLPAutoencoder, Posterior
from scorefield.objective import Batch
from scorefield.train import Training, learn
from tests.latent.linear import BEST, LATENT, VARIANCES, best, examples, loglik, put
from tests.refusal import fails, refused

PAIR = torch.tensor([1.0, -1.0], dtype=torch.float64)


def antithetic(n: int, latent: int = LATENT) -> LatentDraws:
    """Draws of which all moments to the second are a normal's, so that the linear model's mean over
    them is exact: +-sqrt(d) along each axis."""
    axes = math.sqrt(latent) * torch.eye(latent, dtype=torch.float64)
    return LatentDraws(torch.cat([axes, -axes]).expand(n, -1, -1))


def loss_of(task: VAE, x: Tensor) -> Tensor:
    module: Any = task.module
    chance = antithetic(len(x), module.latent_shape[0])
    return task.loss(Batch(x, None), chance).per_sample


# -- the linear VAE is probabilistic PCA


def ppca_law(task: VAE, value: float = BEST) -> None:
    found = float(loss_of(task, examples()).mean().detach())
    assert abs(found + value) < 1e-7  # the variances are known to 8 digits


def test_the_best_linear_vae_has_the_likelihood_of_ppca():
    ppca_law(VAE(best(), draws=4))
    x, net = examples(), best()
    W, s2 = net.decoder[0].weight.detach(), float(VARIANCES[LATENT:].mean())
    D, d = 5, LATENT
    closed = D * math.log(2 * math.pi) + float(VARIANCES[:d].log().sum()) + (D - d) * math.log(s2)
    assert abs(float(loglik(x, W, s2).mean()) + (closed + D) / 2) < 1e-9
    assert abs(BEST + (closed + D) / 2) < 1e-7


class Averaged(VAE):
    """The commonest defect: the reconstruction is a mean over the numbers, the KL a sum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.decoder = lambda *given: gaussian(*given) / given[0][0].numel()


def test_twin_a_reconstruction_averaged_over_pixels_fails():
    fails("", ppca_law, Averaged(best(), draws=4))


def test_a_diagonal_encoder_pays_for_columns_that_are_not_orthogonal():
    task = VAE(best(0.7), draws=4)
    assert abs(float(loss_of(task, examples()).mean().detach()) - 7.2322186) < 1e-7
    fails("", ppca_law, task)


def slope_law(net: Any, weights: list[Tensor]) -> None:
    """At the optimum no weight has a gradient."""
    loss_of(VAE(net, draws=4), examples()).mean().backward()
    assert all(bool((w.grad.abs() < 1e-9).all()) for w in weights if w.grad is not None)


def test_the_optimum_is_stationary_and_the_turned_one_turns_back():
    net = best()
    slope_law(net, list(net.parameters()))
    turned = best(0.7)
    fails("", slope_law, turned, list(turned.parameters()))
    x, task = examples(), VAE(turned, draws=4)
    down = torch.optim.LBFGS(turned.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        down.zero_grad()
        loss = loss_of(task, x).mean()
        loss.backward()
        return loss

    down.step(closure)
    W = turned.decoder[0].weight.detach()
    assert float((W.T @ W)[0, 1].abs()) < 1e-3
    ppca_law(task)


def test_a_fixed_variance_of_one_leaves_the_directions_above_it():
    net = best(latent=3, fixed=1.0)
    norms = net.decoder[0].weight.detach().norm(dim=0)
    assert abs(float(norms[2]) - math.sqrt(0.03799461)) < 1e-9
    slope_law(net, [net.decoder[0].weight, net.encoder[-1].weight, net.encoder[-1].bias])
    dead = best(latent=4, fixed=1.0).decoder[0].weight.detach().norm(dim=0)
    assert float(dead[3]) == 0.0


# -- nats per sample


def per_sample_law(task: VAE) -> None:
    """The loss of an example is its own, whatever the batch; padding with constant numbers adds
    exactly what their density costs."""
    x = examples()[:60]
    whole = loss_of(task, x)
    parts = torch.cat([loss_of(task, some) for some in x.split(7)])
    assert torch.allclose(whole, parts, rtol=0, atol=1e-12)
    wide = MLPAutoencoder((15,), depth=0, latent=LATENT).double()
    net: Any = task.module
    W, E = net.decoder[0].weight, net.encoder[-1].weight[:LATENT]
    log_var, s2 = net.encoder[-1].bias[LATENT:], float(net.variance.detach())
    put(wide, torch.cat([W, W.new_zeros(10, LATENT)]), torch.cat([E, E.new_zeros(LATENT, 10)], 1),
        log_var, s2)  # fmt: skip
    padded = loss_of(replace(task, module=wide), torch.cat([x, x.new_zeros(60, 10)], 1))
    assert torch.allclose(padded - whole, torch.tensor(5 * math.log(2 * math.pi * s2)).double())


class BatchMean(VAE):
    """Its KL is a mean over the batch and the latent."""

    def loss(self, batch, chance):
        found = super().loss(batch, chance)
        rate, size = found.parts["kl_1"], latent_size(self.module)
        return found._replace(per_sample=found.per_sample - rate + rate.mean() / size)


@pytest.mark.parametrize("twin", [Averaged, BatchMean])
def test_the_loss_is_in_nats_per_sample_and_the_defects_are_found(twin):
    per_sample_law(VAE(best(), draws=4))
    fails("", per_sample_law, twin(best(), draws=4))


# -- draws


def draws_of(n: int, draws: int, seed: int = 3) -> LatentDraws:
    rng = torch.Generator().manual_seed(seed)
    return LatentDraws(torch.randn(n, draws, LATENT, generator=rng, dtype=torch.float64))


def unbiased_law(make, draws: int) -> None:
    """The mean over many steps of L draws each is the bound; its variance goes as 1/L."""
    x, count = examples()[:1], 40_000
    exact = float(loss_of(VAE(best(0.7), draws=4), x).detach())
    task = make(best(0.7), draws=draws)
    found = task.loss(Batch(x.expand(count, -1), None), draws_of(count, draws)).per_sample
    one = VAE(best(0.7)).loss(Batch(x.expand(count, -1), None), draws_of(count, 1)).per_sample
    assert abs(float(found.detach().mean()) - exact) < 4 * float(found.std()) / math.sqrt(count)
    assert abs(float(one.var() / found.var()) / draws - 1) < 0.08


class LogOfMean(VAE):
    """The L draws are averaged inside the logarithm, and called the bound."""

    weighted = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.weighted = True


@pytest.mark.parametrize("draws", [2, 8])
def test_the_bound_of_L_draws_is_unbiased(draws):
    unbiased_law(VAE, draws)
    fails("", unbiased_law, LogOfMean, draws)


def weighted_of(net: Any, draws: int) -> Tensor:
    x = examples()[:200]
    task = VAE(net, draws=draws, weighted=True)
    return task.loss(Batch(x, None), draws_of(200, draws)).per_sample


@pytest.mark.parametrize("draws", [1, 5, 50])
def test_with_the_exact_posterior_all_weights_are_equal(draws):
    net = best()
    exact = loglik(examples()[:200], net.decoder[0].weight.detach(), float(net.variance))
    assert (weighted_of(net, draws) + exact).abs().max() < 1e-10


def test_with_a_wide_posterior_the_weighted_bound_rises_with_the_draws():
    net = best()
    with torch.no_grad():
        net.encoder[-1].bias[LATENT:] += 2 * math.log(2)  # twice the deviation
    means = [float(weighted_of(net, draws).mean()) for draws in (1, 4, 16, 64)]
    assert means == sorted(means, reverse=True)
    assert means[0] - means[-1] > 0.5
    exact = loglik(examples()[:200], net.decoder[0].weight.detach(), float(net.variance))
    assert -means[-1] < float(exact.mean()) + 0.02


def test_without_its_kl_the_variance_of_the_encoder_collapses():
    """The slope in log V of the reconstruction alone is V (W^T W) / 2 s^2 > 0; with the KL, 0."""
    x = examples()
    for beta, held in ((1.0, True), (0.0, False)):
        net = best()
        loss_of(VAE(net, draws=4, beta=beta), x).mean().backward()
        slope = net.encoder[-1].bias.grad[LATENT:]
        W, V = net.decoder[0].weight.detach(), net.encoder[-1].bias.detach()[LATENT:].exp()
        pulled = V * (W.T @ W).diagonal() / (2 * net.variance.detach())
        assert torch.allclose(slope, torch.zeros_like(slope) if held else pulled, atol=1e-9)


def test_the_log_density_of_784_numbers():
    """-(n/2) log 2 pi - |r|^2 / 2: without its constant it would be -15."""
    r = torch.zeros(1, 784, dtype=torch.float64)
    r[0, 0] = math.sqrt(30)
    found = float(gaussian(r, torch.zeros_like(r), torch.ones(()).double()))
    assert abs(found + 735.44781003) < 1e-6
    q = Posterior(torch.zeros_like(r), torch.zeros_like(r))
    assert abs(float(q.log_prob(r)) - found) < 1e-9


# -- a bound by seeds


def bound_law(bound: Any) -> None:
    """Each sample's own seed draws for it; the mean is the closed form within its error."""
    x, net = examples()[:64], best(0.7)
    found = bound(net, x, draws=64)
    exact = -loss_of(VAE(net, draws=4), x)
    z = (found.log_prob - exact) / found.stderr
    assert 0.6 < float(z.std()) < 1.5
    assert abs(float(z.mean())) < 0.5
    again = bound(net, x[:5], draws=64)
    assert torch.allclose(found.log_prob[:5], again.log_prob, rtol=0, atol=1e-12)


def test_the_bound_of_an_encoder_and_one_that_draws_one_z_for_all():
    bound_law(encoder_bound)

    def shared(net, x, **options):
        def same(x, here, there):
            return torch.randn(x.shape[1:]).to(x).expand_as(x)

        return encoder_bound(net, x, noise=same, **options)

    fails("", bound_law, shared)


def test_the_weighted_bound_is_the_likelihood_where_q_is_exact():
    x, net = examples()[:64], best()
    exact = loglik(x, net.decoder[0].weight.detach(), float(net.variance))
    found = encoder_bound(net, x, draws=3, weighted=True)
    assert torch.allclose(found.log_prob, exact)
    assert float(found.stderr.abs().max()) < 1e-9
    assert torch.allclose(-(found.terms.sum(1) + found.decoder), found.log_prob)


# -- discretised logistic


def mass_law(decoder) -> None:
    """The probabilities of all levels add up to 1, at any mean and variance."""
    levels = torch.linspace(-1, 1, 256, dtype=torch.float64)[:, None]
    for mean, variance in ((0.0, 1.0), (-1.3, 0.2), (0.999, 1e-5), (5.0, 1e-3)):
        at = torch.full_like(levels, mean)
        log_p = decoder(levels, at, torch.tensor(variance).double())
        assert log_p.isfinite().all()
        assert abs(float(log_p.exp().sum()) - 1) < 1e-9


class Closed(Logistic):
    """Its outermost bins end, as if there were levels beyond."""

    def __call__(self, x0, mean, variance):
        return Logistic(self.width, -9.0, 9.0)(x0, mean, variance)


@pytest.mark.parametrize("decoder", [Logistic(), Discretised()])
def test_the_levels_share_one_mass(decoder):
    mass_law(decoder)


def test_twin_bins_that_end_fail():
    fails("", mass_law, Closed())


def test_a_blind_logistic_decoder_pays_eight_bits_at_most():
    """A law much wider than the range, in the middle: all 256 levels but the outer two alike."""
    x = torch.linspace(-1, 1, 256, dtype=torch.float64)[None, 1:-1]
    log_p = Logistic()(x, torch.zeros_like(x), torch.tensor(0.36).double())
    assert 7.5 < float(bits_per_dim(log_p, 254)) < 8.6


# -- plain autoencoders


def data_of(x: Tensor) -> Data:
    x = x.float()
    return Data("linear", Split(x), Split(x[:8]), (), Scaling((0.0,), (1.0,)))


def test_a_linear_autoencoder_finds_the_principal_subspace():
    """Principal angles to scikit-learn's, below 1e-3; at the start they are not."""
    x = examples(1000)
    torch.manual_seed(0)
    net: Any = MLPAutoencoder((5,), depth=0, latent=LATENT, regulariser="none")
    pca = torch.from_numpy(PCA(LATENT).fit(x.numpy()).components_)

    def angle() -> float:
        span = torch.linalg.qr(net.decoder[0].weight.detach().double())[0]
        return float(torch.linalg.svdvals(span - pca.T @ (pca @ span)).max())  # sine of the largest

    assert angle() > 0.1
    learn(
        AE(net),
        data_of(x),
        Training(images=800_000, batch=1000, lr=5e-2, warmup=100, ema=0.0, clip=1e9),
    )
    assert angle() < 1e-3
    assert abs(float(net.variance) - float(VARIANCES[LATENT:].sum()) / 5) < 2e-3


def test_a_perceptual_loss_adds_what_the_features_are_apart():
    class Blind(torch.nn.Module):
        def features(self, x):
            return x[:, :2]

    net, x = best(), examples()[:10]
    seen = AE(net, judge=Blind(), perceptual=3.0).loss(Batch(x, None), None)
    plain = AE(net).loss(Batch(x, None), None).per_sample
    apart = (x - net.decode(net.encode(x).mode))[:, :2].square().sum(1)
    assert torch.allclose(seen.per_sample - plain, 3 * apart)
    task = VAE(net, judge=Blind(), perceptual=3.0, draws=4)
    plain, seen = (loss_of(t, x) for t in (VAE(net, draws=4), task))
    assert ((seen - plain) > 0).all()


# -- codes


def coded(points: Tensor, codes: Tensor) -> Any:
    """Identity both ways, so that the codes are all that there is."""
    net: Any = MLPAutoencoder((2,), depth=0, latent=2, regulariser="vq", codes=len(codes)).double()
    with torch.no_grad():
        for layer in (net.encoder[-1], net.decoder[0]):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
        net.codebook.copy_(codes)
    return net


def test_codes_at_the_means_of_what_they_stand_for_do_not_move():
    """k-means: the codes' loss has its stationary points; the reconstruction moves no code."""
    rng = torch.Generator().manual_seed(0)
    points = torch.randn(300, 2, generator=rng, dtype=torch.float64)
    codes = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    for _ in range(60):  # Lloyd
        near = torch.cdist(points, codes).argmin(1)
        codes = torch.stack([points[near == k].mean(0) for k in range(3)])
    for shift, still in ((0.0, True), (0.1, False)):
        net = coded(points, codes + shift)
        AE(net).loss(Batch(points, None), None).per_sample.mean().backward()
        assert (float(net.codebook.grad.abs().max()) < 1e-9) == still
    net = coded(points, codes)
    near = torch.cdist(points, codes).argmin(1)
    assert torch.allclose(net.decode(points), codes[near], rtol=0, atol=1e-12)


# -- networks


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 25, 13), (2, 50), (1, 6, 5, 4)])
@pytest.mark.parametrize("regulariser", ["kl", "none", "vq"])
def test_a_convolutional_autoencoder_of_any_shape(shape, regulariser):
    net = ConvAutoencoder(shape, width=8, multipliers=(1, 2, 1), latent=3, regulariser=regulariser)
    x = torch.randn(2, *shape)
    q = net.encode(x)
    assert q.mean.shape == (2, *net.latent_shape) == (2, 3, *(-(-side // 4) for side in shape[1:]))
    z = q.sample(torch.randn_like(q.mean))
    assert torch.equal(z, q.mode) == (regulariser != "kl")
    assert net.decode(z).shape == x.shape
    again = type(net)(**net.config)
    again.load_state_dict(net.state_dict())
    assert torch.equal(again.encode(x).mean, q.mean)


def batch_law(net) -> None:
    x = torch.randn(6, 1, 9, 9, generator=torch.Generator().manual_seed(0)).double()
    whole, parts = net.encode(x).mean, [net.encode(some).mean for some in x.split(2)]
    assert torch.allclose(whole, torch.cat(parts), rtol=0, atol=1e-12)


def test_a_sample_does_not_depend_on_its_batch_and_a_batch_norm_is_found():
    net = ConvAutoencoder((1, 9, 9), width=8).double()
    batch_law(net)
    net.encoder[-3] = torch.nn.BatchNorm2d(16, affine=False).double()
    fails("", batch_law, net)


def test_bad_input():
    kl = MLPAutoencoder((4,), latent=2)
    refused("regulariser", MLPAutoencoder, (4,), regulariser="free")
    refused("width is 12", ConvAutoencoder, (1, 8, 8), width=12)
    refused("series", ConvAutoencoder, (8,))
    refused("x has shape", kl.encode, torch.zeros(2, 5))
    refused("z has shape", kl.decode, torch.zeros(2, 5))
    refused("no codes", kl.nearest, torch.zeros(2, 2))
    refused("needs kl", VAE, MLPAutoencoder((4,), regulariser="none"))
    refused("perceptual weight", AE, kl, perceptual=1.0)
    refused("importance-weighted", VAE, kl, beta=2.0, weighted=True)
    refused("draws is 0", VAE, kl, draws=0)
