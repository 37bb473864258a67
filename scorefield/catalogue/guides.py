"""Guides: denoiser -> denoiser."""

from scorefield import guide

guides = {
    "cfg": guide.cfg,
    "autoguide": guide.autoguide,
    "classifier": guide.classifier,
    "interval": guide.interval,
    "rescale": guide.rescale,
    "threshold": guide.threshold,
    "product": guide.product,
    "mixture": guide.mixture,
    "anagram": guide.anagram,
    "hybrid": guide.hybrid,
    "chain": guide.chain,
    "carried": guide.carried,
}
