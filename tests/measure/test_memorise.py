from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import scorefield.base.blocks as blocks_module
import scorefield.measure.memorise as memorise_module
from scorefield.base import BadInput
from scorefield.measure import Memorisation, memorisation
from tests.refusal import fails, refused

Measure = Callable[[Tensor, Tensor, Tensor], Memorisation]


def normal(n: int, seed: int) -> Tensor:
    return torch.randn(n, 1, 2, 2, generator=torch.Generator().manual_seed(seed))


TRAIN, TEST = normal(500, 1), normal(400, 2)


def copies(measure: Measure) -> None:
    found = measure(TRAIN.flip(0)[:100], TRAIN, TEST)
    assert found.ratio == 0  # exactly: the distance is taken by subtraction
    assert (found.close_fraction, set(found.suspect_distances)) == (1, {0})
    assert all(s + t == 499 for s, t in zip(found.suspects, found.neighbours))


def held_out_is_one(measure: Measure) -> None:
    found = measure(TEST, TRAIN, TEST)
    assert (found.ratio, found.close_fraction) == (1, pytest.approx(0.01, abs=0.005))


def new_draws_are_near_one(measure: Measure) -> None:
    found = measure(normal(400, 3), TRAIN, TEST)
    assert found.ratio == pytest.approx(1, abs=0.15)  # sd of a mean of 400 is about 3%
    assert found.close_fraction < 0.04


def one_copy_among_many(measure: Measure) -> None:
    """The mean does not notice; the list of suspects does."""
    samples = normal(400, 3)
    samples[123] = TRAIN[45] + 1e-4
    found = measure(samples, TRAIN, TEST)
    assert (found.suspects[0], found.neighbours[0]) == (123, 45)
    assert found.suspect_distances[0] == pytest.approx(2e-4, rel=1e-2)  # sqrt(4) * 1e-4, float32
    assert list(found.suspect_distances) == sorted(found.suspect_distances)
    assert len(found.suspects) == 8


LAWS = [copies, held_out_is_one, new_draws_are_near_one, one_copy_among_many]


@pytest.mark.parametrize("law", LAWS)
def test_known_values(law: Callable[[Measure], None]):
    law(memorisation)


def distances_to_test(samples: Tensor, train: Tensor, held_out: Tensor) -> Memorisation:
    return memorisation(samples, held_out, train)


def suspects_are_the_farthest(samples: Tensor, train: Tensor, held_out: Tensor) -> Memorisation:
    whole = memorisation(samples, train, held_out, suspects=len(samples))
    back = [field[::-1][:8] for field in (whole.suspects, whole.neighbours)]
    return Memorisation(
        whole.ratio, whole.distance, whole.held_out_distance, whole.close_fraction,
        whole.close_distance, back[0], back[1], whole.suspect_distances[::-1][:8],
    )  # fmt: skip


FAR = [(law, distances_to_test) for law in (copies, held_out_is_one)]


@pytest.mark.parametrize("law, twin", [*FAR, (one_copy_among_many, suspects_are_the_farthest)])
def test_wrong_measures_fail(law, twin):
    fails("", law, twin)


def test_nearest_equals_brute_force_in_any_blocks(monkeypatch):
    a, b = normal(37, 4).flatten(1), normal(101, 5).flatten(1)
    want = torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist").min(1)
    whole = memorise_module.nearest(a, b)
    monkeypatch.setattr(blocks_module, "BLOCK", 60)
    monkeypatch.setattr(memorise_module, "BLOCK", 60)
    for distance, index in (whole, memorise_module.nearest(a, b)):
        assert torch.equal(index, want.indices)
        torch.testing.assert_close(distance, want.values, rtol=1e-12, atol=0)


def test_data_full_of_duplicates_has_no_ratio():
    same = torch.zeros(5, 2)
    found = memorisation(same + 1, same, same)
    assert found.ratio is None
    assert found.close_fraction == 0
    alike = memorisation(same, same, same)
    assert alike.close_fraction == pytest.approx(
        alike.close_real
    )  # as real data, which are all copies


def distances(kind: str, n: int) -> Tensor:
    """n positions (n, 1), which are their distances from training data at 0."""
    rng = torch.Generator().manual_seed(n)
    if kind == "distinct":
        return torch.randperm(n, generator=rng)[:, None] + 1.0
    return torch.randint(0, 3 if kind == "tied" else n, (n, 1), generator=rng).double()


def real_data_get_what_it_says(measure: Measure, kind: str, m: int) -> None:
    """Of m + 1 real examples any may be the new one: the mean of `near` over them, exactly."""
    pool, train = distances(kind, m + 1), torch.zeros(2, 1)
    rest = ~torch.eye(m + 1, dtype=torch.bool)
    found = [measure(pool[i].expand(2, 1), train, pool[rest[i]]) for i in range(m + 1)]
    real = {one.close_real for one in found}
    assert len(real) == 1
    assert sum(one.close_fraction for one in found) / (m + 1) == pytest.approx(real.pop(), rel=1e-9)


@pytest.mark.parametrize("kind", ["distinct", "some tied", "tied"])
@pytest.mark.parametrize("m", [2, 3, 50, 98, 99, 100, 101, 382])
def test_real_data_get_what_it_says(kind, m):
    real_data_get_what_it_says(memorisation, kind, m)


@pytest.mark.parametrize("m, real", [(2, 1 / 3), (98, 1 / 99), (99, 0.01), (382, 0.01)])
def test_one_percent_where_the_held_out_can_tell_it(m, real):
    found = memorisation(distances("distinct", 5), torch.zeros(2, 1), distances("distinct", m))
    assert found.close_real == pytest.approx(real)


def by_a_threshold(samples: Tensor, train: Tensor, held_out: Tensor) -> Memorisation:
    """Planted: samples no farther than the floor(.01 m)-th held-out example from the nearest."""
    d, d_real = (memorise_module.nearest(x, train)[0] for x in (samples, held_out))
    threshold = d_real.sort().values[int(0.01 * len(d_real))]
    found = memorisation(samples, train, held_out)
    return replace(found, close_fraction=(d <= threshold).double().mean().item(), close_real=0.01)


@pytest.mark.parametrize("kind, m", [("distinct", 50), ("distinct", 382), ("some tied", 100)])
def test_a_threshold_is_not_what_it_says(kind, m):
    fails("", real_data_get_what_it_says, by_a_threshold, kind, m)


def test_bad_input():
    x = torch.zeros(3, 2)
    refused("1 samples given", memorisation, x[:1], x, x)
    refused("held-out examples have shape", memorisation, x, x, torch.zeros(3, 4))
    refused("suspects is -1", memorisation, x, x, x, suspects=-1)
    x[1] = torch.nan
    with pytest.raises(BadInput, match="1 of 3 training examples are not finite.* index 1"):
        memorisation(torch.zeros(3, 2), x, torch.zeros(3, 2))
