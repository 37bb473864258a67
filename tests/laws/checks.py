"""Every law's checks by one name, for tests outside this folder: a check raises AssertionError."""

from scorefield.solve.laws import (
    CLEAN,
    COV,
    DOWN,
    EIGHT,
    GAUSSIAN,
    MEAN,
    PURE,
    NoChance,
    cat,
    check_dtype,
    check_flags,
    check_gaussian_order,
    check_neighbours,
    check_resume,
    check_step_of_cat,
    check_terminal,
    close,
    eight,
    formula,
    gaussian_flow,
    logsnr_levels,
    marginal,
    side_by_side,
)
from scorefield.solve.laws import (
    begun as start,
)
from scorefield.solve.laws import (
    grown as aged,
)
from scorefield.solve.laws import (
    order_shown as slope,
)
from tests.laws.batches import digests
from tests.laws.counts import check_counts
from tests.laws.dtypes import check_float32, check_half_network, check_level_shapes
from tests.laws.entries import (
    DETERMINISTIC,
    FROM_PURE_NOISE,
    MEASURED_BY_MOMENTS,
    OPTIONS,
    SCHEDULES,
    SOLVERS,
    every_grid,
    variants,
)
from tests.laws.moments import (
    check_marginals,
    check_weak_order,
    moments,
    worst_marginal,
)
from tests.laws.order import check_order, measured_order, order_on_eight, order_on_gaussian
from tests.laws.steps import (
    check_equal_levels,
    check_evals,
    check_few_steps,
    check_first_step,
    check_pure,
    check_pure_noise,
)
from tests.laws.truths import LABELS, eight_flow, transition, two_classes
from tests.laws.walks import Counted

__all__ = [
    "CLEAN",
    "COV",
    "Counted",
    "DETERMINISTIC",
    "DOWN",
    "EIGHT",
    "FROM_PURE_NOISE",
    "GAUSSIAN",
    "LABELS",
    "MEAN",
    "MEASURED_BY_MOMENTS",
    "NoChance",
    "OPTIONS",
    "PURE",
    "SCHEDULES",
    "SOLVERS",
    "aged",
    "cat",
    "check_counts",
    "check_dtype",
    "check_equal_levels",
    "check_evals",
    "check_few_steps",
    "check_first_step",
    "check_flags",
    "check_float32",
    "check_gaussian_order",
    "check_half_network",
    "check_level_shapes",
    "check_marginals",
    "check_neighbours",
    "check_order",
    "check_pure",
    "check_pure_noise",
    "check_resume",
    "check_step_of_cat",
    "check_terminal",
    "check_weak_order",
    "close",
    "digests",
    "eight",
    "eight_flow",
    "every_grid",
    "formula",
    "gaussian_flow",
    "logsnr_levels",
    "marginal",
    "measured_order",
    "moments",
    "order_on_eight",
    "order_on_gaussian",
    "side_by_side",
    "slope",
    "start",
    "transition",
    "two_classes",
    "variants",
    "worst_marginal",
]
