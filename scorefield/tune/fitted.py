"""What a fit gives: levels and lengths of steps, as a solver can use them and as JSON."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.solve import Info, Solver
from scorefield.solve.loop import Around
from scorefield.solve.transfer import affine, transfer
from scorefield.store.typed import read_typed

SCHEMA = 1
"""Version of a grid's JSON; a higher one was written by a newer Scorefield."""


@dataclass(frozen=True, eq=False)
class Stretched(Around):
    """A solver whose correction to the step with D held is `stretch` times as long (eq. 2).

    `levels` are those at which its steps begin, leaves `(steps,)` like `stretch`, or `(steps, B)`
    both; a step finds its own by its level, so that samples at different levels share a batch.

    Raises BadInput at a level that is none of them.
    """

    solver: Solver
    levels: Level
    stretch: Tensor

    def step(
        self,
        denoise: Denoise,
        state: Any,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[Any, Info]:
        x = state[0]
        state, info = self.solver.step(denoise, state, here, there, noise, cond)
        keep, gain = transfer(here, there)
        held = affine(x, keep, info.denoised, gain)
        moved = torch.lerp(held, state[0], like(self._at(here), x).expand_as(x))
        return type(state)(moved, *state[1:]), info

    def _at(self, here: Level) -> Tensor:
        steps = len(self.stretch)
        stretch = self.stretch.reshape(steps, -1)
        wide = self.levels if here.per_coordinate else [v.reshape(steps, -1) for v in self.levels]
        same = torch.stack([own == leaf.to(own) for own, leaf in zip(wide, here)]).all(0)
        same = same.flatten(2).all(2) if here.per_coordinate else same
        if not same.any(0).all():
            raise BadInput(
                "a step begins at a level that the stretch was not fitted to.",
                "Use the levels of the fitted grid itself.",
            )
        found = (same * stretch).sum(0).to(here.alpha.device)
        return found if here.sigma.ndim or self.stretch.ndim > 1 else found[0]


@dataclass(frozen=True, eq=False)
class FittedGrid:
    """Levels, `alpha` and `sigma` of steps+1, and lengths of steps, `stretch`, that were fitted to
    one denoiser and solver.

    `solver` is a name of the catalogue, or the method as Python writes it; `schedule` likewise.
    The distance of a sample is the root mean square, over its numbers, between the end of the run
    and of the flow, here for `starts` noises that the fit never saw: `error` is its root mean
    square, which one sample in the wrong mode can rule, and `median` its median, with those of the
    unfitted grid that is best on the very same noises, `before`. `guidance` is the scale that the
    denoiser was guided with.
    """

    alpha: tuple[float, ...]
    sigma: tuple[float, ...]
    stretch: tuple[float, ...]
    solver: str
    schedule: str
    error: float
    median: float
    before: str
    error_before: float
    median_before: float
    starts: int
    seed: int
    guidance: float | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        a, s, steps = len(self.alpha), len(self.sigma), self.steps
        if not steps or not a == s == steps + 1:
            raise BadInput(
                f"it has {a} alphas, {s} sigmas and {steps} stretches.",
                "One stretch less than levels belongs there: fit the grid again.",
            )
        legal = all(a >= 0 and s >= 0 and a + s > 0 for a, s in zip(self.alpha, self.sigma))
        ratio = self.levels.ratio
        if not legal or not (ratio.diff() < 0).all():
            raise BadInput(
                "its levels do not fall in noise: sigma/alpha is "
                f"{[round(r, 6) for r in ratio.tolist()]}.",
                "Fit the grid again.",
            )

    @property
    def steps(self) -> int:
        return len(self.stretch)

    @cached_property
    def levels(self) -> Level:
        """The same in leaves `(steps+1,)`."""
        return Level(*(torch.tensor(v, dtype=torch.float64) for v in (self.alpha, self.sigma)))

    def method(self, solver: Solver) -> Solver:
        """The solver with the fitted lengths of steps."""
        if all(c == 1 for c in self.stretch):
            return solver
        stretch = torch.tensor(self.stretch, dtype=torch.float64)
        return Stretched(solver, self.levels.at(slice(0, -1)), stretch)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` gives the same numbers to the last bit."""
        return {"schema": SCHEMA, "steps": self.steps, **asdict(self)}

    @classmethod
    def from_json(cls, content: dict[str, Any], source: str) -> "FittedGrid":
        """Read back, or BadInput that names the source and the field at fault."""
        schema = content.get("schema")
        if schema != SCHEMA or type(schema) is not int:
            newer = type(schema) is int and schema > SCHEMA
            raise BadInput(
                f"{source} has schema {schema!r}, this Scorefield reads {SCHEMA}.",
                "Upgrade Scorefield." if newer else "Give a file that scorefield fit-grid wrote.",
            )
        about = ("schema", "steps", "digest")  # of its seal
        own = {key: value for key, value in content.items() if key not in about}
        read: FittedGrid = read_typed(cls, own, f"{source}: ")
        if content.get("steps") != read.steps:
            raise BadInput(
                f"{source}: steps is {content.get('steps')} and the levels make {read.steps}.",
                "Fit the grid again.",
            )
        return read
