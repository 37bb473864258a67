"""Programs: the runtime says what torch says, at any batch; a sampler is sums of calls."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from scorefield import catalogue, interop
from scorefield.base import Level
from scorefield.catalogue.spec import build
from scorefield.draw import Asked, Plan, draw
from scorefield.interop.export import exported
from scorefield.interop.incoming import taken_in
from scorefield.interop.programs import agreed, session_of, to_onnx
from scorefield.interop.unrolled import unrolled
from scorefield.process import VP, grids
from scorefield.run.open import open_run
from scorefield.run.recipes import recipe
from scorefield.run.train import fit_run
from scorefield.use.generate import generate
from scorefield.use.request import Request
from tests.interop.foreign import theirs
from tests.refusal import refused

LINEAR = [n for n in catalogue.solvers if not build("solvers", n).adaptive and n != "genie"]


@pytest.mark.parametrize("name", LINEAR)
def test_a_walk_is_sums_of_what_was_said(name):
    """Of every solver: the sums of its walk give what the walk gives."""
    plan = Plan(build("solvers", name), grids.vp_root(VP(), 4))
    walk = unrolled(plan)
    if walk.draws:
        return
    start = torch.randn(2, 3, dtype=torch.float64)

    def denoise(x: Tensor, level: Level, cond: Any = None) -> Tensor:
        return torch.tanh(x) * level.like(x).alpha

    basis = [start]
    for call in walk.calls:
        x = torch.stack([w * b for w, b in zip(call.x, basis)]).sum(0)
        basis.append(denoise(x, Level.of(*call.level)))
    end = torch.stack([w * b for w, b in zip(walk.end, basis)]).sum(0)
    own = draw(denoise, plan, Asked(torch.tensor([1, 2]), start=start), (3,)).x
    assert torch.allclose(end, own, atol=1e-9)


@pytest.fixture(scope="module")
def graph(runs, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "d.onnx"
    found = exported(Request(runs["ours"], out=out), "onnx")
    assert found.record["apart"] < 2e-6
    assert found.record["inputs"] == ["x", "alpha", "sigma", "label", "null"]
    return out


def test_any_batch_in_one_file(graph, runs):
    model = theirs("onnx").load(graph)
    assert model.opset_import[0].version >= 23
    assert [file.name for file in graph.parent.iterdir()] == ["d.onnx"]
    assert not any(t.external_data for t in model.graph.initializer)
    denoiser = open_run(runs["ours"]).denoiser
    session = session_of(graph.read_bytes())
    for batch in (1, 2, 5, 8):
        x, label = torch.randn(batch, 1, 8, 8), torch.arange(batch)
        level = Level.of(torch.linspace(0.1, 0.9, batch), torch.linspace(0.9, 0.1, batch))
        null = torch.arange(batch) % 2 == 0
        said = {"x": x, "alpha": level.alpha.float(), "sigma": level.sigma.float(),
                "label": label, "null": null}  # fmt: skip
        got = session.run(None, {k: v.numpy() for k, v in said.items()})[0]
        level = Level(said["alpha"].double(), said["sigma"].double())
        with torch.no_grad():
            own = denoiser(x, level, {"label": label, "null": null})
        assert np.abs(got - own.numpy()).max() < 2e-6


def test_a_run_without_conditions(tmp_path):
    small = replace(recipe("swiss-roll"), net="mlp:width=8,blocks=1")
    fit_run(small, tmp_path / "run", images=64, batch=32)
    run = open_run(tmp_path / "run")
    assert to_onnx(run, tmp_path / "d.onnx").record["inputs"] == ["x", "alpha", "sigma"]
    assert to_onnx(run, tmp_path / "s.onnx", 2).record["inputs"] == ["noise"]


def test_a_planted_program_that_says_something_else(graph, runs):
    class Other(torch.nn.Module):
        def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
            return x

    args = [torch.randn(3, 1, 8, 8), torch.ones(3), torch.ones(3), torch.arange(3),
            torch.zeros(3, dtype=torch.bool)]  # fmt: skip
    names = ["x", "alpha", "sigma", "label", "null"]
    refused("differs from torch", agreed, graph.read_bytes(), Other(), names, args)


def test_a_graph_comes_back(graph, runs, tmp_path):
    """Our own graph as a foreign one: it says D between its levels, and has no derivatives."""
    taken_in(graph, tmp_path / "run", "digits", ".01,50")
    run, own = open_run(tmp_path / "run"), open_run(runs["ours"]).denoiser
    x, level = torch.randn(3, 1, 8, 8), Level.of(0.5, 0.9)
    label = {"label": torch.tensor([1, 2, 3])}
    with torch.no_grad():
        for cond in (label, None):
            there = run.denoiser(x, level, cond)
            assert torch.allclose(there, own(x, level, cond), atol=1e-5)
        deep = run.denoiser(x, Level.of(1.0, 1e-4), label)
        assert torch.equal(deep, run.denoiser(x, Level.of(1.0, 0.01), label))
    assert generate(run.denoiser, 2, steps=3, labels=[1, 2]).isfinite().all()
    refused("no derivatives", run.denoiser, x.requires_grad_(), level, label)


def test_a_whole_sampler(runs, tmp_path):
    """With guidance, whose two calls are one of twice the rows."""
    out, run = tmp_path / "s.onnx", open_run(runs["flow"])
    sample = replace(run.config.sample, guidance=2.0)
    run = replace(run, config=replace(run.config, sample=sample))
    found = to_onnx(run, out, 2)
    assert found.record["inputs"] == ["noise", "label", "null"]
    noise, label = torch.randn(2, 1, 8, 8), torch.tensor([3, 4])
    session = session_of(out.read_bytes())
    feed = {"noise": noise, "label": label, "null": torch.zeros(2, dtype=torch.bool)}
    got = session.run(None, {k: v.numpy() for k, v in feed.items()})[0]
    from scorefield.use.plan import plan_of, settings_of

    plan = plan_of(run.denoiser, True, **settings_of(run, 2))
    start = float(plan.levels.sigma[0]) * noise
    own = draw(run.denoiser, plan, Asked(torch.tensor([0, 1]), {"label": label}, start), (1, 8, 8))
    assert np.abs(got - own.x.numpy()).max() < 2e-6 * max(1, own.x.abs().max())


def test_torch(runs, tmp_path):
    exported(Request(runs["flow"], out=tmp_path / "d.pt2"), "torch")
    program = torch.export.load(str(tmp_path / "d.pt2")).module()
    denoiser = open_run(runs["flow"]).denoiser
    for batch in (1, 4):
        x, one = torch.randn(batch, 1, 8, 8), torch.ones(batch)
        label, null = torch.arange(batch), torch.zeros(batch, dtype=torch.bool)
        got = program(x, 0.3 * one, 0.7 * one, label, null)
        own = denoiser(x, Level.of(0.3 * one, 0.7 * one), {"label": label})
        assert torch.allclose(got, own, atol=1e-5)


def test_files_that_are_no_denoiser(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"no graph")
    refused("is no ONNX graph", interop.load, tmp_path / "a.onnx")
    refused("Write it like", interop.load, tmp_path / "a.onnx", "x")
    refused("range is 1 to 0.5", interop.load, tmp_path / "a.onnx", "1,.5")
