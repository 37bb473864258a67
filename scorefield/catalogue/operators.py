"""Operators: x0 -> what was measured of it."""

from scorefield.inverse.operators import (
    Grey,
    Pool,
    Radon,
    box,
    clipped,
    gaussian_blur,
    gaussian_projection,
    magnitude,
    masked_fourier,
    motion_blur,
    random_mask,
)

operators = {
    "box": box,
    "random": random_mask,
    "pool": Pool,
    "blur": gaussian_blur,
    "motion": motion_blur,
    "grey": Grey,
    "radon": Radon,
    "fourier": masked_fourier,
    "project": gaussian_projection,
    "clip": clipped,
    "magnitude": magnitude,
}
