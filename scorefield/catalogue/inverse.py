"""Methods for inverse problems: guides, and solvers of their own."""

from scorefield.inverse import (
    DDRM,
    DPS,
    RePaint,
    diffpir,
    dps,
    mmps,
    pigdm,
    replacement,
    tmpd,
    twisted,
)

inverse = {
    "replacement": replacement,
    "dps": dps,
    "pigdm": pigdm,
    "mmps": mmps,
    "tmpd": tmpd,
    "diffpir": diffpir,
    "repaint": RePaint,
    "dps-published": DPS,
    "ddrm": DDRM,
    "twisted": twisted,
}
