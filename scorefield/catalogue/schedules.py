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
        "blurring": "process.spectral:Blurring",
        "heat": "process.spectral:Heat",
        "soft": "process.spectral:Soft",
        "wavelet": "process.spectral:Wavelet",
        "varying": "process.spectral:Varying",
    }
)
