"""Views of a picture, and the parts that add up to it."""

from scorefield.base.entries import Entries, site

of_pictures = Entries(
    {
        "identity": "guide.views:identity",
        "flip": "guide.views:flip",
        "upside-down": "guide.views:upside_down",
        "rot90": "guide.views:turn",
        "rot180": site("guide.views:turn", quarters=2),
        "rot270": site("guide.views:turn", quarters=3),
        "negate": "guide.views:negate",
        "patches": "guide.views:rearranged",
        "jigsaw": "guide.views:jigsaw",
        "low": "guide.views:low",
        "high": "guide.views:high",
        "grey": "guide.views:grey",
        "colour": "guide.views:colour",
    }
)
