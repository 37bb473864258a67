"""Views of a picture, and the parts that add up to it."""

from scorefield.catalogue.preset import preset
from scorefield.guide import views as v

of_pictures = {
    "identity": v.identity,
    "flip": v.flip,
    "upside-down": v.upside_down,
    "rot90": v.turn,
    "rot180": preset(v.turn, quarters=2),
    "rot270": preset(v.turn, quarters=3),
    "negate": v.negate,
    "patches": v.rearranged,
    "jigsaw": v.jigsaw,
    "low": v.low,
    "high": v.high,
    "grey": v.grey,
    "colour": v.colour,
}
