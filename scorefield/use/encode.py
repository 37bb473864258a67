"""Between data and noise along the flow of a model, there and back."""

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Unpack

import numpy as np
import torch
from torch import Tensor

from scorefield import catalogue
from scorefield.base import BadInput, Cond, Watch, quiet
from scorefield.base.finding import Figure, Findings
from scorefield.base.rows import rows_of
from scorefield.data.readers.arrays import read_npz
from scorefield.data.readers.given import shaped
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, CountedRows, Plan, draw
from scorefield.likelihood import path as path_of
from scorefield.run.open import EXACT, Run, build_solver, device, open_run
from scorefield.solve import Solver, encode
from scorefield.use.asked import at_least, count, given_examples, how_many, label_for, out_file
from scorefield.use.plan import Given

SOLVER, STEPS = "rk4", 12
"""48 calls: on the digits model a round trip is within 3e-4 RMS, of pictures in [-1, 1]."""


class Way(NamedTuple):
    """`up` encodes and `down` decodes, both by the steps of one plan."""

    denoiser: Denoiser
    plan: Plan
    batch: int = 256

    @classmethod
    def of(cls, denoiser: Denoiser, given: Given, batch: int = 256) -> "Way":
        """On the levels of `path`. Raises BadInput for a solver that has no way back."""
        steps, solver = count(given.get("steps")) or STEPS, given.get("solver") or SOLVER
        at_least("batch", batch)
        method = build_solver(solver)
        if not _one_step(method):
            known = [name for name in catalogue.solvers if _one_step(build_solver(name))]
            raise BadInput(
                f"`solver` is {solver}: a step of it is not a fixed function of x alone.",
                f"Use one of {', '.join(known)}.",
            )
        return cls(denoiser, Plan(method, path_of(denoiser.schedule, steps)), batch)  # type: ignore

    @property
    def calls(self) -> int:
        """Network calls an example, each way."""
        return self.plan.steps * self.plan.solver.evals

    def findings(
        self, path: Path, kind: str, out: Path, arrays: Mapping[str, Tensor], label: Tensor | None,
        seconds: float,
    ) -> Findings:  # fmt: skip
        """What came of the way, by name, and the classes, if they are known."""
        n, more = len(next(iter(arrays.values()))), {} if label is None else {"y": label}
        how = f"{how_many(n, kind)}, {self.calls} network calls each, {seconds:.1f} s: {out}"
        record = {"out": str(out), "n": n, "calls": self.calls, "seconds": round(seconds, 3)}
        return Findings("encode", str(path), how, (), record, {**arrays, **more})

    def up(self, x0: Tensor, label: Tensor | None = None, watch: Watch = quiet) -> Tensor:
        """Latents of x0: x at the first of the levels, about N(0, sigma^2 I)."""
        noiseless = self.plan.levels.at(-1).like(x0).alpha * x0
        cond = None if label is None else {"label": label}
        return encode_rows(self.denoiser, self.plan, noiseless, cond, batch=self.batch, watch=watch)

    def down(self, z: Tensor, label: Tensor | None = None, watch: Watch = quiet) -> Tensor:
        """What the flow makes of latents: x0."""
        asked = Asked(torch.arange(len(z)), None if label is None else {"label": label}, z)
        shape, batch = self.denoiser.shape, self.batch
        x = draw(self.denoiser, self.plan, asked, shape, batch=batch, watch=watch).x
        return x / self.plan.levels.at(-1).like(x).alpha


def encode_rows(
    denoiser: Denoiser,
    plan: Plan,
    x: Tensor,
    cond: Cond | None = None,
    *,
    refine: int = 0,
    batch: int = 256,
    watch: Watch = quiet,
) -> Tensor:
    """`encode` of x at the last level of a plan up to its first, on the CPU, in batches; the rows
    of `cond` are repeated in turn."""
    like, done = next(denoiser.parameters()), []
    total = len(x) * plan.steps * plan.solver.evals * (1 + refine)
    counted = CountedRows(denoiser, lambda rows, level: watch(rows, max(rows, total), "call"))
    for i in range(0, len(x), batch):
        some = x[i : i + batch].to(like)
        own = rows_of(cond, i, i + len(some), like.device) if cond else None
        done.append(encode(plan.solver, counted, some, plan.levels, own, refine).cpu())
    return torch.cat(done)


def _one_step(solver: Solver) -> bool:
    return not (solver.stochastic or solver.adaptive or len(solver.init(torch.zeros(1, 1))) > 1)


def round_trip(back: Tensor, x0: Tensor) -> Tensor:
    """RMS of each example's difference `(N,)`."""
    return (back - x0).flatten(1).square().mean(1).sqrt()


def encode_examples(
    path: Path,
    text: Path,
    out: Path,
    *,
    label: str | None = None,
    average: float | None = None,
    batch: int = 256,
    watch: Watch = quiet,
    **given: Unpack[Given],
) -> Findings:
    """The latents of examples under the run at `path`, with what leads back, and how far from
    themselves they come back; `text` as `given_examples` takes it."""
    run, way, out = _on(path, average, out, batch, given)
    x0, own = given_examples(run, text)
    of = label_for(label, own, len(x0), run.facts.classes)
    if run.facts.classes and of is None:
        warnings.warn(
            "no class given, so without one: with `label` latents lie nearer to noise", stacklevel=2
        )
    began = time.monotonic()
    z = way.up(x0, of, watch)
    seconds = time.monotonic() - began
    off = round_trip(way.down(z, of, watch), x0)
    rms, worst = float(off.square().mean().sqrt()), float(off.max())
    deviation = float(z.square().mean().sqrt() / way.plan.levels.sigma[0])
    unit = "pictures in [-1, 1]" if len(run.facts.shape) == 3 else "standardised data"
    items = (
        Figure("there and back", rms, best="low", words=f"RMS, of {unit}."),
        Figure("at worst", worst, best="low"),
    )
    own_record = {"round_trip_rms": rms, "worst": worst, "latent_deviation": deviation}
    found = way.findings(path, "latent", out, {"z": z}, of, seconds)
    arrays = {**found.arrays, "logsnr": way.plan.levels.logsnr}
    return replace(found, items=items, record={**found.record, **own_record}, arrays=arrays)


def decode_latents(
    path: Path,
    latents: Path,
    out: Path,
    *,
    label: str | None = None,
    average: float | None = None,
    batch: int = 256,
    watch: Watch = quiet,
    **given: Unpack[Given],
) -> Findings:
    """The examples that the run at `path` makes of latents that `encode_examples` found."""
    run, way, out = _on(path, average, out, batch, given)
    arrays, where = read_npz(latents, "decode"), f"`decode` {latents}"
    if "z" not in arrays or "logsnr" not in arrays:
        held = ", ".join(arrays) or "nothing"
        fact = f"{where} holds {held}, and no latents z with their logsnr."
        raise BadInput(fact, "Give a file that scorefield encode wrote.", "decode")
    z = shaped(arrays["z"], run.facts.shape, f"z in {latents}").float()
    own = torch.from_numpy(arrays["y"].astype(np.int64)) if "y" in arrays else None
    of = label_for(label, own, len(z), run.facts.classes)
    first, last = float(arrays["logsnr"].ravel()[0]), float(way.plan.levels.logsnr[0])
    if abs(first - last) > 1e-6:
        fact = f"{where} was encoded to logsnr {first:.3g}, this run goes to {last:.3g}."
        raise BadInput(fact, "Decode with the run that encoded.", "decode")
    began = time.monotonic()
    x = run.facts.scaling.decode(way.down(z, of, watch))
    return way.findings(path, "example", out, {"x": x}, of, time.monotonic() - began)


def _on(
    path: Path, average: float | None, out: Path, batch: int, given: Given
) -> tuple[Run, Way, Path]:
    out = out_file(out, ".npz")
    run = open_run(path, average, EXACT)
    return run, Way.of(run.denoiser.to(device()), given, batch), out
