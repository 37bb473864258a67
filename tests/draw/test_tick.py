"""A job is its own: whatever walks beside it, whenever it paused, whoever else failed."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scorefield import catalogue
from scorefield.base import BadInput, Cond, Denoise, Guide, Level
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, CountedRows, Job, Plan, draw, guided, jobs, tick, walk
from scorefield.guide import carried, cfg, classifier, interval, threshold
from scorefield.nets import MLP
from scorefield.process import VP, Flow, grids
from scorefield.solve import DDIM, DDPM, DPMSolverPP, Heun, Solver
from scorefield.solve.laws import close
from tests.laws.truths import EIGHT

LIKE = torch.empty(0, dtype=torch.float64)


def among_eight(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
    """E[x0 | x, c] of the eight Gaussians: all of them, or that of the label."""
    whole = EIGHT.denoise(x, level)
    if cond is None or "label" not in cond:
        return whole
    alpha, sigma = level.like(x)
    gain, mean = alpha * 0.09 / (alpha**2 * 0.09 + sigma**2), EIGHT.means[cond["label"]]
    null = cond.get("null", torch.zeros(len(x), dtype=torch.bool))[:, None]
    return torch.where(null, whole, mean + gain * (x - alpha * mean))


def right(x: Tensor, level: Level, cond: Cond | None) -> Tensor:
    """A log likelihood of x, to be steered by."""
    return x[:, 0] * level.like(x).alpha.flatten() / 4


GUIDES: dict[str, Guide] = {
    "plain": guided(1.0, False), "cfg 1": guided(1.0, True), "cfg 1.5": guided(1.5, True),
    "cfg 3": guided(3.0, True, threshold(0.9)), "interval": interval(cfg(2.0), 0.3, 2.0),
    "gradient": guided(2.0, True, classifier(right, 1.0)),
    "own scale": carried(lambda own: cfg(own["scale"]), "scale"),
}  # fmt: skip


def job(
    seed: int, solver: Solver, steps: int = 6, guide: str = "plain", *labels: int, **more: Any
) -> Job:
    """Of two samples, on levels of its own."""
    schedule, grid = (VP(), grids.uniform_logsnr) if seed % 2 else (Flow(), grids.uniform_t)
    cond = {"label": torch.tensor(labels)} if labels else None
    if guide == "own scale":
        cond = {**(cond or {}), "scale": torch.tensor([1.5, 2.5])}
    plan = Plan(solver, grid(schedule, steps), GUIDES[guide])
    return Job.of(plan, Asked(torch.tensor([seed, seed + 50]), cond, **more), (2,), LIKE)


def every_solver() -> list[Job]:
    """Each of the catalogue, its steps and levels its own, some with conditions and guides."""
    names = list(GUIDES)
    made = []
    for i, factory in enumerate(catalogue.solvers.values()):
        solver = factory()  # one that chooses its steps cannot meet a tolerance across a jump of D
        guide = "cfg 1.5" if solver.adaptive else names[i % len(names)]
        labels = () if guide == "plain" else (i % 8, 3)
        made.append(job(i, solver, 3 + i % 4, guide, *labels))
    return made


def unlike() -> list[Job]:
    """Of one solver and several, with all that may differ."""
    start = torch.tensor([[0.3, -0.4], [1.0, 0.2]]).double()
    return [
        job(1, DPMSolverPP()), job(2, DPMSolverPP(), 4), job(3, DPMSolverPP(), 5, "cfg 1.5", 1, 2),
        job(4, DPMSolverPP(), 5, "cfg 1.5", 6), job(5, DDPM(), 5, "cfg 3", 5),
        job(6, DDIM(), 7, "cfg 1", 4), job(7, Heun(), 3, "interval", 2, 3),
        job(8, DDIM(), 4, "plain", start=start), job(9, DDIM(), 4, "gradient", 7),
        job(10, DPMSolverPP(), 6, "own scale", 0, 4),
        job(11, catalogue.solvers["dormand-prince"](), 2),
    ]  # fmt: skip


def finish(some: Sequence[Job], denoise: Denoise, limit: int = 256) -> list[Job]:
    some = list(some)
    while not all(one.done for one in some):
        events = tick(some, denoise, limit)
        assert not any(event.failure for event in events), [e.failure for e in events]
        some = [event.job for event in events]
    return some


def alone(one: Job, denoise: Denoise) -> Tensor:
    *_, last = (event.job for event in walk(one, denoise))
    return last.x


def check_company(some: Sequence[Job], denoise: Denoise = among_eight, limit: int = 256) -> None:
    """Each job's samples among the others are those that it has alone."""
    for one, other in zip(some, finish(some, denoise, limit)):
        assert close(other.x, alone(one, denoise)), type(one.plan.solver).__name__


def test_a_job_among_unlike_jobs_is_as_alone():
    check_company(unlike())


def test_every_solver_among_all_others():
    check_company(every_solver())


@pytest.mark.parametrize("limit", [1, 5])
def test_few_rows_at_a_time_change_nothing(limit):
    seen = []

    def watched(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        seen.append(len(x))
        return among_eight(x, level, cond)

    check_company(unlike(), watched, limit)
    assert max(seen) <= max(2, limit)


def _first_cond(conds: list[Cond | None], rows: list[int]) -> Cond | None:
    found = JOINED(conds, rows)
    return found and {k: v[torch.arange(len(v)) % rows[0]] for k, v in found.items()}


def _no_null(conds: list[Cond | None], rows: list[int]) -> Cond | None:
    return {k: v for k, v in (JOINED(conds, rows) or {}).items() if k != "null"} or None


def _forgets(*given: Any) -> Any:
    event = STEP(*given)
    fresh = event.job.plan.solver.init(event.job.x)
    object.__setattr__(event.job, "state", fresh)
    return event


JOINED, STEP = jobs._joined, jobs._step


@pytest.mark.parametrize(
    "place, name, slip",
    [
        (jobs, "_joined", _first_cond),
        (jobs, "_joined", _no_null),
        (jobs, "_side_by_side", lambda levels, rows: levels[0]),
        (jobs, "_answers", lambda denoise, asks: [among_eight(a.x, a.level) for a in asks]),
    ],
    ids=["the first job's condition", "nobody null", "the first job's level", "no condition"],
)
def test_a_planted_mixture_of_jobs(monkeypatch, place, name, slip):
    monkeypatch.setattr(place, name, slip)
    with pytest.raises((AssertionError, RuntimeError)):
        check_company(unlike())


def test_a_planted_loss_of_state(monkeypatch):
    some = unlike()
    whole = [alone(one, among_eight) for one in some]
    monkeypatch.setattr(jobs, "_step", _forgets)
    found = finish(some, among_eight)
    assert not all(close(one.x, x) for one, x in zip(found, whole))


def test_equal_plans_are_those_of_draw():
    plan = Plan(DPMSolverPP(), grids.uniform_logsnr(VP(), 5), GUIDES["cfg 1.5"])
    asked = [Asked(torch.arange(k, k + 3), {"label": torch.tensor([k])}) for k in range(3)]
    some = finish([Job.of(plan, each, (2,), LIKE) for each in asked], among_eight)
    for each, one in zip(asked, some):
        noise = Job.of(plan, each, (2,), LIKE).x
        drawn = draw(among_eight, plan, each._replace(start=noise), (2,))
        assert torch.allclose(one.x, drawn.x, rtol=0, atol=1e-12)  # exact D rounds by batch


def network() -> Denoiser:
    torch.manual_seed(0)
    net = MLP((2,), classes=8, width=32, blocks=1)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return Denoiser(net, shape=(2,)).eval().requires_grad_(False)


def test_a_network_has_no_company_either():
    """1e-5: a batch of another size adds in another order."""
    denoiser = network()
    some = [each for each in unlike() if each.asked.start is None]
    some = [Job.of(j.plan, j.asked, (2,), torch.empty(0)) for j in some if j.plan.guide
            not in (GUIDES["gradient"],)]  # fmt: skip
    for one, other in zip(some, finish(some, denoiser)):
        assert close(other.x, alone(one, denoiser), 1e-5)


def test_a_tick_is_one_call():
    some = [one for one in unlike() if one.plan.guide not in (GUIDES["gradient"],)
            and not one.plan.solver.adaptive]  # fmt: skip
    seen = []

    def watched(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        seen.append(len(x))
        return among_eight(x, level, cond)

    while not all(one.done for one in some):
        waiting, before = sum(2 for one in some if not one.done), len(seen)
        some = [event.job for event in tick(some, watched)]
        lone = sum(not j.done for j in some) < 2
        assert len(seen) == before + 1 or lone
        assert sum(seen[before:]) == waiting or lone
    assert len(seen) < 15 < sum(seen)


def test_a_pause_changes_nothing(tmp_path):
    """State and count of steps to a file, and back into other company."""
    whole = [alone(one, among_eight) for one in unlike()]
    some = unlike()
    for _ in range(3):
        some = [event.job for event in tick(some, among_eight)]
    kept = []
    for i, one in enumerate(some):
        save_file(one.state._asdict(), tmp_path / f"{i}.safetensors")
        state = type(one.state)(**load_file(tmp_path / f"{i}.safetensors"))
        kept.append(Job(one.plan, one.asked, state, one.k))
    for one, x in zip(finish(kept[::-1], among_eight)[::-1], whole):
        assert close(one.x, x)


def refuses(denoise: Denoise, bad: Callable[[Tensor, Cond | None], bool]) -> Denoise:
    def refused(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        if bad(x, cond):
            raise BadInput("no.", "Give another.")
        return denoise(x, level, cond)

    return refused


def test_a_job_that_fails_does_so_alone():
    """The class 7 is one that the denoiser refuses, in whatever batch it comes."""
    denoise = refuses(
        among_eight, lambda x, cond: cond is not None and bool((cond["label"] == 7).any())
    )
    good, bad = unlike()[:8], unlike()[8]
    some = [*good[:4], bad, *good[4:]]
    failures = []
    while some:
        events = tick(some, denoise)
        failures += [event.failure for event in events if event.failure]
        some = [e.job for e in events if not e.failure and not e.job.done]
        for event in events:
            if event.job.done:
                first = next(j for j in good if torch.equal(j.asked.seeds, event.job.asked.seeds))
                assert close(event.job.x, alone(first, among_eight))
    assert [str(failure) for failure in failures] == ["no. Give another."]


def test_a_sample_that_is_not_finite_is_named_by_its_seed():
    def denoise(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        return torch.where((cond or {})["label"][:, None] == 3, torch.nan, x)

    plan = Plan(DDIM(), grids.uniform_logsnr(VP(), 2))
    asked = Asked(torch.arange(40, 52), {"label": torch.arange(6)})
    with pytest.raises(BadInput, match="2 of 12 samples are not finite, the first of seed 43"):
        draw(denoise, plan, asked, (2,), batch=5)


@pytest.mark.parametrize("solver", ["ddim", "rk4", "dormand-prince"])
def test_watch_never_goes_back_and_ends_at_its_total(solver):
    seen = []
    plan = Plan(catalogue.solvers[solver](), grids.uniform_logsnr(VP(), 3))
    drawn = draw(EIGHT.denoise, plan, Asked(torch.arange(5)), (2,), batch=2,
                 watch=lambda *said: seen.append(said))  # fmt: skip
    done = [said[0] for said in seen]
    assert (done, seen[0], seen[-1]) == (sorted(done), (0, 9, "step"), (9, 9, "step"))
    assert (len(set(done)) > 10) == plan.solver.adaptive
    counted = CountedRows(EIGHT.denoise)
    assert torch.equal(draw(counted, plan, Asked(torch.arange(5)), (2,), batch=2).x, drawn.x)
    assert drawn.calls == counted.rows / 5
