"""The service many times over, on a cluster of Ray: each replica has a batcher and a queue of its
own, so that what is exact in one is in all.

A request goes to the idler of the next two replicas in turn. In turn, as Ray counts what is under
way by what waits for its answer: requests that wait for none, sent to the idler of two at random,
are a coin's throw each, and one in 128 eights of them went to one of two replicas. What is asked of
a request is passed on to the replica that has it, whose rank its number begins with; and a request
under a key always to the replica that the key names, so that it is made once. What is passed on is
plain: no replica reads what Ray's proxy made of a request.
"""

# pyright: reportMissingImports=false

import asyncio
import os
import signal
import threading
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray
import torch
from ray import serve as cluster
from ray.serve.config import HTTPOptions, RequestRouterConfig
from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica
from starlette.types import Message, Receive, Scope, Send

from scorefield.base import BadInput
from scorefield.serve.guard import Guard
from scorefield.serve.http import routes
from scorefield.serve.server import GRACE, secured
from scorefield.serve.service import Service

NAME = "scorefield"
PAUSE = 0.2
"""Seconds between two looks for a replica that is not there: without, the proxy takes a processor
from the one that starts."""
ONGOING = 1024
"""Requests of a replica at a time: more than its own queue lets wait, which refuses with 429."""


def owner(scope: Mapping[str, Any], replicas: int) -> int | None:
    """The rank of the replica that has what is asked for, if one has.

    >>> owner({"path": "/v1/requests/1-c0ffee/events"}, 2), owner({"path": "/v1/models"}, 2)
    (1, None)
    """
    head, _, rest = scope["path"].partition("/v1/requests/")
    rank = rest.partition("-")[0]
    if not head and rank.isdecimal() and int(rank) < replicas:
        return int(rank)
    key = dict(scope.get("headers", ())).get(b"idempotency-key")
    return None if key is None else zlib.crc32(key) % replicas


class Passed(NamedTuple):
    """A request for the replica of that rank."""

    rank: int
    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def scope(self) -> dict[str, Any]:
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
            "method": self.method, "path": self.path, "raw_path": self.path.encode(),
            "root_path": "", "query_string": self.query, "headers": self.headers,
        }  # fmt: skip


class ByNumber(RequestRouter):
    """Chooses the replica to which a request is passed on, else the idler of the next two."""

    turn = 0

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> Sequence[list[RunningReplica]]:
        asked = pending_request.args[0] if pending_request and pending_request.args else None
        rank = getattr(asked, "rank", None)
        if rank is not None:  # Ray carries this class by value, with a `Passed` of its own
            owners = [r for r in candidate_replicas if r.replica_metadata.get("rank") == rank]
            if not owners:  # while it starts; Ray asks again, and at once
                await asyncio.sleep(PAUSE)
            return [owners]
        ranked = sorted(candidate_replicas, key=lambda r: r.replica_metadata.get("rank", 0))
        first, self.turn = self.turn % len(ranked), self.turn + 1  # of equals Ray takes the first
        return [(ranked * 2)[first : first + min(2, len(ranked))]]


class Replica:
    """One of them: the whole service, of which the others are asked what all have together."""

    def __init__(
        self, runs: Mapping[str, Path], folder: Path | None, together: bool, guard: dict[str, Any],
        replicas: int,
    ) -> None:  # fmt: skip
        torch.set_num_threads(1)
        self.rank, self.guard = cluster.get_replica_context().rank.rank, guard
        self.replicas = replicas
        own = folder and folder / f"replica-{self.rank}"
        self.service = Service(runs, own, together, f"{self.rank}-")
        self.service.everywhere = lambda what: (
            cluster.get_deployment_handle(NAME, NAME).broadcast("tell", what).results()
        )

    def __serve_build_asgi_app__(self) -> Any:
        self.own = routes(self.service)
        return Guard(self._here_or_there, **self.guard)

    async def _here_or_there(self, scope: Scope, receive: Receive, send: Send) -> None:
        rank = owner(scope, self.replicas) if scope["type"] == "http" else None
        if rank is None or rank == self.rank:
            return await self.own(scope, receive, send)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        asked = Passed(
            rank, scope["method"], scope["path"], scope["query_string"],
            [(bytes(k), bytes(v)) for k, v in scope["headers"]], body,
        )  # fmt: skip
        there = cluster.get_deployment_handle(NAME, NAME).options(stream=True)
        answer: Any = there.passed.remote(asked)
        gone = asyncio.create_task(_until_gone(receive))

        async def carried() -> None:
            async for message in answer:
                await send(message)

        carrying = asyncio.create_task(carried())
        try:
            await asyncio.wait((gone, carrying), return_when=asyncio.FIRST_COMPLETED)
            if carrying.done():
                await carrying
        finally:
            answer.cancel()
            gone.cancel()
            carrying.cancel()

    async def passed(self, asked: Passed) -> AsyncIterator[Message]:
        """The answer of this one, message by message, until who asks leaves."""
        inbox, left, given = asyncio.Queue[Message | None](), asyncio.Event(), False

        async def receive() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": asked.body, "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def answered() -> None:
            try:
                await self.own(asked.scope, receive, inbox.put)
            finally:
                await inbox.put(None)

        answering = asyncio.create_task(answered())
        try:
            while (message := await inbox.get()) is not None:
                yield message
            await answering
        finally:
            left.set()
            answering.cancel()

    def record_replica_metadata(self) -> dict[str, int]:
        return {"rank": self.rank}

    def tell(self, what: str) -> Any:
        return getattr(self.service, what)()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def check_room(replicas: int) -> None:
    """Raise BadInput if the cluster cannot hold so many."""
    there = int(ray.cluster_resources().get("CPU", 0))
    if replicas > there:
        fact = f"`replicas` is {replicas}, and the cluster has {there} processors."
        raise BadInput(fact, f"Ask for at most {there}.", "replicas")


def start_replicas(
    runs: Mapping[str, Path], folder: Path | None, together: bool, host: str, port: int,
    replicas: int,
) -> None:  # fmt: skip
    """Start them, on the cluster that there is or on one of this machine alone."""
    guard = secured(host)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told of our use
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    check_room(replicas)
    cluster.start(http_options=HTTPOptions(host=host, port=port))
    deployment = cluster.deployment(
        name=NAME, num_replicas=replicas, max_ongoing_requests=ONGOING,
        ray_actor_options={"num_cpus": 1, "num_gpus": int(torch.cuda.is_available())},
        graceful_shutdown_timeout_s=GRACE,
        request_router_config=RequestRouterConfig(request_router_class=ByNumber),
    )(cluster.ingress()(Replica))  # fmt: skip
    absolute = {name: path.resolve() for name, path in runs.items()}
    app = deployment.bind(absolute, folder and folder.resolve(), together, guard, replicas)
    cluster.run(app, name=NAME)


def stop_replicas() -> None:
    cluster.shutdown()
    ray.shutdown()


def serve_replicas(*what: Any) -> None:
    """Answer until SIGTERM or Ctrl-C."""
    stopped = threading.Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, lambda *_: stopped.set())
    try:
        start_replicas(*what)
        stopped.wait()
    finally:
        stop_replicas()
