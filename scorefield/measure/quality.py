"""Many sets of samples of one model, each measured by the same rule.

To set solvers beside one another it is enough to know how far each is from the model's own flow,
and how good its samples are as a set.
"""

from dataclasses import dataclass

from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.checks import check_rows, check_same_shape
from scorefield.measure.agreement import Proportion, agreement
from scorefield.measure.frechet import frechet_drawn
from scorefield.measure.reference import Reference, Seen


@dataclass(frozen=True)
class Distance:
    """Mean over samples and the standard error of that mean."""

    mean: float
    stderr: float


def distance(x0: Tensor, reference: Tensor) -> Distance:
    """How far samples (N, ...) are from their twins: `d_i = sqrt(mean_j (x0_ij - reference_ij)^2)`.

    Units: those of the data, where pictures span [-1, 1]. Of one sample the standard error is 0.

    >>> import torch
    >>> found = distance(torch.tensor([[1.0, 1.0], [3.0, 3.0]]), torch.zeros(2, 2))
    >>> found.mean, round(found.stderr, 6)
    (2.0, 1.0)
    """
    check_rows("samples", x0, 1)
    check_rows("reference samples", reference, 1)
    check_same_shape("samples", x0, "reference samples", reference)
    if len(x0) != len(reference):
        raise BadInput(
            f"{len(x0)} samples meet {len(reference)} reference samples.", "Give one for each."
        )
    d = (x0.double() - reference.double()).flatten(1).square().mean(1).sqrt()
    stderr = d.std().item() / len(d) ** 0.5 if len(d) > 1 else 0.0
    return Distance(d.mean().item(), stderr)


@dataclass(frozen=True)
class Quality:
    """Frechet distance to the test set, its deviation over draws, and class agreement."""

    frechet: float
    frechet_std: float
    agreement: Proportion | None


def quality(x0: Tensor, reference: Reference) -> Quality:
    """The figures of samples `(n, ...)`."""
    seen = reference.samples(x0)
    return Quality(*_drawn(seen, reference), _agreement(seen, reference))


def real_quality(reference: Reference) -> Quality:
    """What training examples get, and what the judge says of test examples."""
    frechet = _drawn(reference.like_train, reference)
    return Quality(*frechet, _agreement(reference.like_test, reference))


def _drawn(seen: Seen, reference: Reference) -> tuple[float, float]:
    test = reference.like_test.features
    return frechet_drawn(seen.features, test, seen.label, reference.counts)


def _agreement(seen: Seen, reference: Reference) -> Proportion | None:
    if seen.logits is None or reference.labels is None:
        return None
    return agreement(seen.logits, seen.label, reference.data.classes).total


def rms_all(x: Tensor) -> float:
    """Root of the mean square of all numbers; `solve.loop.rms` is that of each sample."""
    return float(x.square().mean().sqrt())


def psnr(x0: Tensor, truth: Tensor) -> float:
    """Peak signal to noise, dB, of pictures in [-1, 1]: the mean over pictures."""
    mse = (x0 - truth).flatten(1).square().mean(1)
    return float((10 * (4 / mse.clamp(min=1e-12)).log10()).mean())
