"""Operators, by file: x0 -> what was measured of it."""

from scorefield.catalogue.preset import preset

operators = {
    "box": preset("inverse.operators.pictures:box"),
    "random": preset("inverse.operators.pictures:random_mask"),
    "pool": preset("inverse.operators.pictures:Pool"),
    "blur": preset("inverse.operators.pictures:gaussian_blur"),
    "motion": preset("inverse.operators.pictures:motion_blur"),
    "grey": preset("inverse.operators.pictures:Grey"),
    "radon": preset("inverse.operators.projections:Radon"),
    "fourier": preset("inverse.operators.pictures:masked_fourier"),
    "project": preset("inverse.operators.projections:gaussian_projection"),
    "clip": preset("inverse.operators.linear:clipped"),
    "magnitude": preset("inverse.operators.linear:magnitude"),
}
