"""Averages of a run's weights over any length, from its snapshots."""

import warnings
from itertools import count

from scorefield.base import BadInput
from scorefield.base.finding import Figure, Findings
from scorefield.store import Folder, claim, snapshots, write_tensors
from scorefield.train import Power, coefficients, combine
from scorefield.use.request import Request

ROUGH = 0.05
"""Relative error of a profile from which a warning is due: it is then another average."""


def average(request: Request, length: float, images: int | None = None) -> Findings:
    """Write the average of relative `length` at this count of `images` seen (by default that of the
    last snapshot), and find the error of its profile.

    Raises BadInput for a run without snapshots, and a length or count that they do not reach.
    """
    Power(length)  # which refuses what is no length
    run = request.opened
    found = [s for s in snapshots(run.path) if s.images <= run.images_seen]
    if not found:
        raise BadInput(
            f"{run.path} has no snapshots.",
            "Train with `snapshot_every` N, some 20 to 50 times in the run.",
        )
    images = found[-1].images if images is None else images
    if not found[0].images <= images <= found[-1].images:
        raise BadInput(
            f"`images` is {images:,}, the snapshots are from {found[0].images:,} to "
            f"{found[-1].images:,}.",
            "Give a count between them.",
            "images",
        )
    have = [s for s in found if s.images <= images]
    target = run.path / "averages" / f"{length}.safetensors"
    claim(target, field="run")
    x, error = coefficients([(s.images, s.length) for s in have], (images, length))
    averaged, done = [name for name, _ in run.denoiser.named_parameters()], count(1)
    weights = combine(have, x, averaged, lambda: request.watch(next(done), len(have), "snapshot"))
    write_tensors(target, weights, Folder(run.path).meaning())
    if error > ROUGH:
        warnings.warn(
            f"an error of {error:.2g} is more than {ROUGH:g}: take more snapshots.", stacklevel=2
        )
    record = {"out": str(target), "length": length, "images": images, "snapshots": len(have)}
    how = f"{target}: length {length:g} at {images:,} images, from {len(have)} snapshots"
    profile = Figure("error of its profile", error, best="low", key="error")
    return Findings("ema", str(request.run), how, (profile,), record)
