"""`scorefield restore RUN`."""

from pathlib import Path

from scorefield.cli import flags
from scorefield.cli.frame import Bar, Found


class Options(flags.Rows, flags.Sampling, flags.OnRun):
    """Restore what was measured: samples of x0 given y = A(x0) + noise, by the model as prior.

    The operator A: box:TOP,LEFT,HEIGHT,WIDTH or random:FRACTION (hidden pixels), gap:START,LENGTH
    or future:HORIZON (hidden moments of series, sounds and films), pool:FACTOR (fewer pixels),
    blur:PIXELS, motion:LENGTH,DEGREES, grey, radon:ANGLES, fourier:ACCELERATION, project:COUNT,
    clip:GAIN, magnitude. The methods: mmps (moments with their covariance), tmpd, pigdm, dps,
    diffpir, replacement, and the solvers ddrm, repaint, dps-published, twisted (a population of --n
    particles, right in the limit of many).

    A run of scorefield train restore-pairs was made for one operator and needs no method; of pairs
    of your own, --input test:INDEX is such a pair, with the other end that it came with. With
    several methods, dps+mmps, or such runs --beside, one table has them all.

    Writes into --out the measurement, the restorations, their mean and pixel standard deviation,
    all on one sheet and each for itself, the arrays and the figures.

    examples:
      scorefield restore runs/digits --operator box:2,2,4,4 --input test:7 --noise .05
      scorefield restore runs/digits --operator pool:2 --input three.png --method pigdm --n 16
      scorefield restore runs/digits --operator blur:2 --input test:7 --noise 0 --method dps+ddrm \\
        --beside runs/restore-pairs
      scorefield restore runs/digits --operator radon:6 --measured scan.npz --noise .1 --labels 3
    """

    operator: str
    """What was measured, such as box:2,2,4,4 or pool:2."""
    input: flags.Source = None
    measured: Path | None = None
    """A measurement as it came, in place of --input: an .npz with y, or a picture, in the model's
    units."""
    noise: float = 0.05
    """Standard deviation of the measurement's noise; data lie in [-1, 1]."""
    method: flags.MethodName = "dps"
    beside: tuple[Path, ...] = ()
    """Runs on pairs of the same operator, that restore it too."""
    out: flags.OutPath = None


def work(o: Options, bar: Bar) -> Found:
    from scorefield.report.files import keep_folder
    from scorefield.use.restore import Observation, restore_run

    of = Observation(o.operator, o.noise, o.input, o.measured)
    found = restore_run(o.request(bar), of, o.method, o.beside)
    return keep_folder(found, o.out or o.run / "restore")
