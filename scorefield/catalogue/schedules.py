"""Schedules: t -> level."""

from scorefield.process import EDM, VE, VP, Cosine, DiscreteVP, Flow, Learned, SubVP

schedules = {
    "vp": VP,
    "subvp": SubVP,
    "ve": VE,
    "edm": EDM,
    "cosine": Cosine,
    "flow": Flow,
    "ddpm": DiscreteVP,
    "learned": Learned,
}
