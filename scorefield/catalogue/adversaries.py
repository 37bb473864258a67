"""Games of a generator with a critic: what they learn beside diffusion, on the same trainer."""

from scorefield.base.entries import Entries

adversaries = Entries({"gan": "distill.adversary:GAN"})
