"""Guides, by file: denoiser -> denoiser."""

from scorefield.base.entries import Entries

guides = Entries(
    {
        "cfg": "guide.cfg:cfg",
        "autoguide": "guide.auto:autoguide",
        "classifier": "guide.classifier:classifier",
        "interval": "guide.interval:interval",
        "rescale": "guide.rescale:rescale",
        "threshold": "guide.threshold:threshold",
        "clip": "guide.clip:clip",
        "prompts": "guide.prompts:prompts",
        "product": "guide.compose:product",
        "mixture": "guide.compose:mixture",
        "anagram": "guide.anagram:anagram",
        "windows": "guide.windows:windows",
        "hybrid": "guide.anagram:hybrid",
        "chain": "guide.compose:chain",
        "carried": "guide.carried:carried",
    }
)
