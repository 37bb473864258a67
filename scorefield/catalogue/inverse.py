"""Methods for inverse problems, by file: guides, and solvers of their own."""

from scorefield.catalogue.preset import preset

inverse = {
    "replacement": preset("inverse.linear:replacement"),
    "dps": preset("inverse.linear:dps"),
    "pigdm": preset("inverse.linear:pigdm"),
    "mmps": preset("inverse.linear:mmps"),
    "tmpd": preset("inverse.linear:tmpd"),
    "diffpir": preset("inverse.linear:diffpir"),
    "repaint": preset("inverse.solvers:RePaint"),
    "dps-published": preset("inverse.solvers:DPS"),
    "ddrm": preset("inverse.solvers:DDRM"),
    "twisted": preset("inverse.twisted:twisted"),
}
