"""Grids: (schedule, steps) -> the levels that a solver visits."""

from scorefield.process import grids as g

grids = {
    "uniform-t": g.uniform_t,
    "uniform-logsnr": g.uniform_logsnr,
    "karras": g.karras,
    "exponential": g.exponential,
    "vp-root": g.vp_root,
    "vp-closing": g.vp_closing,
    "lu": g.lu,
    "beta": g.beta,
    "timesteps": g.timesteps,
}
