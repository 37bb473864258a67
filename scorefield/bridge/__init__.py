"""Floor 4: from data to data.

`objective.Bridged` learns a bridge of any coupling in one regression; here are the steps that walk
it, Schroedinger bridges by iteration and their likelihood. The theory: docs/bridges.md.
"""

from typing import TYPE_CHECKING

from scorefield.base.source import lazy

if TYPE_CHECKING:
    from scorefield.bridge.fbsde import sb_log_prob
    from scorefield.bridge.ipf import (
        AffineWalk,
        HalfBridge,
        SchroedingerBridge,
        Walker,
        affine_bridge,
        fit_schroedinger,
    )
    from scorefield.bridge.step import BridgeStep, ColdStep, blurring, fading

__all__ = [
    "AffineWalk", "BridgeStep", "ColdStep", "HalfBridge", "SchroedingerBridge", "Walker",
    "affine_bridge", "blurring", "fading", "fit_schroedinger", "sb_log_prob",
]  # fmt: skip

__getattr__ = lazy(__name__)
