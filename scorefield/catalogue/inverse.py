"""Methods for inverse problems, by file: guides, and solvers of their own."""

from scorefield.base.entries import Entries

inverse = Entries(
    {
        "replacement": "inverse.linear:replacement",
        "dps": "inverse.linear:dps",
        "pigdm": "inverse.linear:pigdm",
        "mmps": "inverse.linear:mmps",
        "tmpd": "inverse.linear:tmpd",
        "diffpir": "inverse.linear:diffpir",
        "repaint": "inverse.solvers:RePaint",
        "dps-published": "inverse.solvers:DPS",
        "ddrm": "inverse.solvers:DDRM",
        "twisted": "inverse.twisted:twisted",
    }
)
