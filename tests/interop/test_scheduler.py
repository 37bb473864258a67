"""Our solvers in their pipelines: what comes out is what our own loop makes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from scorefield import catalogue, interop
from scorefield.base import Level, Seeded
from scorefield.catalogue.spec import build
from scorefield.draw import Asked, Plan, draw
from scorefield.interop import Scheduler
from tests.interop.foreign import keep, network, scheduler, theirs
from tests.refusal import refused

PROCESS = {"vp": "DDIM", "flow": "FlowMatchEulerDiscrete", "edm": "EDMEuler"}
SOLVERS = [name for name in catalogue.solvers if not build("solvers", name).adaptive]
DERIVED = {"genie"}
"""Those that ask for a slope of the network."""


def process(kind: str) -> dict[str, Any]:
    return dict(scheduler(PROCESS[kind]).config) | {"_class_name": f"{PROCESS[kind]}Scheduler"}


def walked(plan: Any, net: Any, x: Tensor, generator: Any = None) -> Tensor:
    """What every pipeline of theirs does."""
    x = x * plan.init_noise_sigma
    for t in plan.timesteps:
        out = net(plan.scale_model_input(x, t), t)
        x = plan.step(out, t, x, generator=generator, return_dict=False)[0]
    return x


@pytest.mark.parametrize("kind", PROCESS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_drives_a_pipeline_as_its_own_loop(solver, kind):
    if solver in DERIVED:
        return refused("derivatives", Scheduler, solver, process=process(kind))
    plan = Scheduler(solver, process=process(kind))
    plan.set_timesteps(5)
    weights = torch.linspace(-1, 1, 4).view(1, 4)

    def net(x: Tensor, t: Tensor) -> Tensor:  # a network that is anything but linear
        return torch.tanh(x * weights + t.to(x).view(-1, 1) / 1000).flip(-1)

    def denoise(x: Tensor, level: Level, cond: Any = None) -> Tensor:
        c_skip, c_out, c_in = (c.to(x).view(-1, 1) for c in plan.convention.coefficients(level))
        return c_skip * x + c_out * net(c_in * x, plan.convention.c_noise(level).to(torch.float32))

    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    got = walked(plan, net, x, torch.Generator().manual_seed(7))
    start = x * plan.init_noise_sigma
    asked = Asked(torch.tensor([7, 8, 9]), start=start)
    own = draw(denoise, Plan(plan.method, plan.levels), asked, (4,)).x
    assert (got - own).abs().max() < 2e-5 * own.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("solver, calls", [("arc", 6), ("heun", 11), ("ddpm", 6)])
def test_a_pipeline(solver, calls, tmp_path):
    """DDPMPipeline with our scheduler, saved and loaded, beside our own loop."""
    net = network()
    pipe = theirs().DDPMPipeline(net, Scheduler.from_config(scheduler().config, solver=solver))
    pipe.save_pretrained(tmp_path / "pipe")
    pipe = theirs().DDPMPipeline.from_pretrained(tmp_path / "pipe")
    pipe.set_progress_bar_config(disable=True)
    assert (type(pipe.scheduler), pipe.scheduler.config["solver"]) == (Scheduler, solver)
    generator = torch.Generator().manual_seed(3)
    images = pipe(batch_size=2, generator=generator, num_inference_steps=6, output_type="np").images
    assert len(pipe.scheduler.timesteps) == calls
    denoiser = interop.load(keep(tmp_path / "a", net, scheduler()))
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    plan = Plan(pipe.scheduler.method, pipe.scheduler.levels)
    own = draw(denoiser, plan, Asked(torch.tensor([3, 4]), start=x), (1, 8, 8)).x
    mine = (own / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert abs(mine - images).max() < 1e-4


def test_an_edit_begins_inside(tmp_path):
    """As img2img does: noise for a timestep, then the rest of the walk."""
    plan = Scheduler("heun")
    plan.set_timesteps(6)
    at = 2 * plan.order
    plan.set_begin_index(at)
    x0, noise = torch.zeros(1, 4), torch.randn(1, 4)
    x = plan.add_noise(x0, noise, plan.timesteps[at : at + 1])
    assert torch.allclose(x, plan.levels.at(2).sigma.float() * noise)
    for t in plan.timesteps[at:]:
        x = plan.step(torch.zeros_like(x), t, x).prev_sample
    alpha = plan.levels.at(2).alpha.float()
    assert torch.allclose(x, plan.levels.at(2).sigma.float() * noise / alpha, rtol=1e-4)
    refused("inside a step", plan.set_begin_index, 3)
    refused("all steps are taken", plan.step, x, 0, x)


def test_an_edited_sample_is_gone_on_with():
    """As inpainting does: the pipeline changes the sample between two steps."""
    plan = Scheduler("ddim")
    plan.set_timesteps(3)
    x = torch.ones(1, 2)
    for k, t in enumerate(plan.timesteps):
        x = plan.step(torch.zeros_like(x), t, x).prev_sample
        if k == 1:
            x = torch.full_like(x, 2.0)
    assert torch.allclose(x, 2 / plan.levels.at(2).alpha.float().expand(1, 2))


@pytest.mark.parametrize("forgets", [False, True])
def test_a_planted_forgetting_of_answers_is_seen(forgets):
    """With each answer forgotten a step of two calls never ends."""
    plan = Scheduler("heun")
    plan.set_timesteps(2)
    x = torch.ones(1, 2)
    for t in plan.timesteps:
        x = plan.step(x, t, x).prev_sample
        if forgets and plan._job:
            plan._job = replace(plan._job, answers=())
    assert plan._job
    assert plan._job.done != forgets


def test_seeds_and_noise():
    plan, x = Scheduler("ddpm"), torch.ones(2, 1)
    plan.set_timesteps(2)
    first = plan.step(x, plan.timesteps[0], x, generator=torch.Generator().manual_seed(5))
    here, there = plan.levels.at(0), plan.levels.at(1)
    z = Seeded([5, 6])(x, here, there)
    again = Scheduler("ddpm")
    again.set_timesteps(2)
    other = again.step(x, plan.timesteps[0], x, generator=torch.Generator().manual_seed(9))
    z_other = Seeded([9, 10])(x, here, there)
    spread = (first.prev_sample - other.prev_sample) / (z - z_other)
    assert torch.allclose(spread[0], spread[1], rtol=1e-4)


def test_what_it_cannot():
    refused("adaptive", Scheduler, "adaptive-heun" if "adaptive-heun" in catalogue.solvers else
            next(n for n in catalogue.solvers if build("solvers", n).adaptive))  # fmt: skip
    refused("unknown solver", Scheduler, "hoin")
    refused("unknown scheduler", Scheduler, "arc", process={"_class_name": "VQDiffusionScheduler"})
