"""Floor 3: guides, `Denoise -> Denoise`. They wrap what a solver sees and so fit every solver.

Whatever steers a denoiser adds a score. With `x = alpha x0 + sigma eps` and Tweedie's formula
`D = (x + sigma^2 grad log p(x)) / alpha`, the denoiser under a likelihood of noisy x is

    D'(x) = D(x) + (sigma^2/alpha) grad_x log p(c|x),                                    (eq. 1)

exactly, by Bayes' rule. Between two denoisers `D1 - D0 = (sigma^2/alpha) grad log p1/p0`, so scores
are added by adding denoisers:

    D' = D0 + scale (D1 - D0)      aims at   p0 (p1/p0)^scale.                           (eq. 2)

D0 knows no condition (`cfg`), or is a worse model (`autoguide`); `product` adds several. What is
aimed at is missed: noise and power do not commute, and `p0 (p1/p0)^scale` of noisy x is not the
density of noisy samples of it. A population does hit it (`Tilted`), and with the exact likelihood
at the end the posterior (`Twisted`): solvers whose samples carry weights. Mixtures are exact.
docs/guidance.md measures all of them. Inverse problems are `scorefield.inverse`, with its
`scorefield.inverse.operators`.
"""

from scorefield.guide.anagram import anagram, hybrid
from scorefield.guide.auto import autoguide
from scorefield.guide.carried import carried
from scorefield.guide.cfg import cfg
from scorefield.guide.classifier import classifier
from scorefield.guide.clip import clip
from scorefield.guide.compose import chain, mixture, product
from scorefield.guide.interval import interval
from scorefield.guide.population import Particles, Population, Twisted
from scorefield.guide.prompts import prompts
from scorefield.guide.rescale import rescale
from scorefield.guide.threshold import threshold
from scorefield.guide.tilted import Tilted, TiltedParticles
from scorefield.guide.views import Part, View
from scorefield.guide.windows import windows

__all__ = [
    "Part", "Particles", "Population", "Tilted", "TiltedParticles", "Twisted", "View", "anagram",
    "autoguide", "carried", "cfg", "chain", "classifier", "clip", "hybrid", "interval",
    "mixture", "product", "prompts", "rescale", "threshold", "windows",
]  # fmt: skip
