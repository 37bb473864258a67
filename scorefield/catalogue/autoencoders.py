"""Autoencoders: what one learns, and the law of x given its latent."""

from scorefield.base.entries import Entries, site

autoencoders = Entries(
    {
        "ae": "latent.vae:AE",
        "vae": "latent.vae:VAE",
        "dae": "latent.dae:DAE",
    }
)
decoders = Entries(
    {
        "gaussian": site("likelihood.decoder:gaussian", ready=True),
        "discretised": "likelihood.decoder:Discretised",
        "logistic": "likelihood.decoder:Logistic",
    }
)
