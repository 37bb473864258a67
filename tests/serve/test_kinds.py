"""Every kind of run is served, with the samples of `generate`, or refused in one sentence."""

import base64
import io
import json
import threading
import wave
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from scorefield import catalogue
from scorefield.base import BadInput
from scorefield.data import Scaling
from scorefield.data import kind as kinds
from scorefield.data.conditions import KINDS as CONDITION_KINDS
from scorefield.data.readers.mel import HIGH, HOP, LOW, from_log_mel
from scorefield.data.readers.sounds import PEAK
from scorefield.guide.prompts import prompts
from scorefield.run.open import open_conditions
from scorefield.run.settings import Config, DataConfig
from scorefield.run.stored import stored_settings
from scorefield.serve import network
from scorefield.serve.batcher import Ticket
from scorefield.serve.body import EditBody, SamplesBody
from scorefield.serve.service import Service
from scorefield.store import Folder
from scorefield.use.generate import generate
from scorefield.use.plan import settings_of
from tests.refusal import refused
from tests.serve import runs

PLAIN = Scaling((0.0, 0.0), (1.0, 1.0))

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def not_measured(monkeypatch):
    monkeypatch.setattr(network, "costs", lambda *given: {1: 1.0, 64: 1.0})


def served(path, form: Any = "x", **said) -> tuple[Service, dict]:
    """A service of the run, and its answer."""
    service, ended = Service({"run": path}), threading.Event()
    ticket = service.accept("samples", SamplesBody(format=form, **said))
    assert isinstance(ticket, Ticket)
    ticket.listeners.append(lambda kind, what: kind == "step" or ended.set())
    while service.batcher.wave():
        pass
    ended.wait(120)
    assert ticket.state == "done", ticket.outcome
    return service, json.loads(ticket.outcome)


def check_served(path, **said) -> None:
    """Two samples, which are those of `generate` to the bit, but for decimals."""
    service, answer = served(path, n=2, seed=5, **said)
    run = service.networks["run"].run
    cond = open_conditions(run, said["conditions"]) if "conditions" in said else None
    labels = list(run.info.drawn) if run.info.classes and not cond else None
    if run.info.conditions.keys and not cond:
        labels = None
    x0 = generate(service.networks["run"].denoise, seeds=[5, 6], labels=labels, cond=cond,
                  **settings_of(run))  # fmt: skip
    wanted = run.info.scaling.decode(x0)
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


def test_sounds_are_heard(tmp_path):
    """As .wav at the rate of the data, its loudest moment at `PEAK`; no other run makes them."""
    config, info = stored_settings(Folder(runs.KINDS["series"](tmp_path / "series")))
    path = runs.untrained(tmp_path / "run", config, replace(info, rate=8000, scaling=PLAIN))
    service, answer = served(path, n=2, seed=5, form="wav")
    x = np.array([sample["x"] for sample in served(path, n=2, seed=5)[1]["samples"]])
    for sample, clip in zip(answer["samples"], x, strict=True):
        with wave.open(io.BytesIO(base64.b64decode(sample["wav"]))) as file:
            assert (file.getframerate(), file.getnchannels()) == (8000, 2)
            frames = np.frombuffer(file.readframes(99), "<i2").reshape(-1, 2)
        assert np.abs(frames.T - 32767 * PEAK * clip / np.abs(clip).max()).max() <= 1
    service.finisher.shutdown()
    other = runs.digits(tmp_path / "digits")
    fact = "`format` is wav, and the run makes no sounds. Leave it out"
    refused(fact, served, other, n=1, form="wav")


def test_a_prompt_is_a_text_for_a_run_that_reads_some(tmp_path):
    config = Config(data=DataConfig("captioned-digits", text="words"), net=runs.TINY,
                    sample=runs.SHORT)  # fmt: skip
    path = runs.untrained(tmp_path / "run", config)
    said = {"prompt": "a thin seven", "negative": "a one", "guidance": 2.0}
    service, answer = served(path, n=2, seed=5, **said)
    run = service.networks["run"].run
    cond = run.cond(["a thin seven"], "a one")
    guide = prompts(2.0)
    settings: dict[str, Any] = {**settings_of(run), "guidance": 1.0}
    x0 = generate(run.denoiser, seeds=[5, 6], cond=cond, guide=guide, **settings)
    found = torch.tensor([sample["x"] for sample in answer["samples"]])
    assert torch.equal(found, run.info.scaling.decode(x0))
    edit = EditBody(image=base64.b64encode(b"?").decode(), prompt="a seven")
    refused("samples alone are told one. Leave it out", edit.request, run)
    refused(
        "`negative` a one does nothing: there is no `prompt`. Leave it out",
        served,
        path,
        negative="a one",
    )


def test_log_mel_pictures_are_heard(tmp_path):
    """By their sound, of HOP moments a column."""
    pytest.importorskip("librosa")
    config, info = stored_settings(Folder(runs.digits(tmp_path / "digits")))
    info = replace(info, rate=8000, scaling=Scaling.range(LOW, HIGH))
    path = runs.untrained(tmp_path / "run", config, info)
    service, answer = served(path, n=1, seed=5, form="wav")
    u = served(path, n=1, seed=5)[1]["samples"][0]["x"]
    x = from_log_mel(np.array(u, np.float32), 8000)
    with wave.open(io.BytesIO(base64.b64decode(answer["samples"][0]["wav"]))) as file:
        frames = np.frombuffer(file.readframes(9999), "<i2")
    assert len(frames) == 8 * HOP
    assert np.abs(frames - 32767 * PEAK * x[0] / np.abs(x).max()).max() < 30  # of decimals
    service.finisher.shutdown()
