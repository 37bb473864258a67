"""Measurements `y = A(x0) + noise`: operators with exact adjoints.

An operator maps x0 `(B, *shape)` to y, and `adjoint` back, with

    <A x, y> = <x, A^T y>                                                                (eq. 1)

to the last digits. Where A has its singular value decomposition in closed form,

    A = U diag(s) V^T,                                                                   (eq. 2)

`spectrum` holds it as functions: V is a Hartley transform for blurs and k-space, a Householder
reflection for block means and grey, the identity for masks, dense for a matrix. What the methods
ask of an operator is `A^T (v A A^T + w I)^-1`: by eq. 2, as a matrix that is decomposed once, or by
conjugate gradients, which warn if they stop before it is found.
"""

from scorefield.inverse.operators.gradients import conjugate_gradients
from scorefield.inverse.operators.jpeg import jpeg
from scorefield.inverse.operators.linear import (
    Function,
    Linear,
    Matrix,
    Nonlinear,
    Operator,
    Spectrum,
    clipped,
    magnitude,
)
from scorefield.inverse.operators.pictures import (
    Blur,
    Fourier,
    Grey,
    Mask,
    Pool,
    box,
    gaussian_blur,
    hartley,
    masked_fourier,
    motion_blur,
    random_mask,
)
from scorefield.inverse.operators.projections import Radon, gaussian_projection
from scorefield.inverse.operators.times import future, gap

__all__ = [
    "Blur", "Fourier", "Function", "Grey", "Linear", "Mask", "Matrix", "Nonlinear", "Operator",
    "Pool", "Radon", "Spectrum", "box", "clipped", "conjugate_gradients", "future", "gap",
    "gaussian_blur", "gaussian_projection", "hartley", "jpeg", "magnitude", "masked_fourier",
    "motion_blur", "random_mask",
]  # fmt: skip
