"""`scorefield ema RUN`."""

from scorefield.cli.flags import ImageCount, OnRun
from scorefield.cli.frame import Bar, Found


class Options(OnRun):
    """Make the average of a run's weights over another length, after the run, from its snapshots:
    train with --snapshot-every. Writes RUN/averages/LENGTH.safetensors.

    examples:
      scorefield ema runs/digits --length 0.1
      scorefield ema runs/digits --length 0.15 --images 50000
      scorefield sample runs/digits --average 0.1
    """

    length: float = 0.1
    """Relative length: the average's deviation in time as a part of the run so far."""
    images: ImageCount = None


def work(o: Options, bar: Bar) -> Found:
    from scorefield.use.average import average

    return average(o.request(bar), o.length, o.images)
