"""How good, how varied, how original, how obedient are the samples?

Every figure is printed beside the figure that real data gets under the same rule and at the same
size, because most of them are biased by the sample size and none means anything alone. Real data
are drawn in the class shares that the samples were asked for (`shares`).

| question   | figure                            | beside it                                     |
| ---------- | --------------------------------- | --------------------------------------------- |
| alike?     | Frechet distance to the test set  | training examples against the test set        |
| good?      | precision, density                | training examples against the test set        |
| varied?    | recall, coverage                  | training examples against the test set        |
| original?  | distance to the training set      | held-out examples' distance to it             |
| obedient?  | share judged to be the class asked| the judge's own accuracy on the test set      |

A `Judge` is a small classifier trained on the data's own training split; its penultimate layer is
the feature space of the first three rows. Where there is no judge (no classes, points in the
plane) the feature space is the data itself, and `Evaluation.feature_space` says so.
Figures in one feature space compare with nothing measured in another.
"""

from scorefield.measure.agreement import Agreement, Proportion, agreement
from scorefield.measure.compare import Distance, Quality, Yardstick, distance
from scorefield.measure.coverage import PrecisionRecall, precision_recall
from scorefield.measure.evaluate import Evaluation, evaluate
from scorefield.measure.frechet import (
    FrechetReport,
    frechet,
    frechet_floor,
    frechet_gaussian,
    frechet_report,
)
from scorefield.measure.judge import Judge, Report, train_judge
from scorefield.measure.memorise import Memorisation, memorisation

__all__ = [
    "Agreement",
    "Distance",
    "Evaluation",
    "FrechetReport",
    "Judge",
    "Memorisation",
    "PrecisionRecall",
    "Proportion",
    "Quality",
    "Report",
    "Yardstick",
    "agreement",
    "distance",
    "evaluate",
    "frechet",
    "frechet_floor",
    "frechet_gaussian",
    "frechet_report",
    "memorisation",
    "precision_recall",
    "train_judge",
]
