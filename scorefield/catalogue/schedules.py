"""Schedules: t -> level."""

from scorefield.base.entries import Entries

schedules = Entries(
    {
        "vp": "process.schedules:VP",
        "subvp": "process.schedules:SubVP",
        "ve": "process.schedules:VE",
        "edm": "process.schedules:EDM",
        "cosine": "process.schedules:Cosine",
        "flow": "process.schedules:Flow",
        "ddpm": "process.discrete:DiscreteVP",
        "momentum": "process.momentum:Momentum",
        "learned": "process.learned:Learned",
    }
)
