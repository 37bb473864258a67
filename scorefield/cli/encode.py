"""`scorefield encode RUN`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from torch import Tensor

from scorefield import catalogue
from scorefield.base import BadInput, Cond, Denoise, Level, Zero
from scorefield.base.rows import repeat_labels
from scorefield.cli.options import Switch, at_least, device, labels_of, note, out_file, parse, say
from scorefield.data.readers.arrays import read_npz
from scorefield.data.readers.given import read_examples, shaped
from scorefield.likelihood import path
from scorefield.run.bar import progress_bar
from scorefield.run.open import Run, build_solver, open_run
from scorefield.solve import Solver, encode, sample
from scorefield.store import write_npz

SOLVER, STEPS = "rk4", 12
"""48 calls: on the digits model a round trip is within 3e-4 RMS, of pictures in [-1, 1]."""


@dataclass(frozen=True)
class Options:
    """Take examples up the model's probability flow, to the noise that the flow would make them
    of, and back again; says how far from themselves they come back. The latents, with the labels
    and levels that lead back, go to an .npz; --decode makes examples of it.

    examples:
      scorefield encode runs/digits --input three.png --label 3 --out three.npz
      scorefield encode runs/digits --input test.npz --out latents.npz
      scorefield encode runs/digits --decode latents.npz --out decoded.npz
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    input: Path | None = None
    """A picture, or an .npz with x in the data's own units and, if you like, classes y."""
    decode: Path | None = None
    """Latents to decode, an .npz that encode wrote."""
    out: Path = Path("latents.npz")
    """The .npz to write: latents z, or with --decode examples x in the data's own units."""
    label: str | None = None
    """Class of the examples, where the file has none: 3 or a name (default: without class)."""
    steps: int = STEPS
    """Solver steps."""
    solver: str = SOLVER
    """Deterministic one-step solver: rk4, heun, midpoint, ddim ..."""
    average: float | None = None
    """Length of an average of the weights that scorefield ema made (default: that of training)."""
    batch: int = 256
    """Examples at a time; bounds memory."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "encode", argv)
    for flag in ("steps", "batch"):
        at_least(f"--{flag}", getattr(options, flag))
    if (options.input is None) == (options.decode is None):
        raise BadInput("encode needs one of --input and --decode.", "Give one of them.")
    out_file(options.out, ".npz")
    run = open_run(options.run, options.average)
    way = Way.of(run, options.solver, options.steps, options.batch, not options.json)
    return (_encode if options.decode is None else _decode)(run, way, options)


def _encode(run: Run, way: "Way", options: Options) -> int:
    assert options.input is not None
    x0, label = read_examples(options.input, run.facts.shape, run.facts.scaling)
    label = label_for(options.label, label, len(x0), run.facts.classes)
    began = time.monotonic()
    z = way.up(x0, label)
    seconds = time.monotonic() - began
    rms = round_trip(way.down(z, label), x0)
    arrays = {"z": z, **({} if label is None else {"y": label})}
    write_npz({**arrays, "logsnr": way.levels.logsnr}, options.out)
    result = {
        "out": str(options.out),
        "n": len(x0),
        "calls": way.calls,
        "round_trip_rms": float(rms.square().mean().sqrt()),
        "worst": float(rms.max()),
        "latent_deviation": float(z.square().mean().sqrt() / way.levels.sigma[0]),
        "seconds": round(seconds, 3),
    }
    text = (
        f"{options.out}: {len(x0)} latents, {way.calls} network calls each, {seconds:.1f} s\n"
        f"there and back: {result['round_trip_rms']:.1e} RMS, at worst {result['worst']:.1e}, "
        f"of {'pictures in [-1, 1]' if len(run.facts.shape) == 3 else 'standardised data'}"
    )
    say(result, text, options.json)
    if run.facts.classes and label is None and not options.json:
        note("no class given, so without one: with --label latents lie nearer to noise")
    return 0


def _decode(run: Run, way: "Way", options: Options) -> int:
    assert options.decode is not None
    arrays = read_npz(options.decode, "decode")
    if "z" not in arrays or "logsnr" not in arrays:
        raise BadInput(
            f"--decode {options.decode} holds {', '.join(arrays) or 'nothing'}, and no latents z "
            "with their logsnr.",
            "Give a file that scorefield encode wrote.",
        )
    z = shaped(arrays["z"], run.facts.shape, f"z in {options.decode}").float()
    own = arrays.get("y")
    label = None if own is None else torch.from_numpy(own.astype(np.int64))
    label = label_for(options.label, label, len(z), run.facts.classes)
    if abs(float(arrays["logsnr"].ravel()[0]) - float(way.levels.logsnr[0])) > 1e-6:
        raise BadInput(
            f"--decode {options.decode} was encoded to logsnr {arrays['logsnr'].ravel()[0]:.3g}, "
            f"this run goes to {float(way.levels.logsnr[0]):.3g}.",
            "Decode with the run that encoded.",
        )
    began = time.monotonic()
    x0 = way.down(z, label)
    seconds = time.monotonic() - began
    found = {"x": run.facts.scaling.decode(x0), **({} if label is None else {"y": label})}
    write_npz(found, options.out)
    result = {"out": str(options.out), "n": len(z), "calls": way.calls,
              "seconds": round(seconds, 3)}  # fmt: skip
    say(result, f"{options.out}: {len(z)} examples decoded, {seconds:.1f} s", options.json)
    return 0


@dataclass(frozen=True)
class Way:
    """Between data and noise along the flow of a run: `up` encodes, `down` decodes."""

    denoise: Denoise
    solver: Solver
    levels: Level
    where: torch.device
    batch: int
    shown: bool

    @classmethod
    def of(cls, run: Run, solver: str, steps: int, batch: int, shown: bool) -> "Way":
        method = build_solver(solver)
        if method.stochastic or method.adaptive or len(method.init(torch.zeros(1, 1))) > 1:
            known = [name for name in catalogue.solvers if _one_step(name)]
            raise BadInput(
                f"--solver {solver}: a step of it is not a fixed function of x alone.",
                f"Use one of {', '.join(known)}.",
            )
        denoiser = run.denoiser.to(device())
        where = next(denoiser.parameters()).device
        return cls(denoiser, method, path(run.schedule, steps), where, batch, shown)

    @property
    def calls(self) -> int:
        """Network calls an example, each way."""
        return (len(self.levels.sigma) - 1) * self.solver.evals

    def up(self, x0: Tensor, label: Tensor | None) -> Tensor:
        """Latents of x0: x at the first of the levels, about N(0, sigma^2 I)."""
        last = self.levels.at(-1)

        def go(x: Tensor, cond: Cond | None, denoise: Denoise) -> Tensor:
            noiseless = last.like(x).alpha * x
            return encode(self.solver, denoise, noiseless, self.levels, cond)

        return self._batches(go, x0, label, "encode")

    def down(self, z: Tensor, label: Tensor | None) -> Tensor:
        """What the flow makes of latents: x0."""
        last = self.levels.at(-1)

        @torch.no_grad()
        def go(z: Tensor, cond: Cond | None, denoise: Denoise) -> Tensor:
            x = sample(self.solver, denoise, z, self.levels, Zero(), cond)
            return x / last.like(x).alpha

        return self._batches(go, z, label, "decode")

    def _batches(self, go, x: Tensor, label: Tensor | None, what: str) -> Tensor:
        done = []
        with progress_bar(len(x) * self.calls, self.shown, "call") as bar:
            bar.set_description(what)

            def counted(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
                bar.update(len(x))
                return self.denoise(x, level, cond)

            for i in range(0, len(x), self.batch):
                some = slice(i, i + self.batch)
                cond = None if label is None else {"label": label[some].to(self.where)}
                done.append(go(x[some].to(self.where), cond, counted).cpu())
        return torch.cat(done)


def _one_step(name: str) -> bool:
    solver = build_solver(name)
    return not (solver.stochastic or solver.adaptive or len(solver.init(torch.zeros(1, 1))) > 1)


def round_trip(back: Tensor, x0: Tensor) -> Tensor:
    """RMS of each example's difference `(N,)`."""
    return (back - x0).flatten(1).square().mean(1).sqrt()


def label_for(
    text: str | None, own: Tensor | None, n: int, classes: Sequence[str]
) -> Tensor | None:
    """Classes `(n,)`: those of --label, else the file's own, else None."""
    if text is not None:
        return repeat_labels(labels_of(text, classes), n, len(classes))
    if own is None or not classes:
        return None
    if own.shape != (n,) or not 0 <= int(own.min()) <= int(own.max()) < len(classes):
        raise BadInput(
            f"the labels y have shape {tuple(own.shape)} and run from {int(own.min())} to "
            f"{int(own.max())}, for {n} examples of {len(classes)} classes.",
            "Give a class index for each example, or none.",
        )
    return own
