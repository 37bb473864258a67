"""`scorefield serve RUN`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from scorefield.cli.flags import Spoken, Switch
from scorefield.cli.frame import Bar, Found, note


class Options(Spoken):
    """Serve runs over HTTP, with a studio for people at the address that is printed. Requests of
    unlike solvers, steps, guidance and seeds share every call of the network, and each gets the
    samples that scorefield sample makes, to the bit.

    examples:
      scorefield serve runs/digits
      scorefield serve runs/digits runs/fashion --port 8000 --folder requests
      curl localhost:8000/v1/samples -H "content-type: application/json"
          -d '{"n": 4, "label": 3, "steps": 20, "seed": 7}'

    Others than this machine reach it by --host 0.0.0.0, which needs a secret in SCOREFIELD_TOKEN.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders that `scorefield train` wrote; each is served by the name of its folder."""
    host: str = "127.0.0.1"
    """Address to listen at."""
    port: int = 8000
    """Port to listen at."""
    folder: Path | None = None
    """Where requests, paused walks and answers lie, so that they outlive the server (default:
    nowhere)."""
    batching: Literal["on", "off"] = "on"
    """off: one request after another, in the order of arrival."""
    engine: Literal["uvicorn", "ray"] = "uvicorn"
    """Where it runs: in this process, or as replicas on a cluster of Ray (scorefield[ray]), that of
    RAY_ADDRESS or one of this machine."""
    replicas: int | None = None
    """How many, with engine ray (1)."""
    check: Switch = False
    """Only open and measure the runs, and say what would be served."""


def work(o: Options, bar: Bar) -> Found:
    from scorefield.base.errors import BadInput
    from scorefield.use.asked import at_least, idle

    if o.engine != "ray":
        idle("replicas", o.replicas, f"engine {o.engine} is one process")
    at_least("replicas", o.replicas)
    try:
        from scorefield.serve import server

        if o.engine == "ray":
            from scorefield.serve import replicas
    except ModuleNotFoundError as error:
        fact = f"the service needs the package {error.name}, which is not installed."
        extra = "ray" if error.name == "ray" else "serve"
        raise BadInput(fact, f"Install it: pip install 'scorefield[{extra}]'.") from error
    if o.engine == "ray" and not o.check:
        runs = server.by_name(o.runs)
        note(f"{', '.join(runs)} at http://{o.host}:{o.port}")
        replicas.serve_replicas(runs, o.folder, o.batching == "on", o.host, o.port, o.replicas or 1)
        return 0
    service = server.opened(o.runs, o.folder, o.batching == "on")
    if o.check:
        return server.surveyed(service)
    note(f"{', '.join(service.networks)} at http://{o.host}:{o.port}")
    server.serve(service, o.host, o.port)
    return 0
