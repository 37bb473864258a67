"""A server in this process, on a port of its own, of two tiny runs."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import numpy as np
import pytest

from scorefield.serve.guard import Guard
from scorefield.serve.service import Service
from tests.serve import runs


class Live(NamedTuple):
    service: Service
    client: httpx.Client
    url: str


@contextlib.contextmanager
def alive(service: Service) -> Iterator[str]:
    """Its address."""
    import uvicorn

    from scorefield.serve.http import routes

    guarded = Guard(routes(service), rate=10**6)
    config = uvicorn.Config(guarded, port=0, log_level="error", timeout_graceful_shutdown=2)  # type: ignore
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive(), "the server does not stop"


@pytest.fixture(scope="session")
def live(tmp_path_factory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("served")
    points = runs.of_arrays(home / "points", x=runs.shaped(2), y=np.arange(40) % 2)
    service = Service({"digits": runs.digits(home / "digits"), "points": points})
    with alive(service) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield Live(service, client, url)
