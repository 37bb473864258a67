"""The jobs of all requests, wave by wave: each wave is one call of one network.

Who goes first is who would have finished first on a server of his own:

    rank = clock at arrival / 8 + work left / 4^priority                                (eq. 1)

in rows of a network's calls, and a wave takes jobs in that order up to the rows beyond which a row
gets no cheaper (`Network.limit`). Where calls are cheap in company that is everybody; where they
are not, shortest remaining work first. Of what arrives after a request, only that goes ahead of it
which comes before the clock has moved by 8 times the work it has left: so nobody waits for ever.
"""

import math
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from scorefield.base import BadInput, Cond, Level
from scorefield.draw import Job, tick
from scorefield.serve.network import Network
from scorefield.serve.work import Stage, Work

AGEING = 1 / 8
"""What a row of the clock counts beside a row of work: of less, means are shorter and tails longer
(a queue at load .8 of one row a wave: mean latency .74 of that in the order of arrival, p99 1.2; at
1 they are .93 and .99, at 0 .66 and 1.6)."""
CALLS = 256
"""Of the network in one step of a solver, at most."""
LONGEST_WAIT = 120
"""Seconds after which the clients of OpenAI give up waiting."""

Listener = Callable[[str, Any], object]
"""`listener(kind, what)`: "step" of (k, run, its D or None), or the end: "done", "failed",
"cancelled"."""
ENDS = ("done", "failed", "cancelled")


class Busy(Exception):
    """More is asked for than may wait; `seconds` until it may."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the queue is full; there will be room in about {seconds} s.")
        self.seconds = seconds


class Late(Exception):
    """The deadline of a request has passed."""


@dataclass(eq=False)
class Ticket:
    """A request on its way. `since` is the clock of its batcher when it came; `past` are the steps
    of its first stage, once it is in the second."""

    network: Network
    work: Work
    priority: int = 0
    until: float = math.inf
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    request: dict[str, Any] = field(default_factory=dict)
    job: Job = field(init=False)
    state: str = "queued"
    since: float = 0.0
    past: int = 0
    arrived: float = field(default_factory=time.time)
    outcome: Any = None
    listeners: list[Listener] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.job = self.work.job

    @property
    def k(self) -> int:
        """Steps that are done."""
        return self.past + self.job.k

    @property
    def steps(self) -> int:
        """All of them."""
        after = self.work.after
        return self.past + self.job.plan.steps + (after.plan.steps if after else 0)

    @property
    def left(self) -> float:
        """Rows of calls that are still to be made."""
        after, steps = self.work.after, self.job.plan.steps - self.job.k
        own = self.work.rows * self.job.plan.solver.evals * steps
        return own + (after.rows * after.plan.solver.evals * after.plan.steps if after else 0)

    def enter(self, after: Stage, job: Job) -> None:
        """From the end of the first stage to the second."""
        self.past, self.network = self.past + self.job.plan.steps, after.network
        self.job, self.work = job, self.work._replace(rows=after.rows, after=None)

    @property
    def rank(self) -> float:
        return AGEING * self.since + self.left / 4.0**self.priority

    def tell(self, kind: str, what: Any = None) -> None:
        for listener in [*self.listeners]:
            listener(kind, what)


def chosen(waiting: Sequence[Ticket], together: bool = True) -> list[Ticket]:
    """Those of the next wave: of one network, by rank, up to its limit. One whose solver chooses
    its own steps goes alone."""
    ranked = sorted(waiting, key=lambda t: t.rank if together else t.since)
    first = ranked[:1]
    if not first or not together or first[0].job.plan.solver.adaptive:
        return first
    found, rows, limit = [], 0, first[0].network.limit
    for ticket in ranked:
        fits = not found or rows + ticket.work.rows <= limit
        if ticket.network is first[0].network and fits and not ticket.job.plan.solver.adaptive:
            found.append(ticket)
            rows += ticket.work.rows
    return found


class _Bounded:
    """A denoiser that a lone step may not call for ever."""

    def __init__(self, denoise: Any) -> None:
        self.denoise, self.calls = denoise, 0

    def __call__(self, x: torch.Tensor, level: Level, cond: Cond | None = None) -> torch.Tensor:
        self.calls += 1
        if self.calls > CALLS:
            raise _endless()
        return self.denoise(x, level, cond)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoise, name)


def _endless() -> BadInput:
    fact = f"a step of the solver takes more than {CALLS} calls of the network."
    return BadInput(fact, "Give other options, or more `steps`.", "solver")


class Batcher:
    """Tickets in, waves, tickets out. `most` bounds the rows that wait and so the memory; without
    `together` each request is walked alone, in the order of arrival. `finish(ticket, x0)` makes the
    outcome of a ticket and says so."""

    def __init__(
        self, finish: Callable[[Ticket, torch.Tensor], None], most: int = 1024, queue: int = 256,
        together: bool = True,
    ) -> None:  # fmt: skip
        self.finish, self.most, self.queue, self.together = finish, most, queue, together
        self.waiting: list[Ticket] = []
        self.clock, self.rate = 0.0, 0.0
        self.changed, self.stopped = threading.Condition(), False
        self.watch: Callable[[int, int, float], None] = lambda jobs, rows, seconds: None

    def submit(self, ticket: Ticket) -> None:
        """Raises Busy."""
        with self.changed:
            rows = sum(t.work.rows for t in self.waiting) + ticket.work.rows
            if len(self.waiting) >= self.queue or (self.waiting and rows > self.most):
                raise Busy(self.seconds())
            ticket.since = self.clock
            self.waiting.append(ticket)
            self.changed.notify()

    def seconds(self) -> int:
        """Until half of what waits is done, by the speed so far."""
        left = sum(t.left for t in self.waiting) / 2
        return min(max(1, math.ceil(left / self.rate)) if self.rate else 1, LONGEST_WAIT)

    def position(self, ticket: Ticket) -> int:
        """How many go before it."""
        with self.changed:
            return sum(t.rank < ticket.rank for t in self.waiting)

    def end(self, ticket: Ticket, state: str, outcome: Any = None) -> None:
        """A ticket leaves, once."""
        with self.changed:
            if ticket.state in ENDS:
                return
            ticket.state, ticket.outcome = state, outcome
            if ticket in self.waiting:
                self.waiting.remove(ticket)
        ticket.tell(state, outcome)

    def cancel(self, ticket: Ticket) -> None:
        self.end(ticket, "cancelled")

    def wave(self) -> bool:
        """One call for those whose turn it is; whether there was anyone."""
        for late in [t for t in self.waiting if t.until < time.monotonic()]:
            self.end(late, "failed", Late("the deadline has passed."))
        with self.changed:
            turn = chosen(self.waiting, self.together)
        if not turn:
            return False
        network, began = turn[0].network, time.perf_counter()
        denoise = network.denoise if len(turn) > 1 else _Bounded(network.denoise)
        events = tick([t.job for t in turn], denoise, max(network.limit, turn[0].work.rows))
        for ticket, event in zip(turn, events):
            if ticket.state in ENDS:
                continue
            before, ticket.job, ticket.state = ticket.job.k, event.job, "running"
            if event.failure or len(event.job.answers) > CALLS:
                self.end(ticket, "failed", event.failure or _endless())
                continue
            if event.job.k > before:
                seen = event.job.x if event.job.done else event.info and event.info.denoised
                ticket.tell("step", (ticket.k, network.run, seen))
            if event.job.done and ticket.work.after:
                self._go_on(ticket, ticket.work.after)
            elif event.job.done:
                self._done(ticket)
        seconds, rows = time.perf_counter() - began, sum(t.work.rows for t in turn)
        self.clock += rows
        self.rate = 0.9 * self.rate + 0.1 * rows / seconds if self.rate else rows / seconds
        self.watch(len(turn), rows, seconds)
        return True

    def _go_on(self, ticket: Ticket, after: Stage) -> None:
        try:
            ticket.enter(after, after.begun(ticket.job.x.cpu()))
        except Exception as error:
            self.end(ticket, "failed", error)

    def _done(self, ticket: Ticket) -> None:
        x0 = ticket.job.x.cpu()
        with self.changed:
            if ticket.state in ENDS:  # cancelled since the wave began
                return
            self.waiting.remove(ticket)
        bad = (~x0.flatten(1).isfinite().all(1)).nonzero()
        if len(bad):
            seed = int(ticket.job.asked.seeds[int(bad[0])])
            fact = f"{len(bad)} of {len(x0)} samples are not finite, the first of seed {seed}."
            error = BadInput(fact, "Take more `steps`, less `guidance` or another `solver`.")
            self.end(ticket, "failed", error)
        else:
            self.finish(ticket, x0)

    def run(self) -> None:
        """Waves for as long as it is not stopped."""
        while not self.stopped:
            if not self.wave():
                with self.changed:
                    self.changed.wait_for(lambda: self.waiting or self.stopped, timeout=1)

    def stop(self) -> None:
        with self.changed:
            self.stopped = True
            self.changed.notify()
