"""Floor 4: autoencoders and what is learned in their latents, as tasks of the one trainer.

The theory, with the equation numbers of this package: docs/latent-models.md.
"""

from scorefield.latent.dae import DAE, as_denoise, walkback
from scorefield.latent.ladder import encoder_bound
from scorefield.latent.lsgm import LSGM, LatentModel, cross_entropy, joint_bound, mismatch
from scorefield.latent.vae import AE, VAE

__all__ = [
    "AE", "DAE", "LSGM", "VAE", "LatentModel", "as_denoise", "cross_entropy", "encoder_bound",
    "joint_bound", "mismatch", "walkback",
]  # fmt: skip
