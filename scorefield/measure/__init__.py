"""How good, how varied, how original, how obedient are the samples?

Every figure is printed beside the figure that real data gets under the same rule and at the same
size, because most of them are biased by the sample size and none means anything alone. Real data
are drawn in the fractions of classes that the samples were asked for (`fractions`).

| question   | figure                            | beside it                                     |
| ---------- | --------------------------------- | --------------------------------------------- |
| alike?     | Frechet distance to the test set  | training examples against the test set        |
| alike?     | KID, energy, sliced W2, two-sample | training examples against the test set       |
| good?      | precision, density                | training examples against the test set        |
| varied?    | recall, coverage                  | training examples against the test set        |
| whole?     | class chi-square                  | its mean for one law, classes less one        |
| plain?     | Inception-type score              | the test set's                                |
| teaching?  | classification accuracy score     | a classifier taught by training examples      |
| original?  | distance to the training set      | held-out examples' distance to it             |
| obedient?  | fraction judged to be as asked    | the judge's own accuracy on the test set      |

A `Judge` is a small classifier trained on the data's own training split; its penultimate layer is
the feature space of the first three rows. Where there is no judge (no classes, points in the
plane) the feature space is the data itself (`Reference.space`). Figures in one feature space
compare with nothing measured in another.

A measure of the catalogue is a function `(Seen, Reference) -> Outcome`: of samples and of the real
data beside them, to keys of the JSON and figures.
"""

from scorefield.measure.agreement import Agreement, Proportion, agreement
from scorefield.measure.apart import energy_distance, jackknife, sliced_w2
from scorefield.measure.classes import Homogeneity, class_chi2, inception_score
from scorefield.measure.coverage import PrecisionRecall, precision_recall
from scorefield.measure.frechet import (
    FrechetReport,
    RowMoments,
    frechet,
    frechet_floor,
    frechet_gaussian,
    frechet_report,
)
from scorefield.measure.information import entropies, information_gap, mutual_information
from scorefield.measure.judge import Judge, Judging, Report, accuracy_of, check_trainable
from scorefield.measure.kernel import Discrepancy, mmd2
from scorefield.measure.memorise import Memorisation, memorisation
from scorefield.measure.onepass import one_pass
from scorefield.measure.quality import Distance, Quality, distance, quality, real_quality
from scorefield.measure.reference import Outcome, Reference, Seen, as_json
from scorefield.measure.ridge import ridge_names, two_sample

__all__ = [
    "Agreement", "Distance", "FrechetReport", "Judge", "Judging", "Memorisation", "RowMoments",
    "PrecisionRecall",
    "accuracy_of", "check_trainable", "entropies", "information_gap", "mutual_information",
    "Proportion", "Quality", "Outcome", "Reference", "Report", "Seen", "agreement", "distance",
    "frechet", "frechet_floor", "frechet_gaussian", "frechet_report", "memorisation", "as_json",
    "precision_recall", "quality", "real_quality", "Discrepancy", "Homogeneity", "class_chi2",
    "energy_distance", "inception_score", "jackknife", "mmd2", "one_pass", "ridge_names",
    "sliced_w2", "two_sample",
]  # fmt: skip
