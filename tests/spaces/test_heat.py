"""Heat kernels: their clock, their slopes, and the forms that are found in their place."""

import math

import pytest
import torch

from scorefield.spaces import heat
from scorefield.spaces.heat import circle_kernel, log_area, rotation_kernel, sphere_kernel
from tests.refusal import fails

N = 4000
ANGLES = (torch.arange(N, dtype=torch.float64) + 0.5) * math.pi / N


def mean(kernel, t, f, n):
    """E f(angle) on S^n, by the midpoint rule."""
    law = kernel(ANGLES, torch.tensor(t).double(), n)[0].exp() * ANGLES.sin() ** (n - 1)
    return float((law * f).sum()) * math.pi / N * math.exp(log_area(n - 1))


def check_sphere(kernel, t, n):
    """Mass 1, E cos = e^(-nt/2), and Stein's identity for the field grad cos."""
    assert mean(kernel, t, torch.ones(N), n) == pytest.approx(1, abs=3e-5)
    assert mean(kernel, t, ANGLES.cos(), n) == pytest.approx(math.exp(-n * t / 2), abs=3e-5)
    slope = kernel(ANGLES, torch.tensor(t).double(), n)[1]
    stein = n * ANGLES.cos() + ANGLES.sin() * slope
    assert mean(kernel, t, stein, n) == pytest.approx(0, abs=2e-4), "slope"


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("t", [1e-3, 0.009, 0.011, 0.1, 0.3, 2.0])
def test_the_sphere(t, n):
    check_sphere(sphere_kernel, t, n)


@pytest.mark.parametrize("n", [2, 3])
def test_planted_spheres(n):
    def twice(a, t, n):
        return sphere_kernel(a, 2 * t, n)

    def short(a, t, n):  # Varadhan's form, of which only t -> 0 is true
        return sphere_kernel(a, t, n)[0], -a / t

    fails("", check_sphere, twice, 0.1, n)
    fails("slope", check_sphere, short, 0.1, n)


def test_the_circle_by_images_is_the_circle_by_harmonics(monkeypatch):
    a, t = torch.linspace(-3.1, 3.1, 50).double(), torch.tensor(1.99).double()
    both = []
    for switch in (2.0, 1.9):
        monkeypatch.setattr(heat, "SWITCH", switch)
        both.append(circle_kernel(a, t))
    for one, other in zip(*both):
        torch.testing.assert_close(one, other, atol=1e-14, rtol=1e-13)


def check_rotations(kernel, t, angle):
    law = kernel(ANGLES, torch.tensor(t).double())[0].exp() * (1 - ANGLES.cos()) / N
    assert float((law * ANGLES).sum()) == pytest.approx(angle, abs=1e-6)
    trace = float((law * (1 + 2 * ANGLES.cos())).sum())
    assert trace == pytest.approx(3 * math.exp(-t), abs=1e-6)


ROTATIONS = [(0.05, 0.356081), (0.25, 0.789547), (1.0, 1.521210), (4.0, 2.172438)]


@pytest.mark.parametrize("t, angle", ROTATIONS)
def test_rotations(t, angle):
    check_rotations(rotation_kernel, t, angle)


def test_a_planted_clock():
    """e^(-l(l+1) t): E tr R is then 1.8196 in place of 2.3364."""
    fails("", check_rotations, lambda w, t: rotation_kernel(w, 2 * t), *ROTATIONS[1])


@pytest.mark.parametrize("t", [0.1, 1.0, 3.0])
def test_rotations_are_quaternions_of_either_sign(t):
    w, t = ANGLES[::40], torch.tensor(t).double()
    both = [sphere_kernel(a, t / 4, 3)[0].exp() for a in (w / 2, math.pi - w / 2)]
    wanted = math.exp(log_area(3)) * (both[0] + both[1]) / 2
    torch.testing.assert_close(rotation_kernel(w, t)[0].exp(), wanted, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("t", [0.3, 1.9, 2.1])
def test_the_slope_of_rotations_is_that_of_log_f(t):
    log_f, slope = rotation_kernel(ANGLES, torch.tensor(t).double())
    found = torch.gradient(log_f, spacing=math.pi / N)[0]
    torch.testing.assert_close(found[2:-2], slope[2:-2], atol=1e-4, rtol=1e-4)
