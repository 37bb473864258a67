"""What a request gets is what it would get alone, whoever else is there: laws of the batcher, each
with a planted defect."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from scorefield.base import BadInput, Level, Seeded
from scorefield.denoise import Denoiser
from scorefield.denoise.buckets import InBuckets, with_own_rows
from scorefield.draw import Asked, Job, Plan, guided, jobs
from scorefield.nets import MLP, UNet
from scorefield.process import Cosine
from scorefield.serve.batcher import Batcher, Busy, Late, Ticket
from scorefield.serve.network import Network
from scorefield.serve.work import Work
from scorefield.use.generate import generate
from tests.refusal import fails

SOLVERS = ("dpmpp2m", "heun", "ddim:eta=1", "arc", "ddpm")
"""A multistep one, one of two calls, two of chance, and one with all of a past."""


def network(picture: bool = False, limit: int = 64) -> Network:
    """Of random weights, strong enough that nothing is forgotten on the way."""
    torch.manual_seed(0)
    net = (
        UNet((1, 8, 8), classes=3, width=8, blocks=1) if picture else MLP((2,), classes=3, width=16)
    )
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.1 if picture else 0.3)
    shape = (1, 8, 8) if picture else (2,)
    denoiser = Denoiser(net, shape=shape, schedule=Cosine(), classes=("a", "b", "c"))
    denoiser.eval().requires_grad_(False)
    like = next(denoiser.parameters())
    return Network("tiny", None, denoiser, like, {1: 1.0, limit: 1.0, 1024: 1024.0 / limit})  # type: ignore


class Wish(NamedTuple):
    """What is asked, when it comes, and after how many waves it is given up."""

    settings: dict[str, Any]
    seeds: list[int]
    labels: list[int]
    wave: int
    abort: int | None

    def ticket(self, of: Network) -> Ticket:
        from scorefield.use.plan import asked_of, plan_of

        plan = plan_of(of.denoise, True, **self.settings)
        asked = asked_of(of.denoise, seeds=self.seeds, labels=self.labels)
        job = Job.of(plan, asked, of.denoise.shape, of.like)
        twice = 1 + (self.settings["guidance"] != 1)
        return Ticket(of, Work(job, len(self.seeds) * twice, lambda x: {}), random.randint(-1, 1))

    def alone(self, of: Network) -> Tensor:
        return generate(of.denoise, seeds=self.seeds, labels=self.labels, **self.settings)


def wishes(count: int, seed: int, steps: int = 50) -> list[Wish]:
    """Unlike requests that come by a Poisson process; a tenth leave."""
    chance, wave, found = random.Random(seed), 0.0, []
    for i in range(count):
        wave += chance.expovariate(0.5)
        settings = {
            "solver": SOLVERS[i % len(SOLVERS)], "steps": chance.randint(1, steps),
            "guidance": chance.choice([1.0, 3.0]),
        }  # fmt: skip
        seeds = [chance.randrange(2**40) for _ in range(chance.randint(1, 3))]
        abort = chance.randint(0, 20) if chance.random() < 0.1 else None
        found.append(Wish(settings, seeds, [chance.randrange(3)], int(wave), abort))
    return found


def served(
    some: Sequence[Wish], of: Network, pause: Callable[[Ticket], None] = lambda ticket: None
) -> list[Tensor | None]:
    """The samples of each, None of those that left; `pause` may put one down and take it up."""
    found: dict[Ticket, Tensor] = {}
    batcher = Batcher(lambda ticket, x0: found.update({ticket: x0}), most=10**9, queue=10**9)
    tickets, wave = [wish.ticket(of) for wish in some], 0
    while wave <= some[-1].wave or batcher.waiting:
        for wish, ticket in zip(some, tickets):
            if wish.wave == wave:
                batcher.submit(ticket)
            if wish.abort is not None and wave == wish.wave + wish.abort:
                batcher.cancel(ticket)
            pause(ticket)
        batcher.wave()
        wave += 1
    assert all(t.state in ("running", "cancelled") for t in tickets), [t.outcome for t in tickets]
    return [found.get(ticket) for ticket in tickets]


def check_company(some: Sequence[Wish], of: Network, **more: Any) -> None:
    """Bit for bit the samples of `generate`, whatever came, left or paused beside them."""
    found = served(some, of, **more)
    for wish, x in zip(some, found):
        assert x is not None or wish.abort is not None, f"lost: {wish}"
        assert x is None or torch.equal(x, wish.alone(of)), f"not as alone: {wish}"
    assert sum(x is not None for x in found) > len(some) / 2


def test_200_unlike_requests_are_each_as_alone():
    check_company(wishes(200, seed=0), network())


def test_a_small_unet_too():
    """Its rows depend on the batch on some machines, which is seen, and buckets of a size taken."""
    of = network(picture=True)
    own = with_own_rows(of.denoise, (1, 8, 8), of.like)
    check_company(wishes(15, seed=1, steps=12), of._replace(denoise=own))


def test_rows_that_depend_on_their_batch_are_seen():
    of = network()
    assert with_own_rows(of.denoise, (2,), of.like) is of.denoise
    rough = Denoiser(lambda x, noise, cond: x + 1e-6 * len(x), shape=(2,))
    assert isinstance(with_own_rows(rough, (2,), of.like), InBuckets)


@pytest.mark.parametrize("limit", [1, 8])
def test_few_rows_a_wave_change_nothing(limit):
    check_company(wishes(20, seed=2, steps=20), network(limit=limit))


def put_down(ticket: Ticket) -> None:
    """Only the state and the count of steps are kept, as in a file."""
    job = ticket.job
    leaves = {name: leaf.clone() for name, leaf in job.state._asdict().items()}
    ticket.job = Job(job.plan, job.asked, type(job.state)(**leaves), job.k)


def test_pauses_at_any_moment_change_nothing():
    chance = random.Random(3)
    check_company(
        wishes(20, seed=3, steps=20), network(),
        pause=lambda ticket: put_down(ticket) if chance.random() < 0.3 else None,
    )  # fmt: skip


STEP = jobs._step
last: dict[str, Any] = {}


def _inherits(job: Job, *more: Any) -> Any:
    """The history of who was there before: all of the state but x."""
    before, n = last.get(type(job.state).__name__), len(job.x)
    last[type(job.state).__name__] = job.state
    if before is not None and len(before[0]) >= n:
        job = replace(job, state=type(job.state)(job.x, *(leaf[:n] for leaf in before[1:])))
    return STEP(job, *more)


def _broadcasts(job: Job, *more: Any) -> Any:
    """The guide of whoever came first."""
    guide = last.setdefault("guide", job.plan.guide)
    event = STEP(replace(job, plan=job.plan._replace(guide=guide)), *more)
    return event._replace(job=replace(event.job, plan=job.plan))


def _counts_first(job: Job, *more: Any) -> Any:
    """The index of levels after it was raised, once the walk has begun."""
    levels = job.plan.levels
    late = levels.at(
        torch.tensor([*range(2), *range(1, len(levels.sigma) - 1)])[: len(levels.sigma)]
    )
    event = STEP(replace(job, plan=job.plan._replace(levels=late)), *more)
    return event._replace(job=replace(event.job, plan=job.plan))


def _forgets(job: Job, *more: Any) -> Any:
    event = STEP(job, *more)
    fresh = job.plan.solver.init(event.job.x)
    return event._replace(job=replace(event.job, state=fresh))


@pytest.mark.parametrize("slip", [_inherits, _broadcasts, _counts_first, _forgets])
def test_a_planted_slip_of_the_walk(monkeypatch, slip):
    of = network()
    some = [wish._replace(wave=wish.wave // 8) for wish in wishes(20, seed=4, steps=12)]
    alone = {id(wish): wish.alone(of) for wish in some}
    monkeypatch.setattr(Wish, "alone", lambda wish, of: alone[id(wish)])
    last.clear()
    monkeypatch.setattr(jobs, "_step", slip)
    fails("not as alone", check_company, some, of)


def test_a_planted_global_generator(monkeypatch):
    of = network()
    monkeypatch.setattr(Seeded, "__call__", lambda self, x, here, there: torch.randn_like(x))
    fails("not as alone", check_company, wishes(10, seed=5, steps=8), of)


def test_a_planted_batch_that_mixes():
    of = network()
    mixes = lambda x, level, cond=None: of.denoise(x, level, cond) + 1e-6 * x.mean()  # noqa: E731
    mixed = Denoiser(
        lambda x, noise, cond: x, shape=(2,), schedule=Cosine(), classes=("a", "b", "c")
    )
    mixed.forward = mixes  # type: ignore[method-assign]
    fails("not as alone", check_company, wishes(10, seed=6, steps=8), of._replace(denoise=mixed))


def test_buckets_of_a_size_make_rows_their_own():
    """Also of a denoiser whose rounding depends on the batch."""
    rough = lambda x, level, cond=None: x * level.like(x).alpha + 1e-3 * len(x)  # noqa: E731
    bucketed, x = InBuckets(rough, 4), torch.randn(7, 3)
    level = Level.of(torch.linspace(0.1, 0.9, 7), 0.5)
    whole = bucketed(x, level)
    assert all(torch.equal(whole[i : i + 1], bucketed(x[i : i + 1], level.at(slice(i, i + 1))))
               for i in range(7))  # fmt: skip


def job_of(of: Network, steps: int, n: int = 1) -> Ticket:
    wish = Wish({"solver": "ddim", "steps": steps, "guidance": 1.0}, list(range(n)), [0], 0, None)
    return replace(wish.ticket(of), priority=0)


def waited(rank: Callable[[Ticket], float] | None, monkeypatch) -> int:
    """Waves until a long request is done beside two short ones that come with every wave."""
    of, done = network(limit=1), []
    if rank:
        monkeypatch.setattr(Ticket, "rank", property(rank))
    batcher = Batcher(lambda ticket, x0: done.append(ticket), most=10**9, queue=10**9)
    long = job_of(of, 12)
    batcher.submit(long)
    for wave in range(300):
        batcher.submit(job_of(of, 1))
        batcher.submit(job_of(of, 1))
        batcher.wave()
        if long in done:
            return wave
    return 10**9


def check_waiting(waves: int) -> None:
    """Ahead of it goes at most what comes before the clock has moved by 8 times its own work of 12
    rows: two rows a wave, and itself."""
    assert waves <= 12 + 2 * (8 * 12 + 1), "waits for ever"


def test_nobody_waits_for_ever(monkeypatch):
    check_waiting(waited(None, monkeypatch))


def test_a_planted_starvation(monkeypatch):
    fails("waits for ever", check_waiting, waited(lambda t: t.left, monkeypatch))


def test_short_ones_go_first_where_company_is_no_cheaper():
    of, done = network(limit=1), []
    batcher = Batcher(lambda ticket, x0: done.append(ticket))
    long, short = job_of(of, 20), job_of(of, 3)
    for ticket in (long, short):
        batcher.submit(ticket)
    while batcher.wave():
        pass
    assert done == [short, long]


def test_one_after_another_without_batching():
    of, done, sizes = network(), [], []
    batcher = Batcher(lambda ticket, x0: done.append(ticket), together=False)
    batcher.watch = lambda jobs, rows, seconds: sizes.append(jobs)
    some = [job_of(of, 9), job_of(of, 3), job_of(of, 1)]
    for ticket in some:
        batcher.submit(ticket)
    while batcher.wave():
        pass
    assert done == some
    assert set(sizes) == {1}


def test_a_failing_request_fails_alone():
    """A class that the network has not is refused by its embedding in whatever batch it comes."""
    of, done = network(), []
    batcher = Batcher(lambda ticket, x0: done.append(ticket))
    some = [job_of(of, 5), job_of(of, 5), job_of(of, 5)]
    some[1].job = replace(some[1].job, asked=some[1].job.asked._replace(
        cond={"label": torch.tensor([99])}))  # fmt: skip
    ends = []
    some[1].listeners.append(lambda kind, what: ends.append(kind))
    for ticket in some:
        batcher.submit(ticket)
    while batcher.wave():
        pass
    assert (done, ends) == ([some[0], some[2]], ["failed"])
    assert torch.equal(done[0].job.x, done[1].job.x)


def test_samples_that_are_not_finite_are_said_and_hurt_nobody():
    of, done = network(), []
    batcher = Batcher(lambda ticket, x0: done.append(ticket))
    good, bad = job_of(of, 4), job_of(of, 4)
    bad.job = replace(bad.job, state=bad.job.state._replace(x=bad.job.x * torch.nan))
    for ticket in (bad, good):
        batcher.submit(ticket)
    while batcher.wave():
        pass
    assert done == [good]
    assert isinstance(bad.outcome, BadInput)
    assert "1 of 1 samples are not finite, the first of seed 0" in str(bad.outcome)


class Greedy:
    """A solver that never has enough."""

    order = evals = 1
    stochastic = adaptive = False

    def init(self, x: Tensor) -> Any:
        from scorefield.solve import State

        return State(x)

    def step(self, denoise: Any, state: Any, here: Level, *more: Any) -> Any:
        while True:
            denoise(state.x, here, None)


@pytest.mark.parametrize("company", [0, 1])
def test_a_step_without_end_is_ended(company):
    of, done = network(), []
    batcher = Batcher(lambda ticket, x0: done.append(ticket))
    solver: Any = Greedy()
    plan = Plan(solver, Level.of(torch.tensor([0.1, 0.5, 1.0]), torch.tensor([1.0, 0.5, 0.0])),
                guided(1.0, False))  # fmt: skip
    job = Job.of(plan, Asked(torch.tensor([0])), (2,), of.like)
    greedy = Ticket(of, Work(job, 1, lambda x: {}))
    batcher.submit(greedy)
    for _ in range(company):
        batcher.submit(job_of(of, 300))
    while batcher.wave():
        pass
    assert "more than 256 calls" in str(greedy.outcome)
    assert len(done) == company


def test_the_queue_is_bounded_by_rows_and_requests():
    of = network()
    batcher = Batcher(lambda ticket, x0: None, most=10, queue=3)
    batcher.submit(job_of(of, 5, n=8))
    with pytest.raises(Busy) as full:
        batcher.submit(job_of(of, 5, n=3))
    assert 1 <= full.value.seconds <= 120
    batcher.submit(job_of(of, 5))
    batcher.submit(job_of(of, 5))
    with pytest.raises(Busy):
        batcher.submit(job_of(of, 5))


def test_a_deadline_and_a_request_that_left_leave_no_trace():
    of, done = network(), []
    batcher = Batcher(lambda ticket, x0: done.append(ticket))
    late, gone, good = (job_of(of, 6) for _ in range(3))
    late.until = 0.0
    for ticket in (late, gone, good):
        batcher.submit(ticket)
    batcher.wave()
    batcher.cancel(gone)
    while batcher.wave():
        pass
    assert isinstance(late.outcome, Late)
    assert (gone.state, done, batcher.waiting) == ("cancelled", [good], [])
