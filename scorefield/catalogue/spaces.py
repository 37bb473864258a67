"""Models that are not on R^n: where they are, what they learn, and how they are walked down."""

from scorefield.base.entries import Entries

spaces = Entries(
    {
        "sphere": "spaces.manifold:Sphere",
        "torus": "spaces.manifold:Torus",
        "rotations": "spaces.manifold:Rotations",
        "absorbing": "spaces.discrete:Absorbing",
        "multinomial": "spaces.discrete:Multinomial",
        "autoregressive": "spaces.discrete:Autoregressive",
    }
)
matchings = Entries(
    {
        "kernel-score": "objective.spaced:KernelScore",
        "geodesic": "objective.spaced:GeodesicMatching",
        "absorbing": "objective.spaced:DiscreteBound",
        "multinomial": "objective.spaced:DiscreteBound",
        "autoregressive": "objective.spaced:ChainRule",
    }
)
walks = Entries(
    {
        "geodesic-flow": "solve.geodesic:GeodesicFlow",
        "geodesic-walk": "solve.geodesic:GeodesicWalk",
        "state-walk": "solve.geodesic:StateWalk",
    }
)
