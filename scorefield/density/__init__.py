"""Floor 4: sampling from a density that is known up to a constant.

The theory, with the equation numbers of this package: docs/density.md.
"""

from scorefield.density.fit import Estimate, FittedDensity, estimate
from scorefield.density.fit import fit_density as fit
from scorefield.density.methods import CMCD, DBS, DDS, DIS, METHODS, PIS, SCLD, UDS, LearnedPath
from scorefield.density.path import Annealed, Noised
from scorefield.density.target import Modes, Target, check_target

__all__ = [
    "CMCD", "DBS", "DDS", "DIS", "METHODS", "PIS", "SCLD", "UDS", "Annealed", "Estimate",
    "FittedDensity", "LearnedPath", "Modes", "Noised", "Target", "check_target", "estimate", "fit",
]  # fmt: skip
