"""Planted defects: each is a slip that someone has made, and each must fail the law it breaks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Guide, Level, Noise, Seeded, Zero, like
from scorefield.process import DiscreteVP
from scorefield.solve import (
    DDIM,
    DDPM,
    BogackiShampine,
    DPMSolverPP,
    Heun,
    Info,
    Restart,
    SDEDPMSolverPP,
    State,
    langevin,
)
from scorefield.solve.dpmpp import History


class Twin:
    """One-step methods with the flags of a first-order deterministic solver."""

    order = 1
    evals = 1
    stochastic = False
    adaptive = False

    def init(self, x: Tensor) -> State:
        return State(x)


def eps_of(x: Tensor, denoised: Tensor, level: Level) -> Tensor:
    alpha, sigma = level.like(x)
    return (x - alpha * denoised) / sigma


class SigmaHereDDIM(Twin):
    """sigma of the level left in place of the level reached."""

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        x, denoised = state.x, denoise(state.x, here, cond)
        moved = there.like(x).alpha * denoised + here.like(x).sigma * eps_of(x, denoised, here)
        return State(moved), Info(denoised)


class EpsDDIM(Twin):
    """The textbook form through x0 = (x - sigma eps)/alpha: 0/0 at either end."""

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        x, denoised = state.x, denoise(state.x, here, cond)
        eps = eps_of(x, denoised, here)
        x0 = (x - here.like(x).sigma * eps) / here.like(x).alpha
        return State(there.like(x).alpha * x0 + there.like(x).sigma * eps), Info(denoised)


class BoastfulDDIM(Twin):
    """A first-order method that declares two."""

    order = 2

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        return DDIM().step(denoise, state, here, there, noise, cond)


class BlindHeun(Twin):
    """Second call at the old x: looks like Heun, measures first order."""

    order = 2
    evals = 2

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (euler,), info = DDIM().step(denoise, state, here, there, noise, cond)
        change = eps_of(state.x, denoise(state.x, there, cond), there)
        change = change - eps_of(state.x, info.denoised, here)
        half = like((there.sigma - there.alpha * here.ratio) / 2, euler)
        return State(euler + half * change), info


@dataclass(frozen=True)
class NoHalf2M:
    """DPM-Solver++ 2M with h / h_last for h / (2 h_last)."""

    order: int = 2
    evals = 1
    stochastic = False
    adaptive = False
    guarded = True

    def init(self, x: Tensor) -> History:
        return DPMSolverPP().init(x)

    def step(
        self,
        denoise: Denoise,
        state: History,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[History, Info]:
        x, last, lam_last = state
        denoised = denoise(x, here, cond)
        lam = (here.logsnr / 2).expand(len(x))
        weight = self.weight(there.logsnr / 2 - lam, lam - lam_last)
        if self.guarded:
            weight = weight.where(weight.isfinite(), 0.0)
        ahead = denoised + like(weight, x) * (denoised - last)
        keep = there.sigma / here.sigma
        moved = like(keep, x) * x + like(there.alpha - here.alpha * keep, x) * ahead
        return History(moved, denoised, lam), Info(denoised)

    def weight(self, h: Tensor, h_last: Tensor) -> Tensor:
        return h / h_last


class Unguarded2M(NoHalf2M):
    """The right weight, and nothing done where it is inf/inf or 0/0."""

    guarded = False

    def weight(self, h: Tensor, h_last: Tensor) -> Tensor:
        return h / (2 * h_last)


@dataclass(frozen=True)
class Hidden2M(DPMSolverPP):
    """Keeps its past on itself, as a scheduler object does, and warms up by asking `if first`."""

    past: dict[str, Any] = field(default_factory=dict)

    def step(
        self,
        denoise: Denoise,
        state: History,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[History, Info]:
        history = state
        if self.past:
            place = torch.arange(len(state.x)) % len(self.past["lam"])
            history = History(state.x, *(self.past[leaf][place] for leaf in ("denoised", "lam")))
        after, info = super().step(denoise, history, here, there, noise, cond)
        self.past.update(denoised=after.denoised, lam=after.lam)
        return self.init(after.x), info


class BatchNormed(Twin):
    """Clips D at a number taken over the whole batch."""

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        def clipped(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            denoised = denoise(x, level, cond)
            return denoised.clamp(max=float(denoised.abs().mean()) * 2)

        return DDIM().step(clipped, state, here, there, noise, cond)


class FirstLevelOnly(Twin):
    """One level for the whole batch: the first sample's."""

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        here, there = (Level(*(leaf.flatten()[0] for leaf in level)) for level in (here, there))
        return DDIM().step(denoise, state, here, there, noise, cond)


class BetaDDPM(Twin):
    """The posterior's mean with beta for its variance: passed off as the posterior, which it is
    not."""

    stochastic = True

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (mean,), info = DDPM().step(denoise, state, here, there, Zero(), cond)
        ratio = here.alpha / there.alpha
        beta = here.sigma**2 - ratio**2 * there.sigma**2
        return State(mean + like(beta.sqrt(), mean) * noise(mean, here, there)), info


class BetaScaled(BetaDDPM):
    """Twice the noise of the SDE: the classic missing factor of g^2."""

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (mean,), info = DDPM().step(denoise, state, here, there, Zero(), cond)
        (with_noise,), _ = DDPM().step(denoise, state, here, there, noise, cond)
        return State(mean + 2**0.5 * (with_noise - mean)), info


class VarianceForDeviation(Twin):
    """1 - q^2 used as a deviation: too little noise is put back."""

    stochastic = True

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (mean,), info = DDPM().step(denoise, state, here, there, Zero(), cond)
        (with_noise,), _ = DDPM().step(denoise, state, here, there, noise, cond)
        q = there.ratio / here.ratio
        return State(mean + like((1 - q**2).sqrt(), mean) * (with_noise - mean)), info


class ThriceHeun(Heun):
    """Declares two calls and makes three."""

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        denoise(state.x, here, cond)
        return super().step(denoise, state, here, there, noise, cond)


class SecretlyStochastic(Twin):
    """Says that it is deterministic and draws."""

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        return DDPM().step(denoise, state, here, there, noise, cond)


class InPlace(Twin):
    """Moves the caller's own tensor."""

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        after, info = DDIM().step(denoise, state, here, there, noise, cond)
        state.x.copy_(after.x)
        return State(state.x), info


class Widening(Twin):
    """Multiplies x by float64 coefficients."""

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (x,), info = DDIM().step(denoise, state, here, there, noise, cond)
        return State(x * torch.ones(len(x), 1, dtype=torch.float64)), info


class Coarse(Twin):
    """Rounds its coefficients to half precision on the way."""

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        if state.x.dtype == torch.float32:
            here, there = (Level(*(v.half().double() for v in level)) for level in (here, there))
        return DDIM().step(denoise, state, here, there, noise, cond)


class IndexNoise:
    """Keyed by the place in the batch."""

    def __init__(self, seeds: Sequence[int]) -> None:
        pass

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        return Seeded(range(len(x)))(x, here, there)


class CounterNoise:
    """Keyed by how many draws there have been."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds, self.calls = seeds, 0

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        self.calls += 1
        level = Level.of(1.0, float(self.calls))
        return Seeded(self.seeds)(x, level, level)


class SaltedNoise:
    """Keyed through Python's salted `hash`: right until the process ends."""

    def __init__(self, seeds: Sequence[int]) -> None:
        digest = hashlib.sha256(str(hash("salt")).encode()).digest()[:4]
        self.noise = Seeded([seed + int.from_bytes(digest, "little") for seed in seeds])

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        return self.noise(x, here, there)


def integer_stride(schedule: DiscreteVP, steps: int) -> Level:
    """*there* = k - T // n: right only if n divides T; else the run never comes to clean data."""
    stride = schedule.steps // steps
    k = schedule.steps - torch.arange(steps + 1).double() * stride
    return schedule(k / schedule.steps)


def one_plus_w(scale: float) -> Guide:
    """The papers' w in the place of scale = 1 + w."""

    def guide(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            plain = denoise(x, level, None)
            return plain + (1 + scale) * (denoise(x, level, cond) - plain)

        return guided

    return guide


@dataclass(frozen=True)
class TauNotSquared(SDEDPMSolverPP):
    """tau in the exponents where tau^2 belongs: a deviation taken for a variance."""

    order: int = 1

    def step(
        self,
        denoise: Denoise,
        state: History,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[History, Info]:
        wrong = SDEDPMSolverPP(order=self.order, tau=self.tau**0.5)
        return wrong.step(denoise, state, here, there, noise, cond)


@dataclass(frozen=True)
class FreeChurn(Heun):
    """Churn that adds its noise and stays at the level below it."""

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        growth = (here.ratio / there.ratio) ** (2 * self.churn) - 1
        x = state.x + like(here.sigma * growth.sqrt(), state.x) * noise(state.x, here, there)
        return Heun().step(denoise, State(x), here, there, noise, cond)


class Optimist(BogackiShampine):
    """Takes a hundredth of its error estimate for the whole."""

    tableau = BogackiShampine.tableau._replace(
        error=tuple(weight / 100 for weight in BogackiShampine.tableau.error)
    )


def langevin_sqrt_delta(
    denoise: Denoise, x: Tensor, level: Level, noise: Noise, step: float
) -> Tensor:
    """sqrt(delta) for sqrt(2 delta)."""
    still = langevin(denoise, x, level, Zero(), step)
    return still + (langevin(denoise, x, level, noise, step) - still) / 2**0.5


def langevin_half_score(
    denoise: Denoise, x: Tensor, level: Level, noise: Noise, step: float
) -> Tensor:
    """x += delta/2 score with the noise of delta."""
    still = langevin(denoise, x, level, Zero(), step / 2)
    return (
        still + langevin(denoise, x, level, noise, step) - langevin(denoise, x, level, Zero(), step)
    )


class SameDraw(Restart):
    """Two restarts with one key: the second draws the first's noise again."""

    def __init__(self) -> None:
        super().__init__(times=2)

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        drawn: list[Tensor] = []

        def again(x: Tensor, here: Level, there: Level) -> Tensor:
            drawn.append(noise(x, here, there) if not drawn else drawn[0])
            return drawn[-1]

        return super().step(denoise, state, here, there, again, cond)


class HalfRestart(Restart):
    """Goes up by sigma_here - sigma_there, the difference of deviations."""

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        a = here.alpha / there.alpha
        up = (here.sigma**2 - a**2 * there.sigma**2).sqrt()
        share = (here.sigma - a * there.sigma) / up

        def less(x: Tensor, here: Level, there: Level) -> Tensor:
            return like(share, x) * noise(x, here, there)

        return super().step(denoise, state, here, there, less, cond)
