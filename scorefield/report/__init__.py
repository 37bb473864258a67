"""Floor 6: pictures and pages for people."""

from scorefield.report.curves import curves, strips
from scorefield.report.picture import picture, plot, write_npz, write_png

__all__ = ["curves", "picture", "plot", "strips", "write_npz", "write_png"]
