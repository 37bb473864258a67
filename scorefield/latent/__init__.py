"""Floor 4: autoencoders and what is learned in their latents, as tasks of the one trainer.

The theory, with the equation numbers of this package: docs/latent-models.md.
"""

from typing import TYPE_CHECKING

from scorefield.base.source import lazy

if TYPE_CHECKING:
    from scorefield.latent.compose import all_of, any_of, not_of
    from scorefield.latent.d2c import D2C, LatentClassifier, few_shot, rejected
    from scorefield.latent.dae import DAE, as_denoise, walkback
    from scorefield.latent.ladder import encoder_bound
    from scorefield.latent.layers import InnerLayer, observed, sgilo
    from scorefield.latent.lsgm import LSGM, LatentModel, cross_entropy, joint_bound, mismatch
    from scorefield.latent.vae import AE, VAE

__all__ = [
    "AE", "D2C", "DAE", "LSGM", "VAE", "LatentClassifier", "LatentModel", "InnerLayer", "all_of",
    "any_of", "as_denoise", "cross_entropy", "encoder_bound", "few_shot", "joint_bound", "observed",
    "mismatch", "not_of", "rejected", "sgilo", "walkback",
]  # fmt: skip

__getattr__ = lazy(__name__)
