"""Densities known up to a constant, to be sampled and integrated."""

from scorefield.base.entries import Entries, site

targets = Entries(
    {
        "normal": "density.known:normal",
        "gmm-9": "density.known:gmm_9",
        "gmm-25": "density.known:gmm_25",
        "gmm-40": "density.known:gmm_40",
        "gmm-40-other": site("density.known:gmm_40", seed=1),
        "gmm-40-unit": site("density.known:gmm_40", std=1.0),
        "gmm-40-wide": site("density.known:gmm_40", std=1.0, dim=50),
        "funnel": "density.known:funnel",
        "double-well": "density.known:double_well",
        "double-well-50": site("density.known:double_well", dim=50, separation=2.0),
        "many-well": "density.known:many_well",
        "quartic": "density.known:quartic",
        "ring": "density.known:ring",
        "rosenbrock": "density.known:rosenbrock",
        "logistic": "density.known:logistic",
        "log-gaussian-cox": "density.known:log_gaussian_cox",
        "double-well-particles": "density.known:double_well_particles",
        "lennard-jones": "density.known:lennard_jones",
    }
)
