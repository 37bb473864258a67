"""Two questions that a classifier answers: are samples told from data, and do they teach their
classes?

    classifier two-sample test: learn half of samples and of data, tell the other half apart
        (Lopez-Paz and Oquab 2017); one law gives 1/2, whatever it is
    classification accuracy score: learn the classes from samples, name those of held-out data
        (Ravuri and Vinyals 2019); blind to what samples add to data that is right

The classifier is kernel ridge regression on one-hot labels with a Gaussian kernel, solved in closed
form: no training that a score would depend on.

    names(x) = argmax k(x, X) (K + ridge I)^-1 Y                                            (1)
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from scorefield.base.checks import check_rows, check_same_shape
from scorefield.base.finding import Figure
from scorefield.measure.agreement import Proportion, wilson
from scorefield.measure.reference import Outcome, Reference, Seen, as_json

MOST = 2000
"""Examples of a set that are learned or told apart: the equations are as many."""
RIDGE = 0.1
SOME = 500
"""Examples whose distances say how wide the kernel is."""
NARROW = 0.5
"""Of the median distance: the width of the kernel."""


def ridge_names(train: Tensor, label: Tensor, x: Tensor) -> Tensor:
    """Classes (m,) of rows x (m, D) by eq. 1 from rows (n, D) and their classes (n,).

    >>> rows, label = torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([0, 0, 1])
    >>> ridge_names(rows, label, torch.tensor([[0.5], [8.0]]))
    tensor([0, 1])
    """
    train, x = train.flatten(1).double(), x.flatten(1).double()
    label = label.to(train.device)
    apart = torch.cdist(train, train)
    width = NARROW * torch.pdist(train[:: 1 + len(train) // SOME]).median().item() or 1.0
    target = F.one_hot(label).double()
    middle = target.mean(0)
    K = (-(apart**2) / (2 * width**2)).exp()
    K.diagonal().add_(RIDGE)
    weights = torch.cholesky_solve(target - middle, torch.linalg.cholesky(K))
    seen = (-(torch.cdist(x, train) ** 2) / (2 * width**2)).exp()
    return (seen @ weights + middle).argmax(1)


def two_sample(a: Tensor, b: Tensor, seed: int = 0) -> Proportion:
    """Fraction of rows that a classifier, taught half of a (n, D) and of b (m, D), tells apart in
    the other halves, with its 95% interval. At most MOST of each are looked at.

    >>> a = torch.linspace(0, 1, 40)[:, None]
    >>> two_sample(a, a + 9).fraction
    1.0
    """
    check_rows("first features", a, 4)
    check_rows("second features", b, 4)
    check_same_shape("first features", a, "second features", b)
    n, rng = min(len(a), len(b), MOST), torch.Generator().manual_seed(seed)
    x, y = (z.flatten(1)[torch.randperm(len(z), generator=rng)[:n].to(z.device)] for z in (a, b))
    h = n // 2
    label = torch.arange(2, device=x.device).repeat_interleave(h)
    found = ridge_names(torch.cat([x[:h], y[:h]]), label, torch.cat([x[h : 2 * h], y[h : 2 * h]]))
    return wilson(int((found == label).sum()), 2 * h)


def two_sample_figure(samples: Seen, reference: Reference) -> Outcome:
    """Samples and held-out data that a classifier tells apart, beside training and held-out data:
    half is chance, which samples that are like data do not exceed."""
    some, train, test = (seen.features for seen in reference.trio(samples))
    if len(some) < 4:
        return Outcome({"two_sample": None, "two_sample_real": None})
    found, real = two_sample(some, test), two_sample(train, test)
    words = f"A kernel classifier on {reference.space}; half is chance. The 95% interval."
    figure = Figure(
        "Two-sample test", found.fraction, (found.low, found.high), real.fraction,
        (real.low, real.high), unit="%", best="low", words=words,
    )  # fmt: skip
    return Outcome({"two_sample": as_json(found), "two_sample_real": as_json(real)}, (figure,))


def taught_figure(samples: Seen, reference: Reference) -> Outcome:
    """Held-out data whose class a classifier names that was taught by samples alone, beside one
    that was taught by as many training examples: do samples show their classes, in all their
    forms? On x0 as it is, not on the features of a judge, who has seen the data."""
    names = ("taught", "taught_real")
    some, train, _ = reference.trio(samples)
    test = reference.test
    if reference.labels is None or len(test.label.unique()) < 2:
        return Outcome(dict.fromkeys(names))

    def score(seen: Seen) -> Proportion:
        found = ridge_names(seen.x0[:MOST], seen.label[:MOST], test.x0)
        return wilson(int((found.cpu() == test.label).sum()), len(test.label))

    order = torch.randperm(len(some.label), generator=torch.Generator().manual_seed(0))
    found, real = (score(seen.rows(order)) for seen in (some, train))
    words = (
        "Held-out examples that a classifier names which has learned from samples alone: "
        f"{min(len(some.x0), MOST):,}, and as many training examples for the floor."
    )
    figure = Figure("Classification accuracy score", found.fraction, (found.low, found.high),
                    real.fraction, (real.low, real.high), unit="%", best="high",
                    words=words)  # fmt: skip
    return Outcome(dict(zip(names, (as_json(found), as_json(real)))), (figure,))
