"""One call from level to level, by a network that has learned the way."""

from dataclasses import dataclass

from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Map, Noise, like
from scorefield.denoise.precondition import noise_number
from scorefield.solve.loop import Info, Plain, State
from scorefield.solve.transfer import affine, transfer


def jumped(
    denoise: Denoise, x: Tensor, here: Level, there: Level, cond: Cond | None = None
) -> tuple[Tensor, Tensor]:
    """`(x_there, D)` of a map between two levels.

        x_there = keep x + gain D(x, here, there)                      (eq. 1 with the D that hits)

    A map is a denoiser whose condition "there" `(B,)`, log(sigma/alpha), says where it leads: the
    D that eq. 1 needs to end on the flow at once. It is E[x0 | x] for there = here and the end of
    the flow for clean data; a way of no length leaves x where it is.
    """
    denoised = denoise(x, here, {**(cond or {}), "there": noise_number(there, x)})
    keep, gain = transfer(here, there)
    return affine(x, keep, denoised, gain), denoised


def map_of(denoise: Denoise) -> Map:
    """`Map(x, here, there, cond) = x_there` that a student has learned, or any other denoiser by
    one step of DDIM. Levels are those of any schedule.

    >>> import torch
    >>> data = map_of(lambda x, level, cond: 0 * x)  # all data are 0
    >>> data(torch.ones(1, 1), Level.of(1.0, 2.0), Level.of(1.0, 0.5)).item()
    0.25
    """

    def leads(x: Tensor, here: Level, there: Level, cond: Cond | None = None) -> Tensor:
        return jumped(denoise, x, here, there, cond)[0]

    return leads


@dataclass(frozen=True)
class Jump(Plain):
    """Step by a map that a network has learned (`jumped`), one call however long the step.

        x_there = J(x; here -> (alpha, sqrt(1 - fresh^2) sigma)) + fresh sigma z

    with alpha and sigma those of there.

    fresh=0 follows the map. fresh=1 goes to clean data and adds fresh noise: the steps of a
    consistency model, whose denoiser need not ask where it leads; with one that has learned no map
    fresh=0 is DDIM.

    Use it for students: consistency, MeanFlow, shortcut and the like, in 1 to 4 steps.

    Source: Kim et al. 2024, "Consistency trajectory models", alg. 3; Song et al. 2023, "Consistency
    models", alg. 1.
    """

    fresh: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.fresh <= 1:
            raise BadInput(f"fresh is {self.fresh}.", "Use 0 (the map) to 1 (all noise fresh).")

    @property
    def stochastic(self) -> bool:
        return self.fresh > 0

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        kept = Level(there.alpha, (1 - self.fresh**2) ** 0.5 * there.sigma)
        x, denoised = jumped(denoise, state.x, here, kept, cond)
        if self.stochastic:
            x = x + self.fresh * like(there.sigma, x) * noise(x, here, there)
        return State(x), Info(denoised)
