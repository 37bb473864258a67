"""Walks in progress, and the step that takes many of them on at once.

Steps are pure functions, so that a step of several calls can be played again: it is run with the
answers that the denoiser has given so far, and the first call without one raises. What all jobs ask
for in this way is one call of the denoiser, whatever their solvers, guides, levels and conditions.
All else a job computes by itself, as it does alone.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from scorefield.base import BadInput, Cond, Denoise, Level, Pairs, Seeded, Shown
from scorefield.draw.plan import Asked, Plan
from scorefield.guide.cfg import both
from scorefield.solve import Info, trajectory
from scorefield.solve.loop import check_kind, check_levels, showing


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
        if isinstance(plan.levels, Shown) and getattr(plan.solver, "pairs", False):
            plan = plan._replace(levels=plan.levels.pairs)
        check_kind(plan.solver, plan.levels)
        x = asked.noise(shape, plan.levels, like) if asked.start is None else asked.start.to(like)
        check_levels(plan.levels, len(x))
        first = plan.levels.at(0)
        if isinstance(first, Pairs):  # the interval upwards: no draw of a step
            x = first.lift(x, Seeded(asked.seeds)(x, first, Level.of(0.0, 1.0)))
        return cls(plan, asked, plan.solver.init(x))

    def answered(self, answer: Tensor) -> "Job":
        """With the answer to one call more."""
        return Job(self.plan, self.asked, self.state, self.k, (*self.answers, answer))

    @property
    def done(self) -> bool:
        return self.k == self.plan.steps

    @property
    def x(self) -> Tensor:
        """x where the job is; of a pair what is seen of it."""
        level = self.plan.levels.at(self.k)
        return level.seen(self.state[0])[0] if isinstance(level, Pairs) else self.state[0]


class Event(NamedTuple):
    """A job after a tick: what its step saw if it has taken one, or why it cannot go on."""

    job: Job
    info: Info | None = None
    failure: Exception | None = None


@torch.no_grad()
def tick(jobs: Sequence[Job], denoise: Denoise, limit: int = 256) -> list[Event]:
    """Each job after one more call of the denoiser, in their order; those done stay as they are.

    Calls of all jobs are one, of `limit` rows at most. A job that is alone, or whose solver needs
    an unknown count of calls (an adaptive one), takes its whole step. A call for the gradient of x
    is made by itself. Samples of all jobs have one shape and dtype. They are those of `draw` to the
    bit, if a row of the denoiser's is the same in every batch.

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


class Question(NamedTuple):
    """A job at the call that it makes next, of x at this level; without one it is done."""

    job: Job
    x: Tensor
    level: Level | None


@torch.no_grad()
def next_question(job: Job) -> Question:
    """What a job asks the denoiser next, where someone else answers: give it `answers` that are one
    longer. Raises BadInput for a solver that asks for derivatives."""
    while not job.done:
        try:
            job = _step(job, _nobody, False).job
        except _Asks as asks:
            return Question(job, asks.x, asks.level)
    return Question(job, job.x, None)


def _nobody(x: Tensor, level: Level, cond: Cond | None) -> Tensor:
    raise BadInput("the solver asks for derivatives of the denoiser.", "Use another, such as arc.")


def _tick(jobs: Sequence[Job], denoise: Denoise, limit: int) -> list[Event]:
    events, asking = {i: Event(job) for i, job in enumerate(jobs) if job.done}, []
    alone = len(jobs) - len(events) == 1
    for i, job in enumerate(jobs):
        try:
            if not job.done:
                events[i] = _step(job, denoise, alone or job.plan.solver.adaptive)
        except _Asks as asks:
            asking.append((i, asks))
    for part in _parts(asking, limit):
        for (i, _), answer in zip(part, _answers(denoise, [asks for _, asks in part])):
            job = jobs[i].answered(answer)
            try:
                events[i] = _step(job, denoise, False)
            except _Asks:
                events[i] = Event(job)
    return [events[i] for i in range(len(jobs))]


def _step(job: Job, denoise: Denoise, whole: bool) -> Event:
    """The job after its step; unless this is to be `whole`, `_Asks` for the next call in it."""
    plan, (seeds, cond, _) = job.plan, job.asked
    here, there = plan.levels.at(job.k), plan.levels.at(job.k + 1)
    guided = plan.guide(
        _Replay(denoise, job.answers, whole) if job.answers or not whole else denoise
    )
    guided = showing(guided, plan.levels)
    state, info = plan.solver.step(guided, job.state, here, there, Seeded(seeds), cond)
    return Event(Job(plan, job.asked, state, job.k + 1), info)


class _Asks(BaseException):
    """A call of the denoiser that has no answer yet; with `twice` of all rows and of all of them
    again without their condition."""

    def __init__(self, x: Tensor, level: Level, cond: Cond | None, twice: bool = False) -> None:
        super().__init__()
        self.x, self.level, self.cond, self.twice = x, level, cond, twice


class _Replay:
    """A denoiser that answers from memory as far as that goes, and then asks, or calls itself."""

    def __init__(self, denoise: Denoise, answers: Iterable[Tensor], whole: bool) -> None:
        self.denoise, self.answers, self.whole = denoise, iter(answers), whole

    def __call__(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        if _differentiated(x):
            return self.denoise(x, level, cond)
        for answer in self.answers:
            return answer
        if self.whole:
            return self.denoise(x, level, cond)
        raise _Asks(x, level, cond)

    def both(self, x: Tensor, level: Level, cond: Cond, rows: Tensor | None) -> Sequence[Tensor]:
        """As of `guide.cfg`: rows are put one after another once, for all jobs, when all have
        asked."""
        if self.whole or rows is not None or _differentiated(x):
            return both(self, x, level, cond, rows)
        for answer in self.answers:
            return answer.split(len(x))
        raise _Asks(x, level, cond, True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoise, name)


def _differentiated(x: Tensor) -> bool:
    return x.requires_grad or unpack_dual(x).tangent is not None


def _parts(asking: list, limit: int) -> list[list]:
    """What asks, in parts that are one call: of like conditions, and of `limit` rows or of one."""
    kinds = {_kind(asks.cond): [] for _, asks in asking if asks.cond} or {None: []}
    for each in asking:
        kinds.get(_kind(each[1].cond), next(iter(kinds.values()))).append(each)
    parts: list[list] = []
    for kind in kinds.values():
        parts.append([])
        rows = 0
        for each in kind:
            rows += (own := each[1].x.shape[0] << each[1].twice)
            if parts[-1] and rows > limit:
                parts.append([])
                rows = own
            parts[-1].append(each)
    return parts if asking else []


def _answers(denoise: Denoise, asks: list[_Asks]) -> Sequence[Tensor]:
    if len(asks) == 1 and not asks[0].twice:
        return [denoise(asks[0].x, asks[0].level, asks[0].cond)]
    yes, pieces = torch.tensor(True, device=asks[0].x.device), []
    for a in asks:
        pieces.append((a.x, a.level, a.cond))
        if a.twice:
            pieces.append((a.x, a.level, {**(a.cond or {}), "null": yes}))
    x, levels, conds = zip(*pieces)
    rows = [len(some) for some in x]
    found = denoise(torch.cat(x), _side_by_side(levels, rows), _joined(conds, rows))
    return found.split([len(a.x) << a.twice for a in asks])


def _side_by_side(levels: Sequence[Level], rows: list[int]) -> Level:
    """One level, or where they differ one for each sample."""
    first = levels[0]
    if len(levels) == 1 or (first.sigma.ndim == 0 and all(_equal(first, v) for v in levels)):
        return first
    return Level(*(_each(leaves, rows) for leaves in zip(*levels)))


def _each(leaves: Sequence[Tensor], rows: list[int]) -> Tensor:
    """Leaves `()` or `(n, ...)` as one, of a row for each sample."""
    if all(leaf.ndim == 0 for leaf in leaves):
        return torch.stack(list(leaves)).repeat_interleave(
            torch.tensor(rows, device=leaves[0].device)
        )
    return torch.cat([leaf.expand(n, *leaf.shape[1:]) for leaf, n in zip(leaves, rows)])


def _equal(one: Level, other: Level) -> bool:
    return all(a is b or torch.equal(a, b) for a, b in zip(one, other))


def _joined(conds: Sequence[Cond | None], rows: list[int]) -> Cond | None:
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
    no, yes = torch.tensor([False, True], device=next(iter(some.values())).device)
    null = _each([cond.get("null", no) if cond else yes for cond in conds], rows)
    return {**found, "null": null}


def _kind(cond: Cond | None) -> Hashable:
    """What conditions must share to be put one after another."""
    leaves = (cond or {}).items()
    return tuple(sorted((k, v.shape[1:], str(v.dtype)) for k, v in leaves if k != "null")) or None
