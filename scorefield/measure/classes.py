"""What a judge's labels say of samples as a set: are the classes there in the data's fractions, and
is each sample plainly of one?

    chi^2 = sum_c (sqrt(m/n) a_c - sqrt(n/m) b_c)^2 / (a_c + b_c)                           (1)

of counts a of n samples and b of m held-out examples (Pearson 1911, homogeneity of two samples):
for two sets of one law its mean is the number of classes seen less 1, and its law chi-squared. And
the Inception score's formula with the judge in the place of Inception (Salimans et al. 2016):

    IS = exp E KL(p(c | x) || p(c)),    p(c) = E p(c | x)                                    (2)

between 1 and the number of classes. It never sees the data: a model that makes one perfect sample
of each class has the most, more than data have.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.finding import Figure
from scorefield.measure.apart import jackknife
from scorefield.measure.reference import Outcome, Reference, Seen


class Homogeneity(NamedTuple):
    """chi^2 of eq. 1, its mean for one law (`freedom`), its deviation, the chance of as much."""

    value: float
    freedom: int
    deviation: float
    p: float


def class_chi2(a: Tensor, b: Tensor) -> Homogeneity:
    """Eq. 1 of two rows of counts (K,); classes that neither has are left out. The deviation is
    that of a noncentral chi-squared law of this mean, sqrt(2 nu + 4 (chi^2 - nu)).

    >>> class_chi2(torch.tensor([30, 10]), torch.tensor([20, 20]))[:2]  # sum (a - b)^2 / (a + b)
    (5.333333333333334, 1)
    """
    a, b = a.double(), b.double()
    n, m = float(a.sum()), float(b.sum())
    if a.shape != b.shape or min(n, m) < 1:
        raise BadInput(f"counts of {n:g} samples and {m:g} examples.", "Give as many classes.")
    there = a + b > 0
    a, b, nu = a[there], b[there], max(int(there.sum()) - 1, 1)
    value = (((m / n) ** 0.5 * a - (n / m) ** 0.5 * b) ** 2 / (a + b)).sum()
    deviation = (2 * nu + 4 * max(float(value) - nu, 0)) ** 0.5
    p = torch.special.gammaincc(torch.tensor(nu / 2, dtype=torch.float64), value.cpu() / 2)
    return Homogeneity(value.item(), nu, deviation, p.item())


def inception_score(logits: Tensor) -> float:
    """Eq. 2 of logits (N, K).

    >>> round(inception_score(1e3 * torch.eye(7)), 6), inception_score(torch.zeros(5, 7))
    (7.0, 1.0)
    """
    log_p = logits.double().log_softmax(1)
    p = log_p.exp()
    mean = p.mean(0, keepdim=True)
    apart = torch.where(p > 0, p * (log_p - mean.clamp_min(1e-300).log()), 0).sum(1)
    return apart.mean().exp().item()


def classes_figure(samples: Seen, reference: Reference) -> Outcome:
    """Chi-squared of a judge's labels of samples against those of held-out data: is a class left
    out or too frequent? Where classes were asked for, that is answered by the asking, and chi^2
    stays below its floor."""
    some, train, test = reference.trio(samples)
    if some.logits is None or test.logits is None or train.logits is None:
        return Outcome({"classes": None})
    K = some.logits.shape[1]
    a, t, b = (torch.bincount(s.logits.argmax(1).cpu(), minlength=K) for s in (some, train, test))  # type: ignore[union-attr]
    found, real = class_chi2(a, b), class_chi2(t, b)
    absent = [name for name, k in zip(reference.data.classes, a.tolist()) if not k]
    words = f"Of the judge's labels; one law has {found.freedom} on average. p = {found.p:.2g}."
    words += f" No sample is judged to be {', '.join(absent[:5])}." if absent else ""
    figure = Figure("Class chi-square", found.value, found.deviation, float(found.freedom),
                    (2.0 * found.freedom) ** 0.5, best="low", words=words)  # fmt: skip
    return Outcome({"classes": {**found._asdict(), "real": real.value}}, (figure,))


def inception_figure(samples: Seen, reference: Reference) -> Outcome:
    """The Inception score's formula with the judge, beside held-out data's: is each sample plainly
    of a class, and is every class there? Never compared with figures of the network Inception."""
    some, _, test = reference.trio(samples)
    if some.logits is None or test.logits is None:
        return Outcome({"inception": None})
    found, real = inception_score(some.logits), inception_score(test.logits)
    errors = [jackknife(inception_score, s.logits) for s in (some, test) if s.logits is not None]
    words = f"By the judge, from 1 to {some.logits.shape[1]}; blind to sameness within a class."
    figure = Figure("Inception-type score", found, errors[0], real, errors[1], best="high",
                    words=words)  # fmt: skip
    record = {"value": found, "stderr": errors[0], "real": real, "real_stderr": errors[1]}
    return Outcome({"inception": record}, (figure,))
