"""What each guide does: limits, identities and exact truths, each with a planted slip."""

import pytest
import torch

from scorefield import guide as guides
from scorefield.base import Level, Seeded, like
from scorefield.denoise import Mixture
from scorefield.guide import autoguide, cfg, chain, interval, mixture, product, rescale, threshold
from scorefield.solve.laws import EIGHT
from tests.laws.truths import log_density, log_prob, two_classes
from tests.laws.walks import Counted
from tests.refusal import refused

X = Seeded(range(6)).start((2,), Level.of(1.0, 1.5), dtype=torch.float64)
COND = {"label": torch.tensor([0, 1, 2, 3, 4, 5])}
OTHER = {"label": torch.tensor([2, 5, 7, 4, 3, 1])}
LEVEL = Level.of(0.6, 0.8)


def close(a, b):
    return bool((a - b).abs().max() < 1e-10)


# --- cfg -----------------------------------------------------------------------------------------


def labelled(x, level, cond=None):
    """D = x/2 + label; unconditional: x/2. Remembers what it was asked."""
    labelled.calls.append(cond)
    return 0.5 * x + (0 if cond is None else cond["label"][:, None])


@pytest.fixture(autouse=True)
def _forget():
    labelled.calls = []


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 2.0, 7.5, -1.0])
def test_the_convention(scale):
    found = cfg(scale)(labelled)(X, LEVEL, COND)
    expected = 0.5 * X + scale * COND["label"][:, None]
    assert close(found, expected)


def test_calls_of_cfg():
    cfg(1.0)(labelled)(X, LEVEL, COND)
    assert labelled.calls == [COND]
    labelled.calls.clear()
    cfg(3.0)(labelled)(X, LEVEL, COND)
    assert labelled.calls == [None, COND]


def test_scale_1_is_the_denoiser_itself():
    assert cfg(1.0)(labelled) is labelled
    assert cfg(torch.tensor(1.0))(labelled) is labelled


def test_a_null_condition():
    null = {"label": torch.full((6,), 10)}
    found = cfg(2.0, null)(labelled)(X, LEVEL, COND)
    expected = 0.5 * X + 10 + 2 * (COND["label"][:, None] - 10)
    assert close(found, expected)


def test_nothing_to_guide_towards():
    """Without a condition both calls are the unconditional one, whatever the scale."""
    assert torch.equal(cfg(5.0)(labelled)(X, LEVEL, None), 0.5 * X)


def test_guides_compose():
    """Guidance towards the guided: scales multiply, because each is a line through D_null."""
    found = cfg(2.0)(cfg(3.0)(labelled))(X, LEVEL, COND)
    assert close(found, cfg(6.0)(labelled)(X, LEVEL, COND))


# --- classifier -----------------------------------------------------------------------------------


def follows_bayes(guide) -> bool:
    """With the exact log p(c|x), scale s is cfg at scale s, at every level (eqs. 1 and 2)."""
    pairs = [(guide(log_prob, s)(EIGHT.denoise), cfg(s)(two_classes)) for s in (0.0, 1.0, 3.0)]
    levels = (LEVEL, Level.of(1.0, 2.0), Level.of(0.1, 0.995))
    return all(close(a(X, v, COND), b(X, v, COND)) for a, b in pairs for v in levels)


def slipped(gain, more=0.0):
    """A classifier guide with another gain, or another meaning of scale."""

    def build(log_prob, scale):
        def guide(denoise):
            def guided(x, level, cond=None):
                x = x.detach().requires_grad_()
                (slope,) = torch.autograd.grad(log_prob(x, level, cond).sum(), x)
                return denoise(x, level, cond) + (scale + more) * like(gain(level), x) * slope

            return guided

        return guide

    return build


def test_a_classifier_is_bayes_rule():
    assert follows_bayes(guides.classifier)
    assert follows_bayes(slipped(lambda level: level.sigma**2 / level.alpha))


@pytest.mark.parametrize(
    "slip",
    [
        slipped(lambda level: level.sigma),
        slipped(lambda level: level.sigma**2),
        slipped(lambda level: -(level.sigma**2) / level.alpha),
        slipped(lambda level: level.sigma**2 / level.alpha, more=1.0),
    ],
    ids=["sigma", "sigma^2", "sign", "1 + w"],
)
def test_a_slipped_classifier_is_seen(slip):
    assert not follows_bayes(slip)


def test_a_classifier_learns_through_the_guide():
    """Gradients in x reach through the gradient."""
    x = X.clone().requires_grad_()
    guides.classifier(log_prob)(EIGHT.denoise)(x, LEVEL, COND).sum().backward()
    plain = X.clone().requires_grad_()
    two_classes(plain, LEVEL, COND).sum().backward()
    assert x.grad is not None
    assert plain.grad is not None
    assert close(x.grad, plain.grad)


# --- interval -------------------------------------------------------------------------------------


def test_the_interval_is_closed_and_of_the_ratio():
    guided = interval(cfg(3.0), 0.5, 2.0)(two_classes)
    for alpha, ratio, inside in [(0.5, 0.5, 1), (3.0, 2.0, 1), (0.5, 0.49, 0), (0.1, 2.1, 0)]:
        level = Level.of(alpha, alpha * ratio)
        expected = cfg(3.0 if inside else 1.0)(two_classes)(X, level, COND)
        assert torch.equal(guided(X, level, COND), expected)


def test_an_interval_saves_calls():
    for ratio, calls in [(0.1, 1), (1.0, 2), (10.0, 1)]:
        counted = Counted(two_classes)
        interval(cfg(3.0), 0.5, 2.0)(counted)(X, Level.of(1.0, ratio), COND)
        assert counted.calls == calls


@pytest.mark.parametrize("low, high", [(2.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0)])
def test_no_interval(low, high):
    refused("", interval, cfg(2.0), low, high)


# --- rescale --------------------------------------------------------------------------------------


def deviation(v):
    return v.flatten(1).std(1, correction=0)


def test_the_spread_is_restored():
    plain, strong = (cfg(s)(two_classes)(X, LEVEL, COND) for s in (1.0, 6.0))
    for share in (0.0, 0.25, 1.0):
        found = rescale(cfg(6.0), share)(two_classes)(X, LEVEL, COND)
        wanted = share * deviation(plain) + (1 - share) * deviation(strong)
        assert close(deviation(found), wanted)
    assert close(rescale(cfg(6.0), 0.0)(two_classes)(X, LEVEL, COND), strong)


def test_an_even_picture_is_left_alone():
    even = rescale(cfg(2.0), 1.0)(lambda x, level, cond=None: torch.ones_like(x))
    assert torch.equal(even(X, LEVEL, COND), torch.ones_like(X))


# --- autoguidance ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_autoguidance_is_a_line_through_the_weak_one(scale):
    found = autoguide(EIGHT.denoise, scale)(two_classes)(X, LEVEL, COND)
    assert close(found, cfg(scale)(two_classes)(X, LEVEL, COND))
    assert autoguide(EIGHT.denoise, 1.0)(two_classes) is two_classes


# --- several conditions ---------------------------------------------------------------------------


def test_a_product_of_one_is_cfg():
    for scale in (0.0, 1.0, 4.0):
        found = product(scale=scale)(two_classes)(X, LEVEL, COND)
        assert close(found, cfg(scale)(two_classes)(X, LEVEL, COND))


def test_a_product_adds_scores_and_a_negative_weight_takes_away():
    base, one, other = (two_classes(X, LEVEL, c) for c in (None, COND, OTHER))
    for weight in (1.0, -0.7):
        found = product((OTHER, weight), scale=2.0)(two_classes)(X, LEVEL, COND)
        assert close(found, base + 2 * (one - base) + weight * (other - base))
    undone = product((COND, -2.0), scale=2.0)(two_classes)(X, LEVEL, COND)
    assert close(undone, base)


def test_a_product_of_gaussian_experts_at_one_level():
    """Scores add: of the product's density at this very level, by autograd."""

    def log_p(x):
        one, other = (log_density(x, LEVEL, c) for c in (COND, OTHER))
        base = EIGHT.log_prob(x, LEVEL)
        return base + 1.5 * (one - base) + 0.5 * (other - base)

    x = X.clone().requires_grad_()
    (score,) = torch.autograd.grad(log_p(x).sum(), x)
    denoised = (X + LEVEL.sigma**2 * score) / LEVEL.alpha
    assert close(product((OTHER, 0.5), scale=1.5)(two_classes)(X, LEVEL, COND), denoised)


def mixed(weigh) -> bool:
    """Labels 1 and 4, with weights 1 and 3, against the mixture of these two Gaussians."""
    labels, weights = torch.tensor([1, 4]), torch.tensor([1.0, 3.0]).double()
    terms = [({"label": label.expand(6)}, float(w)) for label, w in zip(labels, weights)]
    covs = 0.09 * torch.eye(2).double().expand(2, 2, 2)
    truth = Mixture(EIGHT.means[labels], covs, weights)
    return all(
        close(weigh(*terms)(two_classes)(X, level, None), truth.denoise(X, level))
        for level in (LEVEL, Level.of(1.0, 0.3), Level.of(0.1, 1.0))
    )


@pytest.mark.parametrize("log_p", [log_density, log_prob])
def test_a_mixture_is_exact(log_p):
    """By a classifier too: log p(c|x) less the prior's, the same for all eight."""
    assert mixed(lambda *terms: mixture(log_p, *terms))


def test_a_slipped_mixture_is_seen():
    assert not mixed(lambda *terms: mixture(lambda x, level, cond: 0 * x[:, 0], *terms))
    assert not mixed(lambda *terms: mixture(log_density, *((cond, 1.0) for cond, _ in terms)))


def test_the_condition_of_the_call_is_one_more():
    asked = mixture(log_density, (OTHER, 3.0))(two_classes)(X, LEVEL, COND)
    given = mixture(log_density, (OTHER, 3.0), (COND, 1.0))(two_classes)(X, LEVEL, None)
    assert close(asked, given)


def test_no_mixture():
    refused("negative", mixture, log_density, (COND, -1.0))
    refused("no conditions", mixture(log_density)(two_classes), X, LEVEL, None)


# --- threshold, chain -----------------------------------------------------------------------------


def test_a_threshold_is_each_samples_own():
    sizes = torch.linspace(-1, 1, 1001, dtype=torch.float64)
    wide = torch.stack((0.5 * sizes, 4 * sizes))
    found = threshold(0.9, 1.0)(lambda x, level, cond=None: x)(wide, LEVEL, None)
    assert torch.equal(found[0], wide[0])
    assert float(found.abs().max()) == 1
    s = float(wide[1].abs().quantile(0.9))
    assert close(found[1], wide[1].clamp(-s, s) / s)
    assert abs(float((found[1].abs() == 1).double().mean()) - 0.1) < 2 / 1001


def test_a_threshold_at_the_largest_only_scales():
    wide = torch.tensor([[1.0, -8.0]])
    found = threshold(1.0)(lambda x, level, cond=None: x)(wide, LEVEL, None)
    assert found.tolist() == [[0.125, -1.0]]


@pytest.mark.parametrize("share, limit", [(0.0, 1.0), (1.1, 1.0), (0.9, 0.0)])
def test_no_threshold(share, limit):
    refused("", threshold, share, limit)


def test_a_chain():
    assert chain()(two_classes) is two_classes
    found = chain(cfg(4.0), threshold(0.5, 0.2))(two_classes)(X, LEVEL, COND)
    assert torch.equal(found, threshold(0.5, 0.2)(cfg(4.0)(two_classes))(X, LEVEL, COND))
    other = chain(threshold(0.5, 0.2), cfg(4.0))(two_classes)(X, LEVEL, COND)
    assert not close(found, other)
