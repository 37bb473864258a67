"""The service beside itself without batching: throughput, latency, overhead.

    python -m benchmarks.serving burst RUN --n 1 --out docs/benchmarks/serving/burst.json
    python -m benchmarks.serving load RUN --load .8 --requests 60
    python -m benchmarks.serving queue RUN --load .8 --requests 40
    python -m benchmarks.serving overhead RUN
    python -m benchmarks.serving wave RUN --requests 16
    python -m benchmarks.serving soak RUN --minutes 60 --load .8

Each starts `scorefield serve`, the first two with batching on and off, and asks it from threads.
Seconds are of the server's processor time (user and system, its threads together) and of the clock.
"""

import argparse
import collections
import contextlib
import json
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

SOLVERS = ("arc", "dpmpp2m", "heun", "ddim", "ddim:eta=1")


class Server(NamedTuple):
    url: str
    pid: int

    def seconds(self) -> float:
        """Processor time so far, by the clock that Linux keeps of each process (`clock_gettime` of
        ~pid << 3 | 2, which `clock_getcpuclockid` returns)."""
        return time.clock_gettime(~self.pid << 3 | 2)


@contextlib.contextmanager
def served(run: Path, *words: object) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "scorefield", "serve", run, "--port", port, *words]
    process = subprocess.Popen([*map(str, command)], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{url}/health")
                break
            assert process.poll() is None, "the server has ended"
            time.sleep(0.1)
        httpx.post(f"{url}/v1/samples", json={"n": 1, "steps": 2}, timeout=60)  # warm
        yield Server(url, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def mixed(count: int, n: int, steps: tuple[int, int], seed: int = 0) -> list[dict[str, Any]]:
    """Requests of five solvers, three scales, and steps at random."""
    chance = random.Random(seed)
    return [
        {
            "solver": chance.choice(SOLVERS), "steps": chance.randint(*steps),
            "guidance": chance.choice([1.0, 1.5, 3.0]), "n": n, "seed": 100 * i,
            "label": chance.randrange(10),
        }
        for i in range(count)
    ]  # fmt: skip


def asked(url: str, requests: list[dict[str, Any]], at: list[float]) -> list[float]:
    """Seconds from the moment that each is sent to its answer; each is sent at its own moment."""
    began, found = time.monotonic(), [0.0] * len(requests)

    def ask(i: int) -> None:
        time.sleep(max(0.0, began + at[i] - time.monotonic()))
        sent = time.monotonic()
        httpx.post(f"{url}/v1/samples", json=requests[i], timeout=1200).raise_for_status()
        found[i] = time.monotonic() - sent

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(int(q * len(values)), len(values) - 1)]


def told(server: Server, requests: list[dict[str, Any]], at: list[float]) -> dict[str, Any]:
    cpu, wall = server.seconds(), time.monotonic()
    latency = asked(server.url, requests, at)
    return {
        "cpu": server.seconds() - cpu, "wall": time.monotonic() - wall,
        "mean": statistics.mean(latency), "p50": quantile(latency, 0.5),
        "p99": quantile(latency, 0.99), "latency": latency,
    }  # fmt: skip


def burst(o: argparse.Namespace) -> dict[str, Any]:
    """So many requests at once."""
    requests, found = mixed(o.requests, o.n, (10, 30)), {}
    for batching in ("off", "on"):
        with served(o.run, "--batching", batching) as server:
            found[batching] = [told(server, requests, [0.0] * len(requests)) for _ in range(3)]
    best = {k: min(v, key=lambda one: one["cpu"]) for k, v in found.items()}
    ratio = {key: best["off"][key] / best["on"][key] for key in ("cpu", "wall", "mean", "p99")}
    return {"requests": o.requests, "n": o.n, **found, "ratio": ratio}


def load(o: argparse.Namespace) -> dict[str, Any]:
    """Requests that come at random, at a share of what one after another can be done."""
    requests, chance, found = mixed(o.requests, o.n, (5, 20)), random.Random(1), {}
    with served(o.run, "--batching", "off") as server:
        solo = [asked(server.url, [each], [0.0])[0] for each in requests]
        gap = statistics.mean(solo) / o.load
        at = [0.0]
        for _ in requests[1:]:
            at.append(at[-1] + chance.expovariate(1 / gap))
        found["off"] = told(server, requests, at)
    with served(o.run) as server:
        found["on"] = told(server, requests, at)
    for each in found.values():
        stretch = [one / alone for one, alone in zip(each["latency"], solo)]
        each |= {"within 3x": sum(s <= 3 for s in stretch) / len(stretch)}
    ratio = {key: found["on"][key] / found["off"][key] for key in ("cpu", "mean", "p99")}
    return {"load": o.load, "requests": o.requests, "solo": solo, **found, "ratio": ratio}


class Clocked:
    """A service in this process on a clock of its own processor time, so that others on the machine
    change nothing: each thing that the server does moves it by what that took."""

    def __init__(self, run: Path, together: bool) -> None:
        import torch

        from scorefield.serve.service import Service

        torch.set_num_threads(1)
        self.service, self.now, self.done = Service({"run": run}, together=together), 0.0, []
        self.service.batcher.finish = lambda ticket, x0: self.done.append((ticket, x0))

    def timed(self, call: Callable[..., Any], *given: Any) -> Any:
        began = time.thread_time()
        found = call(*given)
        self.now += time.thread_time() - began
        return found

    def latencies(self, requests: list[dict[str, Any]], at: list[float]) -> list[float]:
        """Seconds from the arrival of each, at its own moment, to its answer."""
        from scorefield.serve.body import SamplesBody

        came, found = {}, [0.0] * len(requests)
        batcher, i = self.service.batcher, 0
        self.now = 0.0
        while i < len(requests) or batcher.waiting:
            if not batcher.waiting:
                self.now = max(self.now, at[i])
            while i < len(requests) and at[i] <= self.now:
                body = SamplesBody(**requests[i])
                came[self.timed(self.service.accept, "samples", body).id] = i
                i += 1
            self.timed(batcher.wave)
            while self.done:
                ticket, x0 = self.done.pop()
                self.timed(ticket.work.answer, x0)
                found[came[ticket.id]] = self.now - at[came[ticket.id]]
        return found


def queue(o: argparse.Namespace) -> dict[str, Any]:
    """Requests that come at random, on a clock of processor time: how long each takes in company,
    beside first come, first served (Lindley 1952): w_k+1 = max(0, w_k + s_k - gap_k)."""
    requests, ways = mixed(o.requests, o.n, (5, 20)), []
    off, on = Clocked(o.run, False), Clocked(o.run, True)
    for each in (off, on):
        each.latencies(requests[:1], [0.0])  # warm
    solo = [off.latencies([each], [0.0])[0] for each in requests]
    for seed in range(o.seeds):
        chance, at, wait = random.Random(seed), [0.0], [0.0]
        for before in solo[:-1]:
            gap = chance.expovariate(o.load / statistics.mean(solo))
            wait.append(max(0.0, wait[-1] + before - gap))
            at.append(at[-1] + gap)
        own = {"first come": [w + s for w, s in zip(wait, solo)], "on": on.latencies(requests, at)}
        ways.append({name: {
            "mean": statistics.mean(latency), "p99": quantile(latency, 0.99),
            "within 3x": sum(t <= 3 * s for t, s in zip(latency, solo)) / len(solo),
        } for name, latency in own.items()})  # fmt: skip
        print(seed, ways[-1], flush=True)
    return {
        "load": o.load,
        "requests": o.requests,
        "solo mean": statistics.mean(solo),
        "queue": ways,
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


ROUNDS = 9
"""Of each measurement, in turn with those that it is compared with."""


def overhead(o: argparse.Namespace) -> dict[str, Any]:
    """Processor time of a request of one step, beside that of the same step in this process and of
    an endpoint of the framework that does nothing: in turn, fifty of each a round."""
    import torch

    from scorefield.run.open import open_run
    from scorefield.use.generate import generate
    from scorefield.use.plan import settings_of

    torch.set_num_threads(1)
    run, said = open_run(o.run), {"solver": "ddim", "steps": 1, "label": 3, "n": 1}
    settings = settings_of(run, 1, "ddim")
    with served(o.run) as server, httpx.Client(base_url=server.url) as client:
        ways: dict[str, tuple[Callable[[], Any], Callable[[], float]]] = {
            "here": (lambda: generate(run.denoiser, 1, labels=[3], **settings), time.process_time),
            "bare endpoint": (lambda: client.get("/health").raise_for_status(), server.seconds),
            "request": (
                lambda: client.post("/v1/samples", json=said).raise_for_status(), server.seconds
            ),
        }  # fmt: skip
        ms: dict[str, list[float]] = {name: [] for name in (*ways, "overhead")}
        for k in range(ROUNDS + 1):  # the first is slower
            for name, (call, clock) in ways.items():
                began = clock()
                for _ in range(50):
                    call()
                ms[name] += [1000 * (clock() - began) / 50] if k else []
    ms["overhead"] = [w - h - b for h, b, w in zip(*(ms[name] for name in ways))]
    return {"ms": {name: spread(values) for name, values in ms.items()}}


class Timed:
    """A denoiser that counts the processor time of its calls; or, `idle`, answers x at once."""

    def __init__(self, denoise: Any, idle: bool = False) -> None:
        self.denoise, self.idle, self.seconds = denoise, idle, 0.0

    def __call__(self, x: Any, *more: Any) -> Any:
        if self.idle:
            return x
        began = time.thread_time()
        answer = self.denoise(x, *more)
        self.seconds += time.thread_time() - began
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoise, name)


def wave(o: argparse.Namespace) -> dict[str, Any]:
    """What the server takes of full waves: of the processor time of a wave W that in the network N
    and in the solvers' own arithmetic A aside, (W - N - A) / W. A is the time of the same walks
    alone: of a denoiser that answers at once, or of the network less its calls, which leave the
    processor's caches as they are in a wave. So many requests of 24 calls each, with guidance, of
    `n` samples."""
    import torch

    from scorefield.draw.jobs import walk
    from scorefield.serve.body import SamplesBody
    from scorefield.serve.service import Service

    torch.set_num_threads(1)
    service, done = Service({"run": o.run}), []
    network = service.networks["run"]
    service.networks["run"] = network = network._replace(denoise=Timed(network.denoise))
    service.batcher.finish = lambda ticket, x0: done.append(x0)
    clock, found = time.thread_time, []
    for k in range(ROUNDS + 1):  # the first is slower
        tickets: list[Any] = []
        for i, each in enumerate(mixed(o.requests, o.n, (24, 24))):
            each |= {"guidance": 1.5, "seed": 100 * i}
            each["steps"] //= 2 if each["solver"] == "heun" else 1
            tickets.append(service.accept("samples", SamplesBody(**each)))
        jobs = [ticket.job for ticket in tickets]
        rows = sum(ticket.work.rows for ticket in tickets)
        network.denoise.seconds, waves, began = 0.0, 0, clock()
        while service.batcher.wave():
            waves += 1
        whole, called = clock() - began, network.denoise.seconds
        own = []
        for idle in (True, False):
            denoise, began = Timed(network.denoise.denoise, idle), clock()
            for job in jobs:
                collections.deque(walk(job, denoise), 0)
            own.append(clock() - began - denoise.seconds)
        found += [[seconds / waves for seconds in (whole, called, *own)]] if k else []
    share, beside = ([(w - n - a[i]) / w for w, n, *a in found] for i in (0, 1))
    names = ("wave", "network", "arithmetic", "arithmetic beside the network")
    ms = {name: spread([1000 * x for x in each]) for name, each in zip(names, zip(*found))}
    return {"requests": o.requests, "n": o.n,
            "wave": {"rows": rows, "limit": network.limit, "waves": waves, "ms": ms,
                     "share of the server": spread(share),
                     "beside the network": spread(beside)}}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["burst", "load", "queue", "overhead", "wave", "soak"])
    parser.add_argument("run", type=Path)
    parser.add_argument("--n", type=int, default=1)
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--load", type=float, default=0.8)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--out", type=Path)
    o = parser.parse_args()
    from benchmarks.soak import soak

    found = {
        "burst": burst, "load": load, "queue": queue, "overhead": overhead,
        "wave": wave, "soak": soak,
    }[o.what](o)  # fmt: skip
    if o.out:
        o.out.parent.mkdir(parents=True, exist_ok=True)
        o.out.write_text(json.dumps(found, indent=1))
    print(
        json.dumps(
            {
                k: v
                for k, v in found.items()
                if k in ("ratio", "ms", "load", "n", "wave", "soak", "killed")
            },
            indent=1,
        )
    )
    for name in ("off", "on"):
        rows = found.get(name, [])
        for row in rows if isinstance(rows, list) else [rows]:
            print(name, {k: round(v, 3) for k, v in row.items() if k != "latency"})


if __name__ == "__main__":
    main()
