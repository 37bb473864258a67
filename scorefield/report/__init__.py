"""Floor 7: findings, pictures and pages for people."""

from scorefield.report.picture import Pieces, picture, plot, write_npz, write_pictures, write_png

__all__ = [
    "Pieces",
    "picture",
    "plot",
    "write_npz",
    "write_pictures",
    "write_png",
]
