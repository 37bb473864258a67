"""What is true of every guide: samples do not know each other, levels and scales may be each
sample's own, the dtype is x's, gradients exist, calls are as said, and every solver takes it."""

import math

import pytest
import torch

from scorefield import catalogue
from scorefield import guide as guides
from scorefield.base import BadInput, Level, Seeded
from scorefield.guide import autoguide, carried, cfg, chain, classifier, interval, product, rescale
from scorefield.process import VP, grids
from scorefield.solve import sample
from scorefield.solve.laws import CLEAN, PURE, close
from tests.laws.truths import log_density, log_prob, two_classes
from tests.laws.walks import Counted
from tests.refusal import refused

SCALE = torch.tensor([0.0, 1.0, 2.5, 7.0])
SHARE = torch.tensor([0.0, 0.3, 0.7, 1.0])
WEIGHT = torch.tensor([-1.0, 0.0, 0.5, 2.0])
OTHER = torch.tensor([4, 6, 0, 1])
COND = {"label": torch.tensor([2, 0, 5, 7])}
X = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.7, 0.4], [0.9, 1.6]], dtype=torch.float64)
RATIO = torch.tensor([0.2, 0.9, 1.5, 6.0], dtype=torch.float64)
EACH = Level(1 / torch.hypot(RATIO, torch.ones(4)), RATIO / torch.hypot(RATIO, torch.ones(4)))
EVERYONE = slice(None)


def any_dtype(x, level, cond=None):
    return two_classes(x.double(), level, cond).to(x)


def weak(x, level, cond=None):
    """A worse model of the same data: it says less than is known."""
    return 0.8 * any_dtype(x, level, cond)


BEFORE, AFTER = autoguide(weak, 1.5), (classifier(log_prob), guides.threshold())
GUIDES = {
    "cfg": (lambda i: cfg(SCALE[i]), 2),
    "cfg(1)": (lambda i: cfg(1.0), 1),
    "interval": (lambda i: interval(cfg(SCALE[i]), 0.5, 2.0), 3),
    "interval, all inside": (lambda i: interval(cfg(SCALE[i])), 2),
    "interval, none inside": (lambda i: interval(cfg(SCALE[i]), 50.0), 1),
    "rescale": (lambda i: rescale(cfg(SCALE[i]), SHARE[i]), 2),
    "rescale of classifier": (lambda i: rescale(classifier(log_prob, SCALE[i]), SHARE[i]), 1),
    "rescale of product": (lambda i: rescale(GUIDES["product"][0](i), 0.5), 3),
    "autoguide": (lambda i: autoguide(weak, SCALE[i]), 1),
    "classifier": (lambda i: classifier(log_prob, SCALE[i]), 1),
    "product": (lambda i: product(({"label": OTHER[i]}, WEIGHT[i]), scale=SCALE[i]), 3),
    "mixture": (lambda i: guides.mixture(log_density, ({"label": OTHER[i]}, SHARE[i])), 2),
    "threshold": (lambda i: guides.threshold(0.5, 0.3), 1),
    "cfg of cfg": (lambda i: chain(cfg(SCALE[i]), cfg(2.0)), 4),
    "rescale of rescale": (lambda i: rescale(rescale(cfg(SCALE[i]), SHARE[i]), 0.5), 2),
    "all in a row": (lambda i: chain(BEFORE, rescale(cfg(SCALE[i]), 0.7), *AFTER), 2),
}
"""Each guide for some of the samples, and the calls of the denoiser that it costs for EACH."""


every_guide = pytest.mark.parametrize("name", GUIDES)


@every_guide
def test_calls(name):
    build, calls = GUIDES[name]
    counted = Counted(two_classes)
    build(EVERYONE)(counted)(X, EACH, COND)
    assert counted.calls == calls


def test_a_rescaled_guide_that_calls_twice_is_seen():
    """The twin: without a memory the conditional denoiser is called again."""
    counted = Counted(two_classes)
    strong = cfg(3.0)(counted)(X, EACH, COND)
    _ = strong * counted(X, EACH, COND).std() / strong.std()
    assert counted.calls > GUIDES["rescale"][1]


def apart(build, level) -> float:
    """The largest difference between samples guided together and each on its own."""
    together = build(EVERYONE)(two_classes)(X, level, COND)
    worst = 0.0
    for i in range(4):
        one = slice(i, i + 1)
        own = level.at(one) if level.sigma.ndim else level
        alone = build(one)(two_classes)(X[one], own, {"label": COND["label"][one]})
        worst = max(worst, float((together[i] - alone[0]).abs().max()))
    return worst


@every_guide
@pytest.mark.parametrize("level", [EACH, EACH.at(1), EACH.at(2)], ids=["each", "one", "another"])
def test_samples_do_not_know_each_other(name, level):
    assert apart(GUIDES[name][0], level) < 1e-12


def test_a_guide_that_mixes_samples_is_seen():
    """The twin: rescaled by the deviation over the whole batch."""

    def by_batch(i):
        def guided(x, level, cond=None):
            return two_classes(x, level, cond) / two_classes(x, level, cond).std(correction=0)

        return lambda denoise: guided

    assert apart(by_batch, EACH) > 0.1


@every_guide
def test_a_level_for_all_or_one_each(name):
    guided, level = GUIDES[name][0](EVERYONE)(two_classes), Level.of(0.6, 0.8)
    assert torch.equal(guided(X, level, COND), guided(X, level.expand(4), COND))


@every_guide
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_dtype_follows_x(name, dtype):
    found = GUIDES[name][0](EVERYONE)(any_dtype)(X.to(dtype), EACH, COND)
    assert (found.dtype, found.shape) == (dtype, X.shape)


@every_guide
@pytest.mark.parametrize("level", [PURE, CLEAN], ids=["noise", "data"])
def test_finite_at_both_ends(name, level):
    assert GUIDES[name][0](EVERYONE)(two_classes)(X, level, COND).isfinite().all()


@every_guide
def test_gradients_are_those_of_differences_and_no_graph_is_left_unasked(name):
    guided = GUIDES[name][0](EVERYONE)(two_classes)
    x = X.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: guided(x, EACH, COND), x, atol=1e-5)
    assert not guided(X, EACH, COND).requires_grad
    with torch.no_grad():
        assert not guided(X, EACH, COND).requires_grad


LEVELS = grids.uniform_logsnr(VP(), 10)
FIXED = [k for k in catalogue.solvers if not catalogue.solvers[k]().adaptive and k != "genie"]


def walked(solver, guide, one=EVERYONE, **more):
    noise = Seeded(list(range(4))[one])
    x = noise.start((2,), LEVELS, dtype=torch.float64)
    cond = {"label": COND["label"], **more}
    own = {name: leaf[one] for name, leaf in cond.items()}
    return sample(catalogue.solvers[solver](), guide(two_classes), x, LEVELS, noise, own)


def check_each_its_own(solver, build, **more):
    found = walked(solver, build(EVERYONE), **more)
    assert found.isfinite().all()
    assert close(walked(solver, build(slice(2, 3)), slice(2, 3), **more), found[2:3], 1e-9)


@pytest.mark.parametrize("solver", FIXED)
def test_every_solver_takes_guides(solver):
    check_each_its_own(solver, GUIDES["all in a row"][0])


@every_guide
@pytest.mark.parametrize("solver", ["ddpm", "heun", "dpmpp2m"])
def test_every_guide_under_some_solvers(name, solver):
    check_each_its_own(solver, GUIDES[name][0])


@pytest.mark.parametrize("solver", [name for name in catalogue.solvers if name != "genie"])
def test_carried_options_suit_every_solver(solver):
    """Adaptive ones too, which go on with the samples that are still on their way."""

    def own_guide(own):
        return chain(product(({"label": own["other"]}, own["weight"])), cfg(own["scale"]))

    guide = carried(own_guide, "other", "weight", "scale")
    check_each_its_own(solver, lambda one: guide, other=OTHER, weight=SHARE, scale=SCALE / 4)


def test_options_of_other_samples_are_refused():
    for guide in (autoguide(weak, SCALE), product(scale=SCALE), classifier(log_prob, SCALE)):
        with pytest.raises(BadInput, match="for 4 samples and meets 2"):
            guide(two_classes)(X[:2], EACH.at(slice(0, 2)), {"label": COND["label"][:2]})


def test_a_carried_option_that_is_missing_is_named():
    refused("'scale'", carried(lambda own: cfg(own["scale"]), "scale")(two_classes), X, EACH, COND)


@pytest.mark.parametrize("scale", [math.nan, math.inf, torch.ones(2, 2)])
@pytest.mark.parametrize(
    "build",
    [
        cfg, lambda s: autoguide(weak, s), lambda s: classifier(log_prob, s),
        lambda s: product(scale=s), lambda s: product((COND, s)),
        lambda s: guides.mixture(log_density, weight=s), lambda s: rescale(cfg(2.0), s),
    ],
)  # fmt: skip
def test_scales_that_are_none_are_refused(build, scale):
    refused("", build, scale)
