"""Operators, by file: x0 -> what was measured of it."""

from scorefield.base.entries import Entries

operators = Entries(
    {
        "box": "inverse.operators.pictures:box",
        "random": "inverse.operators.pictures:random_mask",
        "gap": "inverse.operators.times:gap",
        "future": "inverse.operators.times:future",
        "pool": "inverse.operators.pictures:Pool",
        "blur": "inverse.operators.pictures:gaussian_blur",
        "motion": "inverse.operators.pictures:motion_blur",
        "grey": "inverse.operators.pictures:Grey",
        "radon": "inverse.operators.projections:Radon",
        "fourier": "inverse.operators.pictures:masked_fourier",
        "project": "inverse.operators.projections:gaussian_projection",
        "jpeg": "inverse.operators.jpeg:jpeg",
        "clip": "inverse.operators.linear:clipped",
        "magnitude": "inverse.operators.linear:magnitude",
    }
)
