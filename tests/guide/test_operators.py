"""Operators: exact adjoints, singular values, solves, and what the text form refuses."""

import math
from typing import Any

import pytest
import torch

from scorefield.base import BadInput
from scorefield.guide.operators import (
    Function,
    Linear,
    Mask,
    Matrix,
    Nonlinear,
    conjugate_gradients,
    motion_blur,
    operator,
)

COLOUR, VECTOR = (3, 8, 12), (10,)


def built(text: str, shape: tuple[int, ...]) -> Linear:
    made = operator(text, shape)
    assert isinstance(made, Linear)
    return made


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turn(x):
    """A linear function of one's own: differences along the rows, turned."""
    return (x[..., 1:] - x[..., :-1]).flip(-2)


PICTURES = (
    *(
        "box:2,2,4,4",
        "random:.5",
        "pool:1",
        "pool:2",
        "pool:4",
        "blur:1.0",
        "blur:.3",
        "motion:1,0",
    ),
    *("motion:5,45", "motion:3.5,110", "grey", "radon:7", "fourier:4", "fourier:1", "project:16"),
)
LINEAR = {
    **{text: built(text, COLOUR) for text in PICTURES},
    "vector random": built("random:.3", VECTOR),
    "vector project": built("project:4", VECTOR),
    "wide": Matrix(normal(4, 10), VECTOR),
    "tall": Matrix(normal(13, 10), VECTOR),
    "poor": Matrix(normal(6, 2) @ normal(2, 10), VECTOR),
    "own": Function(turn, COLOUR),
    "dense": built("radon:3", (1, 6, 6)).dense(),
}
EACH = pytest.mark.parametrize("name", LINEAR)


def defect_of_adjoint(a) -> float:
    """`|<A x, y> - <x, A^T y>|` over `|A x| |y|`."""
    x = normal(3, *a.shape, seed=1)
    y = normal(3, *a(x).shape[1:], seed=2)
    there, back = (a(x) * y).sum(), (x * a.adjoint(y)).sum()
    return float((there - back).abs() / (a(x).norm() * y.norm()))


@EACH
def test_dot_products(name):
    assert defect_of_adjoint(LINEAR[name]) < 1e-14


class Wrong:
    """An adjoint that a motion blur turned the other way would have."""

    shape = COLOUR

    def __call__(self, x):
        return x.roll(1, -1)

    def adjoint(self, y):
        return y.roll(1, -1)


def test_a_wrong_adjoint_is_seen():
    assert defect_of_adjoint(Wrong()) > 1e-3


@EACH
def test_linear_in_each_sample_alone(name):
    a = LINEAR[name]
    x = normal(2, *a.shape)
    both = a(x)
    assert both.shape[1:] == a.rows
    assert torch.allclose(a(3 * x[1:]), 3 * both[1:], atol=1e-13)
    assert a.adjoint(both).shape == x.shape


@EACH
def test_the_singular_values(name):
    """V orthonormal, U orthonormal on the kept, and U s V^T = A."""
    a = LINEAR[name]
    if a.spectrum is None:
        pytest.skip("no closed form")
    singular, forward, backward, lift, drop = a.spectrum
    x = normal(2, *a.shape)
    y = a(x)
    close: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-12}
    assert singular.shape == a.shape
    assert bool((singular >= 0).all())
    assert torch.allclose(backward(forward(x)), x, **close)
    assert torch.allclose(forward(x).norm(), x.norm(), **close)
    assert torch.allclose(drop(singular * forward(x)), y, **close)
    kept = (singular > 0) * x
    assert torch.allclose(lift(drop(kept)), kept, **close)
    assert torch.allclose((lift(y) * kept).sum(), (y * drop(kept)).sum(), **close)
    found = torch.linalg.matrix_rank(a.dense().matrix)
    assert int((singular > 0).sum()) == int(found)


@EACH
@pytest.mark.parametrize("data, noise", [(1.0, 0.1), (0.0, 2.0), (3.0, 1e-4)])
def test_solve(name, data, noise):
    a = LINEAR[name]
    v = normal(3, *a.rows)
    data, noise = torch.tensor(data).double(), noise * normal(3).abs().add(1)
    noise = noise.view(3, *(1,) * (v.ndim - 1))
    found = a.solve(v, data, noise)
    assert torch.allclose(data * a(a.adjoint(found)) + noise * found, v, rtol=1e-8, atol=1e-8)


def test_small_operators_are_decomposed_and_large_ones_are_not(monkeypatch):
    """A Radon transform has no closed form: by its matrix, decomposed once, as by conjugate
    gradients; one that is too large for a matrix never asks for it."""
    a, v, one = built("radon:7", (1, 9, 8)), normal(3, 1, 7, 15), torch.ones(()).double()
    found = a.solve(v, one, 0.1 * one)
    assert "_dense" in vars(a)
    monkeypatch.setattr("scorefield.guide.operators.linear.SMALL_DENSE", 0)
    assert torch.allclose(found, a.solve(v, one, 0.1 * one), rtol=1e-8, atol=1e-8)
    assert not torch.allclose(found, a.solve(v, one, 0.2 * one), atol=0.01)
    monkeypatch.undo()
    for large in (built("radon:2", (1, 33, 33)), built("radon:80", (1, 9, 8))):  # x0, then y
        v = normal(1, *large.rows)
        found = large.solve(v, one, one)
        assert torch.allclose(large(large.adjoint(found)) + found, v, rtol=1e-8, atol=1e-8)
        assert "_dense" not in vars(large)


@EACH
def test_pseudoinverse(name):
    """`A A^+ A = A`."""
    a = LINEAR[name]
    y = a(normal(2, *a.shape))
    assert torch.allclose(a(a.pseudoinverse(y)), y, atol=1e-7)


@EACH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_dtype_follows_x(name, dtype):
    a = LINEAR[name]
    x = normal(2, *a.shape).to(dtype)
    y = a(x)
    one = torch.ones((), dtype=dtype)
    assert y.dtype == a.adjoint(y).dtype == a.solve(y, one, one).dtype == dtype
    assert torch.allclose(y.double(), a(x.double()), atol=1e-5)


def test_values():
    x = torch.arange(96.0).view(1, 1, 8, 12).expand(1, 3, 8, 12)
    assert torch.allclose(built("grey", COLOUR)(x), x[:, :1])
    assert float(built("pool:4", COLOUR)(x)[0, 0, 0, 0]) == 19.5
    assert torch.allclose(built("motion:1,0", COLOUR)(x), x, atol=1e-4)
    assert built("box:2,2,4,4", COLOUR)(x).shape == (1, 3 * 80)
    assert built("random:.25", COLOUR)(x).shape == (1, 3 * 72)
    assert built("fourier:4", COLOUR)(x).shape == (1, 3 * 8 * 3)
    assert int(operator("fourier:1", COLOUR).known.sum()) == 96  # type: ignore[union-attr]
    bar = motion_blur(COLOUR, 3, 0).kernel
    assert torch.allclose(bar[0, [0, 1, -1]], torch.tensor(1 / 3).double())


def test_radon_integrates_along_lines():
    """Each angle's bins sum to all of the picture; at angle 0 they are its columns."""
    x = normal(1, 1, 6, 6)
    y = built("radon:5", (1, 6, 6))(x) * 6
    assert torch.allclose(y.sum(-1), x.sum().expand(1, 1, 5))
    bins = y[0, 0, 0]
    first = (len(bins) - 6) // 2
    inner = bins[first : first + 6] if (len(bins) - 6) % 2 == 0 else None
    assert inner is None or torch.allclose(inner, x.sum(2)[0, 0])


def test_blur_is_circular_convolution():
    blur = motion_blur((1, 5, 7), 4, 60)
    spike = torch.zeros(1, 1, 5, 7, dtype=torch.float64)
    spike[0, 0, 3, 2] = 1
    assert torch.allclose(blur(spike)[0, 0], blur.kernel.roll((3, 2), (0, 1)), atol=1e-15)


def test_a_seed_fixes_what_is_random():
    for text in ("random:.5", "project:16", "fourier:4"):
        x = normal(1, *COLOUR)
        assert torch.equal(operator(text, COLOUR)(x), operator(text, COLOUR)(x))


def test_nonlinear_derivatives():
    for text in ("clip:2", "magnitude"):
        f, x = operator(text, (1, 4, 4)), 0.2 * normal(2, 1, 4, 4)
        v = normal(*f(x).shape, seed=3)
        slope = (f(x + 1e-6 * x) - f(x - 1e-6 * x)) / 2e-6
        assert torch.allclose((slope * v).sum(), (f.pullback(x, v) * x).sum(), rtol=1e-6)


def test_a_function_that_is_not_linear_is_refused():
    with pytest.raises(BadInput, match=r"not linear: f\(2a - b\) is 0\.\d+ off"):
        Function(torch.tanh, VECTOR)
    assert isinstance(Nonlinear(torch.tanh, VECTOR)(normal(1, 10)), torch.Tensor)


@pytest.mark.parametrize(
    "text, shape, words",
    [
        ("boxx:1", COLOUR, "Did you mean 'box'"),
        ("box:1,2", COLOUR, "takes 4 numbers and got 2"),
        ("box:5,5,9,9", COLOUR, "not inside a picture of (8, 12)"),
        ("pool:5", COLOUR, "do not tile"),
        ("pool:x", COLOUR, "'x' in 'pool:x' is not numbers"),
        ("random:1.5", COLOUR, "missing share is 1.5"),
        ("blur:0", COLOUR, "0 pixels wide"),
        ("motion:0,1", COLOUR, "0 pixels long"),
        ("grey", (1, 8, 8), "grey of 3 channels meets a picture of 1"),
        ("radon:0", COLOUR, "0 angles"),
        ("fourier:0", COLOUR, "acceleration 0"),
        ("project:0", COLOUR, "0 projections"),
        ("blur:1", VECTOR, "is no picture"),
    ],
)
def test_what_is_refused(text, shape, words):
    with pytest.raises(BadInput) as error:
        operator(text, shape)
    assert words in str(error.value)


def test_masks_and_matrices_are_checked():
    with pytest.raises(BadInput):
        Mask(torch.zeros(4, dtype=torch.bool))
    with pytest.raises(BadInput):
        Matrix(torch.ones(2, 3), (4,))
    with pytest.raises(BadInput, match="4096"):
        built("radon:2", (1, 80, 80)).dense()


def test_conjugate_gradients_stop_by_themselves():
    """A sample's result does not depend on its batch, and a curve that is not positive ends it."""
    root = normal(6, 6)
    s, b = root @ root.T + torch.eye(6), normal(3, 6)
    b[1] = 0
    whole = conjugate_gradients(lambda v: v @ s, b)
    assert torch.allclose(whole @ s, b, atol=1e-10)
    for i in range(3):
        alone = conjugate_gradients(lambda v: v @ s, b[i : i + 1])
        assert torch.allclose(alone, whole[i : i + 1], rtol=1e-9, atol=1e-12)
    assert torch.equal(conjugate_gradients(lambda v: -v, b), torch.zeros_like(b))
    assert torch.equal(conjugate_gradients(lambda v: v, b, least=2.0), torch.zeros_like(b))
    assert math.isfinite(float(conjugate_gradients(lambda v: 0 * v, b).sum()))
