"""The loop: determinism, resume, divergence, compilation, in memory or in a folder."""

import errno
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scorefield.data import Conditions, Data, Scaling, Split
from scorefield.denoise import Denoiser
from scorefield.nets import MLP
from scorefield.nets.adamw import AdamW
from scorefield.objective import Adaptive, LogNormal, Objective
from scorefield.process import Cosine
from scorefield.store import Log, load_checkpoint, load_weights, snapshots
from scorefield.train import Denoising, Diverged, Training, fit, meter, order, state
from scorefield.train.epochs import order_of
from scorefield.train.state import optimizer_tensors, restore_optimizer
from scorefield.train.step import draw_batch, gathering
from tests.refusal import refused

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


def task(objective: Objective | None = None) -> Denoising:
    return Denoising(network(), objective or OBJECTIVE)


OBJECTIVE = Objective(Cosine(), LogNormal(), dropout=0.1)


ALL = replace(SETTINGS, ema_lengths=(0.05, 0.1), snapshot_every=64, log_every=32, optimizer="muon")
"""With everything that a run can remember."""


def adaptive() -> Objective:
    """Importance weights from past losses: a fresh one, for it remembers."""
    return Objective(Cosine(), Adaptive(bins=4, history=3), dropout=0.1)


def trained(data, settings=SETTINGS, run=None, resume=False, objective=OBJECTIVE, **keywords):
    denoiser = network()
    steps = list(fit(Denoising(denoiser, objective), data, settings, run, resume, **keywords))
    return denoiser, steps


def weights(module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def everything(run):
    """Every tensor of a checkpoint and of the snapshots, and the state."""
    names = json.loads((run / "state.json").read_text())["sha256"]
    parts, state = load_checkpoint(run, *names)
    parts = dict(zip(names, parts, strict=True))
    parts |= {s.path.name: s.tensors() for s in snapshots(run)}
    return {f"{i}/{k}": v for i, part in parts.items() for k, v in part.items()}, state


def same(a, b) -> bool:
    (x, state_a), (y, state_b) = everything(a), everything(b)
    return (
        x.keys() == y.keys()
        and all(torch.equal(x[k], y[k]) for k in x)
        and state_a["images_seen"] == state_b["images_seen"]
    )


def logged(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory) -> Path:
    """A run that nothing stopped."""
    trained(data, run=(run := tmp_path_factory.mktemp("plain") / "run"))
    return run


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """Another, with everything that a run can remember."""
    trained(data, ALL, run := tmp_path_factory.mktemp("whole") / "run", objective=adaptive())
    return run


def test_one_seed_one_result(data):
    (a, steps), (b, again), (c, _) = (
        trained(data, replace(SETTINGS, seed=seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(weights(a), weights(b))
    assert [s.loss for s in steps] == [s.loss for s in again]
    assert torch.equal(weights(steps[-1].average), weights(again[-1].average))
    assert not torch.equal(weights(a), weights(c))


def test_training_lowers_the_loss(data):
    _, steps = trained(data, replace(SETTINGS, images=3200))
    losses = [s.loss for s in steps]
    assert sum(losses[-20:]) < 0.9 * sum(losses[:20])


def test_steps_count_images(data):
    _, steps = trained(data, replace(SETTINGS, images=100))
    assert [s.images for s in steps] == [32, 64, 96, 128]  # the last batch is a whole one
    assert {s.total for s in steps} == {100}
    assert [s.lr for s in steps] == [replace(SETTINGS, images=100).rate(s.images) for s in steps]
    _, steps = trained(data, replace(SETTINGS, images=10, batch=250))  # more than all examples
    assert [s.images for s in steps] == [250]


def test_a_run_cut_at_any_checkpoint_ends_the_same(data, whole, tmp_path):
    cuts = [
        shutil.copytree(tmp_path / "run", tmp_path / str(step.images))
        for step in fit(task(adaptive()), data, ALL, tmp_path / "run")
        if (tmp_path / "run" / "state.json").exists()
    ]
    assert len(cuts) >= 3
    losses = [row["loss"] for row in logged(whole)]
    assert len(losses) == 10  # each step's, at full precision
    for cut in cuts[::3]:
        trained(data, ALL, cut, resume=True, objective=adaptive())
        assert same(cut, whole)
        assert losses == [row["loss"] for row in logged(cut)]


@pytest.mark.parametrize("forgotten", ["objective", "ema-0.05", "moments"])
def test_a_resume_without_a_part_is_seen(data, whole, tmp_path, forgotten, monkeypatch):
    """The twin: importance weights, an average or moments that start anew end elsewhere."""
    asked = iter([False, False, False, False, True])
    trained(data, ALL, tmp_path, objective=adaptive(), stop=lambda: next(asked))
    load = state.load_weights
    if forgotten == "objective":
        monkeypatch.setattr(Objective, "recall", lambda self, tensors: None)
    elif forgotten == "moments":
        monkeypatch.setattr(state, "restore_optimizer", lambda *args: None)
    else:
        monkeypatch.setattr(
            state, "load_weights", lambda m, w, path: forgotten in path.name or load(m, w, path)
        )
    trained(data, ALL, tmp_path, resume=True, objective=adaptive())
    assert not same(tmp_path, whole)


def test_snapshots_are_the_averages_of_their_stage(data, tmp_path):
    kept = {}
    settings = replace(ALL, checkpoint_every=32)
    for step in fit(task(), data, settings, tmp_path):
        (average,), _ = load_checkpoint(tmp_path, "ema-0.05")
        kept[step.images] = average
    found = {s.images: s.tensors() for s in snapshots(tmp_path) if s.length == 0.05}
    assert sorted(found) == [64, 128, 192, 256, 320]
    assert all(torch.equal(v, kept[n][k]) for n, part in found.items() for k, v in part.items())
    assert len({float(part["net.out.weight"].sum()) for part in found.values()}) == 5


def test_the_end_of_a_run_has_a_snapshot(data, tmp_path):
    trained(data, replace(SETTINGS, images=100, snapshot_every=64), tmp_path)
    assert [(s.images, s.length) for s in snapshots(tmp_path)] == [
        (64, 0.05), (64, 0.1), (128, 0.05), (128, 0.1),
    ]  # fmt: skip


def test_snapshots_past_the_checkpoint_are_dropped(data, tmp_path):
    trained(data, ALL, tmp_path)
    (tmp_path / "samples").mkdir()
    left = [
        tmp_path / "snapshots" / "000000384-0.05.safetensors",
        tmp_path / "snapshots" / ".000000384-0.05.safetensors.1.tmp",
        tmp_path / "samples" / ".000000384.png.1.tmp",
    ]
    for path in left:
        path.write_bytes(b"")
    list(fit(task(), data, replace(ALL, images=352), tmp_path, resume=True))
    assert {s.images for s in snapshots(tmp_path)} == {64, 128, 192, 256, 320, 352}
    assert not [path for path in left if path.exists()]


def no_room_for_a_snapshot(patch) -> None:
    real = os.replace

    def full(source, target):
        if "000000256-0.1" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    patch.setattr(os, "replace", full)


def no_room_for_the_log(patch) -> None:
    real, rows = Log.write, []

    def full(self, row):
        rows.append(row)
        if len(rows) == 7:
            self.file.write('{"images": 2')
            self.file.flush()
            self.file.close()
            self.file = open("/dev/full", "a")  # noqa: SIM115 a disk without room
        real(self, row)

    patch.setattr(Log, "write", full)


def test_checkpoints_by_time_change_nothing_else(data, tmp_path):
    by_images, steps = trained(data, SETTINGS, tmp_path / "images")
    assert [s.images for s in steps if s.saved] == [96, 192, 288, 320]
    always = replace(SETTINGS, checkpoint_minutes=1e-9)
    by_time, steps = trained(data, always, tmp_path / "time")
    assert all(s.saved for s in steps)
    assert torch.equal(weights(by_time), weights(by_images))
    _, steps = trained(data, replace(always, checkpoint_minutes=0), tmp_path / "never")
    assert sum(s.saved for s in steps) == 4


def pictures(flip: bool) -> Data:
    """Of two pixels, black and white, with themselves as the image that they are told."""
    x = torch.tensor([0, 255], dtype=torch.uint8).expand(64, 1, 1, 2).clone()
    told = Conditions(image=1, image_scaling=Scaling((127.5,), (127.5,)))
    split = Split(x, {"label": torch.arange(64) % 2, "image": x})
    scaling = Scaling((127.5,), (127.5,))
    return Data("pairs", split, split, ("l", "r"), scaling, told, flip=flip)


def left(flip: bool, step: int = 0, rank: int = 0, processes: int = 1) -> torch.Tensor:
    """The left pixels of a step's pictures."""
    where = SimpleNamespace(process_index=rank, num_processes=processes, device=torch.device("cpu"))
    data = pictures(flip)
    rows = order_of(data.train, SETTINGS, 1)
    some = gathering(data, data.train, task(), SETTINGS, rows, where)(step)  # type: ignore[arg-type]
    (batch, *_) = draw_batch(some, task(), SETTINGS, step, where)  # type: ignore[arg-type]
    assert batch.cond
    assert torch.equal(batch.cond["image"], batch.x0)
    return batch.x0[:, 0, 0, 0]


def test_fewer_examples_than_processes_are_shown_again():
    """Three examples among eight processes: their parts of a batch are the batch."""
    data = Data("three", split := Split(torch.randn(3, 2)), split, (), Scaling((0.0,), (1.0,)))

    def rows(rank: int, processes: int) -> torch.Tensor:
        where = SimpleNamespace(
            process_index=rank, num_processes=processes, device=torch.device("cpu")
        )
        seen = order_of(split, SETTINGS, 1)
        return gathering(data, split, task(), SETTINGS, seen, where)(5)[0]  # type: ignore[arg-type]

    parts = torch.stack([rows(rank, 8) for rank in range(8)], 1).flatten(0, 1)
    assert torch.equal(parts, rows(0, 1))
    assert len(parts.unique(dim=0)) == 3


def test_half_of_the_pictures_are_flipped_by_the_seed_of_the_step():
    assert set(left(False).tolist()) == {-1.0}
    many = torch.cat([left(True, step) for step in range(30)])
    assert abs(float(many.mean())) < 0.13  # four deviations of 960 coins
    assert torch.equal(left(True, 3), left(True, 3))  # as after a resume
    assert not torch.equal(left(True, 3), left(True, 4))
    assert torch.equal(left(True, 3)[1::2], left(True, 3, rank=1, processes=2))


@pytest.mark.parametrize(
    "full, file",
    [(no_room_for_a_snapshot, r"000000256-0\.1.*"), (no_room_for_the_log, r"log\.jsonl: ")],
)
def test_a_full_disk_keeps_the_checkpoint(data, whole, tmp_path, monkeypatch, full, file):
    with monkeypatch.context() as patch:
        full(patch)
        says = f"cannot write .*{file}No space"
        refused(says, trained, data, ALL, tmp_path, objective=adaptive())
    assert load_checkpoint(tmp_path)[1]["images_seen"] == 192
    trained(data, ALL, tmp_path, resume=True, objective=adaptive())
    assert same(tmp_path, whole)
    assert [row["images"] for row in logged(tmp_path)] == list(range(32, 321, 32))


def test_a_stopped_or_closed_run_ends_the_same(data, plain, tmp_path):
    asked = iter([False, False, True])
    _, some = trained(data, run=tmp_path / "stopped", stop=lambda: next(asked))
    assert [s.images for s in some] == [32, 64, 96]
    steps = fit(task(), data, SETTINGS, tmp_path / "closed")
    assert [next(steps).images, next(steps).images] == [32, 64]
    steps.close()
    assert load_checkpoint(tmp_path / "closed")[1]["images_seen"] == 64
    for run in (tmp_path / "stopped", tmp_path / "closed"):
        trained(data, run=run, resume=True)
        assert same(run, plain)


def test_resume_of_a_finished_run_does_nothing(data, plain):
    before = everything(plain)[0]
    _, steps = trained(data, run=plain, resume=True)
    assert steps == []
    assert all(torch.equal(v, before[k]) for k, v in everything(plain)[0].items())


def test_the_log_rises_over_a_resume(data, tmp_path, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(meter, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    steps = fit(task(), data, SETTINGS, tmp_path)
    for _ in range(7):  # past the checkpoints at 96 and 192
        step = next(steps)
    assert step.images == 224
    killed = shutil.copytree(tmp_path, tmp_path / "killed")
    with open(killed / "log.jsonl", "a") as file:
        file.write('{"images": 25')
    trained(data, run=killed, resume=True)
    images = [row["images"] for row in logged(killed)]
    assert (images, images[-1]) == (sorted(set(images)), 320)
    assert 224 in images


def test_without_a_folder_nothing_is_written(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(data)
    assert not list(tmp_path.iterdir())


def test_divergence_stops_and_keeps_the_last_checkpoint(data, tmp_path):
    bad = replace(SETTINGS, images=6400)
    denoiser = network()
    steps = fit(Denoising(denoiser, OBJECTIVE), data, bad, tmp_path)
    for _ in range(4):
        next(steps)
    with torch.no_grad():
        next(denoiser.parameters()).fill_(float("nan"))
    said = r"the loss became nan.* at step 5 \(image 160\): 32 of 32 losses are not finite, at "
    with pytest.raises(Diverged, match=said + r"logsnr -?[\d.]+ to [\d.]+\. .*96 images stays"):
        next(steps)
    parts, state = load_checkpoint(tmp_path, "model", "ema")
    assert state["images_seen"] == 96
    assert all(v.isfinite().all() for part in parts for v in part.values())


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(data):
    denoiser = network()
    steps = fit(Denoising(denoiser, OBJECTIVE), data, SETTINGS)
    next(steps)
    first = next(denoiser.parameters())
    first.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(Diverged, match="its gradient (nan|inf), at step 2 .*its losses are finite"):
        next(steps)
    assert weights(denoiser).isfinite().all()


class Breaks(Objective):
    """Losses that are infinite above a logsnr."""

    def loss(self, denoiser, x0, cond, chance):
        found = super().loss(denoiser, x0, cond, chance)
        bad = found.at > 3.0
        return found._replace(per_sample=found.per_sample / (~bad))


def test_divergence_names_the_levels_at_fault(data):
    with pytest.raises(Diverged) as error:
        trained(data, objective=Breaks(Cosine(), LogNormal()))
    said = re.search(r"(\d+) of 32 losses are not finite, at logsnr ([\d.]+) to", str(error.value))
    assert said
    assert 0 < int(said[1]) < 32
    assert float(said[2]) >= 3.0


def test_progress_says_what_the_log_says(data, tmp_path):
    _, steps = trained(data, ALL, tmp_path)
    rows = logged(tmp_path)
    assert [(r["images"], r["loss"], r["lr"], r["grad_norm"]) for r in rows] == [
        (s.images, s.loss, s.lr, s.grad_norm) for s in steps
    ]
    assert rows[0]["by_logsnr"] == steps[0].by
    assert all(set(row["by_logsnr"]) <= {str(i) for i in range(-9, 10, 2)} for row in rows)
    assert rows[0].keys() == {
        "images", "loss", "lr", "grad_norm", "images_per_second", "seconds", "memory_mb",
        "by_logsnr",
    }  # fmt: skip
    assert all(s.images_per_second > 0 and s.memory_mb > 10 for s in steps)


def test_importance_weights_do_not_colour_the_buckets(data):
    """A loss of 1 everywhere stays 1 in each bucket, whatever its share."""

    class One(Objective):
        def loss(self, denoiser, x0, cond, chance):
            found = super().loss(denoiser, x0, cond, chance)
            assert chance.importance is not None
            return found._replace(per_sample=0 * found.per_sample + chance.importance.to(x0))

    skewed = One(Cosine(), Adaptive(bins=4, history=1))
    skewed.times.recall({"losses": torch.tensor([[8.0], [1], [1], [1]]), "counts": torch.ones(4)})
    step = next(fit(task(skewed), data, SETTINGS))
    assert list(step.by.values()) == pytest.approx([1.0] * len(step.by))
    assert abs(step.loss - 1.0) > 0.01


def test_a_gradient_longer_than_clip_is_shortened(data, monkeypatch):
    lengths = []
    step = AdamW.step

    def spy(self, *args, **keywords):
        every = [p.grad for group in self.param_groups for p in group["params"]]
        lengths.append(float(torch.nn.utils.get_total_norm(every)))
        return step(self, *args, **keywords)

    monkeypatch.setattr(AdamW, "step", spy)
    _, steps = trained(data, replace(SETTINGS, clip=0.05))
    norms = [s.grad_norm for s in steps]
    assert max(norms) > 0.05
    assert lengths == pytest.approx([min(n, 0.05) for n in norms], rel=1e-5)


def test_bf16_trains(data):
    denoiser, _ = trained(data, replace(SETTINGS, precision="bf16"))
    assert weights(denoiser).isfinite().all()
    assert weights(denoiser).dtype == torch.float32
    assert not torch.equal(weights(denoiser), weights(trained(data)[0]))


def stepped(start, steps, dtype) -> list[torch.Tensor]:
    """Weights of this kind after AdamW's steps down these gradients, each at its rate."""
    own = [torch.nn.Parameter(w.to(dtype, copy=True)) for w in start]
    optimizer = torch.optim.AdamW(own, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    for grads, rate in steps:
        for weight, grad in zip(own, grads):
            weight.grad = grad.to(dtype)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    return [weight.detach() for weight in own]


def test_bf16_steps_float32_masters(data, monkeypatch):
    """A training in bf16 takes the steps of AdamW in float32 down the same gradients, to the bit;
    the twin, weights that are bf16 themselves, loses what is below their resolution."""
    step, steps, start = AdamW.step, [], []

    def spy(self, *args, **keywords):
        (group,) = self.param_groups
        assert {w.dtype for w in group["params"]} == {torch.float32}
        start.extend([] if start else [w.detach().clone() for w in group["params"]])
        steps.append(([w.grad.clone() for w in group["params"]], group["lr"]))
        return step(self, *args, **keywords)

    monkeypatch.setattr(AdamW, "step", spy)
    settings = replace(SETTINGS, precision="bf16", lr=1e-5, warmup=0, weight_decay=0.0)
    denoiser, _ = trained(data, settings)
    masters, halves = (stepped(start, steps, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert all(torch.equal(m, w) for m, w in zip(masters, denoiser.parameters(), strict=True))
    large = [(w.abs() > 0.1) & (m != w) for w, m in zip(start, masters)]
    assert sum(int(some.sum()) for some in large) > 100
    lost = torch.cat([(h == w.to(h))[some] for h, w, some in zip(halves, start, large)])
    assert lost.float().mean() > 0.95


def refuse(*args, **keywords):
    raise RuntimeError("no compiler here\nand more lines")


@pytest.mark.parametrize(
    "compiler", [refuse, lambda call: refuse], ids=["at compile", "at the first call"]
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


def test_a_compiler_that_works_is_used(data, monkeypatch):
    calls = []

    def counting(call):
        return lambda *args: calls.append(1) or call(*args)

    monkeypatch.setattr(torch, "compile", counting)
    denoiser, steps = trained(data, replace(SETTINGS, compile=True))
    assert len(calls) == len(steps)
    assert torch.equal(weights(denoiser), weights(trained(data)[0]))


def test_an_error_after_the_first_step_is_not_the_compilers(data, monkeypatch):
    calls = []

    def later(call):
        return lambda *args: refuse() if len(calls) == 2 else calls.append(1) or call(*args)

    monkeypatch.setattr(torch, "compile", later)
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
    optimizer = torch.optim.AdamW(network().parameters())
    moments = {name: torch.zeros(1)}
    refused("does not have", restore_optimizer, optimizer, ["net.out.weight"], moments)


def test_weights_of_another_network_are_refused(tmp_path):
    a = network()
    (name, weight), *rest = a.state_dict().items()
    own, file = {name: weight, **dict(rest)}, tmp_path / "run" / "ema.safetensors"
    for other in (own | {name: torch.zeros(77)}, dict(rest), own | {"extra": torch.zeros(1)}):
        refused(r"run/ema.*1 tensors differ", load_weights, a, other, file)


def test_every_epoch_shows_every_example_once():
    seen = torch.cat([order(N, 3, start, 32) for start in range(0, 3 * N, 32)])[: 3 * N]
    epochs = seen.view(3, N)
    assert all(sorted(e.tolist()) == list(range(N)) for e in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(order(N, 4, 0, N), epochs[0])


def test_a_batch_must_divide_among_the_processes(data, monkeypatch):
    import accelerate

    monkeypatch.setattr(accelerate.Accelerator, "num_processes", property(lambda self: 3))
    refused("3 processes", trained, data)
