"""Steps between two ends: of a pinned Brownian motion, and of a degradation."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like, quotient
from scorefield.objective import Degradation, degraded
from scorefield.solve import State
from scorefield.solve.loop import Info, Plain
from scorefield.solve.transfer import affine, transfer


@dataclass(frozen=True)
class BridgeStep(Plain):
    """Draw from the Brownian bridge of variance `spread`^2 that leads from x_t to x0 = D.

        x_s = (1 - s/t) D + (s/t) x_t + spread sqrt(s (t - s) / t) z

    on the levels of the schedule `flow`, t and s their sigma / (alpha + sigma): I2SB's posterior
    (Liu et al. 2023, eq. 11), its clock t = s_t^2 / (s_t^2 + sb_t^2). With `spread` = 0 it is the
    first-order step of the flow, `DDIM`, which is InDI's (Delbracio and Milanfar 2023, eq. 8) and
    I2SB's for beta -> 0. The spread is the one that D was trained by: a D of noise walked without
    it ends too narrow (variance .692 of 1).

    A step to t = 0 is D. D must be E[x0 | x_t] of the bridge (`Bridged`, learn = mean).

    >>> import torch
    >>> from scorefield.base import Zero
    >>> from scorefield.solve import State
    >>> half = lambda x, level, cond: 0 * x
    >>> here, there = Level.of(0.0, 1.0), Level.of(0.5, 0.5)
    >>> BridgeStep(1.0).step(half, State(torch.ones(1, 1)), here, there, Zero())[0].x
    tensor([[0.5000]])
    """

    spread: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.spread < float("inf"):
            raise BadInput(f"the spread of a bridge is {self.spread}.", "Give 0 or more.")

    @property
    def stochastic(self) -> bool:
        return self.spread > 0

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (x,) = state
        t, s = (level.sigma / (level.alpha + level.sigma) for level in (here, there))
        denoised = denoise(x, here, cond)
        keep, gain = transfer(here, there)
        moved = affine(x, keep, denoised, gain)
        if self.stochastic:
            wide = self.spread * (quotient(s, t) * (t - s)).clamp(min=0).sqrt()
            moved = moved + like(wide, x) * noise(x, here, there)
        return State(moved), Info(denoised)


@dataclass(frozen=True)
class ColdStep(Plain):
    """Restore, and degrade again to the next strength (Bansal et al. 2023, "Cold diffusion").

        R = D(x_s, s)
        naive       x_s' = degrade(R, s')
        improved    x_s' = x_s - degrade(R, s) + degrade(R, s')

    with s = sigma / (alpha + sigma). Where the degradation is linear in s, x0 + s e, the improved
    step is exact whatever R is; the naive one sums R's errors. Of Gaussian noise whose eps is read
    off R, it is `DDIM`. A degradation that leaves a few numbers of x0 is answered by a function of
    those: the samples are as many as the starts.

    >>> import torch
    >>> from scorefield.base import Zero
    >>> from scorefield.solve import State
    >>> wrong = lambda x, level, cond: 0 * x
    >>> fade = lambda x0, s: x0 + s.view(-1, 1)
    >>> here, there = Level.of(0.0, 1.0), Level.of(1.0, 0.0)
    >>> ColdStep(fade).step(wrong, State(torch.full((1, 1), 3.0)), here, there, Zero())[0].x
    tensor([[2.]])
    """

    degrade: Degradation
    improved: bool = True

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (x,) = state
        s, less = (
            (level.sigma / (level.alpha + level.sigma)).to(x).expand(len(x))
            for level in (here, there)
        )
        restored = denoise(x, here, cond)
        moved = degraded(self.degrade, restored, less)
        if self.improved:
            moved = x - self.degrade(restored, s) + moved
        return State(moved), Info(restored)


def fading(image: Callable[[Tensor], Tensor]) -> Degradation:
    """The degradation that goes over into `image(x0)` evenly: `(1-s) x0 + s image(x0)`.

    >>> import torch
    >>> grey = fading(lambda x: x.mean(1, keepdim=True).expand_as(x))
    >>> grey(torch.tensor([[0.0, 1.0]]), torch.tensor([0.5]))
    tensor([[0.2500, 0.7500]])
    """

    def degrade(x0: Tensor, s: Tensor) -> Tensor:
        w = like(s, x0)
        return (1 - w) * x0 + w * image(x0)

    return degrade


def blurring(largest: float) -> Degradation:
    """Gaussian blur whose deviation grows to `largest` pixels, of pictures `(B, C, H, W)`, by the
    cosine transform: edges are mirrored, and the mean of a picture stays (Rissanen et al. 2023).

    >>> import torch
    >>> half = blurring(1e3)(torch.tensor([[[[0.0, 1.0]]]]), torch.ones(1))
    >>> half.round(decimals=4)
    tensor([[[[0.5000, 0.5000]]]])
    """

    def degrade(x0: Tensor, s: Tensor) -> Tensor:
        for axis in (-1, -2):
            n = x0.shape[axis]
            k = torch.arange(n, dtype=torch.float64)
            basis = (torch.pi / n * (k[:, None] + 0.5) * k).cos() * (2 / n) ** 0.5  # pixels, waves
            basis[:, 0] /= 2**0.5
            width = largest * s.double().cpu()[:, None]
            decay = (-((torch.pi * k / n * width) ** 2) / 2).exp()
            matrix = torch.einsum("ik,bk,jk->bij", basis, decay, basis).to(x0)
            x0 = x0 @ matrix[:, None] if axis == -1 else matrix[:, None] @ x0
        return x0

    return degrade
