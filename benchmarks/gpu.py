"""What a GPU is used for: training and sampling on CIFAR-10 as fractions of the card's own peak.

    python -m benchmarks.gpu --path FOLDER            one GPU, at most 8 minutes in all
    python -m benchmarks.gpu --small                  digits on the processor: seconds, uncompiled
    python -m benchmarks.gpu text --path data/emoji   emoji of 64 px by their names, 8 minutes
    python -m benchmarks.gpu text --small             digits by words: its first steps, anywhere

In turn: the peak of dense products in bf16, measured; images a second in training, by arithmetic
and compiled (the network keeps channels last in all), beside diffusers' training loop
(examples/unconditional_image_generation) on the same network; images a second in sampling, eager
and as a CUDA graph; then a run of what time is left, whose Frechet distance is measured at marks,
beside real data's. A step of training counts as 3 forward passes, by torch's counter.

Without FOLDER pictures are noise, and only speeds are measured. The peer runs under the interpreter
that SCOREFIELD_PEERS names (`diffusers=.../python`), or this one; where it is missing, it is left
out. Where there is a GPU the record becomes docs/benchmarks/gpu.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from benchmarks import text
from scorefield.base.rows import repeat_labels
from scorefield.data import Data, Split, load
from scorefield.data.info import DataInfo
from scorefield.data.sets import EIGHT_BIT
from scorefield.denoise import Denoiser
from scorefield.draw import draw
from scorefield.measure import Reference, quality, real_quality
from scorefield.nets import describe
from scorefield.run.config import build_denoiser
from scorefield.run.open import data_of, open_run
from scorefield.run.recipes import recipe
from scorefield.run.settings import Config
from scorefield.run.train import fit_run
from scorefield.store import write_bytes
from scorefield.use.judge import train_judge
from scorefield.use.plan import asked_of, plan_of

OUT = Path("docs/benchmarks/gpu.md")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WAYS = {
    "fp32": ("fp32", False), "bf16": ("bf16", False), "bf16, compiled": ("bf16", True),
}  # fmt: skip
"""Name -> precision, compiled."""
MARKS = (0.125, 0.25, 0.5, 1.0)
"""Of the run's time."""
STEPS = 20
Row = dict[str, Any]


class Sizes(NamedTuple):
    """Side of the matrices whose product is the peak; steps before a clock starts and under it;
    samples drawn for speed and for a Frechet distance; epochs of a judge; seconds of everything."""

    side: int = 8192
    before: int = 12
    timed: int = 40
    drawn: int = 512
    n: int = 5000
    epochs: int = 5
    seconds: float = 420.0


SMALL = Sizes(256, 1, 2, 8, 60, 1, 8.0)


# --- what is measured -----------------------------------------------------------------------------


def clock() -> float:
    """Seconds, once the GPU has done what it was asked."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds_of(call: Callable[[], object], times: int) -> float:
    """The least of several."""
    found = []
    for _ in range(times):
        began = clock()
        call()
        found.append(clock() - began)
    return min(found)


def peak(side: int) -> float:
    """FLOP/s of one product of two bf16 matrices."""
    a, b = (torch.randn(side, side, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / seconds_of(lambda: a @ b, 10)


def noise_of(shape: tuple[int, ...], classes: int, count: int) -> Data:
    """Pictures that show nothing, for speeds alone."""
    rng = torch.Generator().manual_seed(0)

    def split(n: int) -> Split:
        x = torch.randint(256, (n, *shape), generator=rng, dtype=torch.uint8)
        return Split(x, {"label": torch.arange(n) % classes})

    return Data("noise", split(count), split(64), tuple(map(str, range(classes))), EIGHT_BIT)


def training_speed(config: Config, way: str, sizes: Sizes) -> Row:
    """Images a second of our own trainer, after its first steps."""
    precision, compiled = WAYS[way]
    batch, steps = config.training.batch, sizes.before + sizes.timed
    training = replace(config.training, precision=precision, compile=compiled,  # type: ignore[arg-type]
                       images=steps * batch)  # fmt: skip
    at: list[float] = []

    def watch(step: Any) -> None:
        if step.images in (sizes.before * batch, steps * batch):
            at.append(clock())

    began = clock()
    fit_run(replace(config, training=training), watch=watch)
    return {"images_per_second": sizes.timed * batch / (at[1] - at[0]), "first": at[0] - began}


def peer_speed(config: Config, way: str, sizes: Sizes) -> Row:
    """Images a second of diffusers' training loop on the network of the configuration: its
    scheduler, average and learning rate, accelerate's mixed precision, a DataLoader."""
    from accelerate import Accelerator

    diffusers = import_module("diffusers")  # by name: its types would be read, for half a minute
    get_rate = import_module("diffusers.optimization").get_cosine_schedule_with_warmup
    averaged = import_module("diffusers.training_utils").EMAModel

    precision, compiled = WAYS[way]
    data, batch = config.load_data(), config.training.batch
    net = cast(nn.Module, build_denoiser(config, DataInfo.of(data)).net)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    accelerator = Accelerator(mixed_precision="bf16" if precision == "bf16" else "no")
    optimizer = torch.optim.AdamW(net.parameters(), 1e-4, (0.95, 0.999), 1e-8, 1e-6)
    rate = get_rate(optimizer, 500, 100_000)
    examples = torch.utils.data.TensorDataset(data.train.x, data.train.cond["label"])
    loader = torch.utils.data.DataLoader(examples, batch, shuffle=True, drop_last=True)
    net, optimizer, loader, rate = accelerator.prepare(net, optimizer, loader, rate)
    average = averaged(net.parameters(), use_ema_warmup=True, power=0.75)
    average.to(accelerator.device)
    chain = diffusers.DDPMScheduler()
    alphas = chain.alphas_cumprod.to(accelerator.device)
    worker = torch.compile(net) if compiled else net

    def step(x: Tensor, label: Tensor) -> None:
        x = x.float() / 127.5 - 1
        noise = torch.randn_like(x)
        k = torch.randint(1000, (len(x),), device=x.device)
        noisy = chain.add_noise(x, noise, k)
        told = ((1 - alphas[k]) / alphas[k]).log() / 2
        found = worker(noisy, told, {"label": label})
        accelerator.backward(nn.functional.mse_loss(found.float(), noise))
        accelerator.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
        average.step(net.parameters())

    def batches() -> Any:
        while True:
            yield from loader

    each, began = batches(), clock()
    for _ in range(sizes.before):
        step(*next(each))
    start = clock()
    for _ in range(sizes.timed):
        step(*next(each))
    return {"images_per_second": sizes.timed * batch / (clock() - start), "first": start - began}


class Graphed(nn.Module):
    """A network whose calls of one shape are recorded as a CUDA graph and played again. Its weights
    must need no gradient: their casts would be kept outside the graph."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.kept = net, dict[Any, Any]()

    def forward(self, x: Tensor, noise: Tensor, cond: dict[str, Tensor] | None = None) -> Tensor:
        key = x.shape, x.dtype, tuple(sorted(cond or ()))
        given = {"x": x, "noise": noise, **(cond or {})}
        if key not in self.kept:
            self.kept[key] = self._recorded({k: v.clone() for k, v in given.items()})
        graph, held, out = self.kept[key]
        for name, value in given.items():
            held[name].copy_(value)
        graph.replay()
        return out.clone()

    def _recorded(self, held: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor], Tensor]:
        cond = {k: v for k, v in held.items() if k not in ("x", "noise")} or None
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self.net(held["x"], held["noise"], cond)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = self.net(held["x"], held["noise"], cond)
        return graph, held, out


def samples(denoiser: Denoiser, n: int, batch: int) -> Tensor:
    """Pictures of all classes in turn, in STEPS steps without guidance."""
    labels = repeat_labels(range(len(denoiser.classes)), n, len(denoiser.classes))
    asked = asked_of(denoiser, seeds=range(n), cond={"label": labels})
    return draw(
        denoiser, plan_of(denoiser, True, steps=STEPS), asked, denoiser.shape, batch=batch
    ).x


def sampling_speeds(config: Config, info: DataInfo, sizes: Sizes) -> list[Row]:
    """Images a second, eager in both arithmetics and, on a GPU, as a graph: which may differ from
    eager by rounding, as is said."""
    denoiser = build_denoiser(config, info).to(DEVICE).eval().requires_grad_(False)
    with torch.no_grad():  # a fresh network says 0, whatever it is shown
        for weight in denoiser.parameters():
            weight.add_(0.01 * torch.randn_like(weight))
    net, rows, eager = cast(nn.Module, denoiser.net), list[Row](), torch.zeros(())
    for way, precision, graphed in (
        ("fp32", "fp32", False), ("bf16", "bf16", False), ("bf16, CUDA graph", "bf16", True)
    ):  # fmt: skip
        if graphed and DEVICE != "cuda":
            rows.append({"way": way, "left out": "there is no GPU"})
            continue
        denoiser.precision, denoiser.net = cast(Any, precision), Graphed(net) if graphed else net
        try:
            x = samples(denoiser, sizes.drawn, sizes.drawn)  # warms up
            took = seconds_of(lambda: samples(denoiser, sizes.drawn, sizes.drawn), 3)
        except RuntimeError as error:  # a network that cannot be recorded
            rows.append({"way": way, "left out": str(error).splitlines()[0]})
            continue
        row = {"way": way, "images_per_second": sizes.drawn / took}
        rows.append(row | ({"off": float((x - eager).abs().max())} if graphed else {}))
        eager = x if precision == "bf16" and not graphed else eager
    return rows


def run_of(config: Config, data: Data, sizes: Sizes, seconds: float) -> Row:
    """A training of so many seconds; at each mark the averaged weights' Frechet distance, whose
    time does not count."""
    judge, report = train_judge(data, epochs=sizes.epochs)
    labels = repeat_labels(range(len(data.classes)), sizes.n, len(data.classes))
    reference = Reference(data, judge, sizes.n, labels)
    real, marks, spent, last = real_quality(reference), list[Row](), 0.0, clock()
    left = [share * seconds for share in MARKS]

    def watch(step: Any) -> None:
        nonlocal spent, last
        if not left or spent + time.perf_counter() - last < left[0]:
            return
        spent += clock() - last
        net: Any = step.average
        learns = net.training
        found = quality(net.decode(samples(net.eval(), sizes.n, 512).to("cpu")), reference)
        net.train(learns)
        marks.append({"seconds": spent, "images": step.images, "frechet": found.frechet,
                      "std": found.frechet_std})  # fmt: skip
        left[:] = [at for at in left if at > spent]
        last = clock()

    training = replace(config.training, decay="constant", images=10**9)
    fit_run(replace(config, training=training), watch=watch, stop=lambda: not left)
    return {"marks": marks, "real": real.frechet, "real_std": real.frechet_std, "n": sizes.n,
            "judge": report.accuracy}  # fmt: skip


# --- the whole ------------------------------------------------------------------------------------


def config_of(path: str | None, small: bool) -> Config:
    """The recipe of CIFAR-10 for a large GPU; in small that of the digits, smaller still."""
    if not small:
        base = recipe("cifar10")
        return replace(base, data=replace(base.data, path=path))
    base = recipe("digits")
    short = replace(base.training, batch=32, optimizer="adamw")
    return replace(base, net="unet:width=16,multipliers=1,blocks=1", training=short)


def words_config(path: str | None, small: bool) -> Config:
    """The recipe of emoji at 64 pixels for a large GPU; in small that of digits by words."""
    if small:
        base = recipe("digits-text")
        return replace(base, net="unet:width=8,multipliers=1,blocks=1")
    base = recipe("emoji")
    large = replace(base.training, batch=256, precision="bf16", compile=True, decay="constant")
    net = "unet:width=128,multipliers=1-2-3-4,blocks=2,norms=1,fold=2,attention=2-3"
    return replace(base, net=net, training=large, data=replace(base.data, path=path, size=64))


def by_words(args: argparse.Namespace) -> Row:
    """A run on captions for 8 minutes, or for its first steps; of emoji then what `benchmarks.text`
    measures of it."""
    config, seconds = words_config(args.path, args.small), 1.0 if args.small else 480.0
    config = replace(config, training=replace(config.training, images=10**9))
    with tempfile.TemporaryDirectory() as folder:
        out, losses, began = Path(folder) / "run", list[float](), clock()
        fit_run(config, out, watch=lambda step: losses.append(step.loss),
                stop=lambda: clock() - began > seconds)  # fmt: skip
        run, spent = open_run(out), clock() - began
        found: Row = {
            "what": f"{run.info.name} {run.info.shape}", "images": run.images_seen,
            "seconds": spent, "loss": (losses[0], losses[-1]),
        }  # fmt: skip
        if not args.small:
            data = data_of(run)
            judge = text.judge_of_words(data, 60_000)
            for name, split in (("seen", data.train), ("held out", data.test)):
                found[name] = text.measured(judge, data, split, run, None)[0]
            found["colours"] = text.colours(data, run, None)
    return found


def peer(way: str, args: argparse.Namespace) -> Row:
    """The peer's row, by the interpreter that has it."""
    named = dict(pair.split("=", 1) for pair in os.environ.get("SCOREFIELD_PEERS", "").split())
    words = [named.get("diffusers", sys.executable), "-m", "benchmarks.gpu", "--peer", way]
    words += ["--path", args.path] * bool(args.path) + ["--small"] * args.small
    done = subprocess.run(words, capture_output=True, text=True)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode or not lines:
        return {"left out": lines[-1] if lines else "it ended without a word"}
    return json.loads(lines[-1])


def measured(args: argparse.Namespace) -> Row:
    """Everything, as JSON."""
    began, sizes = time.perf_counter(), SMALL if args.small else Sizes()
    config, info, data = prepared(args)
    size = describe(cast(nn.Module, build_denoiser(config, info).net), info.shape)
    top = peak(sizes.side)
    forward, rows = size.flops_per_sample, list[Row]()
    for way in list(WAYS)[: 2 if args.small else 3]:  # to compile takes minutes on a processor
        for who, call in (("scorefield", lambda w: training_speed(config, w, sizes)),
                          ("diffusers' loop", lambda w: peer(w, args))):  # fmt: skip
            rows.append({"who": who, "way": way, **call(way)})
    drawn = sampling_speeds(config, info, sizes)
    for row, passes in [(r, 3) for r in rows] + [(r, STEPS) for r in drawn]:
        if "images_per_second" in row:
            row["of_peak"] = row["images_per_second"] * passes * forward / top
    card = torch.cuda.get_device_name() if DEVICE == "cuda" else f"a processor, {DEVICE}"
    found: Row = {
        "card": card, "torch": torch.__version__, "peak": top, "forward": forward,
        "parameters": size.parameters, "batch": config.training.batch, "training": rows,
        "sampling": drawn, "data": data.name,
    }  # fmt: skip
    if data.name != "noise":
        left = sizes.seconds - (time.perf_counter() - began)
        found["run"] = run_of(config, data, sizes, max(0.5 * left, 1.0))
    return found | {"seconds": time.perf_counter() - began}


def prepared(args: argparse.Namespace) -> tuple[Config, DataInfo, Data]:
    """The configuration, on data that are there, and those."""
    config = config_of(args.path, args.small)
    if args.small or args.path:
        data = load(config.data.name, path=config.data.path)
    else:
        data = noise_of((3, 32, 32), 10, 4 * config.training.batch)
        object.__setattr__(config, "load_data", lambda *_: data)  # a configuration names data sets
    return config, DataInfo.of(data), data


def page(found: Row) -> str:
    """The record as Markdown."""

    def cells(row: Row) -> str:
        if "left out" in row:
            return f"left out: {row['left out']} | |"
        return f"{row['images_per_second']:,.0f} | {row['of_peak']:.1%} |"

    lines = [
        "# On a GPU", "", "Made by `python -m benchmarks.gpu`. One seed.", "",
        f"- {found['card']}, torch {found['torch']}; peak of dense products in bf16, measured: "
        f"{found['peak'] / 1e12:,.1f} TFLOP/s",
        f"- {found['data']}; U-Net of {found['parameters']:,} parameters, "
        f"{found['forward'] / 1e9:,.2f} GFLOP a forward pass; batches of {found['batch']}",
        f"- {found['seconds']:.0f} s for everything", "",
        "| training | arithmetic | images a second | of the peak |", "| --- | --- | --- | --- |",
        *(f"| {row['who']} | {row['way']} | {cells(row)}" for row in found["training"]), "",
        f"| sampling, {STEPS} steps | images a second | of the peak |", "| --- | --- | --- |",
        *(f"| {row['way']} | {cells(row)}" for row in found["sampling"]), "",
    ]  # fmt: skip
    if run := found.get("run"):
        lines += [
            f"Frechet distance of {run['n']:,} samples in the features of a judge that is right on "
            f"{run['judge']:.1%}; real data {run['real']:.2f} ± {run['real_std']:.2f}:", "",
            "| seconds of training | images seen | Frechet |", "| --- | --- | --- |",
            *(f"| {m['seconds']:.0f} | {m['images']:,} | {m['frechet']:.2f} ± {m['std']:.2f} |"
              for m in run["marks"]), "",
        ]  # fmt: skip
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> Row:
    """Measure and print; on a GPU keep the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("pictures", "text"), default="pictures")
    parser.add_argument("--path", help="folder of CIFAR-10, or of emoji")
    parser.add_argument("--small", action="store_true", help="digits, in seconds")
    parser.add_argument("--peer", choices=WAYS, help="the peer's row alone")
    args = parser.parse_args(argv)
    if args.what == "text":
        found = by_words(args)
        print(json.dumps(found, indent=1))
        return found
    if args.peer:
        config, _, _ = prepared(args)
        row = peer_speed(config, args.peer, SMALL if args.small else Sizes())
        print(json.dumps(row))
        return row
    found = measured(args)
    print(page(found))
    if DEVICE == "cuda" and not args.small:
        write_bytes(OUT, page(found).encode())
    return found


if __name__ == "__main__":
    main()
