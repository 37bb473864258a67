"""`scorefield eval RUN`."""

from scorefield.cli.flags import Averaged, FeatureSpace, RowCount, Sampling, SeedNumber
from scorefield.cli.frame import Bar, Found


class Options(Averaged, Sampling):
    """Measure a run's samples, classes in turn, against held-out data, each figure beside its
    real-vs-real floor: Frechet, kernel, energy and sliced distance, a two-sample test, precision
    and recall, density and coverage, classes, memorisation (scorefield catalogue measures). A
    small classifier trained on the data's own training split judges pictures; it is kept beside
    the run. Writes RUN/eval.json, of other features RUN/eval-NAME.json.

    examples:
      scorefield eval runs/digits
      scorefield eval runs/digits --n 1000 --steps 10 --guidance 1.5 --json
      scorefield eval runs/cifar10 --n 10000 --features efficientnet-lite0
    """

    n: RowCount = 1000
    seed: SeedNumber = 0
    features: FeatureSpace = None


def work(o: Options, bar: Bar) -> Found:
    from scorefield.use.evaluate import evaluate

    return evaluate(o.request(bar), o.seed)
