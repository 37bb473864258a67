"""Methods for inverse problems: guides, and solvers of their own."""

from scorefield import inverse as methods

inverse = {
    "replacement": methods.replacement,
    "dps": methods.dps,
    "pigdm": methods.pigdm,
    "mmps": methods.mmps,
    "tmpd": methods.tmpd,
    "diffpir": methods.diffpir,
    "repaint": methods.RePaint,
    "dps-published": methods.DPS,
    "ddrm": methods.DDRM,
    "twisted": methods.twisted,
}
