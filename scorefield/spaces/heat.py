"""Heat kernels by distance, their logarithms and slopes: of the circle, spheres and rotations.

The clock is that of Brownian motion, generator 1/2 Laplacian: near its start a point is
N(0, t) along every direction of the tangent space. So with the eigenvalue of the first harmonic

    circle    E cos a  = e^(-t/2)        sphere S^n    E cos a = e^(-n t/2)
    rotations E tr R   = 3 e^(-t)

Twice that clock, `e^(-l(l+1)t)`, is found in print and in code; E tr R tells them apart.
All is computed in float64 and is finite for every t > 0.
"""

import math

import torch
from torch import Tensor

SWITCH = 2.0
"""Where images, quick at small t, give way to harmonics, quick at large ones."""
TINY = 0.01
"""Below, a sphere's kernel is its expansion at small t."""
DEEP = 48.0
"""angle^2 / t beyond which the harmonics of a sphere cancel: p is e^-24 of its peak there."""
SMALL = 1e-3
"""Angles below which differences that cancel are their Taylor series."""


def circle_kernel(angle: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """`log p` and `d log p / d angle` of the wrapped normal, over the angle.

        p = sum_n N(angle + 2 pi n; 0, t) = (1 + 2 sum_k e^(-k^2 t/2) cos(k angle)) / (2 pi)

    angle: any real numbers; t > 0, broadcast.

    >>> [round(float(circle_kernel(torch.tensor(1.0), torch.tensor(v))[0].exp()), 10)
    ...  for v in (0.5, 2.0)]
    [0.2075537487, 0.2199590918]
    """
    angle, t = torch.broadcast_tensors(angle.double(), t.double())
    angle = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    short, long = t.clamp(max=SWITCH)[..., None], t.clamp(min=SWITCH)[..., None]
    away = angle[..., None] + 2 * math.pi * torch.arange(-3.0, 4.0, dtype=torch.float64)
    power = -away.square() / (2 * short)
    by_images = power.logsumexp(-1) - (2 * math.pi * short[..., 0]).log() / 2
    slope_images = (power.softmax(-1) * -away / short).sum(-1)
    k = torch.arange(1.0, 10.0, dtype=torch.float64)
    fade = (-k.square() * long / 2).exp()
    total = 1 + 2 * (fade * (k * angle[..., None]).cos()).sum(-1)
    turn = -2 * (k * fade * (k * angle[..., None]).sin()).sum(-1)
    images = t < SWITCH
    log_p = torch.where(images, by_images, (total / (2 * math.pi)).log())
    return log_p, torch.where(images, slope_images, turn / total)


def log_area(n: int) -> float:
    """Log of the volume of the unit sphere S^n.

    >>> round(math.exp(log_area(2)) / math.pi, 12)
    4.0
    """
    return math.log(2) + (n + 1) / 2 * math.log(math.pi) - math.lgamma((n + 1) / 2)


def sphere_kernel(angle: Tensor, t: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """`log p` and `d log p / d angle` at an angle in [0, pi] from the start on S^n, over its area.

        p = sum_l (2l + n - 1)/(n - 1) C_l^m(cos angle) e^(-l(l + n - 1) t/2) / |S^n|,  m = (n-1)/2

    The harmonics cancel where p is tiny, and are many where t is. There, and from t < `TINY` on,

        p = (2 pi t)^(-n/2) e^(-angle^2/2t) (angle / sin angle)^m e^(a t)
        a = (m^2 + (m - m^2) (1/angle - cot angle) / angle) / 2

    with an error of O(t^2) in log p (a t is exact on S^3). Not near the antipode, where at small t
    the slope falls to 0 within about t of it: there p is below e^-24 of its peak.

    >>> at = torch.tensor(0.3, dtype=torch.float64), torch.tensor([0.1, 1.0], dtype=torch.float64)
    >>> [round(v, 10) for v in sphere_kernel(*at, 2)[0].exp().tolist()]
    [1.0397197141, 0.1817448899]
    """
    if n == 1:
        return circle_kernel(angle, t)
    angle, t = torch.broadcast_tensors(angle.double(), t.double())
    far, far_slope = _at_small_t(angle, t, n)
    series = (t >= TINY) & (angle.square() < DEEP * t)
    if not bool(series.any()):
        return far, far_slope
    log_p, slope = _by_harmonics(angle, torch.where(series, t, 1.0), n)
    return torch.where(series, log_p, far), torch.where(series, slope, far_slope)


def _by_harmonics(angle: Tensor, t: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The series, by the recurrence of Gegenbauer polynomials and of their derivatives in x."""
    m, x = (n - 1) / 2, angle.cos()
    last, now = torch.zeros_like(x), torch.ones_like(x)
    d_last, d_now = torch.zeros_like(x), torch.zeros_like(x)
    total, rise = torch.ones_like(x), torch.zeros_like(x)
    for k in range(1, math.ceil(math.sqrt(76 / float(t.min()))) + 2 * n):
        a, b = 2 * (k + m - 1) / k, (k + 2 * m - 2) / k
        new, d_new = a * x * now - b * last, a * (now + x * d_now) - b * d_last
        last, now, d_last, d_now = now, new, d_now, d_new
        weight = (k + m) / m * (-k * (k + n - 1) / 2 * t).exp()
        total.addcmul_(weight, now)
        rise.addcmul_(weight, d_now)
    total = total.clamp(min=1e-300)
    return total.log() - log_area(n), -angle.sin() * rise / total


def _at_small_t(angle: Tensor, t: Tensor, n: int) -> tuple[Tensor, Tensor]:
    m = (n - 1) / 2
    angle = torch.minimum(angle, math.pi - (t / math.pi).clamp(max=1.0))
    c, dc = _curved(angle)
    a = (m**2 + (m - m**2) * c) / 2
    power = -angle.square() / (2 * t) - n / 2 * (2 * math.pi * t).log()
    log_p = power - m * torch.sinc(angle / math.pi).log() + a * t
    return log_p, -angle / t + m * c * angle + (m - m**2) / 2 * dc * t


def _curved(angle: Tensor) -> tuple[Tensor, Tensor]:
    """`c = (1/a - cot a) / a` and its derivative."""
    a = angle.clamp(min=SMALL)
    c = (1 / a - 1 / a.tan()) / a
    dc = (1 / a.sin().square() - 1 / a.square()) / a - c / a
    small, square = angle < SMALL, angle.square()
    return torch.where(small, 1 / 3 + square / 45, c), torch.where(small, 2 * angle / 45, dc)


def rotation_kernel(angle: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """`log f` and `d log f / d angle` of a rotation by an angle in [0, pi], over the Haar measure.

        f = sum_l (2l + 1) e^(-l(l+1)t/2) sin((l + 1/2) w) / sin(w/2)
          = e^(t/8) sqrt(2 pi / t^3) sum_n (-1)^n (w - 2 pi n) e^(-(w - 2 pi n)^2/2t) / sin(w/2)

    The angle itself has the density f (1 - cos w) / pi.

    >>> w, h = (torch.arange(2000).double() + 0.5) * math.pi / 2000, math.pi / 2000
    >>> law = rotation_kernel(w, torch.tensor(0.25))[0].exp() * (1 - w.cos()) / math.pi
    >>> round(float((law * (1 + 2 * w.cos())).sum() * h / 3), 6) == round(math.exp(-0.25), 6)
    True
    """
    w, t = torch.broadcast_tensors(angle.double(), t.double())
    w = w.clamp(1e-6, math.pi)
    half, short, long = w / 2, t.clamp(max=SWITCH), t.clamp(min=SWITCH)
    turns = torch.arange(-3.0, 4.0, dtype=torch.float64)
    away = w[..., None] - 2 * math.pi * turns
    part = (1 - 2 * (turns.abs() % 2)) * (-(away.square() - w[..., None].square())
                                          / (2 * short[..., None])).exp()  # fmt: skip
    images, slope = (part * away).sum(-1), (part * (1 - away.square() / short[..., None])).sum(-1)
    log_f = images.log() - w.square() / (2 * short) + short / 8 + (2 * math.pi / short**3).log() / 2
    k = torch.arange(0.0, 12.0, dtype=torch.float64)
    fade, phase = (2 * k + 1) * (-k * (k + 1) * long[..., None] / 2).exp(), (k + 0.5) * w[..., None]
    total, turn = (fade * phase.sin()).sum(-1), (fade * (k + 0.5) * phase.cos()).sum(-1)
    log_p = torch.where(t < SWITCH, log_f, total.log()) - half.sin().log()
    return log_p, torch.where(t < SWITCH, slope / images, turn / total) - 0.5 / half.tan()
