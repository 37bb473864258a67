"""Every solver as a scheduler of diffusers: it drives their pipelines, whatever the network.

A pipeline calls `step` with one output of the network at a time, and a step of a solver may need
several. Steps are pure, so a step is played again with the answers given so far until it asks for
the next (`draw.next_question`); what it asks about is the pipeline's next sample. A walk from zeros
at `set_timesteps` finds the level of every call: the pipeline's timesteps, which may be fractions.

The coordinates are those of the published process: alpha^2 + sigma^2 = 1 for chains, alpha + sigma
= 1 for flows, alpha = 1 for EDM.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from scorefield.base import BadInput, Level, join, like
from scorefield.denoise.guest import published
from scorefield.draw import Asked, Job, Plan, next_question
from scorefield.run.config import build_levels
from scorefield.run.open import build_solver
from scorefield.use.plan import DEFAULT, grid_for


class Scheduler(SchedulerMixin, ConfigMixin):
    """A solver, by its spec, on the process that another scheduler's settings describe.

        pipe.scheduler = Scheduler.from_config(pipe.scheduler.config, solver="heun")

    `num_inference_steps` counts steps of the solver; one of two calls has two timesteps a step.
    `grid` is a spec, by default that of the solver; `sigma_data` the deviation of what the network
    makes. Sample i of a generator with seed s draws as seed s + i does in Scorefield.

    Raises BadInput for an adaptive solver, whose calls are not known beforehand, one that asks for
    derivatives of the network, and settings that `scorefield import` refuses.
    """

    _compatibles = ()
    order = 1

    @register_to_config
    def __init__(
        self,
        solver: str = "arc",
        grid: str | None = None,
        sigma_data: float | None = None,
        process: dict[str, Any] | None = None,
        num_train_timesteps: int = 1000,
    ) -> None:
        said = published(process or {"_class_name": "DDIMScheduler"})
        unit = sigma_data or (process or {}).get("sigma_data", 1.0)
        self.schedule, self.convention = said.schedule, said.convention
        self.method, self.unit = build_solver(solver, unit), unit
        if self.method.adaptive:
            raise BadInput(
                f"{solver} is adaptive: how often it calls the network is not known beforehand.",
                "Use another solver, such as arc.",
            )
        self.order = max(1, self.method.evals)
        self.grid = grid or grid_for(solver, DEFAULT.grid)
        self.set_timesteps(DEFAULT.steps)

    @classmethod
    def from_config(
        cls, config: Any = None, return_unused_kwargs: bool = False, **given: Any
    ) -> Any:
        """Of another scheduler's settings, or of one's own; `solver` and `grid` as keywords."""
        said = dict(config or {})
        own = {key: given.pop(key) for key in ("solver", "grid", "sigma_data") if key in given}
        if "solver" not in said:
            said = {"process": {**said, "_class_name": said.get("_class_name") or _class_of(said)},
                    "num_train_timesteps": said.get("num_train_timesteps", 1000)}  # fmt: skip
        names = ("solver", "grid", "sigma_data", "process", "num_train_timesteps")
        made = cls(**{key: said[key] for key in names if key in said} | own)
        return (made, given) if return_unused_kwargs else made

    @property
    def init_noise_sigma(self) -> float:
        return float(self.levels.sigma[0])

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """Steps of the solver. `sigmas`, of a pipeline that insists on its own, are counted; our
        levels take their place. `mu`, a shift of theirs for large pictures, moves the grid
        `shifted`, and no other."""
        steps = num_inference_steps or (0 if sigmas is None else len(sigmas))
        if steps < 1:
            raise BadInput(f"num_inference_steps is {steps}.", "Give at least 1.")
        grid = self.grid
        if mu is not None and grid.partition(":")[0] == "shifted":
            grid = f"shifted:{torch.tensor(mu, dtype=torch.float64).exp().item()!r}"
        self.levels = build_levels(grid, self.schedule, steps, sigma_data=self.unit)
        self.num_inference_steps = steps
        self.calls = _calls(self._plan(self.levels))
        c_noise = torch.stack([self.convention.c_noise(level) for _, level in self.calls])
        self.timesteps = c_noise.to(torch.float32).to(device or "cpu")
        self.sigmas = self.levels.ratio.to(torch.float32)
        self._job: Job | None = None
        self._begin, self._last = 0, None

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin at this timestep, of an edit: the first of a step, or BadInput."""
        at = min(begin_index, len(self.calls) - 1)
        if at and self.calls[at][0] == self.calls[at - 1][0]:
            raise BadInput(
                f"timestep {at} lies inside a step of several calls.",
                "Use another strength, or a solver of one call.",
            )
        self._begin = at

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """What the network of this process sees: c_in x, at the level that is asked about.

        A walk from levels of much noise may begin with a step that needs no network: then x is that
        after it.
        """
        if self._job is None and sample.is_floating_point():
            wide = torch.promote_types(sample.dtype, torch.float32)
            sample = next_question(self._first(sample.to(wide), torch.Generator())).x.to(
                sample.dtype
            )
        return like(self.convention.coefficients(self._level(timestep))[2], sample) * sample

    def step(
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        generator: Any = None,
        return_dict: bool = True,
    ) -> Any:
        """The sample that the network is to see next, from what it said of this one; at the end
        that of the solver."""
        wide = torch.promote_types(sample.dtype, torch.float32)
        x = sample.to(wide)
        job = self._begun(x, generator)
        asks = next_question(job)
        if asks.level is None:
            raise BadInput("all steps are taken.", "Call set_timesteps before the next samples.")
        c_skip, c_out, _ = self.convention.coefficients(asks.level)
        said = model_output.to(wide)
        said = said[:, : x.shape[1]]  # a learned variance comes behind
        denoised = like(c_skip, x) * asks.x + like(c_out, x) * said
        after = next_question(replace(job, answers=(*job.answers, denoised)))
        self._job, self._last = after.job, after.x.to(sample.dtype)
        out = DDIMSchedulerOutput(self._last, denoised.to(sample.dtype))
        return out if return_dict else (self._last, out.pred_original_sample)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Any) -> Tensor:
        """x at a timestep: of this grid, or of the process in between."""
        alpha, sigma = self._level(timesteps).like(noise)
        return alpha * original_samples + sigma * noise

    def scale_noise(self, sample: Tensor, timestep: Any, noise: Tensor) -> Tensor:
        """`add_noise` by the name that pipelines of flows use."""
        return self.add_noise(sample, noise, timestep)

    def __len__(self) -> int:
        return self.config["num_train_timesteps"]

    def _plan(self, levels: Level) -> Plan:
        return Plan(self.method, levels)

    def _begun(self, x: Tensor, generator: Any) -> Job:
        """The walk at this sample, also where the pipeline has changed it in between."""
        if self._job is None:
            self._job = self._first(x, generator)
        elif not self._job.answers and not torch.equal(x, self._last.to(x)):  # type: ignore[union-attr]
            state = type(self._job.state)(x, *self._job.state[1:])
            self._job = replace(self._job, state=state)
        return self._job

    def _first(self, x: Tensor, generator: Any) -> Job:
        levels = self.levels.at(slice(self.calls[self._begin][0], None))
        asked = Asked(_seeds(generator, len(x)), start=x)
        return Job.of(self._plan(levels), asked, x.shape[1:], x)

    def _level(self, timestep: Any) -> Level:
        """Of the call at a timestep of the grid; else of the process at a timestep of its own."""
        t = torch.as_tensor(timestep, dtype=torch.float64).to("cpu").flatten()
        apart = (self.timesteps.cpu().double()[:, None] - t).abs()
        at = apart.argmin(0)
        if (apart.amin(0) < 1e-3).all():
            levels = join([self.calls[int(i)][1] for i in at])
        elif hasattr(self.schedule, "steps"):
            levels = self.schedule((t + 1) / self.config["num_train_timesteps"])
        elif self.schedule(torch.tensor(1.0)).alpha == 0:
            levels = self.schedule(t / 1000)
        else:
            levels = Level.of(torch.ones_like(t), (4 * t).exp())
        return levels.at(0) if len(t) == 1 else levels


def _class_of(settings: Mapping[str, Any]) -> str:
    """A class of the process that settings without a name describe."""
    if "shift" in settings or settings.get("use_flow_sigmas"):
        return "FlowMatchEulerDiscreteScheduler"
    return "EDMEulerScheduler" if "sigma_data" in settings else "DDIMScheduler"


def _seeds(generator: Any, rows: int) -> Tensor:
    if isinstance(generator, list | tuple):
        return torch.tensor([g.initial_seed() for g in generator]).view(-1, 1).expand(
            -1, rows // len(generator)
        ).flatten()  # fmt: skip
    first = int(torch.randint(2**62, ())) if generator is None else generator.initial_seed()
    return torch.tensor([first % 2**62 + i for i in range(rows)])


def _calls(plan: Plan) -> list[tuple[int, Level]]:
    """The step and the level of every call of a walk, from zeros."""
    x = torch.zeros(1, 1, dtype=torch.float64)
    job, found = Job.of(plan, Asked(torch.zeros(1, dtype=torch.int64), start=x), (1,), x), []
    while True:
        asks = next_question(job)
        if asks.level is None:
            return found
        level = asks.level
        found.append((asks.job.k, level.at(0) if level.sigma.ndim else level))
        job = replace(asks.job, answers=(*asks.job.answers, asks.x))
