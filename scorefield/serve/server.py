"""The process: what is served, to whom, until it is stopped."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from scorefield.base import BadInput
from scorefield.base.finding import Findings, Table
from scorefield.serve.guard import Guard
from scorefield.serve.service import Service
from scorefield.store import claim

LOCAL = ("127.0.0.1", "localhost", "::1")
GRACE = 10
"""Seconds in which requests may end when the server is told to stop."""
KEPT = 75
"""Seconds for which an idle connection is kept: longer than clients keep theirs (httpx 5), or one
that asks again at the moment when it is closed here has no answer."""


def by_name(runs: Sequence[Path]) -> dict[str, Path]:
    """Runs by the names of their folders, which must differ."""
    if not runs:
        raise BadInput("`runs` names no run.", "Give one or more, such as runs/digits.", "runs")
    names = {path.resolve().name: path for path in runs}
    if len(names) < len(runs):
        listed = ", ".join(map(str, runs))
        raise BadInput(f"of {listed} two have one name.", "Rename a folder, or serve one of them.")
    return names


def secured(host: str) -> dict[str, Any]:
    """Whom the guard of a server at that address lets in."""
    token = os.environ.get("SCOREFIELD_TOKEN")
    if host not in LOCAL and not token:
        raise BadInput(
            f"`host` is {host}, which others reach, and there is no token.",
            "Set SCOREFIELD_TOKEN to a secret, which requests then carry as a bearer token.",
            "host",
        )
    return {"token": token, "hosts": frozenset(LOCAL) if host in LOCAL else None}


def opened(runs: Sequence[Path], folder: Path | None, batching: bool) -> Service:
    """The service of those runs."""
    torch.set_num_threads(1)  # two fight over a small network: 4.5 times slower one by one
    if folder:
        claim(folder / "request.json", field="folder")
    return Service(by_name(runs), folder, batching)


def serve(service: Service, host: str, port: int) -> None:
    """Answer until SIGTERM or Ctrl-C; then let end what does within `GRACE` seconds."""
    import uvicorn

    from scorefield.serve.http import routes

    guard = secured(host)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.getLogger("scorefield.serve").addHandler(handler)
    guarded: Any = Guard(routes(service), **guard)
    uvicorn.Server(uvicorn.Config(
        guarded, host=host, port=port, log_level="warning", access_log=False,
        timeout_graceful_shutdown=GRACE, timeout_keep_alive=KEPT,
    )).run()  # fmt: skip


def surveyed(service: Service) -> Findings:
    """What would be served, and how fast."""
    rows = []
    for name, network in service.networks.items():
        one, best = network.costs[1], network.costs[network.limit] / network.limit
        rows.append((name, "x".join(map(str, network.run.info.shape)),
                     len(network.run.info.classes), round(1000 * one, 3), round(1000 * best, 3),
                     network.limit))  # fmt: skip
    columns = ("run", "shape", "classes", "ms alone", "ms a row together", "rows of a wave")
    how = f"{len(rows)} of {len(rows)} runs can be served"
    return Findings(
        "serve", ", ".join(service.networks), how, (Table("Networks", columns, tuple(rows)),)
    )
