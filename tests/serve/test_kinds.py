"""Every kind of run is served, with the samples of `generate`, or refused in one sentence."""

import json
import threading

import pytest
import torch

from scorefield import catalogue
from scorefield.base import BadInput
from scorefield.data import kind as kinds
from scorefield.data.conditions import KINDS as CONDITION_KINDS
from scorefield.run.open import open_conditions
from scorefield.serve import network
from scorefield.serve.batcher import Ticket
from scorefield.serve.body import SamplesBody
from scorefield.serve.service import Service
from scorefield.use.generate import generate
from scorefield.use.plan import settings_of
from tests.refusal import refused
from tests.serve import runs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def not_measured(monkeypatch):
    monkeypatch.setattr(network, "costs", lambda *given: {1: 1.0, 64: 1.0})


def served(path, **said) -> tuple[Service, dict]:
    """A service of the run, and its answer."""
    service, ended = Service({"run": path}), threading.Event()
    ticket = service.accept("samples", SamplesBody(format="x", **said))
    assert isinstance(ticket, Ticket)
    ticket.listeners.append(lambda kind, what: kind == "step" or ended.set())
    while service.batcher.wave():
        pass
    ended.wait(20)
    assert ticket.state == "done", ticket.outcome
    return service, json.loads(ticket.outcome)


def check_served(path, **said) -> None:
    """Two samples, which are those of `generate` to the bit, but for decimals."""
    service, answer = served(path, n=2, seed=5, **said)
    run = service.networks["run"].run
    cond = open_conditions(run, said["conditions"]) if "conditions" in said else None
    labels = list(run.facts.drawn) if run.facts.classes and not cond else None
    if run.facts.conditions.keys and not cond:
        labels = None
    x0 = generate(service.networks["run"].denoise, seeds=[5, 6], labels=labels, cond=cond,
                  **settings_of(run))  # fmt: skip
    wanted = run.facts.scaling.decode(x0)
    found = torch.tensor([sample["x"] for sample in answer["samples"]], dtype=wanted.dtype)
    assert torch.equal(found, wanted)
    assert [sample["seed"] for sample in answer["samples"]] == [5, 6]


@pytest.mark.parametrize("kind", [kind.name for kind in kinds.KINDS])
def test_every_kind_of_sample(kind, tmp_path):
    check_served(runs.KINDS[kind](tmp_path / "run"))


@pytest.mark.parametrize("condition", ["label", *CONDITION_KINDS])
def test_every_condition(condition, tmp_path):
    path = runs.CONDITIONS[condition](tmp_path / "run")
    check_served(path, conditions=runs.ROWS[condition])
    check_served(path)


@pytest.mark.parametrize("objective", catalogue.objectives)
def test_every_objective(objective, tmp_path):
    """But what leads from one end of a pair, which is no noise."""
    path = runs.of_objective(tmp_path / "run", objective)
    if objective == "residual":
        refused("trained on pairs", check_served, path)
    else:
        check_served(path)


@pytest.mark.parametrize("method", catalogue.students)
def test_every_student(method, tmp_path):
    check_served(runs.of_student(tmp_path / "run", method))


@pytest.mark.parametrize("kind", catalogue.autoencoders)
def test_every_autoencoder(kind, tmp_path):
    """Those but the variational one know no law of their latents."""
    path = runs.of_autoencoder(tmp_path / "run", kind)
    if kind != "vae":
        refused("makes no samples", Service, {"run": path})
    else:
        check_served(path)


def test_every_solver_is_served_or_refused(tmp_path):
    """In one sentence; on one run, as requests of one server."""
    path = runs.digits(tmp_path / "run")
    service, tickets, said = Service({"run": path}), [], []
    for name in catalogue.solvers:
        try:
            body = SamplesBody(solver=name, steps=4, label=3, format="x")
            tickets.append(service.accept("samples", body))
        except BadInput as error:
            said.append(str(error))
    while service.batcher.wave():
        pass
    service.finisher.shutdown()
    bad = {str(ticket.outcome) for ticket in tickets if ticket.state != "done"}
    assert len(tickets) > 0.9 * len(catalogue.solvers)
    assert all(text.endswith(".") and "\n" not in text for text in [*said, *bad]), [*said, *bad]
