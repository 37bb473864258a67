"""Names -> objects: the literal lists that the command line, the docs and the laws read.

A value is a factory: call it, with its own options if any, to get the object. `spec` does so from
text, such as `heun:churn=.3`.
"""

from scorefield.catalogue.adapters import adapters
from scorefield.catalogue.adversaries import adversaries
from scorefield.catalogue.autoencoders import autoencoders, decoders
from scorefield.catalogue.extractors import extractors
from scorefield.catalogue.grids import grids
from scorefield.catalogue.guides import guides
from scorefield.catalogue.inverse import inverse
from scorefield.catalogue.measures import measures
from scorefield.catalogue.networks import networks
from scorefield.catalogue.objectives import couplings, objectives, times, weights
from scorefield.catalogue.operators import operators
from scorefield.catalogue.paths import paths
from scorefield.catalogue.schedules import schedules
from scorefield.catalogue.solvers import solvers
from scorefield.catalogue.spaces import matchings, spaces, walks
from scorefield.catalogue.students import students
from scorefield.catalogue.targets import targets
from scorefield.catalogue.texts import texts
from scorefield.catalogue.views import of_pictures as views
from scorefield.data import datasets

__all__ = [
    "adapters", "adversaries", "autoencoders", "couplings", "datasets", "decoders", "extractors",
    "grids", "guides", "inverse", "matchings", "measures", "networks", "objectives", "operators",
    "paths", "schedules", "solvers", "spaces", "students", "targets", "texts", "times", "views",
    "walks", "weights",
]  # fmt: skip
