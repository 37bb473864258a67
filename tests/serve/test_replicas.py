"""The tests of the routes, against two replicas on a cluster of Ray; and what only those have."""

# pyright: reportMissingImports=false

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest

from scorefield.serve.service import Service, Together
from tests.refusal import refused
from tests.serve import runs, test_http
from tests.serve.conftest import Live
from tests.serve.test_process import free_port

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'scorefield[ray]'")
replicas = pytest.importorskip("scorefield.serve.replicas")


PATIENCE = {
    "RAY_raylet_start_wait_time_s": "300", "RAY_agent_register_timeout_ms": "300000",
    "RAY_worker_register_timeout_seconds": "300",
}  # fmt: skip
"""Ray's own parts give each other up on a busy machine."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def live(tmp_path_factory, kept):
    """Its service is one in this process, by which the samples are judged."""
    home, port = tmp_path_factory.mktemp("served"), free_port()
    points = runs.of_arrays(home / "points", x=runs.shaped(2), y=np.arange(40) % 2)
    named = {"digits": runs.digits(home / "digits"), "points": points}
    url = f"http://127.0.0.1:{port}"
    os.environ.update(PATIENCE)
    try:
        replicas.start_replicas(named, kept, True, "127.0.0.1", port, 2)
        with httpx.Client(base_url=url, timeout=300) as client:  # on a busy machine
            yield Live(Service(named), client, url)
    finally:
        replicas.stop_replicas()


ELSEWHERE = {"test_a_full_queue_says_when_to_come_again"}
"""What reaches into the server of this process."""
for name, test in vars(test_http).items():
    if name.startswith("test_") and name not in ELSEWHERE:
        globals()[name] = test


class Elsewhere(NamedTuple):
    """`Passed`, as it is where Ray carries the router by value, with classes of its own."""

    rank: int


def test_who_is_asked():
    """The one to which a request is passed, or while it starts nobody yet; else any two, whatever
    the proxy made of it, which nobody opens."""
    from ray.serve._private.common import RequestMetadata
    from ray.serve.request_router import PendingRequest

    class Known(NamedTuple):
        replica_metadata: dict

    router = object.__new__(replicas.ByNumber)
    there: Any = [Known({"rank": rank}) for rank in (2, 0)]

    def chosen(sent: Any) -> list[int]:
        async def choose() -> Any:  # the future in it wants a loop
            pending = PendingRequest([sent], {}, RequestMetadata("1", "1"))
            return await router.choose_replicas(there, pending)

        (found,) = asyncio.run(choose())
        return [one.replica_metadata["rank"] for one in found]

    for rank, wanted in {2: [2], 0: [0], 1: []}.items():
        assert chosen(Elsewhere(rank)) == wanted
        assert chosen(replicas.Passed(rank, "GET", "/v1/requests/x", b"", [], b"")) == wanted
    assert [chosen(b"never opened") for _ in range(4)] == [[0, 2], [2, 0], [0, 2], [2, 0]]
    there.append(Known({"rank": 1}))
    assert [chosen(b"never opened") for _ in range(3)] == [[1, 2], [2, 0], [0, 1]]
    del there[:2]
    assert chosen(b"never opened") == [1]


def test_whose_a_request_is():
    def found(path: str, key: bytes | None = None) -> int | None:
        headers = [] if key is None else [(b"idempotency-key", key)]
        return replicas.owner({"path": path, "headers": headers}, 3)

    assert found("/v1/requests/2-c0ffee/events") == 2
    assert found("/v1/requests/0-c0ffee") == 0
    for path in ("/v1/requests/3-c0ffee", "/v1/requests", "/v1/samples", "/2-x", "/v1/requests/-2"):
        assert found(path) is None, path
    keys = [found("/v1/samples", b"key %d" % i) for i in range(60)]
    assert keys == [found("/v1/samples", b"key %d" % i) for i in range(60)]
    assert {*keys} == {0, 1, 2}


def test_nothing_is_unpickled():
    """By us, of what a request brings."""
    assert "pickle" not in Path(replicas.__file__).read_text()


def test_two_replicas_share_the_work_and_each_finds_its_own(live, kept):
    """Numbers of both; each is looked at, streamed and stopped wherever the question arrives; a key
    leads to one of them; and what all have together is told by any."""
    wait = {"prefer": "respond-async"}
    begun = [live.client.post("/v1/samples", json=test_http.LONG, headers=wait).json()["id"]
             for _ in range(8)]  # fmt: skip
    assert {number[0] for number in begun} == {"0", "1"}
    for _ in range(3):
        assert {row["id"] for row in live.client.get("/v1/requests").json()} == {*begun}
        assert "scorefield_waiting 8.0" in live.client.get("/metrics").text
    assert len(list(kept.glob("replica-*/*.request.json"))) == 8
    with contextlib.ExitStack() as held:  # also where the one that has it is the busier
        for number in (one for one in begun if one[0] == begun[0][0]):
            held.enter_context(live.client.stream("GET", f"/v1/requests/{number}/events"))
        for _ in range(12):
            test_http.under_way(live, f"/v1/requests/{begun[0]}")
    for number in begun:
        assert live.client.get(f"/v1/requests/{number}").status_code == 202
        assert live.client.delete(f"/v1/requests/{number}").json()["state"] == "cancelled"
    said = [
        live.client.post("/v1/samples", json={"n": 1}, headers={"Idempotency-Key": key}).json()
        for key in "abcdef" for _ in range(2)
    ]  # fmt: skip
    assert len({answer["id"] for answer in said}) == 6
    assert {answer["id"][0] for answer in said} == {"0", "1"}
    assert live.client.get("/v1/requests/7-nobody").status_code == 404


def test_a_replica_that_is_killed_goes_on_with_what_it_had(live):
    """To the same answer, under the same number."""
    said = {**test_http.LONG, "n": 8, "format": "x", "seed": 3}
    wanted = live.client.post("/v1/samples", json=said).json()["samples"]
    begun = live.client.post("/v1/samples", json=said, headers={"prefer": "respond-async"}).json()
    place = f"/v1/requests/{begun['id']}"
    test_http.until(lambda: test_http.under_way(live, place)["step"] > 50, 300)
    time.sleep(1.5)  # its state is written every second
    for actor in ray.util.list_named_actors(all_namespaces=True):
        if actor["name"].startswith("SERVE_REPLICA"):
            ray.kill(ray.get_actor(**actor), no_restart=True)

    def done() -> bool:
        try:
            return live.client.get(place).status_code == 200
        except httpx.TransportError:
            return False

    test_http.until(done, 300)
    assert live.client.get(place).json()["samples"] == wanted


def test_more_replicas_than_processors_are_refused(live):
    most = int(ray.cluster_resources()["CPU"])
    refused(f"the cluster has {most}", replicas.check_room, most + 1)


def test_counts_are_summed():
    from prometheus_client import generate_latest

    some = [Service({}), Service({})]
    for service, rows in zip(some, (3, 4)):
        service.metrics.wave(2, rows, 0.1)
        service.metrics.requests.labels("digits", "samples", "done").inc(rows)
    text = generate_latest(Together([s.counts() for s in some])).decode()  # type: ignore
    assert "scorefield_rows_total 7.0" in text
    assert 'scorefield_requests_total{model="digits",outcome="done",verb="samples"} 7.0' in text
    assert 'scorefield_wave_jobs_bucket{le="2.0"} 2.0' in text
    assert json.dumps(text).count("# HELP scorefield_rows_total") == 1
