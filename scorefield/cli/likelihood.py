"""`scorefield likelihood RUN`."""

from typing import Literal

from scorefield.cli import flags
from scorefield.cli.frame import Bar, note, show


class Options(flags.Averaged):
    """How likely are data under a run: bits a dimension, per example and on average with errors.
    Writes RUN/likelihood/METHOD.json and METHOD.csv; with --against a histogram too.

    examples:
      scorefield likelihood runs/digits
      scorefield likelihood runs/digits --method vlb --data train --n 200
      scorefield likelihood runs/digits --trace exact --n 20 --out bits.csv
      scorefield likelihood runs/digits --method vlb --against shuffled

    methods:
      flow   log p of the probability flow, from the trace of its Jacobian
      elbo   the bound of the chain of reverse steps
      vlb    the same for infinitely many steps
      bound  the bound of stochastic control, which has no decoder
    Letters have vlb, and elbo of 64 steps; points of a sphere or torus have flow.

    Data with levels (pictures of 8 bits, the digits' 17 levels) are dequantised for flow and bound;
    elbo and vlb have a decoder that gives each level its probability. At most 500 examples of a set
    are measured unless --n says otherwise, spread evenly over it. The flow's solver is rk4 in 16
    steps, or an adaptive one in 4.
    """

    data: str = "test"
    """test, train, shuffled, inverted, noise, the name of another set, a picture or an .npz."""
    against: str | None = None
    """Another set to tell from the data, named as for --data: draws train, test and this one."""
    n: flags.RowCount = None
    method: flags.MethodName = "flow"
    trace: str | None = None
    """exact, or a count of probes (default: exact in up to 16 dimensions, else 1)."""
    dequantise: Literal["uniform", "truncated", "none"] | None = None
    """Where in its level's cell an example lies: anywhere (uniform), as the model's own noise would
    have it (truncated, for flow), or none (default: by method)."""
    draws: int = 2
    """How often each example is measured, for its standard error."""
    solver: flags.SolverSpec = None
    steps: flags.StepCount = None
    floor: flags.Switch = False
    """flow: the density of data with the noise of the schedule's last level, not extrapolated to
    clean data."""
    guidance: flags.GuidanceScale = 1.0
    unconditional: flags.NoCond = False
    batch: flags.BatchSize = 64
    out: flags.OutPath = None


def work(o: Options, bar: Bar) -> int:
    from scorefield.report.pixels import curves
    from scorefield.store import alone, write_bytes, write_findings, write_png
    from scorefield.use.likelihood import Words, likelihood

    folder = o.run / "likelihood"
    words = Words(o.method, o.trace, o.dequantise, o.draws, o.floor)
    found = likelihood(o.request(bar), words, o.data, o.against)
    method = found.data.record["method"]
    out = o.out or folder / f"{method}.csv"
    with alone(folder, wait=True):
        write_bytes(out, found.rows)
        if found.against:
            write_findings(folder / "against.json", found.against)
            write_png(curves(found.against), folder / "against.png")
        written = write_findings(folder / f"{method}.json", found.data)
    bar.close()
    show(written, o.json)
    if found.against and not o.json:
        show(found.against, False)
    if not o.json:
        note(f"written: {out}, {folder / method}.json")
    return 0
