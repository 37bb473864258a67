"""Samples measured in one pass: the figures of all samples in memory."""

import pytest
import torch
from torch import Tensor

import scorefield.measure.onepass as module
from scorefield.data import Data, Scaling, Split
from scorefield.measure import Judge, Outcome, Reference, one_pass
from scorefield.measure.frechet import frechet_picks
from scorefield.use.evaluate import measures_of
from tests.refusal import fails, refused

N, CLASSES = 900, 3


@pytest.fixture(scope="module", params=[True, False], ids=["judged", "plain"])
def reference(request) -> Reference:
    rng = torch.Generator().manual_seed(0)
    train, test = (
        Split(torch.rand(n, 1, 4, 4, generator=rng), {"label": torch.arange(n) % CLASSES})
        for n in (300, 90)
    )
    data = Data("tiny", train, test, tuple("abc"), Scaling((0.5,), (0.5,)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = Judge(data.shape, CLASSES).eval().requires_grad_(False) if request.param else None
    return Reference(data, judge, N, torch.arange(N) % CLASSES if judge else None)


def samples() -> Tensor:
    return torch.randn(N, 1, 4, 4, generator=torch.Generator().manual_seed(1)).mul(0.4)


def told_alike(found: Outcome, expected: Outcome) -> None:
    """Frechet distances to 1e-9 of them, all else to the bit."""
    a, b = dict(found.record), dict(expected.record)
    assert a.pop("frechet") == pytest.approx(b.pop("frechet"), rel=1e-9)
    assert a == b
    assert len(found.figures) == len(expected.figures)


@pytest.fixture
def some_kept(monkeypatch) -> None:
    monkeypatch.setattr(module, "FEW", 1000)


@pytest.mark.parametrize("size", [900, 256, 37])
def test_one_pass_finds_what_all_in_memory_do(reference, some_kept, size):
    seen = one_pass(samples().split(size), reference)
    assert len(seen.x0) == 90 < N
    told_alike(measures_of(seen, reference), measures_of(samples(), reference))


def test_few_are_kept_whole(reference):
    assert torch.equal(one_pass(samples().split(100), reference).x0, samples().clamp(-1, 1))


def test_planted_passes_fail(reference, some_kept, monkeypatch):
    expected = measures_of(samples(), reference)

    def found() -> Outcome:
        return measures_of(one_pass(samples().split(256), reference), reference)

    with monkeypatch.context() as patch:  # the moments of a last part are forgotten
        whole = module._Sum.moments
        patch.setattr(module._Sum, "moments", lambda s: s.sum or whole(s))
        fails("", told_alike, found(), expected)
    with monkeypatch.context() as patch:  # other draws than those of the rule
        patch.setattr(module, "frechet_picks", lambda *a: frechet_picks(*a, seed=1))
        fails("", told_alike, found(), expected)
    with monkeypatch.context() as patch:  # neighbours of what was not cut to [-1, 1]
        near = module.nearest
        patch.setattr(module, "nearest", lambda a, b: near(1.1 * a, b))
        fails("", told_alike, found(), expected)


def test_what_does_not_fit_is_refused(reference, some_kept):
    refused(f"{N - 100} samples came where {N}", one_pass, samples()[100:].split(200), reference)
    refused(f"more than {N} samples", one_pass, [samples(), samples()[:1]], reference)
    seen = one_pass(samples().split(300), reference)
    refused("90 of the samples were kept", reference.trio, seen, 5)
