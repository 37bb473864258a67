"""The soak of the service: clients that wait, leave and come back, and a kill at its end.

    python -m benchmarks.serving soak RUN --minutes 60 --load .8

Their rate follows what the server's processor time says of the load.
"""

import argparse
import collections
import contextlib
import os
import random
import signal
import ssl
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from benchmarks.serving import Server, asked, mixed, served, spread

CLIENTS = 128
"""Of a soak at a time: fewer than the server lets wait."""


class Soak:
    """Clients that wait, that leave, and that come back under their key; what each was told."""

    def __init__(self, url: str) -> None:
        self.url, self.lock = url, threading.Lock()
        plain = ssl.create_default_context()  # of each by itself it were most of a client's work
        self.clients = [
            httpx.Client(
                base_url=url,
                timeout=300,
                trust_env=False,
                transport=httpx.HTTPTransport(
                    local_address=f"127.0.0.{2 + i}",
                    verify=plain,
                    trust_env=False,
                ),
            )
            for i in range(200)
        ]  # the rate is of an address
        self.told: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self.ids: set[str] = set()
        self.count = collections.Counter[str]()

    def client(self, i: int, said: dict[str, Any]) -> None:
        """Every third leaves; the others have a key, and every third of them comes back."""
        client = self.clients[i % len(self.clients)]
        if i % 3 == 0:
            with contextlib.suppress(httpx.ReadTimeout):
                client.post("/v1/samples", json=said, timeout=0.02 + i % 7 / 20)
            return self.count.update(["left"])
        head = {"Idempotency-Key": f"soak {i}"}
        if i % 9 == 1:
            head["Prefer"] = "respond-async"
            client.post("/v1/samples", json=said, headers=head)
            time.sleep(i % 5)
            del head["Prefer"]
        first = client.post("/v1/samples", json=said, headers=head)
        if first.status_code != 200:
            return self.count.update([str(first.status_code)])
        again = client.post("/v1/samples", json=said, headers=head)
        answer = first.json()
        with self.lock:
            self.count.update(["answered"])
            self.count.update(
                ["doubled"] * (answer["id"] in self.ids or again.content != first.content)
            )
            self.ids.add(answer["id"])
            if i % 250 == 1:
                self.told[f"soak {i}"] = said, answer


def memory(pid: int) -> float:
    """MB that it holds."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(row for row in rows if row.startswith("VmRSS")).split()[1]) / 1024


def soak(o: argparse.Namespace) -> dict[str, Any]:
    """So long at a load, by clients of whom a third leave; then kill -9 in the midst of others.

    The load is the share of one core that the server takes. At first the gap between two clients is
    the processor time of a request of forty at once over the load; as one costs more in smaller
    company, and who leaves less, it is set anew each minute by what the last one took.
    """
    chance, held, i = random.Random(2), [], 0
    requests = [each | {"n": chance.choice([1, 1, 2, 4])} for each in mixed(500, 1, (5, 20))]
    with tempfile.TemporaryDirectory() as folder:
        with served(o.run, "--folder", folder) as server:
            cpu = server.seconds()
            for each in requests[:40]:
                again(server.url, each)
            alone, cpu = (server.seconds() - cpu) / 40, server.seconds()
            asked(server.url, requests[:40], [0.0] * 40)
            together = (server.seconds() - cpu) / 40
            gaps, shares = [together / o.load], list[float]()
            soaked, threads = Soak(server.url), list[threading.Thread]()
            began, cpu = time.monotonic(), server.seconds()
            since = began, cpu
            while (passed := time.monotonic() - began) < 60 * o.minutes:
                said = {**requests[i % 500], "seed": i}
                threads.append(threading.Thread(target=soaked.client, args=(i, said)))
                threads[-1].start()
                i += 1
                while len(threads := [t for t in threads if t.is_alive()]) > CLIENTS:
                    time.sleep(0.05)
                if passed > 15 * len(held):
                    held.append(memory(server.pid))
                if (now := time.monotonic()) > since[0] + 60:
                    shares.append((server.seconds() - since[1]) / (now - since[0]))
                    since = now, server.seconds()
                    least = 1.0 if len(threads) > CLIENTS // 2 else 0.8  # it has no more to give
                    gaps.append(gaps[-1] * min(max(shares[-1] / o.load, least), 1.25))
                    print(round(passed), i, len(threads), shares[-1], gaps[-1], held[-1],
                          flush=True)  # fmt: skip
                time.sleep(chance.expovariate(1 / gaps[-1]))
            for thread in threads:
                thread.join()
            share = (server.seconds() - cpu) / (time.monotonic() - began)
            rows = httpx.get(f"{server.url}/metrics").text.splitlines()
            told = [
                row for row in rows if row.startswith(("scorefield_requests_t", "scorefield_wai"))
            ]
            same = [
                again(server.url, said)["samples"] == answer["samples"]
                for said, answer in soaked.told.values()
            ]
            found = killed(server, requests)
        with served(o.run, "--folder", folder) as server:
            found = found(server.url)
    fifth = len(held) // 5
    settled, end = statistics.mean(held[fifth : 2 * fifth]), statistics.mean(held[-fifth:])
    lost = i - sum(soaked.count[how] for how in ("left", "answered", "429"))
    return {
        "soak": {
            "minutes": o.minutes, "processor s alone": alone, "of forty": together,
            "gaps": spread(gaps[5:] or gaps),
            "processor share": share, "of each minute": spread(shares[5:] or [share]),
            "requests": i,
            **soaked.count, "lost": lost, "told by the server": told,
            "the same again": f"{sum(same)} of {len(same)}",
            "MB": [round(x, 1) for x in held[:: max(1, len(held) // 30)]],
            "MB of the second fifth and the last": [settled, end], "growth": end / settled - 1,
        },
        "killed": found,
    }  # fmt: skip


def again(url: str, said: dict[str, Any], key: str | None = None) -> dict[str, Any]:
    head = {} if key is None else {"Idempotency-Key": key}
    return httpx.post(f"{url}/v1/samples", json=said, headers=head, timeout=300).json()


def killed(server: Server, requests: list[dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    """Kill it when one request is done and eight are under way; what the next one has of them."""
    done = again(server.url, requests[0], "done")
    under = [{**each, "steps": 400, "solver": "ddim"} for each in requests[:8]]
    for k, each in enumerate(under):
        head = {"Idempotency-Key": f"under way {k}", "Prefer": "respond-async"}
        httpx.post(f"{server.url}/v1/samples", json=each, headers=head).raise_for_status()
    time.sleep(2.5)
    numbers = {row["id"]: row["step"] for row in httpx.get(f"{server.url}/v1/requests").json()}
    os.kill(server.pid, signal.SIGKILL)

    def then(url: str) -> dict[str, Any]:
        there = again(url, requests[0], "done") == done  # first: answers are kept for ten minutes
        began = {row["id"]: row["step"] for row in httpx.get(f"{url}/v1/requests").json()}
        ended = [again(url, each, f"under way {k}") for k, each in enumerate(under)]
        alone = [again(url, each) for each in under]
        return {
            "the finished answer is there": there,
            "steps when it was killed": [*numbers.values()],
            "steps at the start of the next": [began.get(number) for number in numbers],
            "numbers kept": [one["id"] for one in ended if one["id"] in numbers] != [],
            "as alone": sum(a["samples"] == b["samples"] for a, b in zip(ended, alone)),
        }

    return then
