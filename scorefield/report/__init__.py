"""Floor 6: pictures and pages for people."""

from scorefield.report.curves import curves, strips
from scorefield.report.picture import Pieces, picture, plot, write_npz, write_pictures, write_png

__all__ = [
    "Pieces",
    "curves",
    "picture",
    "plot",
    "strips",
    "write_npz",
    "write_pictures",
    "write_png",
]
