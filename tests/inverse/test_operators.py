"""Operators: exact adjoints, singular values, solves, and what the text form refuses."""

import math
import warnings
from typing import Any

import pytest
import torch

from scorefield.base import BadInput
from scorefield.catalogue.spec import build
from scorefield.inverse import operators
from scorefield.inverse.operators import Function, Matrix, conjugate_gradients
from tests.refusal import fails, refused

COLOUR, VECTOR = (3, 8, 12), (10,)


def operator(text: str, shape: tuple[int, ...]) -> Any:
    return build("operators", text, shape=shape)


def built(text: str, shape: tuple[int, ...]) -> operators.Linear:
    made = operator(text, shape)
    assert isinstance(made, operators.Linear)
    return made


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turn(x):
    """A linear function of one's own: differences along the rows, turned."""
    return (x[..., 1:] - x[..., :-1]).flip(-2)


PICTURES = (
    *("box:2,2,4,4", "random:.5", "pool:1", "pool:2", "pool:4", "blur:1.0", "blur:.3"),
    "motion:1,0",
    *("motion:5,45", "motion:3.5,110", "grey", "radon:7", "fourier:4", "fourier:1", "project:16"),
)
LINEAR = {
    **{text: built(text, COLOUR) for text in PICTURES}, "vector random": built("random:.3", VECTOR),
    "vector project": built("project:4", VECTOR), "wide": Matrix(normal(4, 10), VECTOR),
    "tall": Matrix(normal(13, 10), VECTOR), "poor": Matrix(normal(6, 2) @ normal(2, 10), VECTOR),
    "own": Function(turn, COLOUR), "dense": built("radon:3", (1, 6, 6)).dense(),
    "volume": built("radon:3", (1, 2, 6, 5)),
}  # fmt: skip
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
    gradients; one that is too large for a matrix, or whose matrix is too much work, never asks
    for it."""
    a, v, one = built("radon:7", (1, 9, 8)), normal(3, 1, 7, 15), torch.ones(()).double()
    found = a.solve(v, one, 0.1 * one)
    assert "_dense" in vars(a)
    monkeypatch.setattr("scorefield.inverse.operators.linear.MOST_WORK", 0)
    large = built("radon:7", (1, 9, 8))
    assert torch.allclose(found, large.solve(v, one, 0.1 * one), rtol=1e-8, atol=1e-8)
    assert not torch.allclose(found, large.solve(v, one, 0.2 * one), atol=0.01)
    monkeypatch.undo()
    monkeypatch.setattr("scorefield.inverse.operators.linear.LARGEST_DENSE", 1024)
    for many in (large, built("radon:2", (1, 33, 33))):
        v = normal(1, *many.rows)
        found = many.solve(v, one, one)
        assert torch.allclose(many(many.adjoint(found)) + found, v, rtol=1e-8, atol=1e-8)
        assert "_dense" not in vars(many)


@pytest.mark.parametrize(
    "text, shape", [("radon:6", (1, 40, 40)), ("radon:5", (3, 32, 32)), ("project:40", (3, 36, 36))]
)
@pytest.mark.parametrize("dtype, close", [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=str)
def test_pseudoinverse_of_more_than_1024_numbers(text, shape, dtype, close):
    """`A A^+ y = y` for y in A's range; and for any y what is left is orthogonal to it. In float32
    singular values below 1e-7 of the number of unknowns count as 0. 200 conjugate gradients, as it
    once was, leave more than .01 of the Radon transform."""
    a = built(text, shape)
    y = a(normal(1, *shape)).to(dtype)
    assert float((a(a.pseudoinverse(y)) - y).norm() / y.norm()) < close
    if dtype == torch.float64:
        y = normal(1, *a.rows, seed=4)
        left = y - a(a.pseudoinverse(y))
        assert float(a.adjoint(left).norm() / y.norm()) < close
    if text == "radon:6" and dtype == torch.float64:
        y = a(normal(1, *shape))
        short = conjugate_gradients(lambda p: a(a.adjoint(p)), y, 200)
        assert float((a(a.adjoint(short)) - y).norm() / y.norm()) > 1e-3


def test_an_iterative_solution_says_where_it_stops(monkeypatch):
    """Of a large operator with singular values from 1 to 1e-6 there is a warning; from 1 to .1
    there is none, and the result is that of the matrix, whether y is in the range or not, of exact
    and of noisy measurements in one batch."""
    monkeypatch.setattr("scorefield.inverse.operators.linear.LARGEST_DENSE", 8)
    steep = torch.logspace(0, -6, 300).double()
    hard = Function(lambda x: x * steep.to(x), (300,))
    monkeypatch.setattr("scorefield.inverse.operators.gradients.MOST_STEPS", 40)
    with pytest.warns(UserWarning, match="300 numbers stopped at a relative residual of"):
        hard.pseudoinverse(normal(1, 300))
    with pytest.warns(UserWarning, match="stopped at a relative residual"):
        hard.solve(normal(1, 300), torch.ones(()).double(), torch.tensor(1e-9).double())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for seed in range(8):  # as the steps of a sampler ask
            hard.pseudoinverse(normal(1, 300, seed=seed))
    assert len(said) <= 2
    monkeypatch.undo()
    monkeypatch.setattr("scorefield.inverse.operators.linear.LARGEST_DENSE", 8)
    u, v = (torch.linalg.qr(normal(12, 12, seed=k))[0] for k in (1, 2))
    whole = Matrix(u[:, :9] * torch.linspace(1, 0.1, 9).double() @ v[:, :9].T, (12,))
    easy = Function(lambda x: x @ whole.matrix.to(x).T, (12,))
    y, one = normal(3, 12, seed=3), torch.ones(()).double()
    noise = torch.tensor([0.0, 0.3, 0.0]).double()[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = easy.adjoint(easy.solve(y, 2 * one, noise))
        single = easy.pseudoinverse(y.float())
        assert single.dtype == torch.float32
        assert torch.allclose(single.double(), whole.pseudoinverse(y), atol=1e-4)
    assert torch.allclose(found, whole.adjoint(whole.solve(y, 2 * one, noise)), atol=1e-8)
    right = torch.linalg.pinv(whole.matrix, rtol=1e-10) @ y[0] / 2
    assert torch.allclose(found[0], right, atol=1e-8)
    assert not torch.allclose(found[1], right, atol=0.1)


def test_a_rank_is_told_in_the_dtype_of_the_matrix_or_of_y():
    """Rank 3 rounded to float32: the other singular values are rounding, 1e-8 of the first, and
    count as 0, as matrix_rank says; taken for values they make the result 4 times as large as x.
    The same for y in float32 seen through a float64 operator."""
    exact = normal(20, 3) @ normal(3, 30)
    poor = Matrix(exact.float(), (30,))
    x = normal(2, 30)
    for a, y in ((poor, poor(x)), (poor, poor(x).float()), (Matrix(exact, (30,)), poor(x).float())):
        assert int((a.spectrum.singular > 0).sum()) == torch.linalg.matrix_rank(a.matrix) == 3
        found = a.pseudoinverse(y)
        right = (torch.linalg.pinv(exact, rtol=1e-6) @ y.double().mT).mT
        assert torch.allclose(found.double(), right, atol=1e-4)
        assert float(found.norm()) <= 1.001 * float(x.norm())
    wild = torch.linalg.pinv(poor.matrix.double(), rtol=1e-15) @ poor(x).float().double().mT
    assert float(wild.norm()) > 3 * float(x.norm())
    blur = built("blur:2", (1, 32, 32))
    smooth = blur(normal(1, 1, 32, 32))
    assert float(blur.pseudoinverse(smooth.float()).norm()) < 40
    refused("does not tell its rank", Matrix, exact.bfloat16(), (30,))


@pytest.mark.parametrize("width", [0.05, 0.3, 0.5, 0.8, 1.0, 1.7, 2.5])
def test_a_blur_is_as_wide_as_it_says(width):
    """Sum 1, no number negative, variance width^2 on each axis; the response is that of the line:
    by theta's sum over the line, cosines of its offsets. Sampled at the pixels the Gaussian of .3
    has .0077 of .09, that of .5 .215 of .25: such a kernel fails."""

    def variances(kernel: torch.Tensor) -> list[float]:
        away = (torch.fft.fftfreq(n, 1 / n).double() ** 2 for n in kernel.shape)
        return [float((kernel.sum(1 - i) * d2).sum()) for i, d2 in enumerate(away)]

    shape = (1, 40, 33)
    a = operator(f"blur:{width}", shape)
    assert isinstance(a, operators.Blur)
    assert variances(a.kernel) == pytest.approx([width**2] * 2, rel=1e-9)
    assert float(a.kernel.min()) >= 0
    assert float(a.kernel.sum()) == pytest.approx(1.0, abs=1e-14)
    line = a.kernel.sum(1)[:20] if width < 2 else None
    if line is not None:
        w = 2 * math.pi * torch.fft.fftfreq(40, dtype=torch.float64)
        n = torch.arange(1, 20, dtype=torch.float64)
        response = line[0] + 2 * (line[1:, None] * torch.cos(n[:, None] * w)).sum(0)
        assert a.spectrum.singular[0, :, 0] == pytest.approx(response, abs=1e-12)
        low = float(-2 * a.spectrum.singular[0, 1, 0].log() / w[1] ** 2)
        assert low == pytest.approx(width**2, rel=2e-2)
    offsets = torch.fft.fftfreq(40, 1 / 40).double()
    sampled = torch.exp(-(offsets**2) / (2 * width**2))
    sampled = sampled / sampled.sum()
    off = abs(float((sampled * offsets**2).sum()) - width**2)
    assert (off > 1e-5 * width**2) == (width < 1)


def test_a_wide_blur_wraps():
    """The kernel of the line, summed over the turns around a circle of 7, and for ever wider ones
    the mean."""
    a = operator("blur:5", (1, 7, 7))
    n = torch.arange(-200, 201)
    line = torch.exp(-(n.double() ** 2) / 50)
    circle = torch.zeros(7).double().index_add_(0, n % 7, line / line.sum())
    assert isinstance(a, operators.Blur)
    assert torch.allclose(a.kernel.sum(1), circle, atol=1e-14)
    mean = operator("blur:1e9", (1, 7, 7))
    x = normal(1, 1, 7, 7)
    assert torch.allclose(mean(x), x.mean().expand_as(x), atol=1e-14)


@pytest.mark.parametrize("length, angle", [(1, 0), (2, 0), (3, 90), (3.5, 45), (4, 30), (6, 200)])
def test_a_motion_is_the_share_of_the_segment(length, angle):
    """Against a million points of the segment; and one of another length fails."""

    def counted(length: float) -> torch.Tensor:
        t = ((torch.arange(10**6).double() + 0.5) / 10**6 - 0.5) * length
        row = (-math.sin(math.radians(angle)) * t).round().long() % 9
        column = (math.cos(math.radians(angle)) * t).round().long() % 11
        kernel = torch.zeros(9, 11).double()
        return kernel.index_put_((row, column), torch.full_like(t, 1e-6), accumulate=True)

    kernel = operators.motion_blur((1, 9, 11), length, angle).kernel
    assert torch.allclose(kernel, counted(length), atol=2e-6)
    assert not torch.allclose(kernel, counted(length + 0.5), atol=1e-2) or length == 1
    assert float(kernel.sum()) == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("width", [7, 8, 28, 33, 64])
def test_acceleration_is_the_share_of_the_columns(width):
    """Within a column, and all of them at 1: by pairs one cannot come nearer."""
    for acceleration in (1.0, 1.5, 2.0, 3.0, 5.0):
        a = operator(f"fourier:{acceleration}", (1, 4, width))
        columns = int(a.known[0].sum())  # type: ignore[union-attr]
        assert abs(columns - width / acceleration) <= 1
        assert acceleration > 1 or columns == width


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
    bar = operators.motion_blur(COLOUR, 3, 0).kernel
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
    blur = operators.motion_blur((1, 5, 7), 4, 60)
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
    refused(r"not linear: f\(2a - b\) is 0\.\d+ off", Function, torch.tanh, VECTOR)
    assert isinstance(operators.Nonlinear(torch.tanh, VECTOR)(normal(1, 10)), torch.Tensor)


@pytest.mark.parametrize(
    "text, shape, words",
    [
        ("boxx:1", COLOUR, "Did you mean 'box'"),
        ("box:1,2", COLOUR, "takes top, left, height, width and got 2 of them. Write box:"),
        ("box:5,5,9,9", COLOUR, "not inside a picture of (8, 12)"),
        ("pool:5", COLOUR, "do not tile"),
        ("pool:x", COLOUR, "factor of pool is 'x'. It must be a whole number."),
        ("random:1.5", COLOUR, "missing fraction is 1.5"), ("blur:0", COLOUR, "0 pixels wide"),
        ("motion:0,1", COLOUR, "0 pixels long"),
        ("grey", (1, 8, 8), "grey of 3 channels meets a picture of 1"),
        ("radon:0", COLOUR, "0 angles"), ("fourier:0", COLOUR, "acceleration 0"),
        ("project:0", COLOUR, "0 projections"), ("blur:1", VECTOR, "are vectors"),
    ],
)  # fmt: skip
def test_what_is_refused(text, shape, words):
    with pytest.raises(BadInput) as error:
        operator(text, shape)
    assert words in str(error.value)


def test_masks_and_matrices_are_checked():
    refused("", operators.Mask, torch.zeros(4, dtype=torch.bool))
    refused("", Matrix, torch.ones(2, 3), (4,))
    refused("4096", built("radon:2", (1, 80, 80)).dense)


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


def test_jpeg_rounds_waves_and_keeps_what_is_whole():
    """A block of one wave of Q's size stays, half a step less than 1/2 is lost; coarse is worse."""
    from scorefield.inverse.operators import jpeg

    rng = torch.Generator().manual_seed(0)
    x = torch.rand(2, 1, 12, 9, generator=rng, dtype=torch.float64) - 0.5
    errors = [float((jpeg((1, 12, 9), q)(x) - x).square().mean()) for q in (1, 10, 50, 90)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 < errors[0]
    k = torch.arange(8, dtype=torch.float64)
    wave = (torch.pi / 8 * (k + 0.5)).cos().expand(1, 1, 8, 8) / 127.5
    size = 32**0.5  # what the wave (0, 1) has of it, whose step at quality 50 is 11
    for steps, kept in ((0.4, 0.0), (0.6, 1.0), (3.0, 3.0)):
        found = jpeg((1, 8, 8), 50)(wave * steps * 11 / size)
        assert torch.allclose(found, wave * kept * 11 / size, atol=1e-9)


def check_slices(operator):
    """Of a volume each slice is projected as a picture of its own is."""
    x = normal(2, 1, 3, 6, 5)
    assert torch.allclose(operator(x)[:, :, 1], built("radon:4", (1, 6, 5))(x[:, :, 1]))


def test_a_volume_is_projected_slice_by_slice():
    volume = built("radon:4", (1, 3, 6, 5))
    check_slices(volume)
    fails("", check_slices, lambda x: volume(x.flip(2).roll(1, 2)))
