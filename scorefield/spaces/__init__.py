"""Floor 1: orthonormal bases, in whose coordinates a process may have a level for each.

`x = U y` with `U^T U = I`: noise N(0, I) is N(0, I) in every basis, a sum of squares is the same,
and a process that is diagonal in a basis is walked there by every solver that works number by
number.
"""

from scorefield.spaces.basis import DCT, Basis, Haar, Identity, band_deviations

__all__ = ["DCT", "Basis", "Haar", "Identity", "band_deviations"]
