"""Errata of guidance and composition."""

import torch
from torch import Tensor

from scorefield.base import Cond, Level, Zero
from scorefield.denoise import Gaussian, Mixture, convert
from scorefield.guide import cfg, classifier, product
from scorefield.process import EDM, grids
from scorefield.solve import Heun, sample
from tests.errata.table import erratum

ONE = torch.ones(1, 1).double()
LEVEL = Level.of(0.6, 0.8)
PLUS = Gaussian(ONE[0], ONE)
BOTH = Mixture(torch.cat((ONE, -ONE)), ONE.expand(2, 1, 1), torch.ones(2).double())


def classes(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
    """Of N(+-1, 1): with a condition the class at +1."""
    return (BOTH if cond is None else PLUS).denoise(x, level)


def moments_of_the_tilted(scale: float) -> tuple[float, float]:
    """Mean and variance of `p (p(x|+)/p)^scale`, by the trapezoid rule."""
    x = torch.linspace(-9, 9, 20_001).double()
    up, down = (-((x - m) ** 2) / 2 for m in (1, -1))
    both = torch.logaddexp(up, down)
    p = (both + scale * (up - both)).softmax(0)
    mean = (p * x).sum()
    return float(mean), float((p * (x - mean) ** 2).sum())


def moments_of_the_guided(scale: float) -> tuple[float, float]:
    """Of the guided flow from 801 equally likely starts."""
    share = (torch.arange(801).double() + 0.5) / 801
    x = 200 * torch.special.ndtri(share)[:, None]
    levels = grids.karras(EDM(0.001, 200.0), 100)
    cond = {"label": torch.ones(801)}
    x0 = sample(Heun(), cfg(scale)(classes), x, levels, Zero(), cond)
    return float(x0.mean()), float(x0.var(correction=0))


@erratum
def test_mean_under_guidance() -> tuple[float, float]:
    """printed: guided samples follow the tilted density `p(x) p(c|x)^scale`
    right: each level has the score of its noisy density tilted, and these are not one tilted
        density noised
    of: mean of the guided flow, classes N(+-1, 1), scale 4, and of the tilted density
    numbers: 2.34, 1.54
    """
    return moments_of_the_guided(4.0)[0], moments_of_the_tilted(4.0)[0]


@erratum
def test_variance_under_guidance() -> tuple[float, float]:
    """printed: the same, of its width
    right: at scale 4 guidance narrows more than the tilted density is narrow
    of: variance of the guided flow, and of the tilted density
    numbers: .35, .59
    """
    return moments_of_the_guided(4.0)[1], moments_of_the_tilted(4.0)[1]


@erratum
def test_scale_is_one_more() -> tuple[float, float]:
    """printed: w of `D_cond + w (D_cond - D_null)` is the scale
    right: scale = 1 + w: `D = D_null + scale (D_cond - D_null)`
    of: guided D, `D_null` = 0, `D_cond` = 1, w = 3
    numbers: 4.0, 3.0
    """

    def known(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        return torch.zeros_like(x) if cond is None else torch.ones_like(x)

    def guided(scale: float) -> float:
        return float(cfg(scale)(known)(ONE, LEVEL, {"label": torch.zeros(1)}))

    w = 3.0
    assert guided(1 + w) == 1 + w * (1 - 0)
    return guided(1 + w), guided(w)


@erratum
def test_gain_of_a_classifier() -> tuple[float, float]:
    """printed: classifier guidance adds `sigma^2 grad log p(c|x)` to D
    right: to `alpha D`: `(sigma^2/alpha) grad log p(c|x)`
    of: E[x0|x, +] at x = 0, classes N(+-1, 1), alpha = .6, sigma = .8
    numbers: .640, .384
    """

    def log_prob(x: Tensor, level: Level, cond: Cond | None) -> Tensor:
        return PLUS.log_prob(x, level) - BOTH.log_prob(x, level)

    x = torch.zeros(1, 1).double()
    found = classifier(log_prob)(BOTH.denoise)(x, LEVEL, None)
    assert torch.allclose(found, PLUS.denoise(x, LEVEL))
    step = (found - BOTH.denoise(x, LEVEL)) * LEVEL.alpha
    return float(found), float(BOTH.denoise(x, LEVEL) + step)


@erratum
def test_a_product_is_noised_as_a_whole() -> tuple[float, float]:
    """printed: the score of a product of noisy densities is that of the noisy product
    right: noise and products do not commute: scores add up at sigma = 0 alone
    of: score at x = 1, alpha = sigma = 1, of N(0, 1) times N(0, 1), which is N(0, 1/2)
    numbers: -.667, -1.000

    `product` of two conditions, each N(0, 1), beside a flat D_null, of score 0: D = x.
    """
    level, unit = Level.of(1.0, 1.0), Gaussian(0 * ONE[0], ONE)

    def known(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        return x if cond is None else unit.denoise(x, level)

    both = product(({"vector": ONE}, 1.0), ({"vector": ONE}, 1.0))
    added = convert.score(ONE, both(known)(ONE, level, None), level)
    half = Gaussian(0 * ONE[0], ONE / 2)
    return float(convert.score(ONE, half.denoise(ONE, level), level)), float(added)
