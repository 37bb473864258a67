"""Letters: bounds that are the entropy with exact conditionals, and the forms that are not."""

import itertools

import numpy as np
import pytest
import torch

from scorefield.base import Level, Seeded
from scorefield.draw import Asked, Plan, draw
from scorefield.guide import cfg
from scorefield.guide.filled import filled
from scorefield.likelihood.spaced import letters_elbo, letters_vlb
from scorefield.process import Flow, grids
from scorefield.solve.geodesic import StateWalk, earliest
from scorefield.spaces import Absorbing, Multinomial
from scorefield.spaces.discrete import NEVER
from tests.refusal import fails, refused

D = torch.float64
P = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.25, 0.25, 0.5]], dtype=D)
FIRST = torch.linalg.matrix_power(P, 400)[0]
TEXTS = torch.tensor(list(itertools.product(range(3), repeat=4)), dtype=D)
INDEX = TEXTS.long()
LAW = FIRST[INDEX[:, 0]] * P[INDEX[:, :-1], INDEX[:, 1:]].prod(1)
"""A Markov chain of 4 letters, all its 81 texts, and their probabilities."""
ENTROPY = 3.8057399612
HIDDEN = torch.tensor(list(itertools.product([False, True], repeat=4)))


def exact(x, level=None, cond=None):
    """log p(x0 | x) of the chain, where letters are hidden."""
    fits = ((x.double()[:, None] == TEXTS) | (x.double()[:, None] == 3)).all(-1) * LAW
    share = fits / fits.sum(1, keepdim=True)
    return torch.stack([share @ TEXTS.eq(k).to(D) for k in range(3)], -1).log().clamp(min=NEVER)


def over_hidden(alpha, cost):
    """The mean over texts and what is hidden of them of a cost (81, 4) of each place."""
    total = 0.0
    for hidden in HIDDEN:
        chance = alpha ** int((~hidden).sum()) * (1 - alpha) ** int(hidden.sum())
        x = torch.where(hidden, 3.0, TEXTS)
        total += float(chance * (LAW * cost(x, Level.of(alpha, 1 - alpha)).sum(1)).sum())
    return total


def nelbo(rate, points=8):
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return sum(w / 2 * over_hidden((1 + v) / 2, rate) for v, w in zip(nodes, weights))


def rate(x, level):
    return Absorbing(3).rate(exact(x), TEXTS, x, level)


def check_entropy(rate):
    assert nelbo(rate) == pytest.approx(ENTROPY, abs=1e-9)


def test_the_absorbing_bound_is_the_entropy():
    check_entropy(rate)


def test_a_planted_weight():
    """Without 1/t the bound is 1.98922."""

    def bare(x, level):
        return (1 - level.alpha) * rate(x, level)

    fails("", check_entropy, bare)
    assert nelbo(bare) == pytest.approx(1.98922, abs=1e-5)


def gap(q, p):
    return torch.where(q > 0, q * (q / p).log(), 0.0).sum(-1)


@pytest.mark.parametrize("steps, nats", [(1, 4.37350), (2, 4.07783), (4, 3.93884), (10, 3.85827)])
def test_the_chain_of_independent_draws(steps, nats):
    space, total = Absorbing(3), 0.0
    for i in range(steps):
        here, there = (Level.of(k / steps, 1 - k / steps) for k in (i, i + 1))

        def cost(x, level, here=here, there=there):
            laws = (space.step(p, x, here, there) for p in (space.known(TEXTS).to(D), exact(x)))
            return gap(*laws)

        total += over_hidden(i / steps, cost)
    assert total == pytest.approx(nats, abs=1e-5)


def test_bounds_of_a_sample_are_those_on_average():
    """With 64 cells each, over 810 texts in the shares of their law."""
    counts = (LAW * 4000).round().long()
    x0 = TEXTS.repeat_interleave(counts, 0)
    given = exact, Absorbing(3), x0, Seeded(range(len(x0))), None
    assert -float(letters_vlb(*given, 16).mean()) == pytest.approx(ENTROPY, abs=0.03)
    assert -float(letters_elbo(*given, 4).mean()) == pytest.approx(3.93884, abs=0.05)


ONE = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=D)
UNIFORM = Multinomial(4)
LETTERS = torch.arange(4, dtype=D)[:, None]


def posterior(x, level):
    p = ONE * UNIFORM.given(x, level, D)
    return (p / p.sum(-1, keepdim=True)).log()


def check_d3pm(step):
    """Eight steps of b = .3: bound + KL to the uniform law."""
    kept, total = 0.7 ** torch.arange(9, dtype=D), 0.0
    for t in range(8, 0, -1):
        here, there = (Level.of(kept[k], 1 - kept[k]) for k in (t, t - 1))
        for letter in range(4):
            x = torch.full((4, 1), float(letter), dtype=D)
            true = UNIFORM.step(UNIFORM.known(LETTERS).to(D), x, here, there)
            cost = gap(true, step(posterior(x, here), x, here, there))[:, 0]
            total += float((ONE * UNIFORM.given(x, here, D)[0, 0] * cost).sum())
    last = kept[8] * torch.eye(4, dtype=D) + (1 - kept[8]) / 4
    total += float((ONE * gap(last, torch.full((4,), 0.25))).sum())
    assert total == pytest.approx(1.1428812776, abs=1e-9), f"{total:.5f}"


def test_the_uniform_posterior():
    check_d3pm(UNIFORM.step)


def test_the_form_that_code_has():
    """The mean of q(x_s | x0) times q(x_t | x_s), normalised once: 1.23905."""

    def soft(log_p, x, here, there):
        kept, alpha = Level(here.alpha / there.alpha, here.sigma), there.alpha
        if alpha == 1:
            return log_p.exp()
        p = UNIFORM.given(x, kept, D) * (alpha * log_p.exp() + (1 - alpha) / 4)
        return p / p.sum(-1, keepdim=True)

    fails("1.23905", check_d3pm, soft)


def test_the_uniform_bound_in_continuous_time_is_the_entropy():
    nodes, weights = np.polynomial.legendre.leggauss(400)
    total = 0.0
    for v, w in zip(nodes, weights):
        level = Level.of((1 + v) / 2, (1 - v) / 2)
        for letter in range(4):
            x = torch.full((4, 1), float(letter), dtype=D)
            chance = ONE * UNIFORM.given(x, level, D)[0, 0]
            nats = UNIFORM.rate(posterior(x, level), LETTERS, x, level)[:, 0]
            total += w / 2 * float((chance * nats).sum())
    assert total == pytest.approx(1.1421200430, abs=1e-5)


@pytest.mark.parametrize("space", [Absorbing(3), Multinomial(3)], ids=["absorbing", "multinomial"])
def test_noise_and_steps_are_laws(space):
    x0, level = torch.full((20_000, 1), 1.0), Level.of(0.4, 0.6)
    u = torch.rand(x0.shape, dtype=D, generator=torch.Generator().manual_seed(0))
    x = space.corrupt(x0, level, u)
    kept = 0.4 + (0.2 if space == Multinomial(3) else 0.0)
    assert float((x == 1).double().mean()) == pytest.approx(kept, abs=0.02)
    law = space.step(torch.full((20_000, 1, 3), 1 / 3).log(), x, level, Level.of(0.7, 0.3))
    torch.testing.assert_close(law.sum(-1), torch.ones_like(law[..., 0]), atol=1e-6, rtol=0)


def sampled(steps, denoise=exact, n=3000):
    plan = Plan(StateWalk(space=Absorbing(3)), grids.uniform_t(Flow(), steps))
    x = draw(denoise, plan, Asked(torch.arange(n)), (4,), batch=n).x.long()
    return torch.bincount((x * torch.tensor([27, 9, 3, 1])).sum(1), minlength=81) / n


def test_samples_of_many_steps_are_of_the_chain():
    """By chance alone 81 shares of 3,000 draws are .057 apart in total variation."""
    alone = FIRST[INDEX].prod(1)
    assert float((sampled(40) - LAW).abs().sum() / 2) < 0.08
    assert float((sampled(1) - alone).abs().sum() / 2) < 0.08
    assert float((alone - LAW).abs().sum() / 2) > 0.2


def test_letters_are_filled_in_by_the_conditional_law():
    """The second and third, given the first and the last."""
    letters, known = torch.tensor([[0.0, 0, 0, 2]]), torch.tensor([[True, False, False, True]])
    guided = filled(Absorbing(3), letters, known)(exact)
    found = sampled(40, guided)
    fits = (INDEX[:, 0] == 0) & (INDEX[:, 3] == 2)
    wanted = torch.where(fits, LAW, 0.0)
    assert float((found - wanted / wanted.sum()).abs().sum() / 2) < 0.05
    assert not found[~fits].any()


def check_clocks(earliest):
    """Two even letters, both clocks early: the earlier one rings first."""
    law, z = torch.tensor([0.5, 0.5], dtype=D), torch.tensor([6.5, 7.0], dtype=D)
    assert int(earliest(law, z)) == 1
    assert int(earliest(law, z.flip(0))) == 0
    assert int(earliest(torch.tensor([0.0, 1.0]), z.flip(0))) == 1


def test_clocks_are_told_apart_and_in_float32_are_not():
    check_clocks(earliest)

    def single(law, z):
        return (-torch.special.ndtr(z.float()).log() / law).argmin(-1)

    fails("", check_clocks, single)


def test_guidance_is_a_sum_of_logarithms():
    p, q = torch.tensor([[[0.5, 0.5]]]), torch.tensor([[[0.8, 0.2]]])

    def denoise(x, level, cond):
        return (p if cond is None else q).log()

    log_p = cfg(2.0)(denoise)(torch.zeros(1, 1), Level.of(0.5, 0.5), {"label": torch.tensor([0])})
    torch.testing.assert_close(log_p.softmax(-1), torch.tensor([[[16 / 17, 1 / 17]]]))


def test_letters_that_are_none_are_refused():
    refused("holds 3", Absorbing(3).check, torch.tensor([[0.0, 3.0]]), "x")
    refused("holds 0.5", Multinomial(3).check, torch.tensor([[0.5, 2.0]]), "x")
    refused("letters is 1", Absorbing, 1)
