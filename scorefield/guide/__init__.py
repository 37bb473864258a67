"""Floor 3: guides, `Denoise -> Denoise`. They wrap what a solver sees and so fit every solver."""

from scorefield.guide.cfg import cfg

__all__ = ["cfg"]
