"""Floor 1: where samples live, and in which coordinates.

Spheres, tori and rotations; letters of an alphabet; and orthonormal bases of R^n, `x = U y` with
`U^T U = I`: noise N(0, I) is N(0, I) in every one, a sum of squares is the same, and a process that
is diagonal in a basis is walked there by every solver that works number by number.
"""

from typing import TYPE_CHECKING

from scorefield.base.source import lazy

if TYPE_CHECKING:
    from scorefield.spaces.basis import DCT, Basis, Haar, Identity, band_deviations
    from scorefield.spaces.discrete import Absorbing, Autoregressive, Discrete, Multinomial
    from scorefield.spaces.manifold import KernelMixture, Manifold, Rotations, Sphere, Torus

__all__ = [
    "DCT", "Absorbing", "Autoregressive", "Basis", "Discrete", "Haar", "Identity",
    "KernelMixture", "Manifold", "Multinomial", "Rotations", "Sphere", "Torus", "band_deviations",
]  # fmt: skip

__getattr__ = lazy(__name__)
