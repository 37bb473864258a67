"""Runs that are not on R^n, second stages, other averages and pairs: served as the commands do."""

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch

from scorefield.base import Seeded
from scorefield.catalogue.spec import build
from scorefield.data.kind import LETTERED
from scorefield.data.letters import spelled
from scorefield.data.readers.points import KINDS_OF_POINTS
from scorefield.data.table import row_cells
from scorefield.draw import Asked, draw
from scorefield.inverse import lifted, measure
from scorefield.run.open import open_run
from scorefield.run.pairs import lead
from scorefield.run.settings import Config, DataConfig, ObjectiveConfig
from scorefield.serve import network, work
from scorefield.serve.batcher import Ticket
from scorefield.serve.body import EditBody, RestoreBody, SamplesBody
from scorefield.serve.service import Service
from scorefield.store import from_png
from scorefield.use.cascade import cascade_of, open_cascade
from scorefield.use.generate import generate
from scorefield.use.plan import plan_of, settings_of
from scorefield.use.restore import MEASURING
from tests.refusal import fails, refused
from tests.serve import runs
from tests.serve.test_http import picture
from tests.serve.test_kinds import check_served, served

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("space", [*LETTERED, *KINDS_OF_POINTS])
def test_every_space(space, tmp_path):
    if space == "smiles":
        pytest.importorskip("rdkit")
    path = runs.SPACES[space](tmp_path / "run")
    check_served(path)
    run = open_run(path, spaces=True)
    x0 = generate(run.denoiser, seeds=[5, 6], **settings_of(run))
    if not run.info.kind.lettered:
        refused("`format` text is of letters", served, path, "text")
        return
    found = [one["text"] for one in served(path, None, n=2, seed=5)[1]["samples"]]
    if space == "table":
        assert [tuple(row.values()) for row in found] == row_cells(x0, run.info.columns)
        assert list(found[0]) == ["colour", "n", "same"]
    else:
        assert found == spelled(x0, run.info.alphabet)


@pytest.mark.parametrize("space", ["letters", "torus"])
def test_what_is_of_r_n_alone(space, tmp_path):
    path = runs.SPACES[space](tmp_path / "run")
    service = Service({"run": path})
    for verb, body in (
        ("samples", SamplesBody(between=2, seeds=[1, 2])),
        ("samples", SamplesBody(views="identity")),
        ("edit", EditBody(image=picture())),
        ("restore", RestoreBody(image=picture(), operator="pool:2")),
        ("samples", SamplesBody(solver="ddim")),
    ):
        says = "does not walk" if body.solver else "whose steps are not those of"
        refused(says, service.accept, verb, body)


def test_texts_are_filled_in(tmp_path):
    path = runs.letters(tmp_path / "run")
    found = served(path, None, n=3, fill="a_b_")[1]["samples"]
    assert all(one["text"][0] + one["text"][2] == "ab" for one in found)
    refused("has the letter 'z'", served, path, None, fill="z_")
    refused("Give a text with _", served, path, None, fill=[{"a": 1}])
    digits = runs.digits(tmp_path / "digits")
    refused("is of letters and tables. Leave it out", served, digits, fill="a_")


def test_rows_are_filled_in_and_no_file_is_read(tmp_path):
    path = runs.table(tmp_path / "run")
    rows: list[dict[str, Any]] = [
        {"n": None, "colour": "red"},
        {"n": 3},
        {"colour": "blue", "n": 2.0},
    ]
    found = [one["text"] for one in served(path, None, fill=rows)[1]["samples"]]
    assert [row["colour"] for row in found][::2] == ["red", "blue"]
    assert [row["n"] for row in found][1:] == ["3", "2.0"]
    assert {row["n"] for row in found} <= {*"0123456", "2.0"}
    refused("has the column 'm'", served, path, None, fill=[{"m": 1}])
    (tmp_path / "rows.csv").write_text("n\n3\n")
    refused("Give rows", served, path, None, fill=str(tmp_path / "rows.csv"))


@pytest.fixture
def two_stages(tmp_path):
    return {"low": runs.digits(tmp_path / "low"), "high": runs.of_twice_the_size(tmp_path / "high")}


def second_stage_law(two_stages):
    """Step by step in the waves of all, counted on, and to the same bits."""
    service, told = Service(two_stages), []
    said = SamplesBody(cascade="high", augment=0.2, n=2, seed=5, labels=[3, 4], format="x")
    ticket = service.accept("samples", said, listener=lambda kind, what: told.append((kind, what)))
    service.accept("samples", SamplesBody(n=1, steps=9))
    assert isinstance(ticket, Ticket)
    assert ticket.steps == 6
    left = [ticket.left]
    while service.batcher.wave():
        left.append(ticket.left)
    service.finisher.shutdown()
    assert [what[0] for kind, what in told if kind == "step"] == [1, 2, 3, 4, 5, 6]
    assert left == sorted(left, reverse=True)
    base = open_run(two_stages["low"])
    asked = Asked(torch.tensor([5, 6]), {"label": torch.tensor([3, 4])})
    plan = plan_of(base.denoiser, True, **settings_of(base))
    x = draw(base.denoiser, plan, asked, base.denoiser.shape).x
    second = open_cascade(two_stages["high"], base, 0.2)
    wanted = second.run.info.scaling.decode(second(x, asked))
    found = json.loads(ticket.outcome)
    made = torch.tensor([s["x"] for s in found["samples"]])
    assert torch.equal(made, wanted), "another second stage"
    assert found["how"]["cascade"] == "high"
    assert found["how"]["augment"] == 0.2


def test_a_second_stage_is_that_of_the_command_line(two_stages):
    second_stage_law(two_stages)


def test_a_planted_second_stage_that_is_shown_less_noise(two_stages, monkeypatch):
    less = lambda run, base, s: cascade_of(run, base, s / 2)  # noqa: E731
    monkeypatch.setattr(work, "cascade_of", less)
    monkeypatch.setattr(network, "with_own_rows", lambda denoiser, *given: denoiser)
    fails("another second stage|0.1 == 0.2", second_stage_law, two_stages)


@pytest.fixture
def rows_not_tried(monkeypatch):
    """Which takes seconds of pictures of 16 x 16."""
    monkeypatch.setattr(network, "with_own_rows", lambda denoiser, *given: denoiser)


@pytest.mark.usefixtures("rows_not_tried")
def test_a_second_stage_begins_anew_from_the_first_after_a_kill(two_stages, tmp_path):
    said = SamplesBody(cascade="high", n=2, seed=5, label=3, format="x")
    wanted = None
    for waves in (0, 2, 4):
        folder = tmp_path / f"kept{waves}"
        first = Service(two_stages, folder)
        ticket = first.accept("samples", said)
        assert isinstance(ticket, Ticket)
        for _ in range(waves):
            first.batcher.wave()
            first._pause(ticket)
        assert ticket.k == waves
        second = Service(two_stages, folder)
        second._left()
        assert second.batcher.waiting[0].k == min(waves, 2)
        while second.batcher.wave():
            pass
        second.finisher.shutdown()
        found = json.loads(second.shelf.get(ticket.id) or b"{}")["samples"]
        wanted = wanted or found
        assert found == wanted


@pytest.mark.usefixtures("rows_not_tried")
def test_a_second_stage_that_fails_fails_alone(two_stages):
    service = Service(two_stages)
    some = [
        service.accept("samples", SamplesBody(cascade="high", n=1, label=3, seed=s)) for s in (1, 2)
    ]
    bad = some[0]
    assert isinstance(bad, Ticket)
    assert bad.work.after

    def broken(x: torch.Tensor) -> Any:
        raise RuntimeError("no")

    bad.work = bad.work._replace(after=bad.work.after._replace(begun=broken))
    while service.batcher.wave():
        pass
    service.finisher.shutdown()
    assert [ticket.state for ticket in some if isinstance(ticket, Ticket)] == ["failed", "done"]


@pytest.mark.usefixtures("rows_not_tried")
def test_second_stages_that_are_refused(two_stages):
    service = Service(two_stages)
    for says, said in {
        "unknown model 'higher'": {"cascade": "higher"},
        "did not learn super-resolution": {"cascade": "low"},
        "there is no `cascade`": {"augment": 0.5},
        "needs `labels`": {"cascade": "high", "unconditional": True},
        "enlarges pictures of": {"cascade": "high", "model": "high"},
    }.items():
        refused(says, service.accept, "samples", SamplesBody(**said))


def test_an_average_of_other_length(tmp_path):
    path = runs.digits(tmp_path / "run")
    refused("has no average of length 0.2", served, path, average=0.2)
    runs.averaged(path, 0.05, 0.1, 0.2, 0.3, 0.4)
    service, tickets = Service({"run": path}), []
    for length in (0.05, 0.1, 0.2, 0.3, 0.4, 0.05, None):
        body = SamplesBody(average=length, n=1, seed=3, label=2, format="x")
        tickets.append(service.accept("samples", body))
    assert len(service.averages) == 4
    while service.batcher.wave():
        pass
    service.finisher.shutdown()
    found = [json.loads(t.outcome)["samples"][0]["x"] for t in tickets]
    for length, x in zip((0.05, 0.1, 0.2, 0.3, 0.4, 0.05, None), found):
        own = open_run(path, length)
        x0 = generate(own.denoiser, seeds=[3], labels=[2], **settings_of(own))
        assert torch.equal(torch.tensor([x]), own.info.scaling.decode(x0))
    assert found[0] != found[-1]


PAIRS = {
    "bridge": ObjectiveConfig("bridge:spread=.5", "flow"),
    "residual": ObjectiveConfig("residual:unit=.5", "cosine"),
    "told": ObjectiveConfig(dropout=0.0),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_a_run_on_pairs_restores(kind, tmp_path):
    data = DataConfig("digits", corruption="pool:2", noise=0.05)
    path = runs.untrained(
        tmp_path / "run", Config(data=data, net=runs.TINY, objective=PAIRS[kind], sample=runs.SHORT)
    )
    service = Service({"run": path})
    said: dict[str, Any] = {"image": picture(), "operator": "pool:2", "n": 2, "seed": 5}
    ticket = service.accept("restore", RestoreBody(**said))
    assert isinstance(ticket, Ticket)
    while service.batcher.wave():
        pass
    service.finisher.shutdown()
    answer, run = json.loads(ticket.outcome), open_run(path)
    a = build("operators", "pool:2", shape=run.info.shape)
    x0 = torch.full((1, *run.info.shape), 100 / 255 * 2 - 1)
    y = measure(a, x0, 0.05, Seeded([5 + MEASURING]))
    led = lead(run.denoiser, run.config, run.info, lifted(a, x0, y), [5, 6])
    for sample, x in zip(answer["samples"], led.x):
        shown = np.asarray(from_png(base64.b64decode(sample["png"])))[..., 0]
        wanted = ((x[0].clamp(-1, 1) + 1) * 127.5).round().numpy()
        assert np.abs(shown - wanted).max() <= 1
    for says, more in {
        "`solver` ddim does nothing": {"solver": "ddim"},
        "`method` ddrm does nothing": {"method": "ddrm"},
        "Give `operator` pool:2": {"operator": "pool:4"},
        "trained on pairs with 0.05": {"noise": 0.1},
    }.items():
        refused(says, service.accept, "restore", RestoreBody(**{**said, **more}))


def test_a_run_on_pairs_of_its_own_is_asked_elsewhere(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    np.savez(tmp_path / "own.npz", x=rows, image=255 - rows)
    config = Config(data=DataConfig(str(tmp_path / "own.npz")), net=runs.TINY,
                    objective=PAIRS["bridge"], sample=runs.SHORT)  # fmt: skip
    service = Service({"run": runs.untrained(tmp_path / "run", config)})
    body = RestoreBody(image=picture(), operator="pool:1", n=2)
    refused("pairs of its own", service.accept, "restore", body)
