"""The service under locust: so many clients, each of which asks again when it has its answer.

    pip install locust
    locust -f benchmarks/locustfile.py --headless -u 16 -r 16 -t 60s -H http://127.0.0.1:8000

Its table says requests a second, and the median, 95% and 99% of their latencies; `python -m
benchmarks.curves` makes curves of them. Clients have addresses of their own, as the rate is of one.
"""

# pyright: reportMissingImports=false

import itertools
import random
from typing import Any

from locust import HttpUser, task
from requests.adapters import HTTPAdapter

from benchmarks.serving import mixed

REQUESTS = mixed(500, 1, (5, 20))
addresses = itertools.count(2)


class From(HTTPAdapter):
    """From an address of this machine."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, *given: Any, **more: Any) -> None:
        super().init_poolmanager(*given, source_address=(self.address, 0), **more)


class Client(HttpUser):
    def on_start(self) -> None:
        self.client.mount("http://", From(f"127.0.0.{next(addresses) % 250 + 2}"))

    @task
    def samples(self) -> None:
        self.client.post("/v1/samples", json=random.choice(REQUESTS))
