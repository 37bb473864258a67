"""The service under locust: so many clients, each of which asks again when it has its answer.

    pip install locust
    locust -f benchmarks/locustfile.py --headless -u 16 -r 16 -t 60s -H http://127.0.0.1:8000

Its table says requests a second, and the median, 95% and 99% of their latencies.
"""

# pyright: reportMissingImports=false

import random

from locust import FastHttpUser, task

from benchmarks.serving import mixed

REQUESTS = mixed(500, 1, (5, 20))


class Client(FastHttpUser):
    @task
    def samples(self) -> None:
        self.client.post("/v1/samples", json=random.choice(REQUESTS))
