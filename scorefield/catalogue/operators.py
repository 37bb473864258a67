"""Operators: x0 -> what was measured of it."""

from scorefield.inverse import operators as o

operators = {
    "box": o.box,
    "random": o.random_mask,
    "pool": o.Pool,
    "blur": o.gaussian_blur,
    "motion": o.motion_blur,
    "grey": o.Grey,
    "radon": o.Radon,
    "fourier": o.masked_fourier,
    "project": o.gaussian_projection,
    "clip": o.clipped,
    "magnitude": o.magnitude,
}
