"""Views of a picture, and the parts that add up to it."""

from scorefield.catalogue.preset import preset
from scorefield.guide.views import (
    colour,
    flip,
    grey,
    high,
    identity,
    jigsaw,
    low,
    negate,
    patches,
    turn,
    upside_down,
)

views = {
    "identity": identity,
    "flip": flip,
    "upside-down": upside_down,
    "rot90": turn,
    "rot180": preset(turn, quarters=2),
    "rot270": preset(turn, quarters=3),
    "negate": negate,
    "patches": patches,
    "jigsaw": jigsaw,
    "low": low,
    "high": high,
    "grey": grey,
    "colour": colour,
}
