"""Letters from left to right: the bound is the likelihood, a pass is all of its terms."""

import pytest
import torch

from scorefield.base import Level, Seeded
from scorefield.denoise import Spaced
from scorefield.draw import Asked, Plan, draw
from scorefield.guide.tokens import regressor
from scorefield.likelihood.spaced import letters_elbo
from scorefield.nets.causal import CausalNet
from scorefield.nets.recurrent import RecurrentNet
from scorefield.objective.spaced import ChainRule
from scorefield.process import Flow, grids
from scorefield.solve.geodesic import StateWalk
from scorefield.spaces import Absorbing, Autoregressive
from tests.refusal import fails, refused
from tests.spaces.test_discrete import ENTROPY, HIDDEN, LAW, TEXTS, D, exact

SPACE = Autoregressive(3)
PREFIX = [Level.of(k / 4, 1 - k / 4) for k in range(5)]


def entropy(space):
    """Of the Markov chain, by the rate at each count of seen letters: an integral over alpha."""
    total = 0.0
    for here in PREFIX[:4]:
        x = space.corrupt(TEXTS, here, torch.full_like(TEXTS, 0.5))
        total += float((LAW * space.rate(exact(x), TEXTS, x, here).sum(1)).sum()) / 4
    return total


def check_entropy(space):
    assert entropy(space) == pytest.approx(ENTROPY, abs=1e-9)


def test_the_bound_is_the_entropy():
    check_entropy(SPACE)
    fails("", check_entropy, Absorbing(3))  # hidden places by chance, weighed by place
    found = letters_elbo(exact, SPACE, TEXTS, Seeded(range(81)), None, 4)
    assert torch.allclose(found, LAW.log(), atol=1e-9)  # of each text, whatever is drawn


def causal():
    return CausalNet((4,), letters=3, width=8, depth=2, heads=2)


def recurrent():
    return RecurrentNet((4,), letters=3, width=8, depth=2)


@pytest.fixture(scope="module", params=[causal, recurrent])
def denoiser(request):
    torch.manual_seed(0)
    net = request.param().double()
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    about = {"shape": (4,), "schedule": Flow(), "scaling": None, "classes": ()}
    return Spaced(net, Autoregressive(3, ends=True), ("", "a", "b"), **about).eval()


def check_pass(objective, denoiser):
    """One pass is the chain rule, place by place, of texts that end early too."""
    x0, chance = TEXTS, objective.draw((81, 4), torch.Generator().manual_seed(0))
    with torch.no_grad():
        nats = 4 * objective.loss(denoiser, x0, None, chance).per_sample
    slow = -letters_elbo(denoiser, denoiser.space, x0, Seeded(range(81)), None, 4)
    proper = (x0[:, 1:].eq(0) | x0[:, :-1].ne(0)).all(1)  # behind an end all is an end
    assert torch.allclose(nats[proper].double(), slow[proper], atol=1e-5)


def test_a_pass_is_all_terms(denoiser):
    check_pass(ChainRule(Flow()), denoiser)


def test_a_planted_look_ahead(denoiser):
    """A network that reads from both sides knows the letters that it is to say."""
    net = denoiser.net
    if isinstance(net, RecurrentNet):
        read = net.read
        net.read = lambda before, emb: read(before.roll(-1, 1), emb)
        fails("", check_pass, ChainRule(Flow()), denoiser)
        del net.read
    else:
        kept, net.apart = net.apart, net.apart.abs()
        fails("", check_pass, ChainRule(Flow()), denoiser)
        net.apart = kept


def test_samples_are_of_the_models_law(denoiser):
    """Shares of texts that begin with each letter, and nothing behind an end."""
    plan = Plan(StateWalk(space=denoiser.space), grids.uniform_t(Flow(), 4), lambda d: d)
    x = draw(denoiser, plan, Asked(torch.arange(2000), None, None), (4,)).x
    with torch.no_grad():
        first = denoiser(torch.full((1, 4), 3.0), Level.of(0.0, 1.0), None)[0, 0].exp()
    shares = torch.stack([(x[:, 0] == k).double().mean() for k in range(3)])
    assert (shares - first).abs().max() < 4 * 0.5 / 2000**0.5
    behind = (x == 0).cumsum(1)[:, :-1] > 0
    assert (x[:, 1:][behind] == 0).all()
    few = Plan(StateWalk(space=denoiser.space), grids.uniform_t(Flow(), 3), lambda d: d)
    refused("a step shows 2 of 4", draw, denoiser, few, Asked(torch.arange(2), None, None), (4,))


COUNT = TEXTS.eq(2).sum(1)
"""Of a text, how often it has the last letter: what is wanted is one."""


def wanted(state, level=None, cond=None):
    """log p(count = 1 | what is seen), exactly; linear between states."""
    fits = (state[:, None, :, :3] * torch.nn.functional.one_hot(TEXTS.long(), 3)).sum(-1)
    seen = (fits + state[:, None, :, 3]).prod(-1) * LAW
    return ((seen * (COUNT == 1)).sum(1) / seen.sum(1)).clamp(min=1e-300).log()


def check_guided(guide):
    """Of what is hidden in any way, each place's law is that of texts that have what is wanted."""
    law = LAW * (COUNT == 1)
    for hidden in HIDDEN[1:]:
        x = torch.where(hidden, 3.0, TEXTS)
        fits = ((x[:, None] == TEXTS) | (x[:, None] == 3)).all(-1) * law
        some = fits.sum(1) > 0
        share = fits[some] / fits[some].sum(1, keepdim=True)
        true = torch.stack([share @ TEXTS.eq(k).to(D) for k in range(3)], -1)
        found = guide(exact)(x[some], Level.of(0.5, 0.5), None).exp()
        assert torch.allclose(found[:, hidden], true[:, hidden], atol=1e-9)


def test_a_regressor_makes_the_conditional_law():
    check_guided(regressor(wanted, Absorbing(3)))


def test_planted_slips_of_a_regressor():
    """To first order the law is off; and so it is at another scale."""
    fails("", check_guided, regressor(wanted, Absorbing(3), exact=False))
    fails("", check_guided, regressor(wanted, Absorbing(3), scale=2.0))


def test_to_first_order_is_exact_where_the_logarithm_is_linear():
    slope = torch.randn(4, 4, dtype=D, generator=torch.Generator().manual_seed(0))

    def linear(state, level, cond):
        return (state * slope).sum((1, 2))

    x = torch.where(HIDDEN[5], 3.0, TEXTS)
    one, two = (
        regressor(linear, Absorbing(3), exact=e)(exact)(x, PREFIX[2], None) for e in (True, False)
    )
    assert torch.allclose(one, two, atol=1e-9)


def test_only_the_next_place_is_asked():
    x = torch.tensor([[1.0, 3, 3, 3], [3.0, 3, 3, 3]])
    assert SPACE.next(x).tolist() == [[False, True, False, False], [True, False, False, False]]
    asked = []

    def counted(state, level, cond):
        asked.append(len(state))
        return wanted(state)

    regressor(counted, SPACE)(exact)(x, PREFIX[1], None)
    assert asked == [6]
