"""Floor 4: autoencoders and what is learned in their latents, as tasks of the one trainer.

The theory, with the equation numbers of this package: docs/latent-models.md.
"""

from scorefield.latent.vae import AE, VAE, encoder_bound

__all__ = ["AE", "VAE", "encoder_bound"]
