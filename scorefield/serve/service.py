"""Requests from their words to their answers; the routes only carry them."""

import json
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.samples import Sample
from pydantic import ValidationError
from torch import Tensor

from scorefield.base import BadInput, unknown
from scorefield.run.open import open_run
from scorefield.serve.batcher import ENDS, Batcher, Busy, Listener, Ticket
from scorefield.serve.body import Common, EditBody, RestoreBody, SamplesBody
from scorefield.serve.network import Network
from scorefield.serve.shelf import Shelf
from scorefield.serve.work import work

BODIES: dict[str, type[Common]] = {
    "samples": SamplesBody, "edit": EditBody, "restore": RestoreBody
}  # fmt: skip
PAUSE = 1.0
"""Seconds between two writings of the states of what is under way."""
AVERAGES = 4
"""Of other lengths, that are open at a time."""
log = logging.getLogger("scorefield.serve")


class Metrics:
    """What is counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = {"registry": self.registry, "namespace": "scorefield"}
        labels = ("model", "verb", "outcome")
        self.requests = Counter("requests", "Requests by their end.", labels, **own)
        self.seconds = Histogram("request_seconds", "From arrival to end.", ("model",), **own)
        self.waves = Counter("waves", "Calls of networks for all whose turn it was.", **own)
        self.rows = Counter("rows", "Rows of those calls.", **own)
        self.jobs = Histogram("wave_jobs", "Requests in a wave.", buckets=(1, 2, 4, 8, 16, 32, 64),
                              **own)  # fmt: skip
        self.waiting = Gauge("waiting", "Requests that are not done.", **own)

    def wave(self, jobs: int, rows: int, seconds: float) -> None:
        self.waves.inc()
        self.rows.inc(rows)
        self.jobs.observe(jobs)


class Service:
    """Runs by the names of their folders, a batcher and a shelf. One of several has a `mark`, with
    which the numbers of its requests begin, and `everywhere` asks all of them."""

    def __init__(
        self, runs: Mapping[str, Path], folder: Path | None = None, together: bool = True,
        mark: str = "",
    ) -> None:  # fmt: skip
        self.networks = {
            name: Network.of(name, open_run(path, spaces=True)) for name, path in runs.items()
        }
        self.averages = OrderedDict[tuple[str, float], Network]()
        self.shelf, self.metrics, self.tickets = Shelf(folder), Metrics(), dict[str, Ticket]()
        self.batcher = Batcher(self._finish, together=together)
        self.batcher.watch = self.metrics.wave
        self.metrics.waiting.set_function(lambda: len(self.batcher.waiting))
        self.accepting, self.mark = threading.Lock(), mark
        self.everywhere: Callable[[str], list[Any]] = lambda what: [getattr(self, what)()]

    @cached_property
    def finisher(self) -> ThreadPoolExecutor:
        """Makes answers, so that waves need not wait for pictures."""
        return ThreadPoolExecutor(1, "answers")

    def start(self) -> None:
        """Take in what an earlier server left, and begin."""
        self._left()
        self.threads = [
            threading.Thread(target=each, daemon=True) for each in (self.batcher.run, self._pauses)
        ]
        for thread in self.threads:
            thread.start()

    def _left(self) -> None:
        for number, request in self.shelf.left():
            try:
                body = BODIES[request["verb"]].model_validate(request["body"])
                self._enter(request["verb"], body, request["key"], number=number)
            except (BadInput, KeyError, ValidationError) as error:
                log.warning("%s of an earlier server is left out: %s", number, error)
                self.shelf.forget(number)

    def stop(self) -> None:
        """End with the wave; what is not done is kept where there is a folder."""
        self.batcher.stop()
        for thread in self.threads:
            thread.join()
        self.finisher.shutdown()
        for ticket in [*self.batcher.waiting]:
            self._pause(ticket)

    def _pauses(self) -> None:
        """Write the states of what is under way, now and then."""
        while self.shelf.folder and not self.batcher.stopped:
            with self.batcher.changed:
                self.batcher.changed.wait_for(lambda: self.batcher.stopped, timeout=PAUSE)
            for ticket in [*self.batcher.waiting]:
                if ticket.state not in ENDS:
                    self._pause(ticket)

    def _pause(self, ticket: Ticket) -> None:
        """Write its state; in a second stage that of the first stays, which leads to the same."""
        if not ticket.past:
            self.shelf.pause(ticket.id, ticket.job)

    def status(self, ticket: Ticket) -> dict[str, Any]:
        """How far it is."""
        return {
            "id": ticket.id, "model": ticket.network.name, "verb": ticket.request["verb"],
            "state": ticket.state, "step": ticket.k, "of": ticket.steps,
            "samples": len(ticket.job.asked.seeds), "before": self.batcher.position(ticket),
        }  # fmt: skip

    def queue(self) -> list[dict[str, Any]]:
        """What waits and what is under way, by turn."""
        return [self.status(t) for t in sorted([*self.batcher.waiting], key=lambda t: t.rank)]

    def counts(self) -> list[Metric]:
        return [*self.metrics.registry.collect()]

    def network(self, name: str | None, average: float | None = None) -> Network:
        """A run in service, the first unless it is named; with an `average` of other length, of
        which the latest are kept open."""
        if name is None:
            name = next(iter(self.networks))
        if name not in self.networks:
            raise unknown("model", name, self.networks, "model")
        if average is None:
            return self.networks[name]
        key = name, average
        found = self.averages.pop(key, None) or self.networks[name].averaged(average)
        self.averages[key] = found  # the latest, last; another thread may take any away meanwhile
        if len(self.averages) > AVERAGES:
            self.averages.popitem(last=False)
        return found

    def accept(
        self, verb: str, body: Common, key: str | None = None, listener: Listener | None = None
    ) -> Ticket | bytes:
        """A ticket for what is asked, of which the listener hears all; or that or the answer of the
        same key.

        Raises BadInput for what cannot be done or another request under the key, and Busy.
        """
        with self.accepting:
            number = self.shelf.under(key, _request(verb, body)) or ""
            known = self.shelf.get(number) or self.tickets.get(number)
            return known or self._enter(verb, body, key, listener)

    def _enter(
        self, verb: str, body: Common, key: str | None = None, listener: Listener | None = None,
        number: str | None = None,
    ) -> Ticket:  # fmt: skip
        network = self.network(body.model, body.average)
        ticket = Ticket(network, work(network, body, self.network), body.priority)
        ticket.until = time.monotonic() + (body.deadline or math.inf)
        ticket.id = self.mark + ticket.id
        if number:
            ticket.id, ticket.job = number, self.shelf.resumed(number, ticket.job)
        ticket.request = {"verb": verb, "previews": body.previews, "key": key}
        ticket.listeners.append(lambda kind, what: kind in ENDS and self._ended(ticket))
        ticket.listeners += [listener] if listener else []
        self.tickets[ticket.id] = ticket
        self.shelf.ask(ticket.id, _request(verb, body), key)
        try:
            self.batcher.submit(ticket)
        except Busy:
            self.shelf.forget(ticket.id)
            self._drop(ticket)
            raise
        return ticket

    def _finish(self, ticket: Ticket, x0: Tensor) -> None:
        self.finisher.submit(self._answer, ticket, x0)

    def _answer(self, ticket: Ticket, x0: Tensor) -> None:
        try:
            now = time.time()
            answer = {
                "id": ticket.id,
                "model": ticket.network.name,
                "created": int(now),
                "seconds": round(now - ticket.arrived, 4),
                "warnings": [*ticket.work.said],
                **ticket.work.answer(x0),
            }
            content = json.dumps(answer, allow_nan=False).encode()
            self.shelf.put(ticket.id, content, ticket.request["key"])
            self.batcher.end(ticket, "done", content)
        except Exception as error:
            self.batcher.end(ticket, "failed", error)

    def _ended(self, ticket: Ticket) -> None:
        verb, model = ticket.request["verb"], ticket.network.name
        self.metrics.requests.labels(model, verb, ticket.state).inc()
        self.metrics.seconds.labels(model).observe(time.time() - ticket.arrived)
        if ticket.state != "done":
            self.shelf.forget(ticket.id)
        if ticket.state == "failed" and not isinstance(ticket.outcome, BadInput):
            log.error("%s failed: %r", ticket.id, ticket.outcome)
        self._drop(ticket)

    def _drop(self, ticket: Ticket) -> None:
        self.tickets.pop(ticket.id, None)


class Together:
    """The counts of several services, summed: a registry to its reader."""

    def __init__(self, counts: Iterable[Iterable[Metric]]) -> None:
        self.counts = counts

    def collect(self) -> Iterator[Metric]:
        for same in zip(*(sorted(each, key=lambda m: m.name) for each in self.counts)):
            found = dict[Any, Sample]()
            for sample in (s for metric in same for s in metric.samples):
                name = sample.name, *sorted(sample.labels.items())
                before = found[name].value if name in found else 0.0
                found[name] = sample._replace(value=before + sample.value)
            same[0].samples = [*found.values()]
            yield same[0]


def _request(verb: str, body: Common) -> dict[str, Any]:
    return {"verb": verb, "body": body.model_dump(exclude_defaults=True)}
