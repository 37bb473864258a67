"""Where samples live when not in R^n: spheres, tori and rotations; and letters of an alphabet."""

from typing import TYPE_CHECKING

from scorefield.base.source import lazy

if TYPE_CHECKING:
    from scorefield.spaces.discrete import Absorbing, Discrete, Multinomial
    from scorefield.spaces.manifold import KernelMixture, Manifold, Rotations, Sphere, Torus

__all__ = [
    "Absorbing", "Discrete", "KernelMixture", "Manifold", "Multinomial", "Rotations", "Sphere",
    "Torus",
]  # fmt: skip

__getattr__ = lazy(__name__)
