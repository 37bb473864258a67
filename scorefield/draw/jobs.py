"""Walks in progress, and the step that takes many of them on at once.

Steps are pure functions, so that a step of several calls can be played again: it is run with the
answers that the denoiser has given so far, and the first call without one raises. What all jobs ask
for in this way is one call of the denoiser, whatever their solvers, guides, levels and conditions.
Jobs of one solver and one guide are one batch to the solver too, with a level for each sample.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from scorefield.base import Cond, Denoise, Level, Seeded
from scorefield.draw.plan import Asked, Plan
from scorefield.solve import Info, trajectory
from scorefield.solve.loop import check_levels


@dataclass(frozen=True, eq=False)
class Job:
    """A walk in progress: the state after `k` steps of the plan, and what the denoiser has answered
    to the calls of the next one.

    To pause a job keep `state` and `k`; without the answers it goes on at the last whole step.
    """

    plan: Plan
    asked: Asked
    state: Any
    k: int = 0
    answers: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, plan: Plan, asked: Asked, shape: Sequence[int], like: Tensor) -> "Job":
        """At its beginning: samples of `shape` in the dtype and on the device of `like`.

        Raises BadInput for levels that cannot be walked down and seeds that are none.
        """
        asked = asked.rows(0, len(asked.seeds), like.device)
        x = asked.noise(shape, plan.levels, like) if asked.start is None else asked.start.to(like)
        check_levels(plan.levels, len(x))
        return cls(plan, asked, plan.solver.init(x))

    @property
    def done(self) -> bool:
        return self.k == self.plan.steps

    @property
    def x(self) -> Tensor:
        return self.state[0]


class Event(NamedTuple):
    """A job after a tick: what its step saw if it has taken one, or why it cannot go on."""

    job: Job
    info: Info | None = None
    failure: Exception | None = None


@torch.no_grad()
def tick(jobs: Sequence[Job], denoise: Denoise, limit: int = 256) -> list[Event]:
    """Each job after one more call of the denoiser, in their order; those done stay as they are.

    Calls of all jobs are one, of `limit` rows at most. Where all jobs have one solver and guide, or
    a solver needs an unknown count of calls (an adaptive one), the whole step is taken. A call for
    the gradient of x, or for some rows alone, is made by itself. Samples of all jobs have one shape
    and dtype; equal plans at one step give the bits of `draw`, unlike ones differ in rounding.

    A job that cannot go on says so in its own event, and the others go on.
    """
    try:
        return _tick(jobs, denoise, limit)
    except Exception as error:
        if len(jobs) == 1:
            return [Event(jobs[0], failure=error)]
        half = len(jobs) // 2
        return tick(jobs[:half], denoise, limit) + tick(jobs[half:], denoise, limit)


@torch.no_grad()
def walk(job: Job, denoise: Denoise) -> Iterator[Event]:
    """The job after each of its steps, and what the step saw. Raises what stops it."""
    if job.answers:  # within a step that a tick has begun
        (event,) = tick([job], denoise)
        if event.failure:
            raise event.failure
        job = event.job
        yield event
    plan, (seeds, cond, _) = job.plan, job.asked
    if job.done:
        return
    rest, guided = plan.levels.at(slice(job.k, None)), plan.guide(denoise)
    for state, info in trajectory(plan.solver, guided, job.state, rest, Seeded(seeds), cond):
        job = Job(plan, job.asked, state, job.k + 1)
        yield Event(job, info)


def _tick(jobs: Sequence[Job], denoise: Denoise, limit: int) -> list[Event]:
    groups = [_Group([jobs[i] for i in at], at) for at in _grouped(jobs, limit)]
    events = {i: Event(job) for i, job in enumerate(jobs) if job.done}
    asking = []
    for group in groups:
        try:
            whole = len(groups) == 1 or group.plan.solver.adaptive
            events |= group.step(denoise, group.answers, whole)
        except _Asks as asks:
            asking.append((group, asks))
    for part in _parts(asking, limit):
        for (group, _), answer in zip(part, _answers(denoise, [asks for _, asks in part])):
            try:
                events |= group.step(denoise, [*group.answers, answer], False)
            except _Asks:
                events |= group.keep(answer)
    return [events[i] for i in range(len(jobs))]


class _Asks(BaseException):
    """A call of the denoiser that has no answer yet."""

    def __init__(self, x: Tensor, level: Level, cond: Cond | None) -> None:
        super().__init__()
        self.x, self.level, self.cond = x, level, cond


class _Replay:
    """A denoiser that answers from memory as far as that goes, and then asks, or calls itself."""

    reads_null = False  # what it asks for is put together with other jobs' questions anyway

    def __init__(self, denoise: Denoise, answers: Iterable[Tensor], rows: int, whole: bool) -> None:
        self.denoise, self.answers, self.rows, self.whole = denoise, iter(answers), rows, whole

    def __call__(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        differentiated = x.requires_grad or unpack_dual(x).tangent is not None
        if differentiated or len(x) != self.rows:
            return self.denoise(x, level, cond)
        for answer in self.answers:
            return answer
        if self.whole:
            return self.denoise(x, level, cond)
        raise _Asks(x, level, cond)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoise, name)


class _Group:
    """Jobs at places `at` of a tick that are one batch to their solver and guide."""

    def __init__(self, jobs: list[Job], at: list[int]) -> None:
        self.jobs, self.at, self.plan = jobs, at, jobs[0].plan
        self.rows = [len(job.x) for job in jobs]
        self.answers = [torch.cat(each) for each in zip(*(job.answers for job in jobs))]

    def step(self, denoise: Denoise, answers: list[Tensor], whole: bool) -> dict[int, Event]:
        jobs, state = self.jobs, self.jobs[0].state
        here, there = (_side_by_side([j.plan.levels.at(j.k + d) for j in jobs], self.rows)
                       for d in (0, 1))  # fmt: skip
        seeds, cond = jobs[0].asked.seeds, jobs[0].asked.cond
        if len(jobs) > 1:
            state = type(state)(*map(torch.cat, zip(*(job.state for job in jobs))))
            seeds = torch.cat([job.asked.seeds for job in jobs])
            cond = _joined([job.asked.cond for job in jobs], self.rows)
        if answers or not whole:
            denoise = _Replay(denoise, answers, sum(self.rows), whole)
        guided = self.plan.guide(denoise)
        state, info = self.plan.solver.step(guided, state, here, there, Seeded(seeds), cond)
        if len(jobs) == 1:
            return {self.at[0]: Event(replace(jobs[0], state=state, k=jobs[0].k + 1, answers=()),
                                      info)}  # fmt: skip
        states = [type(state)(*leaves) for leaves in zip(*(v.split(self.rows) for v in state))]
        infos = [Info(*leaves) for leaves in zip(*(_split(v, self.rows) for v in info))]
        return {
            i: Event(replace(job, state=mine, k=job.k + 1, answers=()), seen)
            for i, job, mine, seen in zip(self.at, jobs, states, infos)
        }

    def keep(self, answer: Tensor) -> dict[int, Event]:
        """The jobs with one answer more."""
        return {
            i: Event(replace(job, answers=(*job.answers, mine)))
            for i, job, mine in zip(self.at, self.jobs, answer.split(self.rows))
        }


def _grouped(jobs: Sequence[Job], limit: int) -> list[list[int]]:
    """Places of jobs that are one batch to a solver, of `limit` rows or of one job."""
    groups: dict[Hashable, list[list[int]]] = {}
    for i, job in enumerate(jobs):
        if job.done:
            continue
        solver, guide = job.plan.solver, job.plan.guide
        alone = i if solver.adaptive else None
        key = (_known(solver), id(guide), _kind(job.asked.cond), len(job.answers), alone)
        packs = groups.setdefault(key, [])
        if not packs or sum(len(jobs[j].x) for j in (*packs[-1], i)) > limit:
            packs.append([])
        packs[-1].append(i)
    return [pack for packs in groups.values() for pack in packs]


def _parts(asking: list, limit: int) -> list[list]:
    """What asks, in parts that are one call: of like conditions, and of `limit` rows or of one."""
    kinds = {_kind(asks.cond): [] for _, asks in asking if asks.cond} or {None: []}
    for each in asking:
        kinds.get(_kind(each[1].cond), next(iter(kinds.values()))).append(each)
    parts: list[list] = []
    for kind in kinds.values():
        parts.append([])
        for each in kind:
            if parts[-1] and sum(len(asks.x) for _, asks in (*parts[-1], each)) > limit:
                parts.append([])
            parts[-1].append(each)
    return parts if asking else []


def _answers(denoise: Denoise, asks: list[_Asks]) -> Sequence[Tensor]:
    if len(asks) == 1:
        return [denoise(asks[0].x, asks[0].level, asks[0].cond)]
    rows = [len(a.x) for a in asks]
    level = _side_by_side([a.level for a in asks], rows)
    cond = _joined([a.cond for a in asks], rows)
    return denoise(torch.cat([a.x for a in asks]), level, cond).split(rows)


def _side_by_side(levels: list[Level], rows: list[int]) -> Level:
    """One level, or where they differ one for each sample."""
    first = levels[0]
    if len(levels) == 1 or (first.sigma.ndim == 0 and all(_equal(first, v) for v in levels)):
        return first
    return Level(*map(torch.cat, zip(*(v.expand(n) for v, n in zip(levels, rows)))))


def _equal(one: Level, other: Level) -> bool:
    return all(a is b or torch.equal(a, b) for a, b in zip(one, other))


def _joined(conds: list[Cond | None], rows: list[int]) -> Cond | None:
    """Conditions of like kinds one after another; samples without any are null."""
    some = next((cond for cond in conds if cond), None)
    if some is None:
        return None
    names = [name for name in some if name != "null"]
    whole = [cond or {k: v[:1].expand(n, *v.shape[1:]) for k, v in some.items()}
             for cond, n in zip(conds, rows)]  # fmt: skip
    found = {name: torch.cat([cond[name] for cond in whole]) for name in names}
    if all(cond and "null" not in cond for cond in conds):
        return found
    device = next(iter(some.values())).device
    null = [torch.full((n,), not cond, device=device) if not cond or "null" not in cond
            else cond["null"] for cond, n in zip(conds, rows)]  # fmt: skip
    return {**found, "null": torch.cat(null)}


def _kind(cond: Cond | None) -> Hashable:
    """What conditions must share to be put one after another."""
    leaves = (cond or {}).items()
    return tuple(sorted((k, v.shape[1:], str(v.dtype)) for k, v in leaves if k != "null")) or None


def _known(solver: Any) -> Hashable:
    """Itself, or its identity if it has no hash."""
    try:
        hash(solver)
    except TypeError:
        return id(solver)
    return solver


def _split(leaf: Tensor | None, rows: list[int]) -> Sequence[Tensor | None]:
    return [None] * len(rows) if leaf is None else leaf.split(rows)
