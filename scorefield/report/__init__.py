"""Floor 6: pictures and pages for people."""

from scorefield.report.curves import curves, strips
from scorefield.report.picture import picture, plot

__all__ = [
    "curves",
    "picture",
    "plot",
    "strips",
]
