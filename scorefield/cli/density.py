"""`scorefield density TARGET`."""

from dataclasses import fields, replace
from typing import Annotated

import tyro

from scorefield.cli import flags
from scorefield.cli.frame import Bar, Found, filed, note


class Options(flags.Spoken):
    """Sample from a density that is known up to a constant, and find the constant: log Z with its
    error, bounds from both sides, effective samples, and whether modes were missed.

    TARGET is a name (scorefield catalogue targets); a function of your own, FILE.py:FUNCTION, which
    takes x (n, dim) and returns log rho (n,) by torch, and whose file is imported, which runs it;
    or the folder of an earlier fit, to draw more of it.

    examples:
      scorefield density double-well --seconds 120 --out runs/wells
      scorefield density gmm-9 --method dds:loss=kl --steps 48
      scorefield density my_file.py:log_prob --dim 10 --method smc
      scorefield density runs/wells --n 10000 --out samples.npz

    The methods (scorefield explain path NAME): dds, dis, pis, dbs, uds, cmcd and scld learn a path;
    smc, ais, tempering and hmc learn nothing, and are what a learned one is compared with. The same
    call goes on with a training that was stopped.
    """

    target: Annotated[str, tyro.conf.Positional]
    """What to sample (see above)."""
    method: flags.MethodName = "dds"
    steps: flags.StepCount = "64"
    seconds: float = 180.0
    """Time for all of it, learning included."""
    n: flags.RowCount = None
    dim: int | None = None
    """Numbers of a sample, of a function of your own."""
    scale: float | None = None
    """Deviation of a normal law that covers it (None: a population finds it)."""
    seed: flags.SeedNumber = 0
    out: flags.OutPath = None


def work(o: Options, bar: Bar) -> Found:
    from scorefield.report.plane import findings
    from scorefield.use.density import DensityAsked, density

    given = {field.name: getattr(o, field.name) for field in fields(o) if field.name != "json"}
    found, plane = density(DensityAsked(**given, watch=bar, say=note))
    if plane is not None:
        drawn = findings(plane, "", "exact, or a population").items[0]
        strip = replace(drawn, file="density.png")
        found = replace(found, items=(*found.items, strip))
    return filed(found) if o.out and found.items else found
