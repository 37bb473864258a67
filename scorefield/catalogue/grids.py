"""Grids: (schedule, steps) -> the levels that a solver visits."""

from scorefield.base.entries import Entries

grids = Entries(
    {
        "uniform-t": "process.grids:uniform_t",
        "uniform-logsnr": "process.grids:uniform_logsnr",
        "karras": "process.grids:karras",
        "exponential": "process.grids:exponential",
        "vp-root": "process.grids:vp_root",
        "vp-closing": "process.grids:vp_closing",
        "angle": "process.grids:uniform_angle",
        "lu": "process.grids:lu",
        "beta": "process.grids:beta",
        "timesteps": "process.grids:timesteps",
        "shifted": "process.grids:shifted",
    }
)
