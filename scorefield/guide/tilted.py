"""Classifier-free guidance that hits its density, at any scale and any fractions of the classes.

The tilted density is a class reweighed, `p(x)^(1-s) p(x|c)^s = p(x|c) r^(s-1)`, and what it is
reweighed by is bounded: `r = p(x|c)/p(x) <= 1/p(c)`. So draw the class by its chain of steps, and
weigh by r where the chain ends. Where the density lies in the class's tail (classes that overlap)
few draws count. Guided chains lead there, means of `D0 + b (D1 - D0)` with D0 without and D1 with
the condition; but where the classes lie apart they lead beyond it. So every group takes some of
each: of strengths s_j from 1 to s, in equal ratios,

    b_j = s_j (1 + c) / (1 + s_j c),   c = sigma^2 / (alpha^2 + sigma^2),                    (eq. 5)

the slope of a likelihood that has power s_j on N(0, I) data, widened by the noise. A path of any of
them knows its density under each, step by step: with k = kappa (D1 - D0) (eq. 4) and z the normal
it took,

    log Q_j/P_c = sum (b_j - 1) k.(z + (b - 1) k) - (b_j - 1)^2 |k|^2 / 2,                   (eq. 6)

and is weighed against all together (Veach and Guibas 1995, "Optimally combining sampling
techniques", the balance heuristic), so that one strength that suits is enough and none does harm:

    w = r^(s-1) / mean_j Q_j/P_c  <=  J r^(s-1).                                            (eq. 7)

r itself is not gathered along the path. That costs nothing (Skreta et al. 2025, "Feynman-Kac
correctors in diffusion"), but the steps' error in log r, of some tenths, is multiplied by s, and
the weights then choose the errors. It is found anew on clean data (eq. 8). Scales below 1 are
`p(x) r^s` in the same way, from the chain without condition and strengths 0 to s.
"""

import warnings
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.guide.information import Apart, information
from scorefield.guide.population import Population
from scorefield.guide.scales import checked
from scorefield.solve import Info
from scorefield.solve.transfer import affine

STRENGTHS = 4
FEW, MANY = 1 / 8, 50
"""Warned of: a group that counts for less than an eighth of its particles, and for less than 50."""


class TiltedParticles(NamedTuple):
    """`Particles` that know, on clean data, their `log_ratio (B,)`, `log p(x|c)/p(x)` (0 before);
    `log_paths (B, 4)` is log Q_j/P of the path since the group was last resampled (eq. 6)."""

    x: Tensor
    log_weight: Tensor
    log_evidence: Tensor
    ess: Tensor
    log_ratio: Tensor
    log_paths: Tensor


@dataclass(frozen=True, eq=False)
class Tilted(Population):
    """Samples of `p(x)^(1 - scale) p(x|c)^scale`, which `cfg(scale)` aims at and misses.

        x_there = keep x + gain (D0 + b (D1 - D0)) + s z,   w as in eq. 7

    `scale >= 0` is a number or `(B,)`, one per sample and equal within a group; `null` is the
    condition that means "none". The denoiser is the plain one, no guide around it, and torch can
    differentiate it. `log_evidence` estimates the log of the integral of the density,
    `E_p[(p(x|c)/p(x))^scale]`.

    Two calls a step, and on the step to clean data two for each of the `nodes`, with `probes`
    products of their Jacobian, or as many as a sample has numbers if these are fewer: log_ratio is
    then that of the level above, exact but for the points on a ray (eq. 8). Weights come with it:
    before, a group is the class, and `ess` says how evenly. With a `threshold` above 0 groups are
    resampled to be that, which gives up what stronger guidance found.

    With exact denoisers, 2,000 particles and 50 steps, up to scale 8: means to .15 deviations,
    variances to .15 and log_evidence to .08, for classes of fractions .05 to .95, of unequal widths
    and in several parts, while 400 particles count (docs/guidance.md). Fewer are warned of below
    50. What is left is the error of Gaussian steps, of order 1 in their length, that `DDPM` has;
    `variance` is .75, which suits data of variance .05 to 2.

    A trained model's two likelihoods need not keep the bound log 1/p(c). With the `prior` p(c), a
    number or `(B,)`, log_ratio is cut there: no sample is preferred for more than being surely of
    its class. Give it for trained models; exact ones do not need it.

    Use it where guided samples must have the tilted density, with 50 steps or more.
    """

    scale: float | Tensor
    null: Cond | None = None
    evals = 2
    prior: float | Tensor | None = field(default=None, kw_only=True)
    threshold: float = field(default=0.0, kw_only=True)
    variance: float = field(default=0.75, kw_only=True)
    probes: int = field(default=4, kw_only=True)
    nodes: int = field(default=64, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (checked(self.scale) < 0).any():
            raise BadInput(f"the guidance scale is {self.scale}.", "Use 0 (no condition) or more.")
        prior = checked(1.0 if self.prior is None else self.prior, "prior")
        if not ((prior > 0) & (prior <= 1)).all():
            raise BadInput(f"the prior is {self.prior}.", "Give p(c), above 0 and at most 1.")
        for name in ("probes", "nodes"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}.", "Use at least 1.")

    def init(self, x: Tensor) -> TiltedParticles:
        even = super().init(x)
        zero = torch.zeros_like(even.log_weight)
        return TiltedParticles(*even, zero, zero[:, None].expand(-1, STRENGTHS))

    @property
    def plain(self) -> Tensor:
        """The strength that is weighed by r: 1, the class; below scale 1, 0, no condition."""
        return (checked(self.scale) >= 1).double()

    def strengths(self, level: Level) -> Tensor:
        """b of each strength at a level (eq. 5), `(1 or B, 4)`."""
        scale, plain = (v.reshape(-1, 1) for v in (checked(self.scale), self.plain))
        part = torch.linspace(0, 1, STRENGTHS, dtype=torch.float64)
        strength = torch.where(plain > 0, scale.clamp(min=1) ** part, scale * part)
        c = (level.sigma**2 / (level.alpha**2 + level.sigma**2)).reshape(-1, 1)
        return strength * (1 + c) / (1 + strength * c)

    def own(self, batch: int) -> Tensor:
        """The strength `(batch,)` that each particle of a group walks with, in turn."""
        return torch.arange(batch) % self.particles % STRENGTHS

    def log_drawn(self, log_paths: Tensor) -> Tensor:
        """Log of the mean of Q_j/P, each strength counted as often as it is in a group (eq. 7)."""
        count = self.own(self.particles).bincount(minlength=STRENGTHS)
        return (log_paths + (count / self.particles).log().to(log_paths)).logsumexp(1)

    def step(
        self,
        denoise: Denoise,
        state: TiltedParticles,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[TiltedParticles, Info]:
        x, log_weight, _, _, log_ratio, log_paths = state
        base = denoise(x, here, self.null)
        gap = denoise(x, here, cond) - base
        keep, gain, spread = self.kernel(here, there)
        kappa = torch.where(spread > 0, gain / spread, 0.0)
        off = self.strengths(here) - self.plain.reshape(-1, 1)
        off = torch.where(spread.reshape(-1, 1) > 0, off, 0.0).expand(len(x), -1)
        mine = off.gather(1, self.own(len(x))[:, None])
        denoised = torch.addcmul(base, like(mine[:, 0] + self.plain, x), gap)
        z = noise(x, here, there)
        x = affine(x, keep, denoised, gain).addcmul(like(spread, x), z)

        k = (like(kappa, x) * gap).flatten(1).to(log_paths)
        off, mine, square = off.to(k), mine.to(k), k.square().sum(1, keepdim=True)
        along = (k * z.flatten(1).to(k)).sum(1, keepdim=True) + mine * square
        drawn = self.log_drawn(log_paths)
        log_paths = log_paths + off * along - off**2 * square / 2
        log_weight = log_weight + drawn - self.log_drawn(log_paths)
        arrives = ((there.sigma == 0) & (here.sigma > 0)).to(x.device)
        if arrives.any():
            found = self._found(Apart(denoise, cond, self.null, self.probes), x, z, here, noise)
            log_ratio = found.where(arrives, log_ratio)
            power = like(checked(self.scale) - self.plain, found)
            log_weight = log_weight + (power * found).where(arrives, 0.0)
        who, log_weight, log_evidence, ess = self.select(log_weight, here, there, noise)
        if bool((arrives & (ess < self.particles * FEW) & (ess < MANY)).any()):
            warnings.warn(
                f"a group of {self.particles} particles counts for {float(ess.min()):.1f}: its "
                "samples are copies of few, and its log_evidence is rough. Use more particles or a "
                "smaller scale; with a trained model give the prior p(c).",
                stacklevel=2,
            )
        log_paths = log_paths[who].where((log_weight != log_evidence)[:, None], 0.0)
        after = TiltedParticles(x[who], log_weight, log_evidence, ess, log_ratio[who], log_paths)
        return after, Info(denoised[who])

    def _found(self, apart: Apart, x0: Tensor, xi: Tensor, level: Level, noise: Noise) -> Tensor:
        """log r of x0, on the ray of its last step's noise; of samples that were clean, 0."""
        clean = level.sigma == 0
        level = Level(level.alpha.where(~clean, 0.0), level.sigma.where(~clean, 1.0))
        found = information(apart, x0, xi, level, self.nodes, noise)
        if self.prior is None:
            return found
        return torch.minimum(found, like(-checked(self.prior, "prior").log(), found))
