"""The loop: determinism, resume, divergence, compilation, in memory or in a folder."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scorefield.base import BadInput
from scorefield.data import Data, Scaling, Split
from scorefield.denoise import Denoiser
from scorefield.nets import MLP
from scorefield.objective import LogNormal, Objective
from scorefield.process import Cosine
from scorefield.train import Diverged, Training, fit, load_checkpoint, load_weights, order
from scorefield.train.state import optimizer_tensors, restore_optimizer

SETTINGS = Training(images=320, batch=32, lr=1e-2, warmup=64, checkpoint_every=96)
N = 100  # examples: an epoch does not end with a batch


@pytest.fixture(scope="module")
def data() -> Data:
    label = {"label": torch.arange(N) % 2}
    x = 0.2 * torch.randn(N, 2, generator=torch.Generator().manual_seed(1))
    x += label["label"][:, None] * 2.0 - 1.0
    return Data("points", Split(x, label), Split(x, label), ("l", "r"), Scaling((0.0,), (1.0,)))


def network(dropout: float = 0.2) -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(MLP((2,), width=16, blocks=2, classes=2, dropout=dropout), sigma_data=1.0)


OBJECTIVE = Objective(Cosine(), LogNormal(), dropout=0.1)


def trained(data, settings=SETTINGS, run=None, resume=False, **keywords):
    denoiser = network()
    steps = list(fit(denoiser, OBJECTIVE, data, settings, run, resume, **keywords))
    return denoiser, steps


def weights(module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def everything(run):
    parts, state = load_checkpoint(run, "model", "ema", "optimizer")
    return {f"{i}/{k}": v for i, part in enumerate(parts) for k, v in part.items()}, state


def same(a, b) -> bool:
    (x, state_a), (y, state_b) = everything(a), everything(b)
    return (
        x.keys() == y.keys()
        and all(torch.equal(x[k], y[k]) for k in x)
        and state_a["images_seen"] == state_b["images_seen"]
    )


def test_one_seed_one_result(data):
    (a, steps), (b, again) = trained(data), trained(data)
    assert torch.equal(weights(a), weights(b))
    assert [s.loss for s in steps] == [s.loss for s in again]
    assert torch.equal(weights(steps[-1].average), weights(again[-1].average))


def test_another_seed_another_result(data):
    (a, _), (b, _) = trained(data), trained(data, replace(SETTINGS, seed=1))
    assert not torch.equal(weights(a), weights(b))


def test_training_lowers_the_loss(data):
    _, steps = trained(data, replace(SETTINGS, images=3200))
    losses = [s.loss for s in steps]
    assert sum(losses[-20:]) < 0.9 * sum(losses[:20])


def test_steps_count_images(data):
    _, steps = trained(data, replace(SETTINGS, images=100))
    assert [s.images for s in steps] == [32, 64, 96, 128]  # the last batch is a whole one
    assert {s.total for s in steps} == {100}
    assert [s.lr for s in steps] == [replace(SETTINGS, images=100).rate(s.images) for s in steps]


def test_fewer_examples_and_images_than_a_batch(data):
    _, steps = trained(data, replace(SETTINGS, images=10, batch=250))
    assert [s.images for s in steps] == [250]


def test_a_run_cut_at_any_checkpoint_ends_the_same(data, tmp_path):
    whole = tmp_path / "whole"
    cuts = [
        shutil.copytree(whole, tmp_path / str(step.images))
        for step in fit(network(), OBJECTIVE, data, SETTINGS, whole)
        if (whole / "state.json").exists()
    ]
    assert len(cuts) >= 3
    for cut in cuts[::3]:
        trained(data, run=cut, resume=True)
        assert same(cut, whole)


def test_a_stopped_run_ends_the_same(data, tmp_path):
    trained(data, run=tmp_path / "whole")
    asked = iter([False, False, True])
    _, steps = trained(data, run=tmp_path / "stopped", stop=lambda: next(asked))
    assert [s.images for s in steps] == [32, 64, 96]
    trained(data, run=tmp_path / "stopped", resume=True)
    assert same(tmp_path / "stopped", tmp_path / "whole")


def test_a_closed_run_keeps_a_checkpoint(data, tmp_path):
    trained(data, run=tmp_path / "whole")
    steps = fit(network(), OBJECTIVE, data, SETTINGS, tmp_path / "closed")
    next(steps)
    next(steps)
    steps.close()
    assert load_checkpoint(tmp_path / "closed")[1]["images_seen"] == 64
    trained(data, run=tmp_path / "closed", resume=True)
    assert same(tmp_path / "closed", tmp_path / "whole")


def test_a_resume_that_forgets_something_is_seen(data, tmp_path):
    """The twin: without the optimiser's moments the same comparison fails."""
    trained(data, run=tmp_path / "whole")
    asked = iter([False, False, True])
    trained(data, run=tmp_path / "other", stop=lambda: next(asked))
    from scorefield.train import state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "restore_optimizer", lambda *args: None)
        trained(data, run=tmp_path / "other", resume=True)
    assert not same(tmp_path / "other", tmp_path / "whole")


def test_resume_of_a_finished_run_does_nothing(data, tmp_path):
    trained(data, run=tmp_path)
    before = everything(tmp_path)[0]
    _, steps = trained(data, run=tmp_path, resume=True)
    assert steps == []
    assert all(torch.equal(v, before[k]) for k, v in everything(tmp_path)[0].items())


def test_the_log_rises_over_a_resume(data, tmp_path, monkeypatch):
    from scorefield.train.checkpoint import log

    clock = iter(range(10_000))
    monkeypatch.setattr(log.time, "monotonic", lambda: next(clock))
    steps = fit(network(), OBJECTIVE, data, SETTINGS, tmp_path)
    for _ in range(7):  # past the checkpoints at 96 and 192
        step = next(steps)
    assert step.images == 224
    killed = shutil.copytree(tmp_path, tmp_path / "killed")
    with open(killed / "log.jsonl", "a") as file:
        file.write('{"images": 25')
    trained(data, run=killed, resume=True)
    rows = [json.loads(line) for line in (killed / "log.jsonl").read_text().splitlines()]
    images = [row["images"] for row in rows]
    assert images == sorted(set(images))
    assert images[-1] == 320
    assert 224 in images


def test_without_a_folder_nothing_is_written(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(data)
    assert not list(tmp_path.iterdir())


def test_divergence_stops_and_keeps_the_last_checkpoint(data, tmp_path):
    bad = replace(SETTINGS, images=6400)
    denoiser = network()
    steps = fit(denoiser, OBJECTIVE, data, bad, tmp_path)
    for _ in range(4):
        next(steps)
    with torch.no_grad():
        next(denoiser.parameters()).fill_(float("nan"))
    with pytest.raises(Diverged, match=r"the loss became nan.*96 images stays"):
        next(steps)
    parts, state = load_checkpoint(tmp_path, "model", "ema")
    assert state["images_seen"] == 96
    assert all(v.isfinite().all() for part in parts for v in part.values())


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(data):
    denoiser = network()
    steps = fit(denoiser, OBJECTIVE, data, SETTINGS)
    next(steps)
    first = next(denoiser.parameters())
    first.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(Diverged, match="its gradient"):
        next(steps)
    assert weights(denoiser).isfinite().all()


def test_bf16_trains(data):
    denoiser, _ = trained(data, replace(SETTINGS, precision="bf16"))
    assert weights(denoiser).isfinite().all()
    assert weights(denoiser).dtype == torch.float32
    assert not torch.equal(weights(denoiser), weights(trained(data)[0]))


def refuse(*args, **keywords):
    raise RuntimeError("no compiler here\nand more lines")


@pytest.mark.parametrize(
    "compiler", [refuse, lambda net: Failing(net)], ids=["at compile", "at the first call"]
)
def test_compile_falls_back_with_one_line(data, monkeypatch, compiler):
    monkeypatch.setattr(torch, "compile", compiler)
    with pytest.warns(UserWarning, match="torch.compile failed") as warned:
        denoiser, _ = trained(data, replace(SETTINGS, compile=True))
    (warning,) = warned
    said = str(warning.message)
    assert "torch.compile failed, training goes on without it" in said
    assert "no compiler here" in said
    assert "\n" not in said
    assert torch.equal(weights(denoiser), weights(trained(data)[0]))


class Failing(torch.nn.Module):
    """What torch.compile returns where the compiler fails at the first call."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, *args):
        refuse()


def test_a_compiler_that_works_is_used(data, monkeypatch):
    calls = []

    class Counting(Failing):
        def forward(self, *args):
            calls.append(1)
            return self.net(*args)

    monkeypatch.setattr(torch, "compile", Counting)
    denoiser, steps = trained(data, replace(SETTINGS, compile=True))
    assert len(calls) == len(steps)
    assert torch.equal(weights(denoiser), weights(trained(data)[0]))


def test_an_error_after_the_first_step_is_not_the_compilers(data, monkeypatch):
    calls = []

    class Later(Failing):
        def forward(self, *args):
            calls.append(1)
            return refuse() if len(calls) > 2 else self.net(*args)

    monkeypatch.setattr(torch, "compile", Later)
    with pytest.raises(RuntimeError, match="no compiler"):
        trained(data, replace(SETTINGS, compile=True))


def test_the_optimiser_goes_to_tensors_and_back():
    a, b = network(0.0), network(0.0)
    names = [name for name, _ in a.named_parameters()]
    optimizers = [torch.optim.AdamW(m.parameters(), 0.01) for m in (a, b)]

    def step(which):
        for m, optimizer in which:
            for p in m.parameters():
                p.grad = torch.full_like(p, 0.1)
            optimizer.step()

    step([(a, optimizers[0])] * 3)
    saved = {k: v.clone() for k, v in optimizer_tensors(optimizers[0], names).items()}
    assert len(saved) == 3 * len(names)
    load_weights(b, a.state_dict(), Path("a"))
    restore_optimizer(optimizers[1], names, saved)
    step([(a, optimizers[0]), (b, optimizers[1])])
    assert torch.equal(weights(a), weights(b))


@pytest.mark.parametrize("name", ["net.nothing/exp_avg", "exp_avg"])
def test_moments_of_another_network_are_refused(name):
    a = network()
    optimizer = torch.optim.AdamW(a.parameters())
    with pytest.raises(BadInput, match="does not have"):
        restore_optimizer(optimizer, ["net.out.weight"], {name: torch.zeros(1)})


@pytest.mark.parametrize("change", ["shape", "missing", "more"])
def test_weights_of_another_network_are_refused(tmp_path, change):
    a = network()
    state = dict(a.state_dict())
    name = next(iter(state))
    if change == "shape":
        state[name] = torch.zeros(77)
    elif change == "missing":
        del state[name]
    else:
        state["extra"] = torch.zeros(1)
    with pytest.raises(BadInput, match=r"run/ema.*1 tensors differ"):
        load_weights(a, state, tmp_path / "run" / "ema.safetensors")


def test_every_epoch_shows_every_example_once():
    seen = torch.cat([order(N, 3, start, 32) for start in range(0, 3 * N, 32)])[: 3 * N]
    epochs = seen.view(3, N)
    assert all(sorted(e.tolist()) == list(range(N)) for e in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(order(N, 4, 0, N), epochs[0])


def test_a_batch_must_divide_among_the_processes(data, monkeypatch):
    import accelerate

    monkeypatch.setattr(accelerate.Accelerator, "num_processes", property(lambda self: 3))
    with pytest.raises(BadInput, match="3 processes"):
        trained(data)
