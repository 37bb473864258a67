import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from scorefield.measure import RowMoments, frechet, frechet_floor, frechet_gaussian, frechet_report
from tests.refusal import fails, refused

GaussianDistance = Callable[[Tensor, Tensor, Tensor, Tensor], float]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def root(C: Tensor) -> Tensor:
    w, V = torch.linalg.eigh(C)
    return (V * w.clamp(min=0).sqrt()) @ V.T


def commuting(distance: GaussianDistance) -> None:
    """Covariances with common eigenvectors: |m1 - m2|^2 + sum (sqrt(a) - sqrt(b))^2."""
    Q = torch.linalg.qr(normal(4, 4)).Q
    a, b = torch.tensor([[4.0, 1.0, 9.0, 0.25], [1.0, 1.0, 16.0, 4.0]]).double()
    m1, m2 = torch.zeros(4).double(), torch.tensor([1.0, 2.0, 0.0, -1.0]).double()
    # 6 + (1 + 0 + 1 + 2.25), in float64
    assert distance(m1, Q * a @ Q.T, m2, Q * b @ Q.T) == pytest.approx(10.25, abs=1e-12)


def transported(distance: GaussianDistance) -> None:
    """X ~ N(0, C), Y = TX with T symmetric positive definite, so T is the optimal map (Brenier):
    d^2 = E|X - TX|^2 = tr((I - T) C (I - T)). C and T C T do not commute."""
    A, B = normal(5, 5, seed=1), normal(5, 5, seed=2)
    C, T = A @ A.T, B @ B.T + 0.1 * torch.eye(5)
    C2, eye, zero = T @ C @ T, torch.eye(5).double(), torch.zeros(5).double()
    assert (C @ C2 - C2 @ C).norm() > 1
    want = torch.trace((eye - T) @ C @ (eye - T)).item()
    # float64 with condition numbers to 1e5
    assert distance(zero, C, zero, (C2 + C2.T) / 2) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("law", [commuting, transported])
def test_closed_forms(law: Callable[[GaussianDistance], None]):
    law(frechet_gaussian)


def without_the_root(m1: Tensor, C1: Tensor, m2: Tensor, C2: Tensor) -> float:
    return ((m1 - m2).square().sum() + torch.trace(C1 + C2 - 2 * C1 @ C2)).item()


def roots_multiplied(m1: Tensor, C1: Tensor, m2: Tensor, C2: Tensor) -> float:
    """tr(C1^1/2 C2^1/2): right only when C1 and C2 commute."""
    return ((m1 - m2).square().sum() + torch.trace(C1 + C2 - 2 * root(C1) @ root(C2))).item()


def mean_not_squared(m1: Tensor, C1: Tensor, m2: Tensor, C2: Tensor) -> float:
    d = m1 - m2
    return frechet_gaussian(m1, C1, m2, C2) - d.square().sum().item() + d.norm().item()


ROOTS = [(transported, twin) for twin in (without_the_root, roots_multiplied)]
MEANS = [(commuting, twin) for twin in (without_the_root, mean_not_squared)]


@pytest.mark.parametrize("law, twin", [*ROOTS, *MEANS])
def test_wrong_formulas_fail_the_closed_forms(law, twin):
    fails("", law, twin)


def test_formula_with_matrix_roots_agrees():
    """Eq. 1 as printed, where its rounding allows: full rank, well conditioned."""
    A, B = normal(6, 6, seed=3), normal(6, 6, seed=4)
    C1, C2, m = A @ A.T + torch.eye(6), B @ B.T + torch.eye(6), normal(6, seed=5)
    want = m.square().sum() + torch.trace(C1 + C2 - 2 * root(root(C1) @ C2 @ root(C1)))
    assert frechet_gaussian(m, C1, 0 * m, C2) == pytest.approx(want.item(), rel=1e-12)


@pytest.mark.parametrize("rank", [0, 1, 3, 8])
def test_identical_is_zero_at_every_rank(rank: int):
    A, m = 10 * normal(8, rank), normal(8)
    # sums of float64 terms of size 1e3; a squared root of a covariance would leave 1e-5
    assert frechet_gaussian(m, A @ A.T, m, A @ A.T) < 1e-10
    x = normal(20, rank) @ A.T + m
    assert frechet(x, x) < 1e-10
    assert frechet(x, x.flip(0)) < 1e-10


def test_deficient_rank_is_exact():
    """Orthogonal supports share nothing: tr C1 + tr C2. Supports in a line: (s1 - s2)^2."""
    zero, u = torch.zeros(6).double(), torch.linalg.qr(normal(6, 6)).Q
    C1, C2 = u[:, :2] @ u[:, :2].T, 4 * u[:, 2:5] @ u[:, 2:5].T
    assert frechet_gaussian(zero, C1, zero, C2) == pytest.approx(2 + 12, abs=1e-12)
    line = torch.outer(u[0], u[0])
    assert frechet_gaussian(zero, 9 * line, zero, 4 * line) == pytest.approx(1, abs=1e-12)
    # against full rank: C1 = e e^T, C2 = I in R^6: 1 + 6 - 2 * 1
    assert frechet_gaussian(zero, line, zero, torch.eye(6)) == pytest.approx(5, abs=1e-12)


def test_fewer_rows_than_features():
    """3 points in R^50; by the definition on their covariances, and a pure shift is |c|^2."""
    a, b, shift = normal(3, 50, seed=1), normal(4, 50, seed=2), normal(50, seed=3)
    want = frechet_gaussian(a.mean(0), torch.cov(a.T), b.mean(0), torch.cov(b.T))
    # eigenvectors of a covariance carry its rounding, 1e-16, relative to its scale
    assert frechet(a, b) == pytest.approx(want, rel=1e-10)
    assert frechet(a, a + shift) == pytest.approx(shift.square().sum().item(), rel=1e-12)


def test_symmetric_and_rotation_invariant():
    a, b, Q = normal(30, 5, seed=1), 2 * normal(40, 5, seed=2), torch.linalg.qr(normal(5, 5)).Q
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-12)
    assert frechet(a @ Q, b @ Q) == pytest.approx(frechet(a, b), rel=1e-12)


def test_bias_of_two_samples_of_one_gaussian():
    """Eq. 2 for C = I, D = 4, n = 200: (8 + 10) / 200 = .09, and half that at twice the n."""
    draws = 200

    def mean(n: int) -> tuple[float, float]:
        x = torch.randn(draws, 2, n, 4, generator=rng(), dtype=torch.float64)
        d = torch.tensor([frechet(a, b) for a, b in x])
        return d.mean().item(), d.std().item() / math.sqrt(draws)

    for n in (200, 400):
        value, error = mean(n)
        assert error < 0.003
        # four standard errors, and 1/n^2 terms of at most 18 D / n^2
        assert value == pytest.approx(18 / n, abs=4 * error + 72 / n**2)


def test_monte_carlo_converges_to_the_closed_form():
    T = torch.tensor([[1.5, 0.5], [0.5, 2.0]]).double()
    a, b = normal(100_000, 2, seed=1), normal(100_000, 2, seed=2) @ T + 1
    want = frechet_gaussian(torch.zeros(2), torch.eye(2), torch.ones(2), T @ T)
    assert frechet(a, b) == pytest.approx(want, abs=0.06)  # sd of |m|^2: 2 sqrt(tr(2 C)/n) < .015


def test_floor_is_reproducible_and_falls_with_n():
    a, b = normal(2000, 3, seed=1), normal(2000, 3, seed=2)
    assert frechet_floor(a, b, 100, 4, seed=3) == frechet_floor(a, b, 100, 4, seed=3)
    assert frechet_floor(a, b, 100, 4, seed=3) != frechet_floor(a, b, 100, 4, seed=4)
    assert frechet_floor(a, b, 1000, 4)[0] < frechet_floor(a, b, 50, 4)[0] / 4
    value, std = frechet_floor(a, b, 2000, 4)
    assert value == pytest.approx(frechet(a, b), rel=1e-9)
    assert 0 < std < value


def check_error(measure: Callable) -> None:
    """Of 60 sets the stated standard error is the deviation of the figure, within a third."""
    real = normal(20_000, 3, seed=99)
    found = [measure(normal(200, 3, seed=i) + 1, real) for i in range(60)]
    values, stated = torch.tensor(found, dtype=torch.float64).T
    assert stated.square().mean().sqrt() == pytest.approx(values.std().item(), rel=1 / 3)


def test_a_draw_of_all_rows_knows_its_error():
    def deviation_of_tenths(a: Tensor, b: Tensor) -> tuple[float, float]:
        value, error = frechet_floor(a, b, 200)
        return value, error / 3  # without the 9 of (G - 1)

    check_error(lambda a, b: frechet_floor(a, b, 200))
    fails("", check_error, deviation_of_tenths)


def test_report_compares_at_one_size():
    """Equal laws: ratio near 1 although samples, train and test have different sizes."""
    samples, train, test = (normal(n, 20, seed=i) for i, n in enumerate((900, 4000, 300)))
    report = frechet_report(samples, train, test, draws=20)
    assert report.n == 300
    assert report.ratio is not None
    assert report.floor == pytest.approx(250 / 300, rel=0.2)  # eq. 2
    assert report.ratio == pytest.approx(1, abs=0.15)
    shifted = frechet_report(samples + 1, train, test, draws=20)
    assert (shifted.floor, shifted.value) == (report.floor, pytest.approx(20 + 250 / 300, rel=0.2))


def test_report_with_few_samples_shrinks_the_floors_n_too():
    report = frechet_report(normal(10, 3, seed=1), normal(50, 3, seed=2), normal(40, 3, seed=3))
    assert report.n == 10
    assert report.value_std == 0  # one draw: all samples
    assert report.floor_std > 0


def test_report_without_spread_has_no_ratio():
    same = torch.zeros(5, 2)
    assert frechet_report(same + 1, same, same).ratio is None


def test_bad_input():
    good = normal(5, 3)
    broken = good.clone()
    broken[2:4, 1] = torch.inf
    refused("2 of 5 second features are not finite.* index 2", frechet, good, broken)
    refused("1 first features given", frechet, good[:1], good)
    refused(r"shape \(3,\) each", frechet, good, normal(5, 2))
    refused("shape", frechet, good[:, 0], good)
    refused("floating", frechet, good.long(), good)
    refused("n is 6", frechet_floor, good, good, 6)
    refused("draws is 0", frechet_floor, good, good, 3, draws=0)
    eye, zero = torch.eye(3), torch.zeros(3)
    refused("negative eigenvalue -1", frechet_gaussian, zero, -eye, zero, eye)
    refused("C2 is not symmetric", frechet_gaussian, zero, eye, zero, torch.ones(3, 3).triu())
    refused("C1 has shape", frechet_gaussian, zero, torch.eye(2), zero, eye)
    refused("m2 is not finite", frechet_gaussian, zero, eye, zero + torch.nan, eye)


def pieces(x: Tensor, sizes: list[int], plus: Callable = RowMoments.__add__) -> RowMoments:
    first, *rest = (RowMoments.of(some) for some in x.split(sizes))
    for some in rest:
        first = plus(first, some)
    return first


@pytest.mark.parametrize("D", [3, 40])
@pytest.mark.parametrize("sizes", [[1, 1, 98], [50, 50], [7] * 14 + [2], [1] * 100])
def test_moments_in_pieces_are_those_of_all(D, sizes):
    """Also where there are fewer rows than numbers in one, and of a far mean."""
    a, b = 1e4 + normal(100, D) @ normal(D, D, seed=5), 1e4 + 2 * normal(60, D, seed=1)
    found, other = pieces(a, sizes), pieces(b, [20, 40])
    assert found.count == 100
    assert torch.allclose(found.covariance, torch.cov(a.T), rtol=1e-9, atol=1e-9)
    assert found.frechet(other) == pytest.approx(frechet(a, b), rel=1e-9)


def test_frechet_takes_rows_in_blocks(monkeypatch):
    a, b = normal(500, 4), 3 * normal(400, 4, seed=1)
    want = frechet(a, b)
    monkeypatch.setattr("scorefield.base.blocks.BLOCK", 100)
    assert frechet(a, b) == pytest.approx(want, rel=1e-9)


def test_twin_moments_that_forget_how_far_apart_pieces_lie():
    def plus(one: RowMoments, two: RowMoments) -> RowMoments:
        return (one + two)._replace(factor=torch.cat([one.factor, two.factor]))

    a = normal(100, 3)
    assert abs(pieces(a, [1] * 100, plus).frechet(RowMoments.of(a)) - 0) > 0.1
    assert pieces(a, [1] * 100).frechet(RowMoments.of(a)) < 1e-9
