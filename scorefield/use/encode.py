"""Between data and noise along the flow of a model, there and back."""

import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from scorefield import catalogue
from scorefield.base import BadInput, Watch, quiet
from scorefield.base.finding import Figure, Findings
from scorefield.data.readers.arrays import read_npz
from scorefield.data.readers.given import shaped
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, Plan, draw, encode_rows
from scorefield.likelihood import path as path_of
from scorefield.measure.quality import rms_all
from scorefield.run.open import build_solver
from scorefield.solve import Solver
from scorefield.solve.loop import rms
from scorefield.use.asked import count, given_examples, how_many, label_for
from scorefield.use.request import Request

SOLVER, STEPS, LATENTS = "rk4", 12, "latents.npz"
"""48 calls: on the digits model a round trip is within 3e-4 RMS, of pictures in [-1, 1]."""


class Way(NamedTuple):
    """`up` encodes and `down` decodes, both by the steps of one plan."""

    denoiser: Denoiser
    plan: Plan
    batch: int = 256

    @classmethod
    def of(cls, request: Request) -> "Way":
        """On the levels of `path`. Raises BadInput for a solver that has no way back."""
        solver, schedule = request.solver or SOLVER, request.opened.schedule
        method = build_solver(solver)
        if not _one_step(method):
            known = [name for name in catalogue.solvers if _one_step(build_solver(name))]
            raise BadInput(
                f"`solver` is {solver}: a step of it is not a fixed function of x alone.",
                f"Use one of {', '.join(known)}.",
            )
        plan = Plan(method, path_of(schedule, count(request.steps) or STEPS))  # type: ignore
        return cls(request.mean, plan, request.batch)

    @property
    def calls(self) -> int:
        """Network calls an example, each way."""
        return self.plan.steps * self.plan.solver.evals

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


def _one_step(solver: Solver) -> bool:
    return not (solver.stochastic or solver.adaptive or len(solver.init(torch.zeros(1, 1))) > 1)


def encode_examples(request: Request, text: Path) -> Findings:
    """The latents of examples under the run, with what leads back, and how far from themselves they
    come back; `text` as `given_examples` takes it."""
    request = request.exact()
    out, way, info = request.place(LATENTS, ".npz"), Way.of(request), request.opened.info
    given, own = given_examples(request.opened, text)
    x0 = way.denoiser.encode(given)
    of = label_for(request.label, own, len(x0), info.classes)
    if info.classes and of is None:
        warnings.warn(
            "no class given, so without one: with `label` latents lie nearer to noise", stacklevel=2
        )
    began = time.monotonic()
    z = way.up(x0, of, request.watch)
    seconds = time.monotonic() - began
    off = rms(way.down(z, of, request.watch) - x0)
    unit = "latents" if info.codec else info.kind.unit
    words = f"RMS, of {unit}."
    items = (
        Figure("there and back", rms_all(off), best="low", words=words, key="round_trip_rms"),
        Figure("at worst", float(off.max()), best="low", key="worst"),
    )
    deviation = float(z.square().mean().sqrt() / way.plan.levels.sigma[0])
    arrays = {"z": z, "logsnr": way.plan.levels.logsnr} | _labelled(of)
    how, record = _how(way, z, "latent", seconds, out)
    record["latent_deviation"] = deviation
    return Findings("encode", str(request.run), how, items, record, arrays)


def decode_latents(request: Request, latents: Path) -> Findings:
    """The examples that the run makes of latents that `encode_examples` found."""
    request = request.exact()
    out, way, info = request.place(LATENTS, ".npz"), Way.of(request), request.opened.info
    arrays, where = read_npz(latents, "decode"), f"`decode` {latents}"
    if "z" not in arrays or "logsnr" not in arrays:
        held = ", ".join(arrays) or "nothing"
        fact = f"{where} holds {held}, and no latents z with their logsnr."
        raise BadInput(fact, "Give a file that scorefield encode wrote.", "decode")
    z = shaped(arrays["z"], info.inner, f"z in {latents}").float()
    own = torch.from_numpy(arrays["y"].astype(np.int64)) if "y" in arrays else None
    of = label_for(request.label, own, len(z), info.classes)
    first, last = float(arrays["logsnr"].ravel()[0]), float(way.plan.levels.logsnr[0])
    if abs(first - last) > 1e-6:
        fact = f"{where} was encoded to logsnr {first:.3g}, this run goes to {last:.3g}."
        raise BadInput(fact, "Decode with the run that encoded.", "decode")
    began = time.monotonic()
    x = info.scaling.decode(way.denoiser.decode(way.down(z, of, request.watch)))
    how, record = _how(way, x, "example", time.monotonic() - began, out)
    return Findings("encode", str(request.run), how, (), record, {"x": x} | _labelled(of))


def _labelled(label: Tensor | None) -> dict[str, Tensor]:
    return {} if label is None else {"y": label}


def _how(
    way: Way, found: Tensor, kind: str, seconds: float, out: Path
) -> tuple[str, dict[str, Any]]:
    """How it was found, in words and as a record."""
    n, calls = len(found), way.calls
    how = f"{how_many(n, kind)}, {calls} network calls each, {seconds:.1f} s: {out}"
    return how, {"out": str(out), "n": n, "calls": calls, "seconds": round(seconds, 3)}
