"""Floor 6: pictures and pages for people."""

from scorefield.report.picture import picture, plot, write_npz, write_png

__all__ = ["picture", "plot", "write_npz", "write_png"]
