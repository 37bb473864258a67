"""Weights: level -> w, on the squared error of the denoised estimate. Leaves as the level's.

The error of eps is snr times that of x0, so a paper's weight on the error of eps stands here
times snr, and one on the error of the score times `alpha^2/sigma^4`. All are defined at every
noisy level; at pure noise, where snr is 0, `unit`, `EDMWeight` and `truncated_snr` are not 0, nor
are `VLB` and `Likelihood` on a chain that ends there, whose snr still falls in its last step.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from torch import Tensor

from scorefield.base import BadInput, Level, Shown
from scorefield.objective.chain import check_chain, kernel, steps_of
from scorefield.objective.times import EARLIEST
from scorefield.process import DiscreteVP, Momentum, Schedule, rates

Weight = Callable[[Level], Tensor]


def unit(level: Level) -> Tensor:
    """`w = 1`: the error of x0 itself."""
    return torch.ones_like(level.sigma)


def snr(level: Level) -> Tensor:
    """`w = alpha^2 / sigma^2`: the error of eps, DDPM's "simple" loss (Ho et al. 2020, eq. 14).

    >>> float(snr(Level.of(0.8, 0.4)))
    4.0
    """
    return level.ratio**-2


def truncated_snr(level: Level) -> Tensor:
    """`w = max(snr, 1)`: the larger of the errors of x0 and eps (Salimans and Ho 2022, eq. 9).

    >>> float(truncated_snr(Level.of(0.8, 0.4))), float(truncated_snr(Level.of(0.4, 0.8)))
    (4.0, 1.0)
    """
    return snr(level).clamp(min=1)


@dataclass(frozen=True)
class MinSNR:
    """`w = min(snr, gamma)` (Hang et al. 2023, "Efficient diffusion training via min-SNR").

    >>> float(MinSNR(5.0)(Level.of(0.99, 0.1))), float(MinSNR(5.0)(Level.of(0.5, 0.5)))
    (5.0, 1.0)
    """

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise BadInput(f"gamma is {self.gamma}.", "Give a number above 0.")

    def __call__(self, level: Level) -> Tensor:
        return snr(level).clamp(max=self.gamma)


@dataclass(frozen=True)
class EDMWeight:
    """`w = (r^2 + s^2)/(r s)^2 = 1/r^2 + 1/s^2`, r = sigma/alpha, s = sigma_data: the error of
    the unit-variance F of the EDM view (Karras et al. 2022, table 1).

    >>> float(EDMWeight(0.5)(Level.of(1.0, 0.5)))
    8.0
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise BadInput(f"sigma_data is {self.sigma_data}.", "Give the data's deviation.")

    def __call__(self, level: Level) -> Tensor:
        return snr(level) + self.sigma_data**-2


@dataclass(frozen=True)
class Sigmoid:
    """`sigmoid(bias - logsnr)` on the error of eps: `w = 1/(r^2 + exp(-bias))`, r = sigma/alpha.

    Falls from the eps weight in noise to a constant `exp(bias)` on x0 near data, half-way at
    logsnr = bias: a smooth min-SNR of gamma = exp(bias). Kingma and Gao 2023, "Understanding
    diffusion objectives as the ELBO with simple data augmentation", table 1, show that the loss
    is then a bound of the likelihood of noised data; Hoogeboom et al. 2024, "Simpler diffusion",
    lower the bias for larger pictures. Both draw logsnr uniformly; another law multiplies w.

    >>> float(Sigmoid(0.0)(Level.of(1.0, 1.0)))  # snr 1, sigmoid(0)
    0.5
    """

    bias: float = 0.0

    def __call__(self, level: Level) -> Tensor:
        return 1 / (level.ratio**2 + torch.as_tensor(-self.bias, dtype=torch.float64).exp())


@dataclass(frozen=True)
class P2:
    """`1/(k + snr)^gamma` on the error of eps: `w = snr/(k + snr)^gamma` (Choi et al. 2022,
    "Perception prioritized training of diffusion models", eq. 8). gamma 0 is the eps weight.

    >>> float(P2()(Level.of(1.0, 1.0)))
    0.5
    """

    k: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not (self.k > 0 and self.gamma >= 0):
            raise BadInput(f"k is {self.k} and gamma {self.gamma}.", "Use k > 0 and gamma >= 0.")

    def __call__(self, level: Level) -> Tensor:
        return snr(level) / (self.k + snr(level)) ** self.gamma


@dataclass(frozen=True)
class Likelihood:
    """`w = -(d snr/dt)/2`: the bound in continuous time, nats a dimension (theory: eq. 8).

    The same as `g^2/2` on the squared error of the score (Song, Durkan et al. 2021, "Maximum
    likelihood training of score-based diffusion models", theorem 1; VDM, Kingma et al. 2021,
    eq. 15): with t uniform its mean bounds KL(data || model) but for a term of the prior. It is
    right with laws that keep the expectation of a uniform t only (uniform, stratified,
    antithetic, adaptive). On schedules that reach clean data the integral grows without limit
    like `log(1/t)` near t = 0; it stops at the earliest t that is drawn, 1e-5.

    >>> from scorefield.process import Flow
    >>> float(Likelihood(Flow())(Flow()(torch.tensor(0.5))))  # -(d/dt) ((1-t)/t)^2 / 2
    4.0
    """

    schedule: Schedule

    def __call__(self, level: Level) -> Tensor:
        t = self.schedule.inverse(level.logsnr).clamp(EARLIEST, 1.0)
        # alpha ~ sqrt(1 - t) at the end of such a chain: its slope from the side that has one
        t = torch.where(level.alpha > 0, t, t - 1e-9)
        (a, s), (da, ds) = rates(self.schedule, t)[:2]
        return a * (a * ds - da * s) / s**3


@dataclass(frozen=True)
class VLB:
    """`w = gain^2 / (2 s^2)`: the term L_{k-1} of the chain's bound, nats a dimension (eq. 5).

    On the error of eps it is `beta^2 / (2 s^2 (1-beta)(1-abar))` (Ho et al. 2020, eq. 12), with
    s^2 the posterior variance ("small") or beta ("large") of the step. With the small one it is
    `(snr_{k-1} - snr_k)/2`, which T times over tends to `Likelihood`. The bound is the *sum* over
    k: T times the mean over uniform t. Beside it stand the prior's term and that of the last
    step, k = 1, for which `gain^2/(2 s^2)` is the squared error of a Gaussian decoder; its s^2,
    "small", is that of k = 2. A level between two of the chain has the weight of the noisier.

    >>> from scorefield.process import DiscreteVP, constant_betas
    >>> chain = DiscreteVP(constant_betas(2, 0.5))  # snr is 1 and 1/3
    >>> round(float(VLB(chain)(chain(torch.tensor(1.0)))), 6)
    0.333333
    """

    schedule: DiscreteVP
    variance: Literal["small", "large"] = "small"
    _table: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_chain(self.schedule, "the weight VLB")
        if self.variance not in ("small", "large"):
            raise BadInput(f"variance is {self.variance!r}.", "Use 'small' or 'large'.")
        gain, small, large = kernel(self.schedule, torch.arange(1, self.schedule.steps + 1))
        variance = small if self.variance == "small" else large
        object.__setattr__(self, "_table", gain**2 / (2 * variance))

    def __call__(self, level: Level) -> Tensor:
        t = self.schedule.inverse(level.logsnr)
        return self._table.to(t.device)[steps_of(self.schedule, t) - 1]


@dataclass(frozen=True)
class HybridScore:
    """`w = (S^-1 A)_v^2 / (S^-1)_vv` on levels of pairs `z = A x0 + L eps`, L lower: the error of
    eps_v, the only noise that the score of v is of (Dockhorn et al. 2022, eq. 8, "hybrid score
    matching", with their weight l^-2).

        s_v = -eps_v / L_vv,   l = 1/L_vv = sqrt((S^-1)_vv),   w |x0 - D|^2 = |eps_v - eps_v(D)|^2

    The target is of the last pivot: v0 and the noise of x are marginalised. It is no bounded one
    as t falls to 0: l^2 grows like 3/(8t).

    >>> from scorefield.process import Momentum
    >>> schedule = Momentum()
    >>> level = schedule(torch.tensor(0.2))
    >>> round(float((level.pairs.toward**2 / HybridScore(schedule)(level)).sqrt()), 6)  # l
    2.218348
    """

    schedule: Schedule

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Momentum):
            raise BadInput(
                "the weight hybrid-score is of pairs of position and velocity.",
                "Use it with the schedule momentum.",
            )

    def __call__(self, level: Level) -> Tensor:
        own = isinstance(level, Shown)
        shown = level if own else self.schedule(self.schedule.inverse(level.logsnr))
        pairs = cast(Shown, shown).pairs
        return pairs.toward**2 / pairs.precise[..., 1, 1]
