"""Guides: denoiser -> denoiser."""

from scorefield.guide import (
    anagram,
    autoguide,
    carried,
    cfg,
    chain,
    classifier,
    hybrid,
    interval,
    mixture,
    product,
    rescale,
    threshold,
)

guides = {
    "cfg": cfg,
    "autoguide": autoguide,
    "classifier": classifier,
    "interval": interval,
    "rescale": rescale,
    "threshold": threshold,
    "product": product,
    "mixture": mixture,
    "anagram": anagram,
    "hybrid": hybrid,
    "chain": chain,
    "carried": carried,
}
