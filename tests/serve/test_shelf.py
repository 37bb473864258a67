"""What is kept, for how long and how much of it; and across a restart."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from scorefield.serve import network
from scorefield.serve.batcher import Ticket
from scorefield.serve.body import SamplesBody
from scorefield.serve.service import Service
from scorefield.serve.shelf import Shelf
from tests.refusal import refused
from tests.serve import runs


def answer(size: int = 10) -> bytes:
    return json.dumps({"created": time.time(), "x": "y" * size}).encode()


def test_answers_go_by_age_and_by_size(monkeypatch):
    shelf = Shelf(None, seconds=10, most=3000)
    for name in "abc":
        shelf.put(name, answer(1000))
    assert [shelf.get(name) is None for name in "abc"] == [True, False, False]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 11)
    assert shelf.get("c") is None
    assert not shelf.kept


def test_an_answer_put_again_counts_once():
    shelf = Shelf(None, most=3000)
    for size in (10, 1000, 1000):
        shelf.put("a", answer(size))
    assert shelf.size == len(shelf.kept["a"].answer)
    shelf.put("b", answer(1000))
    assert [*shelf.kept] == ["a", "b"]


def test_a_key_that_has_gone_to_another_request_outlives_the_first(tmp_path):
    shelf, told = Shelf(tmp_path), {"verb": "samples"}
    for number in "ab":
        shelf.ask(number, told, "key")
    shelf.forget("a")
    assert shelf.under("key", told) == "b"
    shelf.forget("b")
    assert shelf.under("key", told) is None


def test_a_folder_keeps_answers_and_tidies_up(tmp_path):
    shelf = Shelf(tmp_path, most=3000)
    shelf.ask("a", {"verb": "samples"})
    for name in "abc":
        shelf.put(name, answer(1000))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.answer.jsonl", "c.answer.jsonl"]
    again = Shelf(tmp_path)
    assert list(again.left()) == []
    assert again.get("b") == shelf.get("b")


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(network, "costs", lambda *given: {1: 1.0, 64: 1.0})
    return runs.digits(tmp_path / "run")


SAID = [{"solver": name, "steps": 9, "label": 3, "seed": seed, "format": "x", "guidance": 2.0}
        for seed, name in enumerate(["arc", "dpmpp2m", "heun", "ddim:eta=1"])]  # fmt: skip


def answers(service: Service, numbers: list[str]) -> list[list]:
    end = time.monotonic() + 20
    while any(service.shelf.get(number) is None for number in numbers):
        service.batcher.wave()
        assert time.monotonic() < end
    return [json.loads(service.shelf.get(number) or b"")["samples"] for number in numbers]


def asked(service: Service) -> list[str]:
    tickets = [service.accept("samples", SamplesBody.model_validate(said)) for said in SAID]
    return [ticket.id for ticket in tickets if isinstance(ticket, Ticket)]


@pytest.mark.parametrize("waves", [0, 1, 5])
def test_a_server_goes_on_where_another_was_killed(run, tmp_path, waves):
    """With the states that lay there, or without any: the same bits."""
    whole = Service({"run": run})
    wanted = answers(whole, asked(whole))
    first = Service({"run": run}, tmp_path / "kept")
    numbers = asked(first)
    for _ in range(waves):
        first.batcher.wave()
    for ticket in first.batcher.waiting:
        first.shelf.pause(ticket.id, ticket.job)
    states = len(list((tmp_path / "kept").glob("*.state.safetensors")))
    assert states == (4 if waves > 3 else 3 * (waves > 0))  # heun has two calls a step
    second = Service({"run": run}, tmp_path / "kept")
    second._left()
    assert {t.id for t in second.batcher.waiting} == set(numbers)
    steps = sorted(ticket.job.k for ticket in second.batcher.waiting)
    assert steps[-1] == waves
    assert answers(second, numbers) == wanted


def test_a_planted_state_of_another_request_is_seen(run, tmp_path):
    whole = Service({"run": run})
    wanted = answers(whole, asked(whole))
    first = Service({"run": run}, tmp_path / "kept")
    numbers = asked(first)
    for _ in range(4):
        first.batcher.wave()
    one = first.batcher.waiting[0]
    other = replace(one.job, state=one.job.state._replace(x=one.job.x + 0.1))
    first.shelf.pause(one.id, other)
    second = Service({"run": run}, tmp_path / "kept")
    second._left()
    assert answers(second, numbers) != wanted


def test_what_is_damaged_is_left_out(run, tmp_path, caplog):
    first = Service({"run": run}, tmp_path / "kept")
    numbers = asked(first)
    for _ in range(4):
        first.batcher.wave()
    for ticket in first.batcher.waiting:
        first.shelf.pause(ticket.id, ticket.job)
    for suffix in ("request.json", "state.safetensors"):
        (tmp_path / f"kept/{numbers[suffix == 'request.json']}.{suffix}").write_bytes(b"{")
    second = Service({"run": run}, tmp_path / "kept")
    second._left()
    assert {t.id for t in second.batcher.waiting} == {*numbers} - {numbers[1]}
    assert next(t for t in second.batcher.waiting if t.id == numbers[0]).job.k == 0


def test_answers_are_kept_until_their_client_comes(run):
    """A client that asked without waiting finds the answer, and all of it, once."""
    service, ends = Service({"run": run}), []
    numbers = asked(service)
    for ticket in [*service.batcher.waiting]:
        ticket.listeners.append(lambda kind, what: kind == "step" or ends.append(kind))
    worker = threading.Thread(target=service.batcher.run)
    worker.start()
    end = time.monotonic() + 20
    while len(ends) < 4 and time.monotonic() < end:
        time.sleep(0.01)
    service.batcher.stop()
    worker.join()
    assert ends == ["done"] * 4
    assert all(service.shelf.get(number) for number in numbers)
    assert not service.tickets


def test_a_key_outlives_the_server_as_its_answer_does(run, tmp_path):
    """The same bytes to whoever asks again after a kill; another request under it is refused; a
    walk under way is taken up; and a key goes with its answer."""
    folder, body = tmp_path / "kept", SamplesBody.model_validate(SAID[0])
    first = Service({"run": run}, folder)
    done = first.accept("samples", body, "done")
    assert isinstance(done, Ticket)
    (wanted,) = answers(first, [done.id])
    other = SamplesBody.model_validate(SAID[1])
    begun = first.accept("samples", other, "begun")
    assert isinstance(begun, Ticket)
    second = Service({"run": run}, folder)
    second._left()
    assert second.accept("samples", body, "done") == first.shelf.get(done.id)
    refused("that of another request", second.accept, "samples", other, "done")
    again = second.accept("samples", other, "begun")
    assert isinstance(again, Ticket)
    assert again.id == begun.id
    answers(second, [begun.id])
    assert set(second.shelf.keys) == {"done", "begun"}
    second.shelf.seconds = 0
    assert second.shelf.get(done.id) is None
    assert not second.shelf.keys
    assert not folder.exists()
    fresh = second.accept("samples", body, "done")
    assert isinstance(fresh, Ticket)
    assert fresh.id != done.id
    second.shelf.seconds = 600
    assert answers(second, [fresh.id]) == [wanted]
