"""Guides, by file: denoiser -> denoiser."""

from scorefield.catalogue.preset import preset

guides = {
    "cfg": preset("guide.cfg:cfg"),
    "autoguide": preset("guide.auto:autoguide"),
    "classifier": preset("guide.classifier:classifier"),
    "interval": preset("guide.interval:interval"),
    "rescale": preset("guide.rescale:rescale"),
    "threshold": preset("guide.threshold:threshold"),
    "product": preset("guide.compose:product"),
    "mixture": preset("guide.compose:mixture"),
    "anagram": preset("guide.anagram:anagram"),
    "hybrid": preset("guide.anagram:hybrid"),
    "chain": preset("guide.compose:chain"),
    "carried": preset("guide.carried:carried"),
}
